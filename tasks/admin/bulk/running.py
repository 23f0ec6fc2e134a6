"""Try and make the changes of many tasks: each task gets all of them, or none."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from django.db import transaction
from django.utils.translation import gettext

from taskflow.audit.actor import Actor
from taskflow.audit.event_log import capture_events, savepoint
from taskflow.audit.history import HistoryEntry, read_history
from taskflow.audit.models import Event
from taskflow.http.errors import Invalid, Problem
from tasks.actions.undo.undoing import MAX_EVENTS
from tasks.admin.bulk.edit import BulkEdit
from tasks.changes.base import TaskChange
from tasks.changes.planner import change_tasks
from tasks.models import Task
from tasks.queries.lookup import find_tasks

MAX_TASKS = 5_000  # as many as an import of CSV may change; a bulk request of the API takes fewer
MAX_SHOWN = 100  # changes in a preview
MAX_ATTEMPTS = 6  # of leaving out what is refused: a refused task may be what others need


class TooManyRefusals(Exception):
    """Leaving out refused tasks has led to new refusals too often."""


@dataclass
class Outcome:
    """What the changes do, or have done."""

    tasks: list[Task]  # all visible tasks of the selection, as they were
    refused: dict[int, Problem] = field(default_factory=dict)  # by task id
    events: list[Event] = field(default_factory=list)

    @property
    def task_events(self) -> list[Event]:
        """The events of tasks. Others are those of new tags."""
        return [event for event in self.events if event.subject_type == "task" and event.changes]

    @property
    def changed_ids(self) -> set[int]:
        """The ids of the tasks that change, subtasks that go along included."""
        return {event.subject_id for event in self.task_events}

    @property
    def done_count(self) -> int:
        return len(self.changed_ids)

    @property
    def unchanged_count(self) -> int:
        """The number of selected tasks that have all the values already."""
        ids = {task.pk for task in self.tasks}
        return len(ids - self.refused.keys() - self.changed_ids)


def try_changes(
    actor: Actor, ids: Collection[int], edit: BulkEdit
) -> tuple[Outcome, list[HistoryEntry]]:
    """Return what make_changes() would do with `skips_refused`, and change nothing.

    The entries are those of the first MAX_SHOWN changes of tasks. They are read before the changes
    are taken back, since they may name tags that the changes create.
    """
    with transaction.atomic():
        outcome = make_changes(actor, ids, edit, skips_refused=True)
        entries = read_history(actor, outcome.task_events[:MAX_SHOWN], on_screen=True)
        transaction.set_rollback(True)
    return outcome, entries


def make_changes(
    actor: Actor, ids: Collection[int], edit: BulkEdit, *, skips_refused: bool
) -> Outcome:
    """Make the changes. Refused tasks are left out with `skips_refused`; otherwise one refused
    task prevents all changes, and the outcome has no events.

    The number of statements does not depend on the number of tasks; it is larger for each attempt,
    and the second attempt is needed only if tasks are refused. Raises Invalid for too many tasks,
    for more events than one undo takes back, and the problems of the request as a whole.
    """
    if len(ids) > MAX_TASKS:
        raise Invalid(
            gettext("At most %(max)d tasks can be changed at once. Choose fewer.")
            % {"max": MAX_TASKS},
            code="too_many",
        )
    refused: dict[int, Problem] = {}
    for _attempt in range(MAX_ATTEMPTS):
        outcome, found = _attempt_changes(actor, ids, edit, refused)
        if not found:
            return outcome
        refused |= found
        if not skips_refused:
            return Outcome(outcome.tasks, refused)
    raise TooManyRefusals


class _Refused(Exception):
    """Rolls back an attempt in which tasks were refused."""


def _attempt_changes(
    actor: Actor, ids: Collection[int], edit: BulkEdit, left_out: dict[int, Problem]
) -> tuple[Outcome, dict[int, Problem]]:
    """Change the tasks that are not left out. If some are refused, change nothing and return them.

    The tasks are loaded again in each attempt, since the planner sets the new values on them.
    """
    tasks = list(find_tasks(actor, map(str, ids)).values())
    outcome, found = Outcome(_copies(tasks), dict(left_out)), dict[int, Problem]()
    changes = [c for task in tasks if task.pk not in left_out for c in edit.changes_of(task)]
    try:
        with savepoint(), capture_events() as events:
            found = _change(actor, changes)
            if found:
                raise _Refused
            _check_undoable(len(events))
    except _Refused:
        return outcome, found
    outcome.events = events
    return outcome, {}


def _check_undoable(count: int) -> None:
    """Raise Invalid for more events than one undo takes back."""
    if count > MAX_EVENTS:
        raise Invalid(
            gettext(
                "This makes %(count)d changes, and one undo takes back at most %(max)d. Choose"
                " fewer tasks, or fewer changes."
            )
            % {"count": count, "max": MAX_EVENTS},
            code="too_many",
        )


def _change(actor: Actor, changes: Sequence[TaskChange]) -> dict[int, Problem]:
    """Make the changes, and return the first problem of each refused task."""
    problems: dict[int, Problem] = {}
    change_tasks(actor, changes, problems)
    found: dict[int, Problem] = {}
    for index, problem in sorted(problems.items()):
        found.setdefault(changes[index].task.pk, problem)
    return found


def _copies(tasks: Sequence[Task]) -> list[Task]:
    """Return the tasks with their present keys and titles, in the order of their ids."""
    rows = sorted(tasks, key=lambda task: task.pk)
    copies = []
    for task in rows:
        copy = Task(pk=task.pk, number=task.number, title=task.title)
        copy.project = task.project
        copies.append(copy)
    return copies
