"""The schemas of undo."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import MISSING, Field, model_validator

from accounts.schemas import Subject
from taskflow.http.schema import FilterWord, Id, In, Out, Timestamp
from tasks.actions.undo import UndoResult

MAX_EVENT_IDS = 1000
RequestId = Annotated[str, Field(min_length=1, max_length=64)]


class OnConflict(StrEnum):
    REFUSE = "refuse"
    SKIP = "skip"


class UndoRequest(In):
    """The events to undo: give request_id (with actor for a request of another user), event_ids, or
    actor with since.
    """

    request_id: RequestId | MISSING = Field(
        MISSING,
        description="What you, or `actor` if given, changed under this request id.",
    )
    event_ids: list[Id] | MISSING = Field(MISSING, min_length=1, max_length=MAX_EVENT_IDS)
    actor: FilterWord | MISSING = Field(
        MISSING,
        description="Who made the changes: `me`, id or `@handle`; `none`: operators and commands.",
        examples=["@bot"],
    )
    since: Timestamp | MISSING = Field(MISSING, description="At this time or later.")
    until: Timestamp | MISSING = Field(MISSING, description="Before this time.")
    project: FilterWord | MISSING = Field(
        MISSING, description="Only changes in this project; id or key."
    )
    on_conflict: OnConflict = Field(
        OnConflict.REFUSE,
        description="`skip` leaves out what other users have changed since.",
    )

    @model_validator(mode="after")
    def _check_selection(self) -> Self:
        sent = self.model_fields_set
        if len({"request_id", "event_ids", "since"} & sent) != 1:
            raise ValueError("give one of request_id, event_ids, or actor with since")
        if "since" in sent and "actor" not in sent:
            raise ValueError("since goes with actor")
        if "actor" in sent and "event_ids" in sent:
            raise ValueError("actor goes with since or request_id, not with event_ids")
        if {"until", "project"} & sent and "since" not in sent:
            raise ValueError("until and project need since")
        return self


class LeftOut(Out):
    event_id: int
    subject: Subject
    field: str | None
    code: str
    detail: str


class UndoResponse(Out):
    request_id: str = Field(description="With it this undo can be undone.")
    undone: list[int] = Field(description="Ids of the events that were undone.")
    left_out: list[LeftOut] = Field(
        description="What others have changed since (with `skip`), and what no undo can restore."
    )


def undo_response(request_id: str, done: UndoResult) -> dict[str, Any]:
    return {
        "request_id": request_id,
        "undone": done.event_ids,
        "left_out": [obstacle.as_error() for obstacle in done.left_out],
    }
