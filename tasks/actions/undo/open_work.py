"""The rule that an undo leaves no open work below what is done, unless `force` is set.

A state that existed before the undone events is allowed: it was forced then.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.db.models import F, Q
from django.utils.translation import gettext

from taskflow.audit.locks import LockMode, add_row_lock
from taskflow.audit.models import Event
from taskflow.audit.undo.plan import Obstacle, Plan, Reversal
from taskflow.audit.values import as_recorded
from tasks.actions.projects import describe_open_tasks
from tasks.models import Project, ProjectStatus, Status, Task

COLUMNS = ("status", "parent", "deleted_at")  # that decide whether an open task is below a done one


@dataclass(frozen=True)
class TaskState:
    """The recorded values of COLUMNS. The status is None before the task was created."""

    status: str | None
    parent: int | None
    deleted_at: str | None

    def is_open_below(self, parent_id: int, parent: TaskState) -> bool:
        """Whether this task is open below the parent in this state, which is done.

        A task that was deleted at another time than its parent is not below it: it is checked when
        it is restored.
        """
        return (
            self.parent == parent_id
            and self.status not in (None, Status.DONE)
            and parent.status == Status.DONE
            and self.deleted_at == parent.deleted_at
        )


def get_state(task: Task) -> TaskState:
    return TaskState(task.status, task.parent_id, _recorded_time(task.deleted_at))


def find_open_below_done(plan: Plan, states_before: Mapping[int, TaskState]) -> Iterable[Obstacle]:
    """Yield the tasks that the applied plan would leave open below a done parent, or complete above
    an open subtask.

    `states_before` are the states of the plan's tasks before it was applied, by id. At most three
    queries: none if no task with a parent becomes open and none becomes done. Locks the parents
    that others could complete meanwhile.
    """
    touched = {r.row.pk: r for r in plan.reversals_of(Task) if _is_touched(r)}
    states = {pk: _state_after(r, states_before[pk]) for pk, r in touched.items()}
    done = {pk for pk, state in states.items() if state.status == Status.DONE}
    below = {pk for pk, state in states.items() if pk not in done and state.parent}
    _lock_tasks({state.parent for pk, state in states.items() if pk in below and state.parent})
    children = [
        child
        for child in _open_below_done(below, done)
        if not _was_open_below(child, _states_of(child, states_before))
    ]
    log = _read_log(children, touched)
    for child in children:
        former = _states_before_events(_states_of(child, states_before), log, child, touched)
        if not _was_open_below(child, former):
            yield _build_obstacle(child, touched)


def find_completed_projects(plan: Plan) -> Iterable[Obstacle]:
    """Yield the projects that would be completed although tasks in them are open."""
    for reversal in plan.reversals_of(Project):
        is_completed = reversal.values.get("status") == ProjectStatus.COMPLETED
        if is_completed and (detail := describe_open_tasks(reversal.row)):
            yield reversal.obstacle("open_work", detail)


def _is_touched(reversal: Reversal) -> bool:
    return not reversal.is_removed and not reversal.values.keys().isdisjoint(COLUMNS)


def _state_after(reversal: Reversal, before: TaskState) -> TaskState:
    values = {name: v for name, v in reversal.values.items() if name in COLUMNS}
    return replace(before, **values)


def _lock_tasks(ids: Collection[int]) -> None:
    if ids:
        rows = Task.everything.filter(pk__in=sorted(ids)).order_by("pk")
        list(add_row_lock(rows, LockMode.UPDATE).values_list("pk"))


def _open_below_done(below: Collection[int], done: Collection[int]) -> list[Task]:
    """Return the open tasks that are in `below`, or below a task in `done`, whose parent is done.

    At most one query.
    """
    if not (below or done):
        return []
    together = Q(deleted_at=None, parent__deleted_at=None) | Q(deleted_at=F("parent__deleted_at"))
    rows = Task.everything.filter(Q(pk__in=sorted(below)) | Q(parent__in=sorted(done)), together)
    rows = rows.filter(parent__status=Status.DONE).exclude(status=Status.DONE)
    return list(rows.select_related("project", "parent__project").order_by("pk"))


def _states_of(child: Task, states_before: Mapping[int, TaskState]) -> tuple[TaskState, TaskState]:
    """Return the states of the task and its parent before the undo."""
    return (
        states_before.get(child.pk, get_state(child)),
        states_before.get(_parent_of(child).pk, get_state(_parent_of(child))),
    )


def _was_open_below(child: Task, states: tuple[TaskState, TaskState]) -> bool:
    state, parent_state = states
    return state.is_open_below(_parent_of(child).pk, parent_state)


def _read_log(children: Sequence[Task], touched: Mapping[int, Reversal]) -> dict[int, list[Event]]:
    """Return the events of the tasks and their parents since the first undone one, oldest first."""
    log: dict[int, list[Event]] = {
        pk: [] for child in children for pk in (child.pk, _parent_of(child).pk)
    }
    firsts = [touched[pk].events[-1].pk for pk in log if pk in touched]
    if firsts:
        events = Event.objects.filter(subject_type="task", subject_id__in=sorted(log))
        for event in events.filter(pk__gte=min(firsts)).order_by("pk"):
            log[event.subject_id].append(event)
    return log


def _states_before_events(
    states: tuple[TaskState, TaskState],
    log: Mapping[int, Sequence[Event]],
    child: Task,
    touched: Mapping[int, Reversal],
) -> tuple[TaskState, TaskState]:
    """Return the states of the task and its parent before the first undone event of either."""
    ids = (child.pk, _parent_of(child).pk)
    first = min(touched[pk].events[-1].pk for pk in ids if pk in touched)
    former = []
    for pk, state in zip(ids, states, strict=True):
        values: dict[str, Any] = {}
        for event in log[pk]:
            for name in COLUMNS if event.pk >= first else ():
                if name in event.changes:
                    values.setdefault(name, event.changes[name][0])
        former.append(replace(state, **values))
    return former[0], former[1]


def _build_obstacle(child: Task, touched: Mapping[int, Reversal]) -> Obstacle:
    """Return the obstacle of the parent if it becomes done, otherwise that of the task."""
    parent = _parent_of(child)
    reversal = touched.get(parent.pk)
    if reversal is None or (child.pk in touched and "status" not in reversal.values):
        return touched[child.pk].obstacle(
            "parent_done",
            gettext("The parent, %(parent)s, is done. Reopen it first, or send force=true.")
            % {"parent": parent.key},
        )
    return reversal.obstacle(
        "open_work",
        gettext("%(parent)s has an open subtask, %(child)s. Complete it first, or send force=true.")
        % {"parent": parent.key, "child": child.key},
    )


def _parent_of(child: Task) -> Task:
    parent: Task | None = child.parent
    assert parent is not None  # _open_below_done() selects tasks with a parent
    return parent


def _recorded_time(value: object) -> str | None:
    return None if value is None else str(as_recorded(value))
