"""Create the first tasks of a new project, which the same request contains."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from taskflow.audit.actor import Actor
from taskflow.http.errors import Invalid, Problem, merge_problems
from tasks.changes.create import CreateTask, create_tasks
from tasks.models import Project, Task
from tasks.queries.lookup import TASK_KEY_PATTERN
from tasks.queries.references import References
from tasks.schemas.bulk import MAX_OPERATIONS
from tasks.schemas.tasks import ProjectTask


def create_first_tasks(actor: Actor, project: Project, tasks: list[ProjectTask]) -> None:
    """Create the tasks of a new project, all or none.

    Raises the problems of all tasks as one, with pointers into the body.
    """
    sent_tasks = list(_flatten(tasks, "#/tasks"))
    if len(sent_tasks) > MAX_OPERATIONS:
        raise Invalid.field(
            "tasks", f"They are more than {MAX_OPERATIONS}. Send fewer.", "too_many"
        )
    values = {task.pointer: task.values() for task in sent_tasks}
    references = References(actor, values.values())
    problems: dict[str, Problem] = {}
    new: dict[str, CreateTask] = {}
    for task in sent_tasks:
        with _collect_problem(problems, task.pointer):
            resolved = references.resolve(values[task.pointer] | {"blocked_by": []})
            parent = new.get(task.parent_pointer)
            new[task.pointer] = CreateTask.build(resolved | {"project": project, "parent": parent})
    by_ref = {task.body.ref: new.get(task.pointer) for task in sent_tasks if task.body.ref}
    for task in sent_tasks:
        with _collect_problem(problems, task.pointer):
            _check_ref(task, sent_tasks)
            blockers = [
                _find_blocker(ref, n, by_ref, references)
                for n, ref in enumerate(task.body.blocked_by)
            ]
            if task.pointer in new:
                new[task.pointer].blocked_by = [blocker for blocker in blockers if blocker]
    refused: dict[int, Problem] = {}
    if not problems:
        create_tasks(actor, list(new.values()), refused)
        problems = {list(new)[index]: problem for index, problem in refused.items()}
    if problems:
        raise merge_problems(
            problem.with_pointer_prefix(pointer) for pointer, problem in problems.items()
        )


@dataclass
class _SentTask:
    """A task of the body, with its position in it."""

    body: ProjectTask
    pointer: str  # to the task, such as #/tasks/3/subtasks/0
    parent_pointer: str  # to its parent; empty for a top task

    def values(self) -> dict[str, Any]:
        """Return the fields of the task, without those that only have a meaning in this request."""
        sent = self.body.sent_fields()
        return {n: v for n, v in sent.items() if n not in ("ref", "subtasks")}


def _flatten(
    tasks: list[ProjectTask], pointer: str, parent_pointer: str = ""
) -> Iterator[_SentTask]:
    """Yield all tasks, each before its subtasks. `pointer` leads to the list of tasks."""
    for n, task in enumerate(tasks):
        task_pointer = f"{pointer}/{n}"
        yield _SentTask(task, task_pointer, parent_pointer)
        yield from _flatten(task.subtasks, f"{task_pointer}/subtasks", task_pointer)


@contextmanager
def _collect_problem(problems: dict[str, Problem], pointer: str) -> Iterator[None]:
    """Catch a Problem and store it by pointer. Only the first problem of a task is stored."""
    try:
        yield
    except Problem as problem:
        problems.setdefault(pointer, problem)


def _check_ref(task: _SentTask, sent_tasks: list[_SentTask]) -> None:
    """Raise Invalid if a task before this one has the same `ref`."""
    same = next(other for other in sent_tasks if other.body.ref == task.body.ref)
    if task.body.ref and same is not task:
        raise Invalid.field(
            "ref", f"{same.pointer} has the ref “{task.body.ref}” already.", "taken"
        )


def _find_blocker(
    ref: str | int, n: int, by_ref: dict[str, CreateTask | None], references: References
) -> Task | CreateTask | None:
    """Return the blocker that `blocked_by/{n}` names: a new task by ref, or an existing one.

    None if the new task is itself refused. Raises Invalid for an unknown one.
    """
    if isinstance(ref, str) and ref in by_ref:
        return by_ref[ref]
    if isinstance(ref, str) and not TASK_KEY_PATTERN.fullmatch(ref):
        raise Invalid.field(
            f"blocked_by/{n}", f"No task here has the ref “{ref}”.", "unknown_reference"
        )
    existing: Task = references.get_row(Task, ref, f"blocked_by/{n}")
    return existing
