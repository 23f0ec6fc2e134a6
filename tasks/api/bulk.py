"""Carry out a bulk request: many operations on tasks at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.http import HttpResponse

from taskflow.audit.actor import Actor, ActorRequest
from taskflow.http.errors import Invalid, NotFound, Problem, merge_problems
from taskflow.http.preferences import mark_applied, read_return_preference
from taskflow.http.references import describe_unknown
from taskflow.http.responses import respond
from tasks.actions.tags import check_new_tags
from tasks.api.responses import updated_task_texts
from tasks.changes.base import TaskChange
from tasks.changes.create import CreateTask, create_tasks
from tasks.changes.planner import change_tasks, lock_projects_for
from tasks.changes.tasks import OPERATIONS
from tasks.models import Task
from tasks.queries.filters import select_tasks_to_change
from tasks.queries.lookup import find_tasks
from tasks.queries.references import References
from tasks.schemas.bulk import MAX_OPERATIONS, MAX_WHERES, OnError, TaskBulk

TEXT_FIELDS = {"title", "description", "links", "metadata"}  # whose text may be long
MAX_TEXT_BYTES = 4 * 1024 * 1024  # per request: a `where` may write one text to 500 tasks
WHERE_POINTER = "#/where/"  # the pointer to a filter of an operation begins with it
TARGET_POINTERS = (WHERE_POINTER, "#/id")  # other pointers are into the data of an operation


def bulk_response(request: ActorRequest, body: TaskBulk) -> HttpResponse:
    """Carry out the operations, and respond with their results.

    With `Prefer: return=minimal` the results have the ids of the tasks, but not the tasks.
    """
    entries = run_bulk(request.auth, body)
    if read_return_preference(request) == "minimal":
        return mark_applied(respond(request, _results_text(entries, {})), "minimal")
    ids = {entry.task.pk for entry in entries if entry.task}
    json_by_id = updated_task_texts(request.auth, sorted(ids)) if ids else {}
    return respond(request, _results_text(entries, json_by_id))


def run_bulk(actor: Actor, body: TaskBulk) -> list[_Entry]:
    """Create new tasks first, then carry out the other operations in their order.

    Raises the problems of all operations as one, unless `on_error` is `continue`.
    """
    entries = _build_entries(actor, body.operations)
    if len(entries) > MAX_OPERATIONS:
        raise Invalid.field(
            "operations", f"They change more than {MAX_OPERATIONS} tasks. Send fewer.", "too_many"
        )
    _check_text_size(entries)
    check_new_tags(name for entry in entries for name in entry.tag_names(actor))
    _write(actor, entries)
    if body.on_error == OnError.ABORT and any(entry.problem for entry in entries):
        raise merge_problems(entry.problem_with_pointers() for entry in entries if entry.problem)
    return entries


@dataclass
class _Entry:
    """What becomes one result of the response.

    An operation has one entry, or with `where` one entry for each selected task.
    """

    index: int
    task: Task | None = None
    new: CreateTask | None = None
    change: TaskChange | None = None
    problem: Problem | None = None
    is_malformed: bool = False

    @property
    def values(self) -> Mapping[str, object]:
        """The values that the client sent, by field name."""
        if self.new:
            return {"title": self.new.title, **self.new.values}
        return self.change.values if self.change else {}

    def tag_names(self, actor: Actor) -> Sequence[str]:
        """Return the names of the tags that the operation may create."""
        if self.new:
            return self.new.tags
        return self.change.needs(actor).tag_names if self.change else ()

    def problem_with_pointers(self) -> Problem:
        """Return the problem with pointers into the body of the bulk request."""
        problem = self.problem or Invalid("")
        pointer = f"#/operations/{self.index}"
        pointers = [str(error["pointer"]) for error in problem.errors if "pointer" in error]
        is_of_data = bool(pointers) and not pointers[0].startswith(TARGET_POINTERS)
        return problem.with_pointer_prefix(
            pointer + "/data" * (is_of_data and not self.is_malformed)
        )


def _check_text_size(entries: list[_Entry]) -> None:
    """Raise Invalid if the request would write more than MAX_TEXT_BYTES of text.

    The event log stores the text before and after a change, so that both count.
    """
    size, sizes = 0, dict[int, int]()
    for entry in entries:
        names = TEXT_FIELDS & entry.values.keys()
        if entry.index not in sizes:  # all tasks of a `where` get the same text
            sizes[entry.index] = sum(_size(entry.values[name]) for name in names)
        replaced = sum(_size(getattr(entry.task, name)) for name in names) if entry.task else 0
        size += sizes[entry.index] + replaced
        if size > MAX_TEXT_BYTES:
            raise Invalid.field(
                f"operations/{entry.index}",
                "With this operation the request would write more than"
                f" {MAX_TEXT_BYTES >> 20} MiB of text, new and replaced. Change fewer tasks at"
                " a time.",
                "too_large",
            )


def _size(value: object) -> int:
    """Return the size of a text or of metadata as JSON, in bytes."""
    return len((value if isinstance(value, str) else json.dumps(value)).encode())


# ---- from operations to entries -----------------------------------------------------------------


def _build_entries(actor: Actor, operations: list[Any]) -> list[_Entry]:
    """Resolve references and select tasks. An operation that is refused gets its problem."""
    valid = {n: op for n, op in enumerate(operations) if not isinstance(op, Problem)}
    if sum(1 for op in valid.values() if op.op != "create" and not _has_id(op)) > MAX_WHERES:
        raise Invalid.field(
            "operations", f"More than {MAX_WHERES} have a where. Send fewer.", "too_many"
        )
    sent = {n: op.data.sent_fields() for n, op in valid.items() if hasattr(op, "data")}
    references = References(actor, sent.values())
    find_targets = _load_targets(actor, valid)
    entries = []
    for index, op in enumerate(operations):
        if index not in valid:
            entries.append(_Entry(index, problem=op, is_malformed=True))
            continue
        try:
            values = references.resolve(sent.get(index, {}))
            if op.op == "create":
                entries.append(_Entry(index, new=CreateTask.build(values)))
            else:
                build, force = OPERATIONS[op.op].build, getattr(op, "force", False)
                entries += [
                    _Entry(index, task, change=build(task, values, force=force))
                    for task in find_targets(op)
                ]
        except Problem as problem:
            entries.append(_Entry(index, problem=problem))
    return entries


def _load_targets(actor: Actor, operations: dict[int, Any]) -> Callable[[Any], list[Task]]:
    """Load the tasks that operations name by id. Return a function from an operation to its tasks.

    The function costs a query for an operation with a `where`. A task that several operations
    select is one object, as change_tasks() requires.
    """
    by_ref = find_tasks(actor, [str(op.id) for op in operations.values() if _has_id(op)])
    rows = {task.pk: task for task in by_ref.values()}

    def find_targets(op: Any) -> list[Task]:
        if _has_id(op):
            if str(op.id) not in by_ref:
                sentence = describe_unknown("task", op.id)
                error = {"pointer": "#/id", "code": NotFound.code, "detail": sentence}
                raise NotFound(sentence, errors=[error])
            return [by_ref[str(op.id)]]
        try:
            matching = select_tasks_to_change(
                actor, Task.objects.visible_to(actor.viewer), op.where
            )
        except Invalid as problem:
            raise problem.with_pointers(WHERE_POINTER) from None
        selected = matching.select_related("project", "assignee").order_by("pk")
        return [rows.setdefault(task.pk, task) for task in selected[: MAX_OPERATIONS + 1]]

    return find_targets


def _has_id(op: Any) -> bool:
    return "id" in op.model_fields_set


# ---- writing and responding ---------------------------------------------------------------------


def _write(actor: Actor, entries: list[_Entry]) -> None:
    """Create new tasks, then carry out the changes. Refused entries get their problem."""
    creating = [(entry, entry.new) for entry in entries if entry.new]
    changing = [(entry, entry.change) for entry in entries if entry.change]
    new, changes = [new for _, new in creating], [change for _, change in changing]
    if new and changes:
        lock_projects_for(actor, [change.project for change in new], changes)
    problems: dict[int, Problem] = {}
    created = create_tasks(actor, new, problems)
    for n, (entry, _) in enumerate(creating):
        entry.task, entry.problem = created.get(n), problems.get(n)
    problems = {}
    change_tasks(actor, changes, problems, has_project_locks=bool(new))
    for n, (entry, _) in enumerate(changing):
        entry.problem = problems.get(n)


def _results_text(entries: list[_Entry], json_by_id: dict[int, str]) -> str:
    """Return a TaskBulkResponse as JSON, with the JSON of tasks by their ids."""
    failed = sum(1 for entry in entries if entry.problem)
    last = {entry.task.pk: entry for entry in entries if entry.task and not entry.problem}
    results = ",".join([_result_json(entry, last, json_by_id) for entry in entries])
    return f'{{"succeeded":{len(entries) - failed},"failed":{failed},"results":[{results}]}}'


def _result_json(entry: _Entry, last: dict[int, _Entry], json_by_id: dict[int, str]) -> str:
    """Return a BulkResult as JSON.

    `last` is the last successful entry of each task, by task id: only its result has the task.
    """
    task_id = entry.task.pk if entry.task else None
    result: dict[str, object] = {"index": entry.index, "ok": entry.problem is None, "id": task_id}
    result["problem"], task = None, "null"
    if entry.problem is None:
        if entry is last.get(task_id or 0):
            task = json_by_id.get(task_id or 0, task)
    else:
        problem = entry.problem_with_pointers().as_dict()
        result["problem"] = {name: problem[name] for name in ("status", "code", "detail", "errors")}
    return f'{json.dumps(result)[:-1]}, "task": {task}}}'
