"""Carry out a set of task changes. Many changes cost as many statements as one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import count
from typing import Any

from taskflow.audit.actor import Actor
from taskflow.audit.guard import guard_row
from taskflow.audit.locks import StaleRead
from taskflow.audit.merge_patch import merge_if_patch
from taskflow.audit.recorder import (
    StoredColumns,
    change_locked,
    lock_all,
    lock_to_change,
    serialize_graph_changes,
)
from taskflow.audit.values import FieldValues
from taskflow.http.errors import NotFound, Problem
from tasks.changes.base import LINK_FIELDS, NO_NEEDS, ForcedChange, TaskChange
from tasks.changes.claimed_by_others import TasksClaimedByOthers
from tasks.changes.complete import CompleteTask
from tasks.changes.context import Context
from tasks.changes.delete import DeleteTask
from tasks.changes.parts import find_all_problems
from tasks.changes.reopen import ReopenTask
from tasks.changes.restore import RestoreTask
from tasks.models import FormerNumber, Project, Task
from tasks.models.graph import find_reachable


def change_tasks(
    actor: Actor,
    changes: Sequence[TaskChange],
    problems: dict[int, Problem] | None = None,
    *,
    has_project_locks: bool = False,
    check_only: bool = False,
    find_all: bool = False,
) -> None:
    """Carry out the changes in their order. Each one sees the result of the changes before it.

    Changes of one task must share one Task object. The first refused change raises its Problem. If
    `problems` is given, problems are added to it instead, by index in `changes`, and the other
    changes are carried out. With `check_only`, nothing is written. With `find_all`, the problem of
    a change has the errors of all rules that it breaks. Pass `has_project_locks` after
    lock_projects_for(). A constant number of statements. Raises NotFound for a task that no longer
    exists, and Contended for a task that was moved since it was read.
    """
    planner = _Planner(
        actor, changes, has_project_locks=has_project_locks, skips_held=problems is not None
    )
    for index, change in enumerate(changes):
        try:
            planner.plan(change)
        except Problem as problem:
            if problems is None:
                raise
            problems[index] = planner.find_all(change, problem) if find_all else problem
    if not check_only:
        planner.record()


def lock_projects_for(
    actor: Actor, projects: Iterable[Project], changes: Sequence[TaskChange]
) -> None:
    """Lock the graph and the projects for new tasks in `projects` and for the changes.

    A request that creates and changes tasks must take these locks together. Otherwise two such
    requests could wait for each other.
    """
    if any(change.needs(actor).graph_lock for change in changes):
        serialize_graph_changes(actor)
    targets = [change.needs(actor).project for change in changes]
    all_projects = [*projects, *(change.task.project for change in changes), *filter(None, targets)]
    lock_all(list({project.pk: project for project in all_projects}.values()))


class _Planner:
    """Locks and loads everything when it is created. plan() then checks one change at a time in
    memory, and record() writes all planned values.
    """

    def __init__(
        self,
        actor: Actor,
        changes: Sequence[TaskChange],
        *,
        has_project_locks: bool,
        skips_held: bool,
    ) -> None:
        self.actor = actor
        self.context = Context(actor)
        self.needs = {change: change.needs(actor) for change in changes}
        self.columns = {change: frozenset(change.columns_to_lock()) for change in changes}
        self.rows = {change.task.pk: change.task for change in changes}
        self.planned: list[tuple[Task, str, FieldValues]] = []
        self.moves: list[tuple[Task, int, dict[str, Any]]] = []  # with the id of the old project
        if not has_project_locks and any(needs.graph_lock for needs in self.needs.values()):
            serialize_graph_changes(actor)
        self._load_before_locking()
        self.stored = self.context.stored = self._lock()
        # None are skipped if one refused change refuses all: then the recorder names all of them.
        self.claimed_by_others = TasksClaimedByOthers(
            actor, self.rows.values() if skips_held else ()
        )
        self._load_after_locking()

    # ---- locking and loading ----
    # Locks are taken in the order of docs/architecture.md: tenant, users, projects, tags, tasks.

    def _load_before_locking(self) -> None:
        context, needs = self.context, self.needs
        projects = [change.task.project for change in needs]
        if all(need is NO_NEEDS and not change.with_subtasks for change, need in needs.items()):
            context.load_memberships(projects, [])
            return
        projects += [n.project for n in needs.values() if n.project]
        context.load_blockers([b for n in needs.values() for b in n.blockers])
        context.lock_assignees(projects, [n.assignee for n in needs.values() if n.assignee])
        self._load_trees(projects)
        self._load_refs_and_members(projects)
        context.load_tags([name for n in needs.values() for name in n.tag_names])

    def _load_trees(self, projects: Sequence[Project]) -> None:
        parents = [n.parent for n in self.needs.values() if n.parent]
        tops = [change.task for change in self.needs if change.with_subtasks]
        if parents or tops or any(n.external_ref for n in self.needs.values()):
            self.context.lock_projects(projects)
        if parents or tops:
            self.context.load_tree(parents, list(self.rows.values()))
            self._load_subtasks(tops)

    def _load_subtasks(self, tops: Iterable[Task]) -> None:
        below = (
            find_reachable(self.context.subtask_edges, [task.pk for task in tops])
            - self.rows.keys()
        )
        if below:
            restores = any(isinstance(change, RestoreTask) for change in self.needs)
            rows = Task.everything if restores else Task.objects
            tasks = rows.filter(pk__in=sorted(below)).select_related("project", "assignee")
            self.rows |= {task.pk: task for task in tasks}

    def _load_refs_and_members(self, projects: Sequence[Project]) -> None:
        refs = [(change.task.project, n.external_ref) for change, n in self.needs.items()]
        moves = [
            (task, n.project)
            for c, n in self.needs.items()
            if n.project
            for task in self._rows_of(c)
        ]
        self.context.load_external_refs(
            refs + [(project, task.external_ref) for task, project in moves]
        )
        moved = [task.assignee for task, _ in moves if task.assignee]
        self.context.load_memberships(projects, moved)

    def _lock(self) -> StoredColumns:
        """Lock and refresh all columns that a change declares. Return their values by task id.

        Parents that must not be done are locked with them, in the order of the ids.
        """
        columns = frozenset().union(*self.columns.values())
        parents = self._load_parents_to_lock()
        self.context.locked_parents = parents
        self.context.reopened_ids = {
            change.task.pk
            for change in self.needs
            if isinstance(change, ReopenTask) and self.context.can_write(change.task.project)
        }
        rows = list((self.rows | parents).values())
        return lock_to_change(rows, columns | {"status"} if parents else columns) if rows else {}

    def _load_parents_to_lock(self) -> dict[int, Task]:
        """Return the parents that must not be done, by id. One query if there are any."""
        ids = {needs.open_parent_id for needs in self.needs.values() if needs.open_parent_id}
        if not ids:
            return {}
        parents = {pk: self.rows[pk] for pk in ids & self.rows.keys()}
        if missing := sorted(ids - parents.keys()):
            rows = Task.everything.filter(pk__in=missing).select_related("project")
            parents |= {row.pk: row for row in rows}
        return parents

    def _load_after_locking(self) -> None:
        context = self.context
        context.load_tags_by_task([change.task for change in self.needs if change.reads_tags])
        context.load_parents([c.task for c in self.needs if isinstance(c, RestoreTask)])
        completions = [c for c in self.needs if isinstance(c, ForcedChange) and c.completes]
        if not completions:
            return
        completing = [change for change in completions if not change.task.completed]
        context.load_open_work([c.task for c in completing if not c.force])
        self._find_tasks_done_at_end(completing)

    def _find_tasks_done_at_end(self, completing: Sequence[ForcedChange]) -> None:
        """Find the tasks that this set of changes completes. They do not count as open work."""
        forced = {change.task.pk for change in completing if change.force}
        done = {
            change.task.pk
            for change in completing
            if isinstance(change, CompleteTask)
            and self.context.can_write(change.task.project)
            and change.task not in self.claimed_by_others
        }
        while refused := {pk for pk in done - forced if self._has_unfinished_work(pk, done)}:
            done -= refused
        self.context.done_at_end_ids = done

    def _has_unfinished_work(self, pk: int, done: set[int]) -> bool:
        """Whether a subtask or blocker of the task is open and not among `done`."""
        return any(task.pk not in done for _, task in self.context.open_work(self.rows[pk]))

    # ---- planning one change ----

    def plan(self, change: TaskChange) -> None:
        """Check a change and plan its values. If a check raises, nothing is planned."""
        context = self.context
        if change.task.pk in context.deleted_ids:
            if isinstance(change, DeleteTask):
                return
            raise NotFound("An earlier operation of this request deletes the task.")
        context.check_can_write(change.task.project)
        columns = self.columns[change]
        rows = [task for task in self._rows_of(change) if task.pk not in context.deleted_ids]
        views = [guard_row(task, columns) for task in rows]
        for task, view in zip(rows, views, strict=True):
            change.check(view, context)
            if task in self.claimed_by_others:
                self.claimed_by_others.check(task, change.apply(view, context))
        for task, view in zip(rows, views, strict=True):
            self._plan_values(change, task, view)

    def find_all(self, change: TaskChange, first: Problem) -> Problem:
        """Return a problem with the errors of all rules that the change breaks."""
        view = guard_row(change.task, self.columns[change])
        checks = [(n, partial(part.check, view, self.context)) for n, part in change.parts()]
        return find_all_problems(first, checks)

    def _rows_of(self, change: TaskChange) -> list[Task]:
        """Return the task, with all tasks below it if the change includes subtasks."""
        if not change.with_subtasks:
            return [change.task]
        ids = find_reachable(self.context.subtask_edges, [change.task.pk]) & self.rows.keys()
        return [self.rows[pk] for pk in sorted(ids)]

    def _plan_values(self, change: TaskChange, task: Task, view: Task) -> None:
        """Set the new values on the row, where later changes read them.

        The recorder compares them with `self.stored`, not with the row.
        """
        values = change.apply(view, self.context)
        columns = values.keys() - LINK_FIELDS
        if not columns <= self.columns[change]:
            raise StaleRead(f"{type(change).__name__} sets {sorted(columns)} without a lock.")
        if not values:
            return
        self.planned.append((task, change.event_for(view), values))
        if "project" in values:
            self.moves.append((task, task.project_id, values))
        self.context.add_planned(task, values)
        for name in columns:
            if name != "number":  # _set_numbers() sets it
                setattr(task, name, merge_if_patch(values[name], getattr(task, name)))

    # ---- writing ----

    def record(self) -> None:
        """Write all planned values with their events."""
        former = self._set_numbers()
        change_locked(self.actor, self.planned, self.stored)
        if former:
            FormerNumber.store(former)

    def _set_numbers(self) -> list[tuple[Task, int, int]]:
        """Set the new numbers of moved tasks. Return (task, old project id, old number) of each."""
        if not self.moves:
            return []
        counts = Counter(values["project"].pk for _, _, values in self.moves)
        next_numbers = {pk: count(first) for pk, first in Project.reserve_numbers(counts).items()}
        numbers = {task.pk: task.number for task, _, _ in self.moves}
        former = []
        for task, project_id, values in self.moves:
            former.append((task, project_id, numbers[task.pk]))
            values["number"] = numbers[task.pk] = next(next_numbers[values["project"].pk])
        return former
