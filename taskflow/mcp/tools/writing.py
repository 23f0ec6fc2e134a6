"""The tools that create and change tasks and comments."""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import copy

from taskflow.http.errors import Invalid, Problem
from taskflow.http.media_types import MERGE_PATCH
from taskflow.mcp.api_calls import Answer, ApiCalls, task_path
from taskflow.mcp.protocol import Call
from taskflow.mcp.results import ToolResult
from taskflow.mcp.texts import changed_task_text, describe_count, lines_of, undo_hint
from taskflow.mcp.tools.base import (
    CLAIM_ARGUMENT,
    CLAIMED_WRITE_ARGUMENTS,
    KEY_ARGUMENT,
    Arguments,
    Schema,
    Tool,
    flag,
    naming_claim,
    one_of,
    text,
    texts,
)
from tasks.models import Outcome, Priority, Status

# Where the problem of a new task is in the bulk request that is sent, and in the arguments.
IN_BULK = re.compile(r"operations/(\d+)(/data)?")
IN_ARGUMENTS = r"tasks/\1"
NOT_FIELDS = {"task", "force", KEY_ARGUMENT, CLAIM_ARGUMENT}

TASK_FIELDS: Mapping[str, Schema] = {
    "title": text(),
    "description": text("Markdown."),
    "status": one_of(list(Status)),
    "priority": one_of(list(Priority)),
    "assignee": text("@handle or me; null: nobody."),
    "tags": texts("Replaces all."),
    "due_on": text("Day, as 2026-12-01."),
    "due_date": text("Time, in place of due_on."),
    "parent": text("Key."),
    "blocked_by": texts("Keys. Replaces all."),
    "metadata": {"type": "object"},
    "external_ref": text("Id in another system."),
}
NEW_TASK_FIELDS = {
    name: schema
    for name, schema in TASK_FIELDS.items()
    if name not in ("status", "due_date", "external_ref", "metadata")
}


def create_tasks(api: ApiCalls, arguments: Arguments, call: Call) -> ToolResult:
    """Create tasks: all of them, or none if one is refused."""
    tasks = arguments["tasks"]
    if not isinstance(tasks, list):
        raise Invalid.field("tasks", "“tasks” must be a list of objects.", "wrong_type")
    project = {name: arguments[name] for name in ("project",) if name in arguments}
    operations = [
        {"op": "create", "data": {**project, **task} if isinstance(task, dict) else task}
        for task in tasks
    ]
    try:
        answer = api.write("POST", "/tasks/bulk", {"operations": operations})
    except Problem as problem:
        raise _with_own_pointers(problem) from None
    return ToolResult(_created_text(answer))


def _created_text(answer: Answer) -> str:
    results = answer.as_object()["results"]
    assert isinstance(results, list)
    created = [result["task"] for result in results if result["task"]]
    text = f"Created {describe_count(len(results), 'task')}.\n"
    text += lines_of(created)
    if len(created) < len(results):
        text += "The last ones are not shown. find_tasks shows them.\n"
    return text + undo_hint(answer.request_id)


def _with_own_pointers(problem: Problem) -> Problem:
    """Return the problem with the places of the tool's arguments in place of those of the API."""
    moved = copy(problem)
    moved.detail = IN_BULK.sub(IN_ARGUMENTS, problem.detail)
    moved.errors = [
        {
            name: IN_BULK.sub(IN_ARGUMENTS, value) if isinstance(value, str) else value
            for name, value in error.items()
        }
        for error in problem.errors
    ]
    return moved


def update_task(api: ApiCalls, arguments: Arguments, call: Call) -> ToolResult:
    """Change the fields of a task that are given."""
    fields = {name: value for name, value in arguments.items() if name not in NOT_FIELDS}
    if not fields:
        raise Invalid("No field is given, so nothing would change. Give the new values.")
    query = {"force": arguments["force"]} if "force" in arguments else {}
    path = task_path(arguments["task"])
    answer = naming_claim(api, arguments).write(
        "PATCH", path, fields, content_type=MERGE_PATCH, query=query
    )
    return ToolResult(changed_task_text(answer.as_object()) + undo_hint(answer.request_id))


def add_comment(api: ApiCalls, arguments: Arguments, call: Call) -> ToolResult:
    """Add a comment to a task."""
    task_path(arguments["task"])  # raises Invalid for an id
    body = {"task": arguments["task"], "body": arguments["body"]}
    answer = naming_claim(api, arguments).write("POST", "/comments", body)
    key = answer.as_object()["task_key"]
    return ToolResult(f"Added the comment to {key}.\n{undo_hint(answer.request_id)}")


CREATE_TASKS = Tool(
    "create_tasks",
    "Create tasks",
    "Create up to 500 tasks in one project. If one is refused, none is created.",
    {
        "project": text("Key, such as WEB."),
        "tasks": {
            "type": "array",
            "items": {"type": "object", "properties": NEW_TASK_FIELDS, "required": ["title"]},
        },
    },
    create_tasks,
    required=["project", "tasks"],
)
UPDATE_TASK = Tool(
    "update_task",
    "Change a task",
    "Change the given fields of a task; null empties one. metadata is merged by key."
    " status=done completes it.",
    {
        "task": text("Key, such as WEB-12."),
        **TASK_FIELDS,
        "outcome": one_of(list(Outcome), "With status done."),
        "force": flag("Complete it although subtasks or blockers are open."),
        **CLAIMED_WRITE_ARGUMENTS,
    },
    update_task,
    required=["task"],
    is_idempotent=True,
)
ADD_COMMENT = Tool(
    "add_comment",
    "Comment on a task",
    "Add a comment to a task.",
    {
        "task": text("Key, such as WEB-12."),
        "body": text("Markdown."),
        **CLAIMED_WRITE_ARGUMENTS,
    },
    add_comment,
    required=["task", "body"],
)
