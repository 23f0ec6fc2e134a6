"""The schemas of the event feed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import MISSING, Field, GetJsonSchemaHandler
from pydantic_core import CoreSchema

from accounts.schemas.events import EventResponse, Subject
from taskflow.audit.event_types import known_event_types
from taskflow.db.text import fold
from taskflow.http.filtering import Filters, list_filter_field
from taskflow.http.schema import FilterWord, Out, WholeNumber
from taskflow.http.waiting import MAX_SECONDS

MAX_CURSOR_LENGTH = 200


@dataclass(frozen=True)
class _KnownTypes:
    """Adds the known types to the JSON schema of a type of events."""

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, object]:
        return {**handler(core_schema), "enum": sorted(known_event_types())}


class EventFeedParams(Filters):
    """Which events to read. Events must satisfy all filters. If a filter has several values, one of
    them is enough.
    """

    after: str | MISSING = Field(
        MISSING,
        max_length=MAX_CURSOR_LENGTH,
        description="`next_cursor` of an earlier response, the `cursor` of an event, or"
        " `events_cursor` of a list. `0`: the oldest event of the log. Left out: now, so that only"
        " later events are read.",
        examples=["0"],
    )
    limit: WholeNumber = Field(50, ge=1, le=200, description="Events per response.")
    wait: WholeNumber = Field(
        0,
        ge=0,
        le=MAX_SECONDS,
        description="Seconds for which an answer without events waits for the next one.",
    )
    project: list[FilterWord] | MISSING = list_filter_field(
        "Id or key (WEB), also of a project in the trash. Also selects a task that was moved out"
        " of the project."
    )
    task: list[FilterWord] | MISSING = list_filter_field(
        "Id or key (WEB-12), also of a task in the trash. Also selects the events of its comments."
    )
    actor: list[FilterWord] | MISSING = list_filter_field("`me`, an id or `@handle`.")
    type: list[Annotated[FilterWord, _KnownTypes()]] | MISSING = list_filter_field(
        "Types of events, such as task.completed."
    )

    @property
    def names_me(self) -> bool:
        """Return whether a filter means the actor."""
        return self.actor is not MISSING and "me" in map(fold, self.actor)

    @property
    def sent_after(self) -> str | None:
        """Return the cursor that was sent, or None."""
        return None if self.after is MISSING else self.after


class FeedSubject(Subject):
    """The object that an event of the feed is about."""

    key: str | None = Field(
        description="The key of a task (WEB-12) or a project (WEB); null for other objects."
    )


class FeedEvent(EventResponse):
    """An event of the feed."""

    subject: FeedSubject
    task_id: int | None = Field(
        description="The id of the task that is the subject, or to which the comment belongs."
    )
    task_key: str | None = Field(description="The key of this task, or null.")
    cursor: str = Field(description="Pass it as `after` to read what follows this event.")


class EventFeedResponse(Out):
    """The events after a cursor, in the order of their commits."""

    data: list[FeedEvent] = Field(description="The events, the oldest first.")
    next_cursor: str = Field(
        description="Pass it as `after` to continue. Never null, also when `data` is empty."
    )
    has_more: bool = Field(
        description="Whether to continue at once: there may be more events, also when `data` is"
        " empty because the filters left out all events so far."
    )
