"""
One line of text for each row of a list, for people and language models.

A task is `WEB-12 todo high @bob due 2026-12-01 blocked [bug, docs] "Fix the login"`. The words
before the quotes are TaskFlow's. What users have written stands in quotes or brackets and contains
no line break, so that no text of a user can pass for another line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from django.db.models import Model

from taskflow.http.list_query import BuiltPage
from tasks.models import Comment, Page, Priority, Project, Status, Task

Row = Mapping[str, object]  # of a response, by the names of its fields

# Characters. 50 tasks and the line about the next page are about 1,200 tokens of four characters.
MAX_LINE_LENGTH = 92
MIN_TITLE_LENGTH = 22  # that a long line leaves to the title
MAX_TAGS_LENGTH = 20
MAX_SNIPPET_LENGTH = 120  # of a comment
# Everything that a terminal or a model could take for the end of a line.
BREAKS = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029]+")


@dataclass(frozen=True)
class Lines:
    """The form of the lines of a resource type: the fields that a line needs, and the line."""

    fields: tuple[str, ...]
    build: Callable[[Row], str]


def page_text(model: type[Model], page: BuiltPage) -> str:
    """Return a page as lines. Its rows have LINES[model].fields.

    The line about the next page, and that with the count, stand at the end.
    """
    lines = [LINES[model].build(json.loads(row)) for row in page.rows]
    if not lines:
        lines = [f"No {model._meta.verbose_name_plural}."]
    if page.envelope["count"] is not None:
        lines.append(f"Count: {page.envelope['count']}")
    if cursor := page.envelope.get("events_cursor"):
        lines.append(f"Events after: {cursor}")
    if cursor := page.envelope["next_cursor"]:
        lines.append(f"More: cursor={cursor}")
    return "\n".join(lines) + "\n"


def task_line(task: Row) -> str:
    """Return the line of a task. It leaves out the priority `medium`, and cuts a long title."""
    words = [str(task["key"]), _status_of(task)]
    if task["priority"] != Priority.MEDIUM:
        words.append(str(task["priority"]))
    if handle := handle_of(task["assignee"]):
        words.append(handle)
    if due := task["due_on"] or task["due_date"]:
        words.append(f"due {shorten_time(due)}")
    if not task["ready"] and task["status"] != Status.DONE:
        words.append("blocked")
    if tags := _tags_text(task["tags"]):
        words.append(tags)
    start = " ".join(words)
    room = max(MAX_LINE_LENGTH - len(start) - 3, MIN_TITLE_LENGTH)
    return f"{start} {quote(task['title'], room)}"


def project_line(project: Row) -> str:
    """Return the line of a project: key, status, owner, your role, open tasks and name."""
    counts = project["task_counts"]
    assert isinstance(counts, Mapping)
    words = [str(project["key"]), str(project["status"]), str(handle_of(project["owner"]))]
    words += [str(project["role"])] if project["role"] else []
    words.append(f"{counts['todo'] + counts['in_progress']} open")
    return f"{' '.join(words)} {quote(project['name'], MAX_LINE_LENGTH)}"


def comment_line(comment: Row) -> str:
    """Return the line of a comment: task, author, time and the beginning of its text."""
    author = handle_of(comment["author"]) or "operator"
    time = shorten_time(comment["created_at"])
    text = quote(comment["body"], MAX_SNIPPET_LENGTH)
    return f"comment {comment['id']} {comment['task_key']} {author} {time} {text}"


def page_line(page: Row) -> str:
    """Return the line of a page: its state, owner and title."""
    state = "published" if page["is_published"] else "draft"
    title = quote(page["title"], MAX_LINE_LENGTH)
    return f"page {page['id']} {state} {handle_of(page['owner'])} {title}"


LINES: Mapping[type[Model], Lines] = {
    Task: Lines(
        (
            *("key", "title", "status", "outcome", "ready", "priority", "assignee", "tags"),
            *("due_date", "due_on"),
        ),
        task_line,
    ),
    Project: Lines(("key", "name", "status", "owner", "role", "task_counts"), project_line),
    Comment: Lines(("id", "task_key", "author", "body", "created_at"), comment_line),
    Page: Lines(("id", "title", "is_published", "owner"), page_line),
}


def quote(text: object, length: int) -> str:
    """Return a text of a user in quotes, on one line and with at most `length` characters in them.

    Quotes inside it become ', so that the text cannot end its own quotes.
    """
    return f'"{cut(str(text).replace(chr(34), chr(39)), length)}"'


def cut(text: str, length: int) -> str:
    """Return the text on one line, cut to `length` characters with … at its end."""
    line = BREAKS.sub(" ", text).strip()
    return line if len(line) <= length else f"{line[: length - 1].rstrip()}…"


def shorten_time(value: object) -> str:
    """Return a day as it is, and a time without its seconds: 2026-12-01T09:00Z."""
    text = str(value)
    return f"{text[:16]}Z" if "T" in text else text


def _status_of(task: Row) -> str:
    """Return the status; `cancelled` for a done task with that outcome."""
    return str(task["outcome"] if task["outcome"] == "cancelled" else task["status"])


def handle_of(user: object) -> str | None:
    """Return the handle of a user in a response, as in @ada, or None for null."""
    return f"@{user['handle']}" if isinstance(user, Mapping) else None


def _tags_text(tags: object) -> str:
    """Return the names of the tags in brackets, cut where they would take the place of the title.

    Brackets inside a name become parentheses.
    """
    if not isinstance(tags, list) or not tags:
        return ""
    names = ", ".join(str(tag["name"]) for tag in tags)
    return f"[{cut(names.translate(BRACKETS), MAX_TAGS_LENGTH)}]"


BRACKETS = str.maketrans("[]", "()")
