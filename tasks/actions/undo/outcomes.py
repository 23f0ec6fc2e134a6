"""Keep the rule in an undo that a task has an outcome exactly while its status is done."""

from __future__ import annotations

from collections.abc import Iterable

from django.utils.translation import gettext_noop

from taskflow.audit.undo.plan import Obstacle, Plan
from tasks.changes.outcome import get_outcome
from tasks.models import Task


def set_outcomes(plan: Plan) -> None:
    """Add the outcome to reversals that set the status without it.

    Events from before tasks had outcomes do not contain one. A task that becomes done by undoing
    such an event is completed.
    """
    for reversal in plan.reversals_of(Task):
        values, row = reversal.values, reversal.row
        if "status" in values:
            present = values.get("outcome", row.outcome)
            values["outcome"] = get_outcome({}, values["status"], present)


def find_changed_outcomes(plan: Plan) -> Iterable[Obstacle]:
    """Yield the tasks whose status would be set although another user has changed the outcome."""
    for reversal in plan.reversals_of(Task):
        skipped = set().union(*reversal.skipped_fields.values())
        if "status" in reversal.values and "outcome" in skipped:
            yield reversal.obstacle(
                "changed_since", gettext_noop("The outcome of the task was changed since.")
            )
