"""Events: filters and responses."""

from __future__ import annotations

from datetime import datetime

from pydantic import MISSING, Field

from accounts.schemas.users import UserRef
from taskflow.audit.history import HistoryEntry
from taskflow.audit.models import Event, Via
from taskflow.http.filtering import Filters, list_filter_field, with_exclusions
from taskflow.http.paging import ListResponse, PageParams
from taskflow.http.schema import FilterWord, Out, RowId, Timestamp


class Subject(Out):
    """The object that an event is about."""

    type: str = Field(description="Its resource type.", examples=["task"])
    id: int = Field(description="Its id.")


class EventResponse(Out):
    """A change that was made: who, what, when and why."""

    id: RowId
    at: datetime = Field(description="When the change was made, in UTC.")
    verb: str = Field(
        description="The resource type and what happened to it.", examples=["task.completed"]
    )
    sentence: str = Field(description="The event as a sentence, to show to people.")
    actor_id: int | None = Field(description="The id of the actor, or null.")
    actor: UserRef | None = Field(description="Null for an operator and for commands.")
    operator_id: int | None = Field(description="The operator who made the change, or null.")
    on_behalf_of_id: int | None = Field(description="The id of this user, or null.")
    on_behalf_of: UserRef | None = Field(
        description="The user that X-On-Behalf-Of named, or null when it was not sent."
    )
    token_issued_by_id: int | None = Field(description="The id of this user, or null.")
    token_issued_by: UserRef | None = Field(
        description="Who created the token of the change for the actor; null if the actor did, or"
        " an operator."
    )
    via: Via
    request_id: str = Field(description="The X-Request-Id of the request that made the change.")
    reason: str = Field(description="The decoded X-Reason; empty when it was not sent.")
    subject: Subject
    project_id: int | None = Field(description="The id of its project, or null.")
    changes: dict[str, list[object]] = Field(description="{field: [before, after]}")
    undoes: list[int] | None = Field(description="Ids of the events that this one undoes.")


def build_event_response(entry: HistoryEntry) -> dict[str, object]:
    """Return the fields of EventResponse. Load its event with USERS_OF_EVENT."""
    event = entry.event
    return {
        "id": event.pk,
        "at": event.created_at,
        "verb": f"{event.subject_type}.{event.verb}",
        "sentence": entry.sentence,
        "actor_id": event.actor_id,
        "actor": event.actor,
        "operator_id": event.operator_id,
        "on_behalf_of_id": event.on_behalf_of_id,
        "on_behalf_of": event.on_behalf_of,
        "token_issued_by_id": event.token_issued_by_id,
        "token_issued_by": event.token_issued_by,
        "via": event.via,
        "request_id": event.request_id,
        "reason": event.reason,
        "subject": {"type": event.subject_type, "id": event.subject_id},
        "project_id": event.project_id,
        "changes": event.changes,
        "undoes": list_undone_event_ids(event),
    }


def list_undone_event_ids(event: Event) -> list[int] | None:
    """Return the sorted ids of the events that this one undoes, or None if it is no undo."""
    return event.undoes and sorted(map(int, event.undoes))


@with_exclusions
class EventFilters(PageParams, Filters):
    verb: list[FilterWord] | MISSING = list_filter_field("For example task.completed.")
    since: Timestamp | MISSING = Field(MISSING, description="At this time or later.")
    until: Timestamp | MISSING = Field(MISSING, description="Before this time.")


class EventListResponse(ListResponse[EventResponse]):
    """A page of a list of events."""
