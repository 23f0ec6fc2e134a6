"""The addresses of the lists of the admin, which all links to a set of tasks are made of."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime

from django.http import QueryDict
from django.urls import reverse
from django.utils.http import urlencode

from taskflow.http.filtering import EXCLUSION_SUFFIX

WHERE = "where"  # the parameter of the list of tasks: filters as in GET /tasks
FilterArgument = str | int | bool | date | Sequence[str | int]


def list_address(**filters: FilterArgument) -> str:
    """Return the address of the list of the tasks that `GET /tasks` returns for these filters.

    The names and values are those of GET /tasks; a list is a filter with several values:
    `list_address(assignee="me", status_not=["done"])`. Without a filter, it is the list of all
    tasks.
    """
    return list_address_of(write_where(filters))


def list_address_of(where: str) -> str:
    """Return the address of the list of tasks with these filters, a query string as of GET /tasks.

    An empty text is the list of all tasks.
    """
    address = reverse("admin:tasks_task_changelist")
    return f"{address}?{urlencode({WHERE: where})}" if where else address


def write_where(filters: Mapping[str, FilterArgument]) -> str:
    """Return the filters as a query string of GET /tasks."""
    pairs = [
        (name, _as_text(value))
        for name, values in filters.items()
        for value in (values if isinstance(values, list | tuple) else [values])
    ]
    return urlencode(pairs)


def narrow_where(where: str, filters: Mapping[str, FilterArgument]) -> str:
    """Return a query string of GET /tasks with further filters, for a part of its tasks.

    A filter replaces the one that `where` has, whose values contain its own. The values of a filter
    that excludes tasks are added.
    """
    query = QueryDict(where, mutable=True)
    for name, values in QueryDict(write_where(filters)).lists():
        if name.endswith(EXCLUSION_SUFFIX):
            query.setlist(name, list(dict.fromkeys([*query.getlist(name), *values])))
        else:
            query.setlist(name, values)
    return query.urlencode()


def _as_text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if isinstance(value, date | datetime) else str(value)


def write_stored_where(where: Mapping[str, object]) -> str:
    """Return the filters of a stored view as a query string of GET /tasks."""
    pairs: list[tuple[str, str]] = []
    for name, value in where.items():
        if isinstance(value, Mapping):
            pairs += _write_conditions(name, value)
        else:
            pairs += [(name, _as_text(v)) for v in (value if isinstance(value, list) else [value])]
    return urlencode(pairs)


def _write_conditions(name: str, node: Mapping[str, object]) -> list[tuple[str, str]]:
    """Return the parameters of a filter by metadata: `metadata[build][green]=true`."""
    pairs: list[tuple[str, str]] = []
    for key, value in node.items():
        if isinstance(value, Mapping):
            pairs += _write_conditions(f"{name}[{key}]", value)
        else:
            values = value if isinstance(value, list) else [value]
            texts = dict.fromkeys(v if isinstance(v, str) else json.dumps(v) for v in values)
            pairs += [(f"{name}[{key}]", text) for text in texts]
    return pairs
