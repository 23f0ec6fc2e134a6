"""Many tasks in one request: operations on them, and the first tasks of a project."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.http import HttpResponse

from taskflow.audit.actor import Actor
from taskflow.db.json import JSON_CONTENT_TYPE
from taskflow.http.errors import Invalid, NotFound, Problem, merge_problems
from tasks.actions.tags import check_new_tags
from tasks.api.responses import updated_task_texts
from tasks.changes.base import TaskChange
from tasks.changes.create import CreateTask, create_tasks
from tasks.changes.planner import change_tasks, lock_projects_of
from tasks.changes.tasks import OPERATIONS
from tasks.models import Project, Task
from tasks.queries.filters import select_tasks_to_change
from tasks.queries.lookup import References, find_tasks
from tasks.schemas.bulk import MOST_OPERATIONS, MOST_WHERES, OnError, TaskBulk
from tasks.schemas.tasks import ProjectTask

TEXTS = {"title", "description", "metadata"}  # fields that may be long
MOST_TEXT = 4 * 1024 * 1024  # bytes; a `where` writes the text of one operation up to 500 times
WHERE = "#/where/"  # begins the pointer to a filter of an operation


def run_bulk(actor: Actor, body: TaskBulk) -> HttpResponse:
    """Create new tasks first, then carry out the other operations in their order.

    Raises the problems of all operations as one, unless `on_error` is `continue`.
    """
    entries = _read(actor, body.operations)
    if len(entries) > MOST_OPERATIONS:
        raise Invalid.field(
            "operations", f"They change more than {MOST_OPERATIONS} tasks.", "too_many"
        )
    _check_text(entries)
    check_new_tags(name for entry in entries for name in entry.tag_names(actor))
    _write(actor, entries)
    if body.on_error == OnError.ABORT and any(entry.problem for entry in entries):
        raise merge_problems(entry.named_problem() for entry in entries if entry.problem)
    return _answer(actor, entries)


@dataclass
class _Entry:
    """One result. An operation has one, or one for each task that its `where` finds."""

    index: int
    task: Task | None = None
    new: CreateTask | None = None
    change: TaskChange | None = None
    problem: Problem | None = None
    is_malformed: bool = False

    @property
    def values(self) -> Mapping[str, Any]:
        """The values that the caller sent."""
        if self.new:
            return {"title": self.new.title, **self.new.values}
        return self.change.values if self.change else {}

    def tag_names(self, actor: Actor) -> Sequence[str]:
        """The names of tags that may have to be created."""
        if self.new:
            return self.new.tags
        return self.change.needs(actor).tag_names if self.change else ()

    def named_problem(self) -> Problem:
        """With pointers into this request's body."""
        problem = self.problem or Invalid("")
        place = f"#/operations/{self.index}"
        pointers = [str(error["pointer"]) for error in problem.errors if "pointer" in error]
        is_of_data = bool(pointers) and not pointers[0].startswith(WHERE)
        return problem.with_pointer_prefix(place + "/data" * (is_of_data and not self.is_malformed))


def _check_text(entries: list[_Entry]) -> None:
    """Raise Invalid for an operation with which the request would write too much text.

    The log has the text before and after a change, so both count.
    """
    size, sizes = 0, dict[int, int]()
    for entry in entries:
        names = TEXTS & entry.values.keys()
        if entry.index not in sizes:  # all tasks of a `where` are given the same
            sizes[entry.index] = sum(_size(entry.values[name]) for name in names)
        replaced = sum(_size(getattr(entry.task, name)) for name in names) if entry.task else 0
        size += sizes[entry.index] + replaced
        if size > MOST_TEXT:
            raise Invalid.field(
                f"operations/{entry.index}",
                f"With this operation the request would write more than {MOST_TEXT >> 20} MiB of"
                " text, new and replaced. Change fewer tasks at a time.",
                "too_large",
            )


def _size(value: Any) -> int:
    """In bytes."""
    return len((value if isinstance(value, str) else json.dumps(value)).encode())


# ---- from the request to rows -------------------------------------------------------------------


