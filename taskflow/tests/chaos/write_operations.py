"""
Random requests of every write operation, on a few rows that several clients share.

Methods, paths and bodies are those of the permission matrix, so that a new operation of the API is
raced as soon as it has its row there. VARIED and OTHER_PATHS add values that change more.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from conftest import API, PASSWORD
from taskflow.tests.test_permissions import MATRIX

WRITES = [name for name, (method, *_) in MATRIX.items() if method != "get"]
# Operations without credentials, which have no row in the matrix.
OPEN_WRITES = {
    "login": ("post", "/auth/login"),
    "register": ("post", "/auth/register"),
    "begin_enrolment": ("post", "/auth/second-factor"),
    "confirm_enrolment": ("post", "/auth/second-factor/confirmation"),
    "request_password_reset": ("post", "/auth/password-resets"),
    "complete_password_reset": ("post", "/auth/password-resets/completion"),
    "complete_email_change": ("post", "/auth/email-changes/completion"),
    "accept_invitation": ("post", "/invitations/acceptance"),
}
RACED = [*WRITES, *OPEN_WRITES]
# Which of the shared rows stands for each name in the paths and bodies of the matrix.
KIND_BY_NAME = {
    "bob": "user",
    "carl": "user",
    "eve": "user",
    "new": "user",
    "gone": "task",
    "free": "task",
    "second_project": "project",
}
TAG_NAMES = ["a", "b", "c"]
PASSWORDS = [PASSWORD, f"another {PASSWORD}"]


@dataclass
class Call:
    """A request, in the form that ApiClient takes."""

    method: str
    path: str  # behind /api/v1
    body: object = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def content_type(self) -> str:
        return "text/csv" if isinstance(self.body, str) else "application/json"


class Choice:
    """The shared rows of a race, from which one client takes at random.

    `ids` has the ids of each kind of row, `requests` the request ids that may be undone, and
    `handles` the users who have sent them.
    """

    def __init__(
        self,
        ids: Mapping[str, list[int]],
        requests: list[str],
        handles: list[str],
        chance: random.Random,
    ) -> None:
        self.ids, self.requests, self.handles, self.random = ids, requests, handles, chance

    def one(self, kind: str) -> int:
        return self.random.choice(self.ids[KIND_BY_NAME.get(kind, kind)])

    def some(self, kind: str, least: int = 0) -> list[int]:
        ids = self.ids[kind]
        return self.random.sample(ids, self.random.randint(least, min(2, len(ids))))

    def tags(self) -> list[str]:
        return self.random.sample(TAG_NAMES, self.random.randint(1, 2))

    def of(self, *values: object) -> object:
        return self.random.choice(values)

    def word(self) -> str:
        return f"w{self.random.randrange(10**6)}"

    def path(self, template: str) -> str:
        """Return the path with an id in place of each name in braces."""
        while "{" in template:
            before, _, rest = template.partition("{")
            name, _, after = rest.partition("}")
            template = f"{before}{self.one(name)}{after}"
        return template

    def body(self, body: object) -> object:
        """Return a body of the matrix, with ids in place of the names of rows."""
        if not isinstance(body, dict):
            return body
        return {key: self._value(value) for key, value in body.items()}

    def _value(self, value: object) -> object:
        is_name = isinstance(value, str) and KIND_BY_NAME.get(value, value) in self.ids
        return self.one(str(value)) if is_name else value


def build_call(operation: str, choice: Choice, partner: str) -> Call:
    """Return a request of the operation. A plan plans a request of `partner`."""
    if operation == "plan":
        return _plan(choice, partner)
    if operation in OPEN_WRITES:
        method, template = OPEN_WRITES[operation]
        return Call(method, template, VARIED[operation](choice))
    method, template, body, *_ = MATRIX[operation]
    template = choice.random.choice([template, *OTHER_PATHS.get(operation, [])])
    vary = VARIED.get(operation)
    sent = vary(choice) if vary and choice.random.random() < 0.8 else choice.body(body)
    return Call(method, choice.path(template), sent, _some_headers(choice))


def _some_headers(choice: Choice) -> dict[str, str]:
    """Sometimes a key that other clients of the user send too, as retries do."""
    if choice.random.random() < 0.15:
        return {"Idempotency-Key": f"key-{choice.random.randrange(10**9)}"}
    return {}


def _plan(choice: Choice, partner: str) -> Call:
    if partner == "plan" or partner in OPEN_WRITES:
        partner = choice.random.choice(["update_task", "delete_project", "bulk_edit_tasks", "undo"])
    planned = build_call(partner, choice, partner)
    body: dict[str, object] = {"method": planned.method.upper(), "path": f"{API}{planned.path}"}
    return Call("post", "/plans", body | ({"body": planned.body} if planned.body else {}))


def _change_task(choice: Choice) -> dict[str, object]:
    changes: list[dict[str, object]] = [
        {"title": choice.word()},
        {"tags": choice.tags()},
        {"blocked_by": choice.some("task")},
        {"parent_id": choice.of(None, choice.one("task"))},
        {"assignee_id": choice.of(None, choice.one("user"))},
        {"status": choice.of("todo", "in_progress", "done")},
    ]
    return choice.random.choice(changes)


def _change_project(choice: Choice) -> dict[str, object]:
    changes: list[dict[str, object]] = [
        {"name": choice.word()},
        {"key": choice.of("NEWA", "NEWB")},
        {"status": choice.of("active", "on_hold", "active", "completed", "archived")},
        {"owner_id": choice.one("user")},
    ]
    return choice.random.choice(changes)


def _change_user(choice: Choice) -> dict[str, object]:
    changes: list[dict[str, object]] = [
        {"full_name": choice.word()},
        {"is_active": choice.of(True, False)},
        {"is_staff": choice.of(True, False)},
    ]
    return choice.random.choice(changes)


def _change_many(choice: Choice) -> dict[str, object]:
    project = {"project_id": choice.one("project")}
    operations: list[dict[str, object]] = [
        {"op": "complete", "id": choice.one("task"), "force": True},
        {"op": "reopen", "id": choice.one("task"), "force": True},
        {"op": "move", "id": choice.one("task"), "data": project},
        {"op": "tag", "id": choice.one("task"), "data": {"tags": choice.tags()}},
        {"op": "untag", "id": choice.one("task"), "data": {"tags": choice.tags()}},
        {"op": "update", "id": choice.one("task"), "data": _change_task(choice)},
        {"op": "delete", "id": choice.one("task")},
        {"op": "create", "data": {**project, "title": "new", "tags": choice.tags()}},
        {"op": "complete", "where": {"project": choice.one("project")}, "force": True},
    ]
    chosen = choice.random.sample(operations, choice.random.randint(1, 4))
    return {"operations": chosen, "on_error": choice.of("skip", "refuse")}


def _new_task(choice: Choice) -> dict[str, object]:
    more = {"tags": choice.tags(), "blocked_by": choice.some("task")}
    return {"project_id": choice.one("project"), "title": choice.word(), **more}


def _undo(choice: Choice) -> dict[str, object]:
    return {
        "request_id": choice.of(*choice.requests),
        "actor": f"@{choice.of(*choice.handles)}",
        "on_conflict": "skip",
    }


VARIED: Mapping[str, Callable[[Choice], object]] = {
    "login": lambda c: {"email": c.of("ada@acme.example", "boss@acme.example"), "password": "x"},
    "begin_enrolment": lambda c: {"email": "boss@acme.example", "password": c.of(*PASSWORDS)},
    "confirm_enrolment": lambda c: {
        "email": "boss@acme.example",
        "password": c.of(*PASSWORDS),
        "otp": "123456",
    },
    "register": lambda c: {
        "tenant_name": "Many",
        "subdomain": c.of("one", "two", "three"),
        "full_name": "May Any",
        "email": "may@many.example",
        "password": PASSWORD,
    },
    "request_password_reset": lambda c: {"email": c.of("ada@acme.example", "x@acme.example")},
    "complete_email_change": lambda c: {"token": "tm_1_x"},
    "complete_password_reset": lambda c: {"token": "tm_1_x", "password": c.of(*PASSWORDS)},
    "accept_invitation": lambda c: {"token": "tm_1_x", "password": c.of(*PASSWORDS)},
    "create_invitation": lambda c: {"email": f"{c.of('i', 'j')}@x.example"},
    "change_password": lambda c: {
        "current_password": c.of(*PASSWORDS),
        "new_password": c.of(*PASSWORDS),
    },
    "create_user": lambda c: {"email": f"{c.of('n', 'm')}@x.example"},
    "update_user": _change_user,
    "put_user": _change_user,
    "offboard_user": lambda c: {"hand_over_to": c.of(None, c.one("user"))},
    "create_project": lambda c: {"name": c.word(), "key": c.of("NEWA", "NEWB", None)},
    "update_project": _change_project,
    "put_project": _change_project,
    "import_tasks": lambda c: f"title,tags\n{c.word()},{c.of(*TAG_NAMES)}\n{c.word()},\n",
    "update_member": lambda c: {"role": c.of("owner", "admin", "member")},
    "create_task": _new_task,
    "update_task": _change_task,
    "put_task": _change_task,
    "upsert_task": lambda c: {"title": c.word(), "tags": c.tags()},
    "bulk_edit_tasks": _change_many,
    "undo": _undo,
    "create_view": lambda c: {"name": c.word(), "where": {"tag": c.tags()}},
    "update_view": lambda c: {"name": c.word()},
    "put_view": lambda c: {"name": c.word()},
    "create_tag": lambda c: {"name": c.of(*TAG_NAMES)},
    "update_tag": lambda c: {"name": c.of(*TAG_NAMES, "d")},
    "put_tag": lambda c: {"name": c.of(*TAG_NAMES, "d")},
}
OTHER_PATHS: Mapping[str, list[str]] = {
    "complete_task": ["/tasks/{task}/completion?force=true"],
    "reopen_task": ["/tasks/{task}/completion?force=true"],
    "restore": [
        "/trash/project/{project}/restoration",
        "/trash/page/{page}/restoration",
        "/trash/comment/{comment}/restoration",
    ],
    "purge": ["/trash/project/{project}", "/trash/page/{page}", "/trash/comment/{comment}"],
}
