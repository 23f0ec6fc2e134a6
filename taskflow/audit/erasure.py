"""Replaces the names of a person in every text of a tenant: rows, stored responses, event log."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from operator import or_
from typing import TypeGuard

from django.apps import apps
from django.db import models
from django.db.models import Q
from django.db.models.functions import Cast

from taskflow.audit.actor import Actor
from taskflow.audit.models import Event
from taskflow.audit.recorder import change_each, remove_all
from taskflow.audit.resource_types import resource_types
from taskflow.audit.values import REDACTED
from taskflow.db.columns import columns_of
from taskflow.db.computed import ComputedField
from taskflow.tenancy import TenantModel, is_tenant_model

WINDOW = 10_000  # rows that one statement searches
BATCH = 20  # rows that are written together; each may have long texts
ASCII = re.compile(r"[ !#-\[\]-~]+")  # what JSON and every collation leave as it is


class Names:
    """Names, and what replaces each of them. Upper and lower case are the same.

    A name is found as a whole only: `@eve` is not found in `@evelyn`, nor in `steve@eve.example`.
    """

    def __init__(self, replacements: Mapping[str, str]) -> None:
        self.replacements = {name.casefold(): new for name, new in replacements.items()}
        for name, new in replacements.items():
            escaped = json.dumps(name)[1:-1]  # how SQLite stores it in JSON
            self.replacements[escaped.casefold()] = new
        longest_first = sorted(self.replacements, key=len, reverse=True)
        names = "|".join(map(re.escape, longest_first)) or r"(?!)"
        self.pattern = re.compile(rf"(?<![\w+%])({names})(?![\w-]|\.\w)", re.IGNORECASE)

    def replace_in(self, value: object) -> object:
        """Return a JSON value with the names replaced in each of its texts, keys included."""
        if isinstance(value, str):
            return self.pattern.sub(self._replacement, value)
        if isinstance(value, list):
            return [self.replace_in(item) for item in value]
        if isinstance(value, dict):
            return {self.replace_in(key): self.replace_in(item) for key, item in value.items()}
        return value

    def _replacement(self, match: re.Match[str]) -> str:
        return self.replacements.get(match[0].casefold(), REDACTED)

    def are_in(self, columns: Sequence[str]) -> Q:
        """Return a condition that is true for all rows with a name in a column, and for few others.

        It compares the longest part of each name that is ASCII, in any case.
        """
        parts = {max(ASCII.findall(name) or [""], key=len) for name in self.replacements}
        return reduce(or_, (Q(**{f"{c}__icontains": part}) for c in columns for part in parts))


def replace_names(actor: Actor, names: Names) -> None:
    """Replace the names in all texts of the tenant, the event log included.

    Rows whose changes are recorded get an event. Users are left out. Reads every text, so the time
    depends on the size of the tenant: about 10 seconds for a million events.
    """
    if not names.replacements:
        return
    writer = replace(actor, precondition=None)
    recorded = [resource_type.model for resource_type in resource_types().values()]
    others = [model for model in apps.get_models() if is_written_directly(model)]
    for model in recorded:
        if is_tenant_model(model) and model is not type(actor.user):
            for rows in _find_rows(model, names):
                change_each(writer, [(row, "erased", _replaced(row, names)) for row in rows])
    # The event log comes last, since the changes above add the former values to it.
    for model in sorted(others, key=lambda model: model is Event):
        for rows in _find_rows(model, names):
            _replace_directly(model, rows, names)


def remove_rows_of(actor: Actor, user: TenantModel) -> None:
    """Delete the rows that belong to the user alone: those whose foreign key deletes with the user.

    Nothing of them is left in the event log but that they were there. Tables that refer to users in
    other ways keep their rows, which then refer to a user without a name.
    """
    for model, name, on_delete in references_to(type(user)):
        if on_delete is not models.CASCADE:
            continue
        rows = model._base_manager.filter(**{name: user})
        ids = list(rows.values_list("pk", flat=True))
        if model._meta.model_name in resource_types():
            remove_all(actor, rows)
        else:
            rows.delete()
        redact_events(model, ids)


def references_to(target: type[models.Model]) -> list[tuple[type[TenantModel], str, object]]:
    """Return (model, name of the field, its on_delete) for every foreign key to the model."""
    return [
        (model, field.name, field.remote_field.on_delete)
        for model in apps.get_models(include_auto_created=True)
        if _is_owned_by_tenants(model)
        for field in columns_of(model)
        if isinstance(field, models.ForeignKey) and field.related_model is target
    ]


def redact_events(
    model: type[models.Model], ids: Sequence[int], *, kept_fields: frozenset[str] = frozenset()
) -> None:
    """Remove the values of all fields but `kept_fields`, and addresses, from the events of these
    rows.
    """
    events = Event.objects.filter(subject_type=model._meta.model_name, subject_id__in=ids)
    events.exclude(address=None).update(address=None)
    redacted = []
    for event in events.only("pk", "tenant", "changes"):
        hidden = event.changes.keys() - kept_fields
        if hidden:
            event.changes |= {name: _redact(event.changes[name]) for name in hidden}
            redacted.append(event)
    Event.objects.bulk_update(redacted, ["changes"], batch_size=WINDOW)


def _redact(values: Sequence[object]) -> list[object]:
    """Return the values before and after a change without what they are. Null says whether the row
    existed, so it is kept.
    """
    return [None if value is None else REDACTED for value in values]


# ---- the rows with a name -----------------------------------------------------------------------


def is_written_directly(model: type[models.Model]) -> TypeGuard[type[TenantModel]]:
    """Return whether a tenant-owned table has texts, and its changes are not recorded."""
    is_recorded = model._meta.model_name in resource_types()
    return is_tenant_model(model) and not is_recorded and bool(_text_columns(model))


def _is_owned_by_tenants(model: type[models.Model]) -> TypeGuard[type[TenantModel]]:
    return is_tenant_model(model)


def _text_columns(model: type[models.Model]) -> list[str]:
    """Return the names of the columns in which users' text may be stored."""
    return [
        field.attname
        for field in columns_of(model)
        if isinstance(field, models.CharField | models.TextField | models.JSONField)
        and not isinstance(field, ComputedField)
        and not field.choices
    ]


