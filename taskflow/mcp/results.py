"""What a tool answers: text, within a bound, and refusals that say what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from taskflow.error_codes import REMEDIES
from taskflow.http.errors import Problem
from tasks.api.lines import cut

# Characters. A token of a language model is about four of them, so that this is 20,000 tokens.
MAX_ANSWER_LENGTH = 80_000
PAGE_LENGTH = 40_000  # of a long text that is read in parts
MAX_LISTED_ERRORS = 20  # of a refusal
MAX_SENTENCE_LENGTH = 500  # characters, of a refusal; a sentence may contain a text of a user
PLACES = ("pointer", "parameter", "field")  # where an error names its place
# What to do where it differs from what a client of the API does.
TOOL_REMEDIES: Mapping[str, str] = {
    "validation_failed": "Correct the arguments that are listed.",
    "invalid": "Correct the argument, or what the sentence names.",
    "not_found": "Check the key with find_tasks. You may not be a member of the project.",
    "claimed": "Name your claim in the argument claim, or get another task with next_task.",
    "claim_lost": "Stop working on the task, and get another one with next_task.",
    "not_claimable": "Get another task with next_task, or change what the sentence names first.",
    "in_progress": "Call again in a second, with the same idempotency_key.",
}
CUT = "\nCut here: the answer is too long. Ask for less, with more filters or a smaller limit.\n"


@dataclass(frozen=True)
class ToolResult:
    """The answer of a tool. `structured` is for programs, as the tool's outputSchema says."""

    text: str
    structured: Mapping[str, object] | None = None
    is_error: bool = False

    def as_object(self) -> dict[str, object]:
        """Return the result in the form of MCP."""
        result: dict[str, object] = {
            "content": [{"type": "text", "text": bound_text(self.text)}],
            "isError": self.is_error,
        }
        if self.structured is not None:
            result["structuredContent"] = self.structured
        return result


@dataclass(frozen=True)
class InputRequired:
    """Asks the client for an answer of its user, with a form, before the tool does anything.

    The client calls the tool again with the answer and with `state`.
    """

    message: str
    label: str  # of the box to tick
    state: str

    def as_object(self) -> dict[str, object]:
        """Return the result in the form of MCP."""
        box = {"type": "boolean", "title": self.label, "default": False}
        form = {"type": "object", "properties": {FORM_FIELD: box}, "required": [FORM_FIELD]}
        params = {"mode": "form", "message": self.message, "requestedSchema": form}
        return {
            "resultType": "input_required",
            "inputRequests": {FORM: {"method": "elicitation/create", "params": params}},
            "requestState": self.state,
        }


QUOTE = "> "  # begins each line of a text of a user
FORM, FORM_FIELD = "confirmation", "confirm"  # the names of the form and of its only field


def bound_text(text: str) -> str:
    """Return the text, cut with a note if it is longer than every answer may be."""
    if len(text) <= MAX_ANSWER_LENGTH:
        return text
    return text[: MAX_ANSWER_LENGTH - len(CUT)] + CUT


def page_of(text: str, offset: int, how_to_continue: str) -> str:
    """Return the part of a text from the character `offset` on, with how to get the next part.

    A part ends with a line, if it can. One that begins inside a line is marked as text of a user,
    which it may be. `how_to_continue` contains {} for the next offset.
    """
    is_inside_line = offset > 0 and text[offset - 1 : offset] != "\n"
    start = QUOTE if is_inside_line else ""
    if offset + PAGE_LENGTH >= len(text):
        return start + text[offset:]
    end = text.rfind("\n", offset, offset + PAGE_LENGTH) + 1 or offset + PAGE_LENGTH
    line_end = "" if text[end - 1] == "\n" else "\n"
    return f"{start}{text[offset:end]}{line_end}More: {how_to_continue.format(end)}\n"


def refusal(problem: Problem) -> ToolResult:
    """Return the answer to a refused call: the sentence, the single errors, and what to do."""
    lines = [f"Refused: {cut(problem.detail, MAX_SENTENCE_LENGTH)} [{problem.code}]"]
    for error in problem.errors[:MAX_LISTED_ERRORS]:
        if (detail := str(error.get("detail", ""))) and detail not in problem.detail:
            place = next((str(error[name]) for name in PLACES if error.get(name)), "")
            line = f"{place.removeprefix('#/')}: {detail}" if place else detail
            lines.append(f"- {cut(line, MAX_SENTENCE_LENGTH)}")
    if len(problem.errors) > MAX_LISTED_ERRORS:
        lines.append(f"- and {len(problem.errors) - MAX_LISTED_ERRORS} more.")
    if remedy := TOOL_REMEDIES.get(problem.code) or REMEDIES.get(problem.code):
        lines.append(f"Next: {remedy}")
    return ToolResult("\n".join(lines) + "\n", is_error=True)
