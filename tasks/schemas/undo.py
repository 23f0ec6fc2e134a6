"""What taking back looks like on the wire."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import MISSING, Field, model_validator

from accounts.schemas import Subject
from taskflow.http.schema import FilterWord, Id, In, Out, Timestamp
from tasks.actions.undo import Undone

MOST_IDS = 1000
RequestId = Annotated[str, Field(min_length=1, max_length=64)]


class OnConflict(StrEnum):
    REFUSE = "refuse"
    SKIP = "skip"


class UndoRequest(In):
    """What to take back: one of request_id, with actor if it is not yours, event_ids, or actor
    with since.
    """

    request_id: RequestId | MISSING = Field(
        MISSING, description="All that you did under this request id, or `actor` if it is given."
    )
    event_ids: list[Id] | MISSING = Field(MISSING, min_length=1, max_length=MOST_IDS)
    actor: FilterWord | MISSING = Field(
        MISSING,
        description="Who did it: `me`, id or `@handle`; `none` for operators and commands.",
        examples=["@bot"],
    )
    since: Timestamp | MISSING = Field(MISSING, description="At this instant or after it.")
    until: Timestamp | MISSING = Field(MISSING, description="Before this instant.")
    project: FilterWord | MISSING = Field(MISSING, description="In this one only; id or key.")
    on_conflict: OnConflict = Field(
        OnConflict.REFUSE, description="`skip` leaves out what others have changed since."
    )

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        sent = self.model_fields_set
        if len({"request_id", "event_ids", "since"} & sent) != 1:
            raise ValueError("give one of request_id, event_ids, or actor with since")
        if "since" in sent and "actor" not in sent:
            raise ValueError("since goes with actor")
        if "actor" in sent and "event_ids" in sent:
            raise ValueError("actor goes with since or request_id, not with event_ids")
        if {"until", "project"} & sent and "since" not in sent:
            raise ValueError("until and project narrow what an actor did since an instant")
        return self


class LeftOut(Out):
    event_id: int
    subject: Subject
    field: str | None
    code: str
    detail: str


class UndoResponse(Out):
    request_id: str = Field(description="By which this can be taken back again.")
    undone: list[int] = Field(description="Ids of the events that are taken back.")
    left_out: list[LeftOut] = Field(
        description="What others have changed since (with `skip`), and what no undo brings back."
    )


def undo_response(request_id: str, done: Undone) -> dict[str, Any]:
    return {
        "request_id": request_id,
        "undone": done.event_ids,
        "left_out": [obstacle.as_error() for obstacle in done.left_out],
    }