def _find_rows(model: type[TenantModel], names: Names) -> Iterator[list[TenantModel]]:
    """Yield all rows with a name in one of their texts, also those in the trash, in small groups.

    Each statement searches WINDOW rows, so that none exceeds the time-out of the database.
    """
    columns = _text_columns(model)
    texts = {f"_{name}": Cast(name, models.TextField()) for name in columns}
    last = 0
    while columns:
        rows = model._base_manager.filter(pk__gt=last).order_by("pk")
        end = rows.values_list("pk", flat=True)[WINDOW : WINDOW + 1].first()
        window = rows if end is None else rows.filter(pk__lt=end)
        found = list(window.annotate(**texts).filter(names.are_in(list(texts))))
        found = [row for row in found if _replaced(row, names)]
        for start in range(0, len(found), BATCH):
            yield found[start : start + BATCH]
        if end is None:
            return
        last = end - 1


def _replaced(row: TenantModel, names: Names) -> dict[str, object]:
    """Return the texts of the row that contain a name, with the names replaced."""
    values = {}
    for name in _text_columns(type(row)):
        before = getattr(row, name)
        after = names.replace_in(before)
        if after != before:
            limit = getattr(row._meta.get_field(name), "max_length", None)
            values[name] = after[:limit] if isinstance(after, str) else after
    return values


def _replace_directly(model: type[TenantModel], rows: Sequence[TenantModel], names: Names) -> None:
    """Save the columns with a name alone: others may have changed since they were read."""
    changed = set()
    for row in rows:
        for name, value in _replaced(row, names).items():
            setattr(row, name, value)
            changed.add(name)
    model._base_manager.bulk_update(rows, sorted(changed))
