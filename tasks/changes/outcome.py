"""The outcome of a task, which it has exactly while its status is done."""

from __future__ import annotations

from taskflow.audit.values import FieldValues
from taskflow.http.errors import Invalid
from tasks.models import Outcome, Status


def check_outcome(sent: FieldValues, status: str) -> None:
    """Raise Invalid if `sent` has an outcome that a task with this status cannot have.

    `status` is the status of the task after the change.
    """
    if "outcome" not in sent:
        return
    if status == Status.DONE and sent["outcome"] is None:
        raise Invalid.field(
            "outcome",
            "A done task has an outcome. Send completed or cancelled, or leave it out.",
            "outcome_missing",
        )
    if status != Status.DONE and sent["outcome"] is not None:
        raise Invalid.field(
            "outcome",
            "An open task has no outcome. Send the status done with it.",
            "outcome_of_open_task",
        )


def get_outcome(sent: FieldValues, status: str, present: str | None = None) -> str | None:
    """Return the outcome of a task that has this status after the change.

    None for an open task. For a done task it is the outcome in `sent`, otherwise the `present` one,
    and `completed` if there is neither.
    """
    if status != Status.DONE:
        return None
    return sent.get("outcome") or present or Outcome.COMPLETED
