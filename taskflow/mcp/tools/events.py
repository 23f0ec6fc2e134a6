"""The tool that reads the event feed."""

from __future__ import annotations

from collections.abc import Mapping

from taskflow.http.waiting import MAX_SECONDS
from taskflow.mcp.api_calls import ApiCalls
from taskflow.mcp.protocol import Call
from taskflow.mcp.results import ToolResult
from taskflow.mcp.tools.base import Arguments, Tool, number, text, texts
from tasks.api.lines import cut, shorten_time

MAX_SENTENCE = 250  # characters


def list_events(api: ApiCalls, arguments: Arguments, call: Call) -> ToolResult:
    """Return one line for each event after a cursor, and the cursor with which to continue."""
    answer = api.read("/events", **arguments)
    lines = [event_line(event) for event in answer.rows()]
    page = answer.as_object()
    lines.append(f"{'More' if page['has_more'] else 'Next'}: after={page['next_cursor']}")
    return ToolResult("\n".join(lines) + "\n")


def event_line(event: Mapping[str, object]) -> str:
    """Return time, type, key and sentence of an event. The sentence contains texts of users."""
    subject = event["subject"]
    assert isinstance(subject, Mapping)
    key = event["task_key"] or subject["key"]
    words = [shorten_time(event["at"]), str(event["verb"]), *([str(key)] if key else [])]
    return f"{' '.join(words)}: {cut(str(event['sentence']), MAX_SENTENCE)}"


LIST_EVENTS = Tool(
    "list_events",
    "Follow changes",
    "List what has happened after a cursor, the oldest first. Without after you get the cursor of"
    " now; continue with the after of the last line.",
    {
        "after": text("A cursor; 0: from the oldest event on."),
        "project": texts("Keys."),
        "task": texts("Keys."),
        "actor": texts("@handle or me."),
        "type": texts("As task.completed."),
        "wait": number("Seconds to wait if there is none.", minimum=0, maximum=MAX_SECONDS),
        "limit": number("Default 50.", minimum=1, maximum=200),
    },
    list_events,
    is_reading=True,
)
