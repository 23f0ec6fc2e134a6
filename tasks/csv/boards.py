"""The JSON exports of Trello and GitHub, as tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from taskflow.http.errors import Invalid
from tasks.csv.tables import Row, Table, check_row_count
from tasks.csv.values import join_tags
from tasks.models.tasks import Status

Object = Mapping[str, object]
COMMENTS = "comment"  # the column that is repeated for each comment
MAX_EPOCH = 7_258_118_399  # seconds since 1970, in the year 2199


def read_trello(document: object) -> Table:
    """Return a row for each card of a Trello board, and for each item of its checklists.

    Raises Invalid if the document is not the JSON export of a board.
    """
    board = _as_object(document)
    if not isinstance(board.get("cards"), list):
        raise Invalid("The file is not the JSON export of a Trello board: it has no list “cards”.")
    lists = {_text(one, "id"): _text(one, "name") for one in _objects(board, "lists")}
    members = {_text(one, "id"): _text(one, "fullName") for one in _objects(board, "members")}
    comments = _comments_by_card(board)
    rows: list[dict[str, str | Sequence[str]]] = []
    checklists = _objects(board, "checklists")
    for card in _objects(board, "cards"):
        rows.append(
            _read_card(card, lists, members) | {COMMENTS: comments.get(_text(card, "id"), ())}
        )
        for checklist in checklists:
            if _text(checklist, "idCard") == _text(card, "id"):
                rows += [_read_item(item, card) for item in _objects(checklist, "checkItems")]
    return _build_table(rows)


def _read_card(
    card: Object, lists: Mapping[str, str], members: Mapping[str, str]
) -> dict[str, str | Sequence[str]]:
    names = [members.get(pk, pk) for pk in _strings(card, "idMembers")]
    labels = [_text(one, "name") or _text(one, "color") for one in _objects(card, "labels")]
    column = lists.get(_text(card, "idList"), "")
    is_done = card.get("dueComplete") is True
    return {
        "id": _text(card, "id"),
        "name": _text(card, "name"),
        "desc": _text(card, "desc"),
        "list": Status.DONE if is_done else column,
        "board list": column,
        "due": _text(card, "due"),
        "created": _read_creation_time(_text(card, "id")),
        "member": next(iter(names), ""),
        "members": "; ".join(names[1:]),
        "labels": join_tags(label for label in labels if label),
        "url": _text(card, "shortUrl"),
        "archived": "true" if card.get("closed") is True else "",
    }


def _read_item(item: Object, card: Object) -> dict[str, str | Sequence[str]]:
    """Return the row of an item of a checklist: a subtask of its card."""
    is_done = _text(item, "state") == "complete"
    return {
        "id": _text(item, "id"),
        "name": _text(item, "name"),
        "list": Status.DONE if is_done else Status.TODO,
        "parent": _text(card, "id"),
    }


def _comments_by_card(board: Object) -> dict[str, list[str]]:
    """Return the comments of each card as `time;author;text`, oldest first."""
    comments: dict[str, list[str]] = {}
    for action in reversed(_objects(board, "actions")):
        if _text(action, "type") == "commentCard":
            data, author = _as_object(action.get("data")), _as_object(action.get("memberCreator"))
            text = f"{_text(action, 'date')};{_text(author, 'fullName')};{_text(data, 'text')}"
            comments.setdefault(_text(_as_object(data.get("card")), "id"), []).append(text)
    return comments


def _read_creation_time(card_id: str) -> str:
    """Return the time in the first eight hexadecimal digits of a card's id; else an empty text."""
    try:
        seconds = int(card_id[:8], 16)
    except ValueError:
        return ""
    is_time = len(card_id) == 24 and 0 < seconds <= MAX_EPOCH
    return datetime.fromtimestamp(seconds, UTC).isoformat() if is_time else ""


def read_github(document: object) -> Table:
    """Return a row for each issue of a list: of the REST API, or of `gh issue list --json`.

    Pull requests, which the API lists too, are left out. Raises Invalid for another document.
    """
    if not isinstance(document, list):
        raise Invalid("The file is not a list of GitHub issues: send a JSON array of issues.")
    issues = [_as_object(issue) for issue in document]
    return _build_table([_read_issue(one) for one in issues if "pull_request" not in one])


def _read_issue(issue: Object) -> dict[str, str | Sequence[str]]:
    number = issue.get("number")
    url = _text(issue, "html_url") or _text(issue, "url")
    repository = "/".join(url.split("/")[3:5]) if "/issues/" in url else ""
    assignees = [_text(one, "login") for one in _objects(issue, "assignees")]
    author = _as_object(issue.get("user") or issue.get("author"))
    return {
        "ref": f"{repository}#{number}" if isinstance(number, int) else "",
        "number": f"#{number}" if isinstance(number, int) else "",
        "title": _text(issue, "title"),
        "body": _text(issue, "body"),
        "state": _text(issue, "state"),
        "state reason": _text(issue, "state_reason") or _text(issue, "stateReason"),
        "assignee": next(iter(assignees), ""),
        "assignees": "; ".join(assignees[1:]),
        "user": _text(author, "login"),
        "created": _text(issue, "created_at") or _text(issue, "createdAt"),
        "closed": _text(issue, "closed_at") or _text(issue, "closedAt"),
        "labels": join_tags(_text(label, "name") for label in _objects(issue, "labels")),
        "milestone": _text(_as_object(issue.get("milestone")), "title"),
        "url": url,
        COMMENTS: [_format_comment(one) for one in _objects(issue, "comments")],
    }


def _format_comment(comment: Object) -> str:
    """Return a comment as `time;author;text`."""
    author = _as_object(comment.get("user") or comment.get("author"))
    time = _text(comment, "created_at") or _text(comment, "createdAt")
    return f"{time};{_text(author, 'login')};{_text(comment, 'body')}"


# ---- documents ----------------------------------------------------------------------------------


def _build_table(rows: Sequence[Mapping[str, str | Sequence[str]]]) -> Table:
    """Return the rows as a table. The first row is number 1. Empty columns are left out."""
    check_row_count(len(rows))
    width = max((len(row.get(COMMENTS, ())) for row in rows), default=0)
    used = dict.fromkeys(name for row in rows for name, value in row.items() if value)
    headers = [name for name in used if name != COMMENTS]
    built = []
    for number, row in enumerate(rows, start=1):
        comments = [*row.get(COMMENTS, ())]
        cells = [str(row.get(name, "")) for name in headers]
        built.append(Row(number, None, [*cells, *comments]))
    return Table([*headers, *[COMMENTS] * width], built)


def _as_object(value: object) -> Object:
    return value if isinstance(value, dict) else {}


def _objects(document: Object, name: str) -> list[Object]:
    """Return the objects of a list; none if it is no list."""
    values = document.get(name)
    return [one for one in values if isinstance(one, dict)] if isinstance(values, list) else []


def _strings(document: Object, name: str) -> Iterable[str]:
    values = document.get(name)
    return [one for one in values if isinstance(one, str)] if isinstance(values, list) else []


def _text(document: Object, name: str) -> str:
    """Return a text of an object; an empty one if it has none, or another type."""
    value = document.get(name)
    return value if isinstance(value, str) else ""
