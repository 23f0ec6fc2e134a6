"""Carry out a bulk request: many operations on tasks at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from django.http import HttpResponse

from taskflow.audit import text_size
from taskflow.audit.actor import Actor, ActorRequest
from taskflow.audit.event_log import savepoint
from taskflow.audit.text_size import measure_other_words, measure_text
from taskflow.db.text import fold_key
from taskflow.http.errors import Invalid, NotFound, Problem, merge_problems
from taskflow.http.parsing import parse_json
from taskflow.http.preferences import mark_applied, read_return_preference
from taskflow.http.references import describe_unknown
from taskflow.http.responses import respond
from taskflow.http.sent_names import point_into_body
from tasks.actions.tags import check_new_tags, find_tags
from tasks.api.responses import updated_task_texts
from tasks.changes.base import TaskChange
from tasks.changes.create import CreateTask, create_tasks
from tasks.changes.planner import change_tasks, lock_projects_for
from tasks.changes.tasks import OPERATIONS
from tasks.models import Task
from tasks.queries.filters import select_tasks_to_change
from tasks.queries.lookup import find_tasks
from tasks.queries.references import References
from tasks.schemas.bulk import MAX_ERRORS, MAX_OPERATIONS, MAX_WHERES, OnError, TaskBulk

TEXT_FIELDS = {"title", "description", "links", "metadata"}  # whose text may be long
MAX_TASKS_BYTES = 4 * 1024 * 1024  # of all tasks in a response; each may have 300 KiB
WHERE_POINTER = "#/where/"  # the pointer to a filter of an operation begins with it
TARGET_POINTERS = (WHERE_POINTER, "#/id")  # other pointers are into the data of an operation


def bulk_response(request: ActorRequest, body: TaskBulk) -> HttpResponse:
    """Carry out the operations, and respond with their results.

    With `Prefer: return=minimal` the results have the ids of the tasks, but not the tasks.
    """
    entries = run_bulk(request.auth, body)
    if any(entry.problem for entry in entries):
        _point_to_sent_names(entries, parse_json(request.body))
    if read_return_preference(request) == "minimal":
        return mark_applied(respond(request, _results_text(entries, {}, 0)), "minimal")
    json_by_id, left_out = _load_tasks(request.auth, entries)
    return respond(request, _results_text(entries, json_by_id, left_out))


def run_bulk(actor: Actor, body: TaskBulk) -> list[_Entry]:
    """Create new tasks first, then carry out the other operations in their order.

    Raises the problems of all operations as one, unless `on_error` is `skip`.
    """
    entries = _prepare(actor, body)
    new_names = _find_new_tags(actor, entries) if body.on_error == OnError.SKIP else set()
    if new_names:
        entries = _write_without_unused_tags(actor, body, entries, new_names)
    else:
        _write(actor, entries)
    for entry in entries:
        entry.problem = entry.problem and entry.problem_with_pointers(entry.problem)
    if body.on_error == OnError.REFUSE and any(entry.problem for entry in entries):
        raise merge_problems(entry.problem for entry in entries if entry.problem)
    return entries


def _prepare(actor: Actor, body: TaskBulk) -> list[_Entry]:
    """Return the entries of the operations. Raises Invalid for more than one request may have."""
    entries = _build_entries(actor, body.operations)
    if len(entries) > MAX_OPERATIONS:
        raise Invalid.field(
            "operations", f"They change more than {MAX_OPERATIONS} tasks. Send fewer.", "too_many"
        )
    _check_text_size(entries)
    check_new_tags(name for entry in entries for name in entry.tag_names(actor))
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
    def key(self) -> tuple[int, int | None]:
        """What the entry has in common with that of the same operation, built again."""
        return self.index, self.task.pk if self.task else None

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

    def problem_with_pointers(self, problem: Problem) -> Problem:
        """Return the problem with pointers into the body of the bulk request."""
        pointer = f"#/operations/{self.index}"
        pointers = [str(error["pointer"]) for error in problem.errors if "pointer" in error]
        is_of_data = bool(pointers) and not pointers[0].startswith(TARGET_POINTERS)
        return problem.with_pointer_prefix(
            pointer + "/data" * (is_of_data and not self.is_malformed)
        )


def _check_text_size(entries: list[_Entry]) -> None:
    """Raise Invalid if the request would write more than MAX_TEXT_BYTES of text.

    The recorder checks what really differs. This check names the operation, and needs no lock.
    """
    size, sizes = 0, dict[tuple[int, str], int]()
    stored: dict[tuple[int, str], int] = {}  # sizes by task id and field, after each operation
    reindexed: set[int] = set()  # ids: the index is written once for each task
    for entry in entries:
        values, task = entry.values, entry.task
        for name in TEXT_FIELDS & values.keys():
            if task:
                former = stored.get((task.pk, name))
                size += measure_text(getattr(task, name)) if former is None else former
            if (entry.index, name) not in sizes:  # all tasks of a `where` get the same text
                sizes[entry.index, name] = measure_text(values[name])
            size += sizes[entry.index, name]
            if task:
                stored[task.pk, name] = sizes[entry.index, name]
        if task and task.pk not in reindexed and (other := measure_other_words(task, values)):
            size += other
            reindexed.add(task.pk)
        if size > text_size.MAX_TEXT_BYTES:
            raise Invalid.field(
                f"operations/{entry.index}", text_size.describe_excess(), "too_large"
            )


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
    open_entries = [entry for entry in entries if not entry.problem]
    creating = [(entry, entry.new) for entry in open_entries if entry.new]
    changing = [(entry, entry.change) for entry in open_entries if entry.change]
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


class _UnusedTags(Exception):
    """Rolls back changes that have created tags for refused operations only."""


def _write_without_unused_tags(
    actor: Actor, body: TaskBulk, entries: list[_Entry], new_names: set[str]
) -> list[_Entry]:
    """Do what _write() does, and create no tag that only refused operations name.

    The tags are created before the operations are checked. If some are not used, everything is
    taken back, and the operations that were not refused are carried out again. The entries are
    built anew for that, since the planner sets the new values on their tasks. Each time, at least
    one more operation is refused: it is done at most as many times as there are operations.
    """
    while True:
        written = [entry for entry in entries if not entry.problem]
        try:
            with savepoint():
                _write(actor, entries)
                used = [entry for entry in written if not entry.problem]
                if new_names & (_tags_of(actor, written) - _tags_of(actor, used)):
                    raise _UnusedTags
            return entries
        except _UnusedTags:
            problems = {entry.key: entry.problem for entry in entries if entry.problem}
            entries = _prepare(actor, body)
            for entry in entries:
                entry.problem = entry.problem or problems.get(entry.key)


def _find_new_tags(actor: Actor, entries: list[_Entry]) -> set[str]:
    """Return the folded names of the tags that the operations name and that do not exist yet.

    One query if the operations name tags.
    """
    names = _tags_of(actor, entries)
    return names - find_tags(names).keys() if names else names


def _tags_of(actor: Actor, entries: list[_Entry]) -> set[str]:
    return {fold_key(name) for entry in entries for name in entry.tag_names(actor)}


def _load_tasks(actor: Actor, entries: list[_Entry]) -> tuple[dict[int, str], int]:
    """Return the JSON of tasks of the results by id, and how many tasks are left out.

    The tasks of the last results are left out if all tasks would have more than MAX_TASKS_BYTES.
    Tasks in the trash have no JSON. One query, which does not read tasks that are surely too many.
    """
    tasks = {entry.task.pk: entry.task for entry in entries if entry.task and not entry.problem}
    sizes = {
        pk: sum(measure_text(getattr(task, name)) for name in TEXT_FIELDS)
        for pk, task in tasks.items()
    }
    ids = _take_until_full(sizes)
    texts = updated_task_texts(actor, sorted(ids)) if ids else {}
    kept = _take_until_full({pk: len(texts[pk].encode()) for pk in ids if pk in texts})
    left_out = len(tasks) - len(ids) + len(texts) - len(kept)
    return {pk: texts[pk] for pk in kept}, left_out


def _take_until_full(sizes: Mapping[int, int]) -> list[int]:
    """Return the first keys whose sizes are not more than MAX_TASKS_BYTES together."""
    totals = zip(sizes, accumulate(sizes.values()), strict=True)
    return [key for key, total in totals if total <= MAX_TASKS_BYTES]


def _point_to_sent_names(entries: list[_Entry], body: object) -> None:
    for entry in entries:
        entry.problem = entry.problem and point_into_body(entry.problem, body)


def _results_text(entries: list[_Entry], json_by_id: dict[int, str], left_out: int) -> str:
    """Return a TaskBulkResponse as JSON, with the JSON of tasks by their ids."""
    skipped = sum(1 for entry in entries if entry.problem)
    last = {entry.task.pk: entry for entry in entries if entry.task and not entry.problem}
    results = ",".join([_result_json(entry, last, json_by_id) for entry in entries])
    counts = f'"succeeded":{len(entries) - skipped},"skipped":{skipped}'
    return f'{{{counts},"tasks_left_out":{left_out},"results":[{results}]}}'


def _result_json(entry: _Entry, last: dict[int, _Entry], json_by_id: dict[int, str]) -> str:
    """Return a BulkResult as JSON.

    `last` is the last successful entry of each task, by task id: only its result has the task.
    """
    task_id, key = (entry.task.pk, entry.task.key) if entry.task else (None, None)
    result: dict[str, object] = {"index": entry.index, "ok": entry.problem is None, "id": task_id}
    result |= {"key": key, "problem": None}
    task = "null"
    if entry.problem is None:
        if entry is last.get(task_id or 0):
            task = json_by_id.get(task_id or 0, task)
    else:
        result["problem"] = _problem_json(entry.problem)
    return f'{json.dumps(result)[:-1]}, "task": {task}}}'


def _problem_json(problem: Problem) -> dict[str, object]:
    """Return a BulkProblem. A task may have hundreds of open subtasks, which are errors each."""
    return {
        "status": problem.status.value,
        "code": problem.code,
        "detail": problem.detail,
        "errors": problem.errors[:MAX_ERRORS],
        "errors_left_out": max(0, len(problem.errors) - MAX_ERRORS),
    }
