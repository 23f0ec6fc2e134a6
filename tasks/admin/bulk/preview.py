"""What many changes would do, for the template of the preview."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from taskflow.admin.refusals import Refusal, describe_refusal
from taskflow.audit.actor import Actor
from taskflow.audit.history import HistoryEntry, ShownChange
from tasks.admin.bulk.edit import BulkEdit
from tasks.admin.bulk.running import MAX_SHOWN, Outcome, try_changes
from tasks.models import Outcome as TaskOutcome
from tasks.models import Task
from tasks.queries.trash import count_to_delete

# Fields that follow from other changes, as history names them.
DERIVED = frozenset({"number", "completed at", "deleted at"})


class RefusedTask(NamedTuple):
    """A task that is left out, and why."""

    task: Task
    refusal: Refusal


class ChangedTask(NamedTuple):
    """One change of a task."""

    task_id: int
    name: str  # its present key and title
    changes: list[ShownChange]


class Preview(NamedTuple):
    """What the changes would do: the first MAX_SHOWN tasks, and how many more there are."""

    outcome: Outcome
    lines: list[ChangedTask]
    refused: list[RefusedTask]
    more_lines: int
    more_refused: int
    counts: dict[str, int]  # of what a deletion moves to the trash, by type


def build_preview(actor: Actor, ids: Collection[int], edit: BulkEdit) -> Preview:
    """Try the changes, and describe what they would do. Raises what make_changes() raises."""
    outcome, entries = try_changes(actor, ids, edit)
    by_id = {task.pk: task for task in outcome.tasks}
    refused = [
        RefusedTask(by_id[pk], describe_refusal(problem))
        for pk, problem in sorted(outcome.refused.items())[:MAX_SHOWN]
    ]
    remaining = [pk for pk in by_id if pk not in outcome.refused]
    return Preview(
        outcome,
        _build_lines(entries, by_id),
        refused,
        max(0, len(outcome.task_events) - MAX_SHOWN),
        max(0, len(outcome.refused) - MAX_SHOWN),
        count_to_delete(Task, remaining) if edit.is_deletion else {},
    )


def _build_lines(entries: list[HistoryEntry], by_id: dict[int, Task]) -> list[ChangedTask]:
    """Return a line for each entry. One query if subtasks change that were not selected."""
    missing = {entry.event.subject_id for entry in entries} - by_id.keys()
    if missing:
        rows = Task.objects.filter(pk__in=sorted(missing)).select_related("project")
        by_id = by_id | {task.pk: task for task in rows}
    return [
        ChangedTask(
            entry.event.subject_id,
            _name(by_id.get(entry.event.subject_id)),
            [change for change in entry.changes if not _is_derived(change)],
        )
        for entry in entries
    ]


def _is_derived(change: ShownChange) -> bool:
    """Return whether the change follows from another one that is shown."""
    completed = ("outcome", str(TaskOutcome.COMPLETED.label))
    return change.field in DERIVED or (change.field, change.after) == completed


def _name(task: Task | None) -> str:
    return f"{task.key} {task.title}" if task else ""
