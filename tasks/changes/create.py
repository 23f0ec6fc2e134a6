"""Create tasks. Many tasks cost as many statements as one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar

from django.utils import timezone

from taskflow.audit.actor import Actor
from taskflow.audit.recorder import create_all, lock_all
from taskflow.audit.values import FieldValues
from taskflow.db.rows import build
from taskflow.db.text import fold_key
from taskflow.http.errors import Invalid, Problem
from tasks.actions.tags import find_or_create_tags
from tasks.changes.context import BLOCKER_CYCLE, DUE_TWICE, Context, check_tag_count, get_graph_id
from tasks.changes.numbers import NewNumbers, set_numbers
from tasks.changes.outcome import check_outcome, get_outcome
from tasks.changes.parts import divide, find_all_problems
from tasks.models import Project, Status, Task
from tasks.models.graph import find_circles
from tasks.rules import check_can_keep_history

IMPORTED = "imported"  # the event of a new task that keeps its history


@dataclass(eq=False)
class CreateTask:
    """Create a task in a project.

    `parent` may be another new task of the set that comes before this one, and `blocked_by` may
    contain any new task of the set.
    """

    operation: ClassVar[str] = "create"
    event: ClassVar[str] = "created"
    locks: ClassVar[Sequence[str]] = ()  # nothing can change a new row before the commit

    project: Project
    title: str
    values: dict[str, Any] = field(default_factory=dict)  # other fields of the Task, by name
    parent: Task | CreateTask | None = None
    tags: Sequence[str] = ()
    blocked_by: Sequence[Task | CreateTask] = ()
    force: bool = False  # whether an open task may be created below a done parent
    # What an import keeps: created_by, created_at, completed_at, number. For administrators only.
    # The event of such a task is `imported`.
    history: FieldValues = field(default_factory=dict)

    @classmethod
    def build(cls, values: FieldValues) -> CreateTask:
        """Return the change for the values of a body, in which ids are resolved to rows."""
        rest = dict(values)
        return cls(
            project=rest.pop("project"),
            title=rest.pop("title"),
            parent=rest.pop("parent", None),
            tags=rest.pop("tags", ()),
            blocked_by=rest.pop("blocked_by", ()),
            force=rest.pop("force", False),
            values=rest,
        )

    def build_row(self, actor: Actor, rows: Mapping[CreateTask, Task]) -> Task:
        """Return the task, unsaved and without a number.

        `rows` contains the rows of the new tasks before this one.
        """
        status = self.values.get("status", Status.TODO)
        values = {
            "created_by": actor.member,
            "completed_at": timezone.now() if status == Status.DONE else None,
            **self.values,
            "outcome": get_outcome(self.values, status),
        }
        if self.history:
            values |= {name: value for name, value in self.history.items() if value is not None}
        parent = rows[self.parent] if isinstance(self.parent, CreateTask) else self.parent
        values |= {"project": self.project, "title": self.title, "parent": parent}
        return build(Task, values)

    def check(self, task: Task, context: Context) -> None:
        """Raise a Problem if the new task is not allowed."""
        context.check_can_write(self.project)
        if self.history:
            self._check_history(task, context)
        if task.due_date and task.due_on:
            raise DUE_TWICE.copy()
        check_outcome(self.values, task.status)
        check_tag_count(len({fold_key(name) for name in self.tags}))
        if task.assignee:
            context.check_assignee(task.assignee, self.project)
        context.check_external_ref(task, self.project, task.external_ref)
        if task.parent:
            context.check_parent(task, task.parent)
            if not (task.completed or self.force or isinstance(self.parent, CreateTask)):
                context.check_parent_is_open(task.parent_id)

    def _check_history(self, task: Task, context: Context) -> None:
        """Raise a Problem if the new task may not keep its author, times or number."""
        check_can_keep_history(context.actor, self.history)
        if context.numbers:
            context.numbers.check(task)
        if task.completed_at and not task.completed:
            raise Invalid.field("completed_at", "Only a task whose status is done is completed.")

    def parts(self) -> Iterator[tuple[str, CreateTask]]:
        """Yield new tasks that each have the fields of one rule, with the name of a field.

        Without the number, which the check of the whole task has taken.
        """
        bare = replace(self, values={}, parent=None, tags=(), blocked_by=(), history={})
        links = {"tags": self.tags} | ({"parent": self.parent} if self.parent else {})
        for name, values in divide(self.values | links):
            own = {n: v for n, v in values.items() if n not in links}
            parent = self.parent if name == "parent" else None
            tags = self.tags if name == "tags" else ()
            yield name, replace(bare, values=own, parent=parent, tags=tags)
        status = {n: v for n, v in self.values.items() if n == "status"}
        history = {n: v for n, v in self.history.items() if n != "number"}
        yield "completed_at", replace(bare, values=status, history=history)

    @property
    def refers_to_new_task(self) -> bool:
        """Whether its parent or one of its blockers is another new task."""
        return any(isinstance(other, CreateTask) for other in (self.parent, *self.blocked_by))


def create_tasks(
    actor: Actor,
    new: Sequence[CreateTask],
    problems: dict[int, Problem] | None = None,
    *,
    check_only: bool = False,
    find_all: bool = False,
) -> dict[int, Task]:
    """Create tasks, each with the next number of its project. Return them by index in `new`.

    The first refused task raises its Problem. If `problems` is given, problems are added to it
    instead, by index in `new`, and the other tasks are created; no task is created if any new task
    refers to another, or with `check_only`. With `find_all`, the problem of a task has the errors
    of all rules that it breaks. A constant number of statements.
    """
    rows: dict[CreateTask, Task] = {}
    for change in new:
        rows[change] = change.build_row(actor, rows)
    context = _load(actor, new)
    circular = _find_circular(rows)
    created: dict[int, Task] = {}
    for index, change in enumerate(new):
        try:
            if change in circular:
                raise BLOCKER_CYCLE.copy()
            _check(change, context, rows)
            created[index] = rows[change]
        except Problem as problem:
            if problems is None:
                raise
            if find_all:
                parts = ((n, part.build_row(actor, rows), part) for n, part in change.parts())
                checks = [(n, partial(part.check, row, context)) for n, row, part in parts]
                problem = find_all_problems(problem, checks)
            problems[index] = problem
    if check_only or (problems and any(change.refers_to_new_task for change in new)):
        return {}
    _record(actor, {new[index]: task for index, task in created.items()}, rows)
    return created


def _find_circular(rows: Mapping[CreateTask, Task]) -> set[CreateTask]:
    """Return the new tasks that block themselves, directly or not.

    No stored task is blocked by a new one, so that a circle consists of new tasks only.
    """
    blocked = [new for new in rows if new.blocked_by]
    if not blocked:
        return set()
    edges = {
        get_graph_id(rows[new]): {get_graph_id(other) for other in _to_rows(new.blocked_by, rows)}
        for new in blocked
    }
    on_circles = find_circles(edges)
    return {new for new in blocked if get_graph_id(rows[new]) in on_circles}


def _load(actor: Actor, new: Sequence[CreateTask]) -> Context:
    """Lock and load what the checks of the new tasks need."""
    context = Context(actor)
    projects = [change.project for change in new]
    parents = [change.parent for change in new if isinstance(change.parent, Task)]
    refs = [(change.project, change.values.get("external_ref")) for change in new]
    assignees = (change.values.get("assignee") for change in new)
    context.lock_assignees(projects, [user for user in assignees if user])
    if [change for change in new if "number" in change.history]:
        context.numbers = NewNumbers(projects)
    if parents or any(ref for _, ref in refs):
        context.lock_projects(projects)
    if parents:
        context.load_tree(parents, [])
        context.locked_parents = {parent.pk: parent for parent in parents}
        lock_all(parents, "status")
    context.load_external_refs(refs)
    context.load_memberships(projects, [])
    return context


def _check(change: CreateTask, context: Context, rows: Mapping[CreateTask, Task]) -> None:
    """Check a new task, and make it visible to the checks of the tasks after it."""
    task, blockers = rows[change], _to_rows(change.blocked_by, rows)
    change.check(task, context)
    links = {"external_ref": task.external_ref, "blocked_by": blockers, "parent": task.parent}
    context.add_planned(task, {name: value for name, value in links.items() if value})


def _record(
    actor: Actor, created: Mapping[CreateTask, Task], rows: Mapping[CreateTask, Task]
) -> None:
    """Insert the created tasks with their links. `rows` contains all new tasks."""
    # Otherwise the statement that inserts the task takes its number, see Task.numbering. A project
    # is locked before tags.
    if len(created) > 1 or any(change.tags or change.history for change in created):
        set_numbers(created.values())
    tags = find_or_create_tags(actor, [name for change in created for name in change.tags])
    sets: dict[str, list[list[Any]]] = {
        "tags": [[tags[name] for name in change.tags] for change in created],
        "blocked_by": [_to_rows(change.blocked_by, rows) for change in created],
    }
    sets = {name: targets for name, targets in sets.items() if any(targets)}
    verbs = [IMPORTED if change.history else change.event for change in created]
    create_all(actor, list(created.values()), verbs, link_fields=sets)


def _to_rows(others: Iterable[Task | CreateTask], rows: Mapping[CreateTask, Task]) -> list[Task]:
    """Return the tasks, with the rows of new tasks in place of their CreateTask."""
    return [rows[other] if isinstance(other, CreateTask) else other for other in others]
