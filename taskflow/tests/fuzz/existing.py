"""Values of the demo in place of generated ones, so that requests find objects."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

from accounts.models import ApiToken, User
from tasks.models import Comment, Page, Project, ProjectMember, Tag, Task

EXISTING_PERCENT = 80  # of the values with a known name
MAX_LIST_LENGTH = 3
# What a valid body may name in one of two ways, or has to name.
REFERENCES = ("project", "task", "parent", "assignee", "owner", "user")
HEADERS = {
    "X-Reason": ["nightly clean-up", "f%C3%BCr%20Ada", "100%25"],
    "X-On-Behalf-Of": ["@ada", "1"],
    "If-Match": ["*", '"task-1-1"', '"project-1-1-abc"'],
    "Idempotency-Key": ["a", "b", "c"],
}


def digest(*parts: object) -> int:
    """Return a number that depends on the parts only, in every process."""
    return zlib.crc32(json.dumps(parts, default=str, sort_keys=True).encode())


def is_chosen(number: int) -> bool:
    return number % 100 < EXISTING_PERCENT


class Existing:
    """The values that exist, by the name under which they are sent.

    Which of them replaces a value depends on the key and the name only, so that a run with the same
    seed sends the same requests.
    """

    def __init__(self, values: dict[str, list[Any]]) -> None:
        self.values = values

    def put_into(self, sent: Any, key: int) -> Any:
        """Return what is sent with existing values under most of the known names, at any depth."""
        if isinstance(sent, list):
            return [self.put_into(item, digest(key, n)) for n, item in enumerate(sent)]
        if not isinstance(sent, dict):
            return sent
        return {name: self._replace(name, value, digest(key, name)) for name, value in sent.items()}

    def put_into_headers(self, headers: Mapping[str, str] | None, key: int) -> dict[str, str]:
        """put_into() for headers. Most of the users who send may not act on behalf of others."""
        replaced = self.put_into(dict(headers or {}), key)
        sent = {name: str(value) for name, value in replaced.items()}  # a header may be called task
        if is_chosen(digest(key, "on behalf")):
            sent.pop("X-On-Behalf-Of", None)
        return sent

    def put_into_body(self, body: Any, key: int) -> Any:
        """put_into() for a body. Also names most rows in one way, not in two or in none."""
        body = self.put_into(body, key)
        if not isinstance(body, dict) or not is_chosen(digest(key, "references")):
            return body
        twice = {f"{name}_id" for name in REFERENCES if name in body}
        return {name: value for name, value in body.items() if name not in twice}

    def _replace(self, name: str, value: Any, key: int) -> Any:
        known = self.values.get(name)
        if not known or value is None or not is_chosen(key):
            return self.put_into(value, key)
        if isinstance(value, list):
            numbers = range(min(len(value), MAX_LIST_LENGTH))
            return [known[digest(key, number) % len(known)] for number in numbers]
        return known[key % len(known)]


def list_existing_values() -> Existing:
    """Return the ids, keys and handles of the tenant of the current unit of work."""
    projects = [value for row in Project.objects.order_by("pk") for value in (row.pk, row.key)]
    rows = Task.objects.select_related("project").order_by("pk")
    tasks = [value for row in rows for value in (row.pk, row.key)]
    handles = [value for row in User.objects.order_by("pk") for value in (row.pk, f"@{row.handle}")]
    users = ["me", *handles]
    tags = list(Tag.objects.order_by("pk").values_list("name", flat=True))
    values = HEADERS | {
        "project": projects,
        **dict.fromkeys(("task", "parent", "blocked_by", "id"), tasks),
        **dict.fromkeys(("assignee", "author", "created_by", "owner", "user", "actor"), users),
        "hand_over_to": users,
        **dict.fromkeys(("tag", "tag_not", "tag_all", "tag_all_not", "tags"), tags),
    }
    models = {"comment": Comment, "page": Page, "member": ProjectMember, "tag": Tag}
    models |= {"token": ApiToken, "user": User, "project": Project, "task": Task}
    for name, model in models.items():
        values[f"{name}_id"] = list(model.objects.order_by("pk").values_list("pk", flat=True))
    values |= {"assignee_id": values["user_id"], "owner_id": values["user_id"]}
    values |= {"parent_id": values["task_id"], "row_id": values["task_id"]}
    return Existing(values)