def _read(actor: Actor, operations: list[Any]) -> list[_Entry]:
    good = {n: op for n, op in enumerate(operations) if not isinstance(op, Problem)}
    if sum(1 for op in good.values() if op.op != "create" and not _has_id(op)) > MOST_WHERES:
        raise Invalid.field("operations", f"More than {MOST_WHERES} have a where.", "too_many")
    sent = {n: op.data.sent_fields() for n, op in good.items() if hasattr(op, "data")}
    references = References(actor, sent.values())
    targets = _find(actor, good)
    entries = []
    for index, op in enumerate(operations):
        if index not in good:
            entries.append(_Entry(index, problem=op, is_malformed=True))
            continue
        try:
            values = references.resolve(sent.get(index, {}))
            if op.op == "create":
                entries.append(_Entry(index, new=new_task(values)))
            else:
                build, force = OPERATIONS[op.op].build, getattr(op, "force", False)
                entries += [
                    _Entry(index, task, change=build(task, values, force=force))
                    for task in targets(op)
                ]
        except Problem as problem:
            entries.append(_Entry(index, problem=problem))
    return entries


def _find(actor: Actor, operations: dict[int, Any]) -> Callable[[Any], list[Task]]:
    """Return a function from an operation to its tasks. The same row is always the same object."""
    by_ref = find_tasks(actor, [str(op.id) for op in operations.values() if _has_id(op)])
    rows = {task.pk: task for task in by_ref.values()}

    def targets(op: Any) -> list[Task]:
        if _has_id(op):
            if str(op.id) not in by_ref:
                raise NotFound("There is no such task.")
            return [by_ref[str(op.id)]]
        try:
            matching = select_tasks_to_change(
                actor, Task.objects.visible_to(actor.viewer), op.where
            )
        except Invalid as problem:
            raise _in_where(problem) from None
        found = matching.select_related("project", "assignee").order_by("pk")
        return [rows.setdefault(task.pk, task) for task in found[: MOST_OPERATIONS + 1]]

    return targets


def _in_where(problem: Invalid) -> Invalid:
    """The refusal of a filter, which names a parameter, with a pointer into the operation."""
    errors = [
        {"pointer": WHERE + error["parameter"], "code": error["code"], "detail": error["detail"]}
        for error in problem.errors
    ]
    return Invalid(problem.detail, code=problem.code, errors=errors)


# ---- a project's first tasks --------------------------------------------------------------------


def create_first_tasks(actor: Actor, project: Project, tasks: list[ProjectTask]) -> None:
    """Create the tasks of a new project, all or none. Raises all problems, with their pointers."""
    first = list(_walk(tasks, "#/tasks"))
    if len(first) > MOST_OPERATIONS:
        raise Invalid.field("tasks", f"They are more than {MOST_OPERATIONS}.", "too_many")
    sent = {task.place: task.values() for task in first}
    references = References(actor, sent.values())
    problems: dict[str, Problem] = {}
    new: dict[str, CreateTask] = {}
    for task in first:
        with _noted(problems, task.place):
            values = references.resolve(sent[task.place] | {"blocked_by": []})
            new[task.place] = new_task(values | {"project": project, "parent": new.get(task.above)})
    by_ref = {task.body.ref: new.get(task.place) for task in first if task.body.ref}
    for task in first:
        with _noted(problems, task.place):
            _check_ref(task, first)
            blockers = [
                _blocker(name, n, by_ref, references) for n, name in enumerate(task.body.blocked_by)
            ]
            if task.place in new:
                new[task.place].blocked_by = [blocker for blocker in blockers if blocker]
    refused: dict[int, Problem] = {}
    if not problems:
        create_tasks(actor, list(new.values()), refused)
        problems = {list(new)[n]: problem for n, problem in refused.items()}
    if problems:
        raise merge_problems(
            problem.with_pointer_prefix(place) for place, problem in problems.items()
        )


