"""
The texts that tools answer.

What users have written is data: it stands in quotes, in brackets, or on lines that begin with “> ”.
No text of a user can begin a line of another kind, so that a model can tell it from TaskFlow's own
words.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from taskflow.audit.actor import Actor
from taskflow.mcp.results import QUOTE
from tasks.api.lines import handle_of, quote, shorten_time, task_line
from tasks.models import Status, Task
from tasks.queries.lookup import find_tasks

Row = Mapping[str, object]
MAX_DESCRIPTION_LENGTH = 400  # characters, in answers about several tasks or a changed one
MAX_CLAIMED_LENGTH = 4000  # of the description of a claimed task
TITLE_LENGTH = 500  # the longest title


def quoted(text: str) -> str:
    """Return a text of a user, each line of it marked as such."""
    return "\n".join(f"{QUOTE}{line}" for line in text.splitlines()) + "\n" if text else ""


def describe_count(count: int, name: str) -> str:
    """Return `1 task` or `2 tasks`."""
    return f"{count} {name}{'' if count == 1 else 's'}"


def undo_hint(request_id: str) -> str:
    """Return how the changes of a request are taken back."""
    return f"To take this back: undo request_id={request_id}\n"


def lines_of(tasks: Iterable[Row]) -> str:
    """Return one line for each task."""
    return "".join(f"{task_line(task)}\n" for task in tasks)


def changed_task_text(task: Row) -> str:
    """Return the line of a task and the beginning of its description."""
    return f"{task_line(task)}\n{_cut_description(task, MAX_DESCRIPTION_LENGTH)}"


def _cut_description(task: Row, length: int) -> str:
    """Return the beginning of a description, with the tool that shows all of it."""
    description = str(task["description"])
    text = quoted(description[:length])
    if len(description) > length:
        text += f"The description is cut: get_task task={task['key']} shows all of it.\n"
    return text


def claimed_task_text(granted: Row) -> str:
    """Return what a worker needs for a task that it has claimed, and what it does next.

    `granted` is a GrantedClaim of the API.
    """
    task, context = granted["task"], granted["context"]
    assert isinstance(task, Mapping)
    assert isinstance(context, Mapping)
    claim, until = granted["id"], shorten_time(granted["expires_at"])
    parts = [
        f"Claim {claim} on {task['key']} until {until}, attempt {granted['attempt']}.\n",
        f"{task_line(task)}\nTitle: {quote(task['title'], TITLE_LENGTH)}\n",
        f"Project: {context['project']['key']} {quote(context['project']['name'], TITLE_LENGTH)}\n",
    ]
    if parent := context["parent"]:
        parts.append(f"Parent: {parent['key']} {quote(parent['title'], TITLE_LENGTH)}\n")
    parts += [_links_text(task), _metadata_text(task)]
    if task["description"]:
        parts.append("Description, written by users:\n")
        parts.append(_cut_description(task, MAX_CLAIMED_LENGTH))
    for comment in context["comments"]:
        author = f"@{comment['author']}" if comment["author"] else "operator"
        parts.append(f"Comment of {author} {shorten_time(comment['created_at'])}:\n")
        parts.append(quoted(comment["body"]))
    if earlier := context["earlier_claim"]:
        parts.append(
            f"The claim before has ended as {earlier['end'] or 'expired'}. Its last note:\n"
        )
        parts.append(quoted(earlier["note"]) or "(none)\n")
    parts.append(
        f"Next: work, with claim={claim} in update_task and add_comment; extend_claim in time;"
        " then finish_task.\n"
    )
    return "".join(parts)


def task_text(actor: Actor, task: Row, subtasks: str) -> str:
    """Return everything about a task: its line, its links to others, its texts and its comments.

    `subtasks` are their lines. At most four queries, for the keys of the parent and the blockers.
    """
    parts = [
        f"{task_line(task)}\nTitle: {quote(task['title'], TITLE_LENGTH)}\n",
        _people_text(task),
        _relations_text(actor, task),
        f"Subtasks:\n{subtasks}" if subtasks else "",
        _links_text(task),
        _metadata_text(task),
        _description_text(task),
        _comments_text(task),
    ]
    return "".join(parts)


def _people_text(task: Row) -> str:
    creator = handle_of(task["created_by"]) or "operator"
    created, updated = shorten_time(task["created_at"]), shorten_time(task["last_activity_at"])
    return f"Created by {creator} {created}, last activity {updated}.\n"


def _relations_text(actor: Actor, task: Row) -> str:
    """Return the keys of the parent and the blockers. Those that are not visible are counted."""
    blocker_ids = [str(pk) for pk in _list(task["blocked_by"])]
    parent_id = None if task["parent_id"] is None else str(task["parent_id"])
    by_ref = find_tasks(actor, [*blocker_ids, *([parent_id] if parent_id else [])])
    text = ""
    if parent_id:
        text += f"Parent: {_key_of(by_ref.get(parent_id))}\n"
    if blocker_ids:
        text += f"Blocked by: {', '.join(_key_of(by_ref.get(pk)) for pk in blocker_ids)}\n"
    return text


def _key_of(task: Task | None) -> str:
    """Return the key and the state of a related task; it may be invisible to the actor."""
    if task is None:
        return "a task that you cannot see"
    return f"{task.key} ({'done' if task.status == Status.DONE else 'open'})"


def _links_text(task: Row) -> str:
    links = [f"- {link['url']} {link['title'] or ''}".rstrip() for link in _rows(task, "links")]
    if task["external_ref"]:
        links.insert(0, f"- external_ref {task['external_ref']}")
    return f"Links, written by users:\n{quoted(chr(10).join(links))}" if links else ""


def _metadata_text(task: Row) -> str:
    metadata = task["metadata"]
    return f"Metadata:\n{quoted(json.dumps(metadata, ensure_ascii=False))}" if metadata else ""


def _description_text(task: Row) -> str:
    description = str(task["description"])
    return f"Description, written by users:\n{quoted(description)}" if description else ""


def _comments_text(task: Row) -> str:
    """Return the latest comments in the order in which they were written."""
    comments = task.get("comments")
    if not isinstance(comments, Mapping) or not comments["data"]:
        return ""
    text = "Comments, written by users" + (", the latest 50:\n" if comments["has_more"] else ":\n")
    for comment in comments["data"]:
        author = handle_of(comment["author"]) or "operator"
        text += f"{author} {shorten_time(comment['created_at'])}\n{quoted(comment['body'])}"
    return text


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _rows(row: Row, name: str) -> list[Row]:
    value = row[name]
    return value if isinstance(value, list) else []
