"""Lists of events, each with its sentence."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import chain
from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse

from accounts.models import User
from accounts.schemas.events import list_undone_event_ids
from taskflow.audit.actor import ActorRequest
from taskflow.audit.history import USERS_OF_EVENT, read_history
from taskflow.audit.models import Event
from taskflow.audit.visibility import select_visible_events
from taskflow.db.viewer import Viewer
from taskflow.http.list_query import ListQuery
from taskflow.http.paging import FilterValues, PageParams
from taskflow.http.responses import respond
from taskflow.tenancy import with_tenant_parameter
from tasks.api.json_builders import event_json_builder
from tasks.queries.conditions import apply_filters
from tasks.queries.filters import read_filters


@with_tenant_parameter
def _events_query(viewer: Viewer, filter_values: FilterValues) -> QuerySet[Event]:
    """Select the events that the viewer can see."""
    return select_visible_events(viewer, apply_filters(Event.objects.all(), filter_values))


def _name_columns(field: str) -> list[str]:
    """Return the columns that _build_user() needs."""
    return [f"{field}_id", f"{field}__handle", f"{field}__full_name"]


EVENT_COLUMNS = ["subject_type", "verb", "operator_id", "changes", "undoes"]
EVENTS_QUERY = ListQuery(
    Event,
    _events_query,
    event_json_builder,
    extra_columns=[*EVENT_COLUMNS, *chain.from_iterable(map(_name_columns, USERS_OF_EVENT))],
)


def event_list_response(
    request: ActorRequest, filters: PageParams, **fixed_filters: int
) -> HttpResponse:
    """Respond with a page of events, each with its sentence.

    `fixed_filters` select the events: `of_task` or `of_project`, with an id.
    """
    actor = request.auth
    filter_values = fixed_filters | read_filters(actor, filters)
    page = EVENTS_QUERY.page(actor.viewer, filter_values, filters, ["-id"])
    events = [_build_event(*columns) for columns in page.extra_columns]
    added = [
        {"sentence": entry.sentence, "undoes": list_undone_event_ids(entry.event)}
        for entry in read_history(actor, events)
    ]
    rows = [f"{row[:-1]},{json.dumps(a)[1:]}" for row, a in zip(page.rows, added, strict=True)]
    return respond(request, replace(page, rows=rows).as_text())


def _build_event(*columns: Any) -> Event:
    """Return an event with the columns that its sentence depends on."""
    count = len(EVENT_COLUMNS)
    event = Event(**dict(zip(EVENT_COLUMNS, columns[:count], strict=True)))
    for position, name in enumerate(USERS_OF_EVENT):
        start = count + 3 * position  # the columns of _name_columns()
        setattr(event, name, _build_user(*columns[start : start + 3]))
    return event


def _build_user(pk: int | None, handle: str, full_name: str) -> User | None:
    """Return a user with handle and name, or None if the id is null."""
    return None if pk is None else User(pk=pk, handle=handle, full_name=full_name)
