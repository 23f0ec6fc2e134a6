"""The tool that undoes changes. It answers the plan first, and waits for a confirmation of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.http import HttpResponse
from django.urls import ResolverMatch
from django.utils.crypto import constant_time_compare, salted_hmac

from taskflow.audit.actor import Actor, ActorRequest
from taskflow.audit.event_log import capture_events, savepoint
from taskflow.audit.history import read_history
from taskflow.audit.models import Event
from taskflow.http.errors import Conflict
from taskflow.inner_requests import run_inner_request
from taskflow.mcp.api_calls import Answer, ApiCalls, Send
from taskflow.mcp.protocol import Call
from taskflow.mcp.results import FORM, FORM_FIELD, InputRequired, ToolResult
from taskflow.mcp.texts import describe_count, undo_hint
from taskflow.mcp.tools.base import (
    CLAIM_ARGUMENT,
    CLAIMED_WRITE_ARGUMENTS,
    KEY_ARGUMENT,
    Arguments,
    Tool,
    flag,
    naming_claim,
    one_of,
    text,
)
from tasks.api.lines import cut
from tasks.queries.lookup import find_tasks
from tasks.schemas.undo import OnConflict

NOT_IN_BODY = {"confirm", "force", KEY_ARGUMENT, CLAIM_ARGUMENT}
MAX_SHOWN_EVENTS = 50  # of a plan
MAX_SENTENCE = 300  # characters
NOT_CONFIRMED = "Nothing was undone, since the user did not confirm it.\n"


class _Rollback(Exception):
    """Ends the savepoint of a plan, which must leave nothing behind."""


@dataclass(frozen=True)
class Plan:
    """What an undo would change, as a text, and the handle that confirms exactly this."""

    text: str
    handle: str


def undo(api: ApiCalls, arguments: Arguments, call: Call) -> ToolResult | InputRequired:
    """Undo what is confirmed; without a confirmation, answer what would be undone."""
    confirmed = _read_confirmation(arguments, call)
    if confirmed is False:
        return ToolResult(NOT_CONFIRMED)
    if isinstance(confirmed, str):
        answer = _run(api, arguments, confirmed)
        return ToolResult(_done_text(answer))
    plan = _plan(api, arguments)
    if call.can_show_forms:
        return InputRequired(plan.text, "Undo these changes", plan.handle)
    how = f"Nothing is undone yet. To undo exactly this, add confirm={plan.handle}\n"
    return ToolResult(plan.text + how)


def _read_confirmation(arguments: Arguments, call: Call) -> str | bool | None:
    """Return the handle of the plan that is confirmed, False for a refusal, None for neither."""
    given = arguments.get("confirm")
    if isinstance(given, str):
        return given
    responses = call.params.get("inputResponses")
    response = responses.get(FORM) if isinstance(responses, Mapping) else None
    state = call.params.get("requestState")
    if not isinstance(response, Mapping) or not isinstance(state, str):
        return None
    content = response.get("content")
    is_ticked = isinstance(content, Mapping) and content.get(FORM_FIELD) is True
    return state if response.get("action") == "accept" and is_ticked else False


def _run(api: ApiCalls, arguments: Arguments, confirmed: str) -> Answer:
    """Undo, and compare what was done with what was confirmed. Raises Conflict if they differ."""

    def run_and_compare(inner: ActorRequest, match: ResolverMatch) -> HttpResponse:
        with capture_events() as events:
            response = run_inner_request(inner, match)
        if response.status_code < 400:
            result = json.loads(response.content)
            if not constant_time_compare(_compute_handle(api.actor, result, events), confirmed):
                raise Conflict(
                    "This is not the present plan, so nothing was undone. Call undo without"
                    " confirm to see what it would do now."
                )
        return response

    return _send(api, arguments, run_and_compare)


def _plan(api: ApiCalls, arguments: Arguments) -> Plan:
    """Undo in a savepoint that is rolled back. Raises the Problem with which it is refused."""
    planning = ApiCalls(api.request)  # without the key, which is for the undo itself
    outcome: list[tuple[Answer, dict[str, str]]] = []
    try:
        with savepoint(), capture_events() as events:
            answer = _send(planning, arguments)
            outcome.append((answer, _find_keys(api.actor, events)))
            raise _Rollback
    except _Rollback:
        answer, keys = outcome[0]
    # Before or after the undo, a task may be in the trash.
    keys |= _find_keys(api.actor, events)
    result = answer.as_object()
    text = _plan_text(api.actor, result, events, keys)
    return Plan(text, _compute_handle(api.actor, result, events))


def _find_keys(actor: Actor, events: Sequence[Event]) -> dict[str, str]:
    """Return the keys of the visible tasks that the events are about, by id."""
    shown = events[:MAX_SHOWN_EVENTS]
    ids = {str(event.subject_id) for event in shown if event.subject_type == "task"}
    return {pk: task.key for pk, task in find_tasks(actor, ids).items()}


def _send(api: ApiCalls, arguments: Arguments, send: Send = run_inner_request) -> Answer:
    body = {name: value for name, value in arguments.items() if name not in NOT_IN_BODY}
    query = {"force": arguments["force"]} if "force" in arguments else {}
    return naming_claim(api, arguments).write("POST", "/undo", body, query=query, send=send)


def _compute_handle(actor: Actor, result: Mapping[str, object], events: Sequence[Event]) -> str:
    """Return a handle that only the same undo by the same user has.

    Times are left out: those of the plan and of the undo differ.
    """
    changes = [[e.verb, e.subject_type, e.subject_id, sorted(e.changes)] for e in events]
    parts = [actor.tenant.pk, actor.user.pk, result["undone"], result["left_out"], changes]
    text = json.dumps(parts, sort_keys=True)
    return salted_hmac("taskflow.mcp.plan", text, algorithm="sha256").hexdigest()[:32]


def _plan_text(
    actor: Actor,
    result: Mapping[str, object],
    events: Sequence[Event],
    keys: Mapping[str, str],
) -> str:
    """Return what would be changed, an event on each line, and what would be left out."""
    left_out = result["left_out"]
    assert isinstance(left_out, list)
    lines = [f"Plan: the undo would make {describe_count(len(events), 'change')}."]
    shown = read_history(actor, events[:MAX_SHOWN_EVENTS])
    for entry in shown:
        key = keys.get(str(entry.event.subject_id)) if entry.event.subject_type == "task" else None
        lines.append(f"- {f'{key}: ' if key else ''}{cut(entry.sentence, MAX_SENTENCE)}")
    if len(events) > MAX_SHOWN_EVENTS:
        lines.append(f"- and {len(events) - MAX_SHOWN_EVENTS} more.")
    if left_out:
        lines.append(f"Left out: {describe_count(len(left_out), 'change')}, because of later ones.")
    return "\n".join(lines) + "\n"


def _done_text(answer: Answer) -> str:
    result = answer.as_object()
    undone, left_out = result["undone"], result["left_out"]
    assert isinstance(undone, list)
    assert isinstance(left_out, list)
    text = f"Undone: {describe_count(len(undone), 'change')}.\n"
    if left_out:
        text += f"Left out: {describe_count(len(left_out), 'change')}, because of later ones.\n"
    return text + undo_hint(answer.request_id)


UNDO = Tool(
    "undo",
    "Undo changes",
    "Take back the changes of a request, or all of a user since a time. The first call only answers"
    " the plan; nothing is undone before it is confirmed.",
    {
        "request_id": text("From the answer of the write."),
        "actor": text("@handle or me; with since, or with the request_id of another user."),
        "since": text("Time, as 2026-12-01T09:00:00Z."),
        "until": text(),
        "project": text("Key: only changes in it."),
        "on_conflict": one_of(list(OnConflict), "skip: leave out what others changed since."),
        "force": flag("Allow open tasks below done ones."),
        "confirm": text("The handle in the plan."),
        **CLAIMED_WRITE_ARGUMENTS,
    },
    undo,
    is_destructive=True,
    is_idempotent=True,
)