@dataclass
class _First:
    body: ProjectTask
    place: str  # its pointer
    above: str  # that of the task it is below

    def values(self) -> dict[str, Any]:
        sent = self.body.sent_fields()
        ids = [name for name in sent.get("blocked_by", []) if isinstance(name, int)]
        return {n: v for n, v in sent.items() if n not in ("ref", "subtasks")} | {"blocked_by": ids}


def _walk(tasks: list[ProjectTask], place: str, above: str = "") -> Iterator[_First]:
    """Yield all tasks, each before its subtasks."""
    for n, task in enumerate(tasks):
        here = f"{place}/{n}"
        yield _First(task, here, above)
        yield from _walk(task.subtasks, f"{here}/subtasks", here)


@contextmanager
def _noted(problems: dict[str, Problem], place: str) -> Iterator[None]:
    try:
        yield
    except Problem as problem:
        problems.setdefault(place, problem)


def _check_ref(task: _First, first: list[_First]) -> None:
    same = next(other for other in first if other.body.ref == task.body.ref)
    if task.body.ref and same is not task:
        raise Invalid.field("ref", f"{same.place} has the ref “{task.body.ref}” already.", "taken")


def _blocker(
    name: str | int, n: int, by_ref: dict[str, CreateTask | None], references: References
) -> Task | CreateTask | None:
    if isinstance(name, int):
        found: Task = references.find(Task, name, f"blocked_by/{n}")
        return found
    if name not in by_ref:
        raise Invalid.field(
            f"blocked_by/{n}", f"No task here has the ref “{name}”.", "unknown_reference"
        )
    return by_ref[name]


def new_task(values: dict[str, Any]) -> CreateTask:
    """The change that creates a task with these values, in which ids are resolved to rows."""
    rest = dict(values)
    return CreateTask(
        project=rest.pop("project"),
        title=rest.pop("title"),
        parent=rest.pop("parent", None),
        tags=rest.pop("tags", ()),
        blocked_by=rest.pop("blocked_by", ()),
        values=rest,
    )


def _has_id(op: Any) -> bool:
    return "id" in op.model_fields_set


# ---- to the database, and back ------------------------------------------------------------------


def _write(actor: Actor, entries: list[_Entry]) -> None:
    creating = [(entry, entry.new) for entry in entries if entry.new]
    changing = [(entry, entry.change) for entry in entries if entry.change]
    new, changes = [new for _, new in creating], [change for _, change in changing]
    if new and changes:
        lock_projects_of(actor, [one.project for one in new], changes)
    problems: dict[int, Problem] = {}
    created = create_tasks(actor, new, problems)
    for n, (entry, _) in enumerate(creating):
        entry.task, entry.problem = created.get(n), problems.get(n)
    problems = {}
    change_tasks(actor, changes, problems, is_serialized=bool(new))
    for n, (entry, _) in enumerate(changing):
        entry.problem = problems.get(n)


def _answer(actor: Actor, entries: list[_Entry]) -> HttpResponse:
    ids = {entry.task.pk for entry in entries if entry.task}
    documents = updated_task_texts(actor, sorted(ids)) if ids else {}
    failed = sum(1 for entry in entries if entry.problem)
    shown = {entry.task.pk: entry for entry in entries if entry.task and not entry.problem}
    results = ",".join([_result(entry, shown, documents) for entry in entries])
    text = f'{{"succeeded":{len(entries) - failed},"failed":{failed},"results":[{results}]}}'
    return HttpResponse(text, content_type=JSON_CONTENT_TYPE)


def _result(entry: _Entry, shown: dict[int, _Entry], documents: dict[int, str]) -> str:
    """Return a BulkResult. `shown` says in which result each task stands, by its id."""
    task_id = entry.task.pk if entry.task else None
    result: dict[str, Any] = {"index": entry.index, "ok": entry.problem is None, "id": task_id}
    result["problem"], task = None, "null"
    if entry.problem is None:
        if entry is shown.get(task_id or 0):
            task = documents.get(task_id or 0, task)
    else:
        problem = entry.named_problem().as_dict()
        result["problem"] = {name: problem[name] for name in ("status", "code", "detail", "errors")}
    return f'{json.dumps(result)[:-1]}, "task": {task}}}'
