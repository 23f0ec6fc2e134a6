"""The schemas of undo."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import MISSING, Field, model_validator

from accounts.schemas.events import Subject
from taskflow.http.references import ProjectReference, UserReference
from taskflow.http.schema import Id, In, Out, Timestamp, example
from tasks.actions.undo.undoing import UndoResult

MAX_EVENT_IDS = 1000
RequestId = Annotated[str, Field(min_length=1, max_length=64)]


class OnConflict(StrEnum):
    """What happens to changes that other users have changed since."""

    REFUSE = "refuse"
    SKIP = "skip"


class UndoRequest(In):
    """Selects the events to undo: by request_id (with actor for a request of another user), by
    event_ids, or by actor and since.
    """

    model_config = example(actor="@scout", since="2026-01-01T00:00:00Z", project="WEB")

    request_id: RequestId | MISSING = Field(
        MISSING,
        description="The changes by you, or by `actor` if given, with this request id.",
    )
    event_ids: list[Id] | MISSING = Field(
        MISSING, min_length=1, max_length=MAX_EVENT_IDS, description="Ids of events."
    )
    actor: UserReference | MISSING = Field(
        MISSING,
        description="The user who made the changes: `me`, id or `@handle`; `none`: operators and"
        " commands.",
        examples=["@bot"],
    )
    since: Timestamp | MISSING = Field(MISSING, description="At this time or later.")
    until: Timestamp | MISSING = Field(MISSING, description="Before this time.")
    project: ProjectReference | MISSING = Field(
        MISSING, description="Id or key. Undo only changes in this project."
    )
    on_conflict: OnConflict = Field(
        OnConflict.REFUSE,
        description="`skip`: keep what other users have changed since, and undo the rest.",
    )

    @model_validator(mode="after")
    def _check_selection(self) -> Self:
        sent = self.model_fields_set
        if len({"request_id", "event_ids", "since"} & sent) != 1:
            raise ValueError("Send `request_id`, or `event_ids`, or `actor` with `since`.")
        if "since" in sent and "actor" not in sent:
            raise ValueError("`since` needs `actor`. Send both.")
        if "actor" in sent and "event_ids" in sent:
            raise ValueError(
                "`actor` goes with `since` or `request_id`, not with `event_ids`. Leave it out."
            )
        if {"until", "project"} & sent and "since" not in sent:
            raise ValueError("`until` and `project` need `since` and `actor`. Send them too.")
        return self


class LeftOut(Out):
    """An event, or a field of it, that was not undone, and why."""

    event_id: int = Field(description="The id of the event.")
    subject: Subject
    field: str | None = Field(description="The field that was not undone; null: the whole event.")
    code: str = Field(description="Why, for programs.")
    detail: str = Field(description="Why, as a sentence for people.")


class UndoResponse(Out):
    """What an undo has changed."""

    request_id: str = Field(description="The request id of this undo, by which it can be undone.")
    undone: list[int] = Field(description="Ids of the events that were undone.")
    left_out: list[LeftOut] = Field(
        description="What other users have changed since (with `skip`), or what cannot be undone."
    )


def undo_response(request_id: str, result: UndoResult) -> dict[str, object]:
    return {
        "request_id": request_id,
        "undone": result.event_ids,
        "left_out": [obstacle.as_error() for obstacle in result.left_out],
    }
