"""The tools by which a worker gets tasks: claim the next one, extend the claim, finish it."""

from __future__ import annotations

from collections.abc import Mapping

from taskflow.mcp.api_calls import ApiCalls, task_path
from taskflow.mcp.protocol import Call
from taskflow.mcp.results import ToolResult
from taskflow.mcp.texts import claimed_task_text
from taskflow.mcp.tools.base import (
    CLAIM_ARGUMENT,
    KEY_ARGUMENT,
    Arguments,
    Schema,
    Tool,
    number,
    number_of,
    one_of,
    text,
    texts,
)
from tasks.api.lines import shorten_time
from tasks.models import ClaimOutcome, Priority
from tasks.models.claims import MAX_TTL, MIN_TTL
from tasks.schemas.claims import MAX_WAIT

FILTERS = ("project", "tag", "priority", "q")  # of next_task, which are filters of the list
NO_TASK = "There is no task to work on now. Call again later, or with wait_seconds.\n"
STOP = "Stop: somebody has asked for it. Call finish_task with outcome released or cancelled.\n"

CLAIM: Schema = number("From next_task.")
TTL: Schema = number(
    "Until the claim expires unless extended. Default 300.", minimum=MIN_TTL, maximum=MAX_TTL
)


def next_task(api: ApiCalls, arguments: Arguments, call: Call) -> ToolResult:
    """Claim the most urgent task that may be worked on, or the one that is named."""
    where = {name: arguments[name] for name in FILTERS if name in arguments}
    body = {n: v for n, v in arguments.items() if n not in (*FILTERS, KEY_ARGUMENT)}
    if "task" in body:
        task_path(body["task"])  # raises Invalid for an id
    if where:
        body["where"] = where
    answer = api.write("POST", "/claims", body)
    if not answer.text:
        return ToolResult(NO_TASK, {"claim": None})
    (granted,) = answer.rows()
    task = granted["task"]
    assert isinstance(task, Mapping)
    structured = {
        "claim": granted["id"],
        "task": task["key"],
        "title": task["title"],
        "fence": granted["fence"],
        "attempt": granted["attempt"],
        "expires_at": granted["expires_at"],
    }
    return ToolResult(claimed_task_text(granted), structured)


def extend_claim(api: ApiCalls, arguments: Arguments, call: Call) -> ToolResult:
    """Report progress and extend a claim: a heartbeat."""
    path = claim_path(arguments)
    answer = api.write("PATCH", path, _body_of(arguments)).as_object()
    until = shorten_time(answer["expires_at"])
    text_of_answer = f"Claim {arguments[CLAIM_ARGUMENT]} holds until {until}.\n"
    return ToolResult(text_of_answer + (STOP if answer["cancel_requested"] else ""))


def finish_task(api: ApiCalls, arguments: Arguments, call: Call) -> ToolResult:
    """End a claim with its outcome. The same call can be repeated for ever."""
    path = f"{claim_path(arguments)}/completion"
    answer = api.write("POST", path, _body_of(arguments)).as_object()
    structured = {
        "task": answer["task_key"],
        "outcome": answer["outcome"],
        "status": answer["task_status"],
        "ended_at": answer["ended_at"],
    }
    line = f"Finished {answer['task_key']} as {answer['outcome']}; it is {answer['task_status']}.\n"
    return ToolResult(line, structured)


def claim_path(arguments: Arguments) -> str:
    """Return the path of the claim that the arguments name. Raises Invalid for no number."""
    return f"/claims/{number_of(arguments, CLAIM_ARGUMENT)}"


def _body_of(arguments: Arguments) -> dict[str, object]:
    return {n: v for n, v in arguments.items() if n not in (CLAIM_ARGUMENT, KEY_ARGUMENT)}


NEXT_TASK = Tool(
    "next_task",
    "Claim the next task",
    "Get the most urgent ready task that is nobody's or yours, and claim it: it becomes in_progress"
    " and yours until the claim expires. Name the claim in update_task and add_comment. Extend it"
    " before it expires, and end it with finish_task.",
    {
        "project": texts("Keys."),
        "tag": texts(),
        "priority": texts(choices=list(Priority)),
        "q": text("Words in title or description."),
        "task": text("Key: claim this one, without filters."),
        "ttl_seconds": TTL,
        "worker": text("A name of your process, for people."),
        "wait_seconds": number("Wait for a task if there is none.", minimum=0, maximum=MAX_WAIT),
    },
    next_task,
    output={
        "type": "object",
        "properties": {
            "claim": {"type": ["integer", "null"]},
            "task": {"type": "string"},
            "title": {"type": "string"},
            "fence": {"type": "integer"},
            "attempt": {"type": "integer"},
            "expires_at": {"type": "string"},
        },
        "required": ["claim"],
    },
)
EXTEND_CLAIM = Tool(
    "extend_claim",
    "Extend a claim",
    "Say that you still work on a claimed task, and how far you are. Stop if the answer says so, or"
    " if it is refused as claim_lost.",
    {
        CLAIM_ARGUMENT: CLAIM,
        "progress": number("Percent.", minimum=0, maximum=100),
        "note": text("For people, and for who continues."),
        "ttl_seconds": TTL,
    },
    extend_claim,
    required=[CLAIM_ARGUMENT],
)
FINISH_TASK = Tool(
    "finish_task",
    "Finish a claimed task",
    "End your claim. completed or cancelled: the task is done. failed or released: it is free"
    " again. needs_input: it goes to assign_to, or to the owner of the project.",
    {
        CLAIM_ARGUMENT: CLAIM,
        "outcome": one_of(list(ClaimOutcome)),
        "comment": text("Markdown: what you did, or what is missing."),
        "result": {"type": "object", "description": "Merged into metadata."},
        "assign_to": text("@handle, with needs_input."),
    },
    finish_task,
    required=[CLAIM_ARGUMENT, "outcome"],
    is_idempotent=True,
    output={
        "type": "object",
        "properties": {
            "task": {"type": "string"},
            "outcome": {"type": "string"},
            "status": {"type": "string"},
            "ended_at": {"type": "string"},
        },
        "required": ["task", "outcome", "status", "ended_at"],
    },
)
