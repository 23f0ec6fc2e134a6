"""Carrying out a set of changes to tasks, in as many statements as one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import count
from typing import Any

from taskflow.audit.actor import Actor
from taskflow.audit.guard import guard_row
from taskflow.audit.locks import StaleRead
from taskflow.audit.recorder import change_locked, lock_all, lock_to_change, serialize_graph_changes
from taskflow.http.errors import NotFound, Problem
from tasks.changes.base import ForcedChange, TaskChange
from tasks.changes.complete import CompleteTask
from tasks.changes.context import Context
from tasks.changes.delete import DeleteTask
from tasks.changes.restore import RestoreTask
from tasks.models import FormerNumber, Project, Task
from tasks.models.graph import reached

LINKS = frozenset({"tags", "blocked_by"})


def change_tasks(
    actor: Actor,
    changes: Sequence[TaskChange],
    problems: dict[int, Problem] | None = None,
    *,
    is_serialized: bool = False,
) -> None:
    """Carry out the changes in this order, each on what those before it have left.

    Changes of one task must share one Task object. What is wrong with a change goes into `problems`
    under its index, and the others are carried out; without `problems` it is raised. A constant
    number of statements. Pass `is_serialized` after lock_projects_of(). Raises NotFound for a task
    that no longer exists, and Contended for one that was moved since it was read.
    """
    planner = _Planner(actor, changes, is_serialized=is_serialized)
    for index, change in enumerate(changes):
        try:
            planner.plan(change)
        except Problem as problem:
            if problems is None:
                raise
            problems[index] = problem
    planner.record()


def lock_projects_of(
    actor: Actor, projects: Iterable[Project], changes: Sequence[TaskChange]
) -> None:
    """Lock what new tasks in `projects` and the changes need together, tasks excepted.

    Taken one after the other, the locks of two such requests could wait for each other.
    """
    if any(change.needs(actor).serializes for change in changes):
        serialize_graph_changes(actor)
    targets = [change.needs(actor).project for change in changes]
    places = [*projects, *(change.task.project for change in changes), *filter(None, targets)]
    lock_all(list({project.pk: project for project in places}.values()))


class _Planner:
    """Locks and loads on creation; plan() then takes one change after the other, in memory."""

    def __init__(self, actor: Actor, changes: Sequence[TaskChange], *, is_serialized: bool) -> None:
        self.actor = actor
        self.context = Context(actor)
        self.needs = {change: change.needs(actor) for change in changes}
        self.columns = {change: frozenset(change.columns()) for change in changes}
        self.rows = {change.task.pk: change.task for change in changes}
        self.planned: list[tuple[Task, str, dict[str, Any]]] = []
        self.moves: list[tuple[Task, int, dict[str, Any]]] = []  # with the id of the old project
        if not is_serialized and any(needs.serializes for needs in self.needs.values()):
            serialize_graph_changes(actor)
        self._load_before_locking()
        self.stored = self.context.stored = self._lock()
        self._load_after_locking()

    # ---- locks, in the order of docs/architecture.md: tenant, users, projects, tags, tasks ----

    def _load_before_locking(self) -> None:
        context, needs = self.context, self.needs
        projects = [change.task.project for change in needs]
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
        below = reached(self.context.below, [task.pk for task in tops]) - self.rows.keys()
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
        self.context.load_refs(refs + [(project, task.external_ref) for task, project in moves])
        moved = [task.assignee for task, _ in moves if task.assignee]
        self.context.load_memberships(projects, moved)

    def _lock(self) -> dict[Any, dict[str, Any]]:
        """Lock all columns that any change declares, and refresh them. Return them by task id."""
        columns = frozenset().union(*self.columns.values())
        return lock_to_change(list(self.rows.values()), columns) if self.rows else {}

    def _load_after_locking(self) -> None:
        context = self.context
        context.load_tags_of([change.task for change in self.needs if change.reads_tags])
        context.load_parents([c.task for c in self.needs if isinstance(c, RestoreTask)])
        forcible = [c for c in self.needs if isinstance(c, ForcedChange) and c.completes]
        completing = [change for change in forcible if not change.task.completed]
        context.load_open_work([c.task for c in completing if not c.force])
        self._foresee(completing)

    def _foresee(self, completing: Sequence[ForcedChange]) -> None:
        """Find the tasks that are certain to be done at the end: they are in nobody's way."""
        forced = {change.task.pk for change in completing if change.force}
        done = {
            change.task.pk
            for change in completing
            if isinstance(change, CompleteTask) and self.context.is_member(change.task.project)
        }
        while hindered := {pk for pk in done - forced if self._is_hindered(pk, done)}:
            done -= hindered
        self.context.done = done

    def _is_hindered(self, pk: int, done: set[int]) -> bool:
        return any(task.pk not in done for _, task in self.context.open_work(self.rows[pk]))

    # ---- one change after the other ----

    def plan(self, change: TaskChange) -> None:
        """Check a change and note its values. If it raises, nothing of the change is noted."""
        context = self.context
        if change.task.pk in context.deleted:
            if isinstance(change, DeleteTask):
                return
            raise NotFound("It has been deleted by an operation before this one.")
        context.check_member(change.task.project)
        columns = self.columns[change]
        rows = [task for task in self._rows_of(change) if task.pk not in context.deleted]
        views = [guard_row(task, columns) for task in rows]
        for view in views:
            change.check(view, context)
        for task, view in zip(rows, views, strict=True):
            self._note(change, task, view)

    def _rows_of(self, change: TaskChange) -> list[Task]:
        """The task, and for some changes what is below it."""
        if not change.with_subtasks:
            return [change.task]
        ids = reached(self.context.below, [change.task.pk]) & self.rows.keys()
        return [self.rows[pk] for pk in sorted(ids)]

    def _note(self, change: TaskChange, task: Task, view: Task) -> None:
        """The row shows the new values to the changes that follow; the recorder compares them with
        the stored ones.
        """
        values = change.apply(view, self.context)
        columns = values.keys() - LINKS
        if not columns <= self.columns[change]:
            raise StaleRead(f"{type(change).__name__} sets {sorted(columns)} without a lock.")
        if not values:
            return
        self.planned.append((task, change.event_of(view), values))
        if "project" in values:
            self.moves.append((task, task.project_id, values))
        self.context.note(task, values)
        for name in columns:
            if name != "number":  # not known yet
                setattr(task, name, values[name])

    # ---- all of it, in the database ----

    def record(self) -> None:
        former = self._set_numbers()
        change_locked(self.actor, self.planned, self.stored)
        FormerNumber.store(former)

    def _set_numbers(self) -> list[tuple[Task, int, int]]:
        """Give moved tasks their new numbers. Return (task, old project id, old number) of each."""
        if not self.moves:
            return []
        counts = Counter(values["project"].pk for _, _, values in self.moves)
        counters = {pk: count(first) for pk, first in Project.take_numbers(counts).items()}
        numbers = {task.pk: task.number for task, _, _ in self.moves}
        former = []
        for task, project_id, values in self.moves:
            former.append((task, project_id, numbers[task.pk]))
            values["number"] = numbers[task.pk] = next(counters[values["project"].pk])
        return former
