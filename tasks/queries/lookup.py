"""From what a caller wrote to the row he means, among those he may see."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from django.db.models import Model, Q, QuerySet

from accounts.models import User
from taskflow.audit.actor import Actor
from taskflow.db.query import QueryCache
from taskflow.db.statements import Among, Ids
from taskflow.db.viewer import Viewer
from taskflow.http.errors import Invalid, NotFound
from taskflow.http.schema import LARGEST_ID
from taskflow.tenancy import with_tenant_parameter
from tasks.models import Comment, FormerNumber, Page, Project, ProjectMember, Tag, Task

M = TypeVar("M", bound=Model)
PROJECT_KEY = re.compile(r"[A-Za-z]{2,10}")
TASK_KEY = re.compile(r"([A-Za-z]{2,10})-([1-9][0-9]{0,8})")
# What the fields of bodies name by id.
NOUNS = {
    "assignee_id": "user",
    "owner_id": "user",
    "user_id": "user",
    "project_id": "project",
    "task_id": "task",
    "parent_id": "task",
    "blocked_by": "task",
}
NUMBER = re.compile(r"[1-9][0-9]{0,18}")


def read_id(text: str) -> int | None:
    """A positive id that fits the database, else None."""
    return int(text) if NUMBER.fullmatch(text) and int(text) <= LARGEST_ID else None


def project_query(ref: str) -> Q:
    """A project by id or key; what is neither finds none."""
    try:
        return Q(**named_project(ref))
    except NotFound:
        return Q(pk__in=[])


def named_project(ref: str) -> dict[str, Any]:
    """By which columns the project with this id or key is found. Raises NotFound for neither."""
    if number := read_id(ref):
        return {"pk": number}
    if not PROJECT_KEY.fullmatch(ref):
        raise NotFound("There is no such project.")
    return {"key": ref.upper()}


def find_project(actor: Actor, ref: str) -> Project:
    """The project with this id or key. Raises NotFound."""
    return _one(_seen(actor, Project, **named_project(ref)), "project")


def key_query(text: str) -> Q:
    """A task as WEB-12; an empty question for what is no key."""
    found = read_task_key(text)
    return Q(project__key=found[0], number=found[1]) if found else Q()


def read_task_key(text: str) -> tuple[str, int] | None:
    """WEB-12 as ("WEB", 12)."""
    match = TASK_KEY.fullmatch(text.strip())
    return (match[1].upper(), int(match[2])) if match else None


def named_task(ref: str) -> dict[str, Any]:
    """By which columns the task with this id or key is found. Raises NotFound for neither."""
    if number := read_id(ref):
        return {"pk": number}
    key = read_task_key(ref)
    if key is None:
        raise NotFound("There is no such task.")
    return {"project__key": key[0], "number": key[1]}


def find_task(actor: Actor, ref: str) -> Task:
    """The task with this id or key, one it had before it moved too. Raises NotFound."""
    found = _seen(actor, Task, **named_task(ref))
    if not found and (pk := former_id(ref)):
        found = _seen(actor, Task, pk=pk)
    return _one(found, "task")


def former_id(ref: str) -> int | None:
    """The id of the task that had this key before it moved."""
    return _former_ids([ref]).get(ref.upper())


def find_tasks(actor: Actor, refs: Iterable[str]) -> dict[str, Task]:
    """The tasks with these ids or keys, by what was asked; the same row is the same object.

    What cannot be seen is left out.
    """
    asked = set(refs)
    rows = Task.objects.visible_to(actor.viewer).select_related("project", "assignee")
    ids = {ref: read_id(ref) for ref in asked}
    keyed = [ref for ref in asked if TASK_KEY.fullmatch(ref)]
    wanted = Q(pk__in=sorted(pk for pk in ids.values() if pk))
    numbers = _numbers_by_key(keyed)
    for key, found in numbers.items():
        wanted |= Q(project__key=key, number__in=found)
    by_id = {task.pk: task for task in _shown(actor, rows.filter(wanted))} if asked else {}
    by_key = {task.key: task for task in by_id.values()}
    missed = _former_ids([ref for ref in keyed if ref.upper() not in by_key])
    if unknown := set(missed.values()) - by_id.keys():
        moved = rows.filter(pk__in=sorted(unknown))
        by_id |= {task.pk: task for task in _shown(actor, moved)}
    by_ref = {ref: by_id.get(pk) if pk else None for ref, pk in ids.items()}
    by_ref |= {r: by_key.get(r.upper()) or by_id.get(missed.get(r.upper(), 0)) for r in keyed}
    return {ref: task for ref, task in by_ref.items() if task}


def _numbers_by_key(refs: Iterable[str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for ref in refs:
        if match := TASK_KEY.fullmatch(ref):
            found.setdefault(match[1].upper(), []).append(int(match[2]))
    return found


def _former_ids(refs: Iterable[str]) -> dict[str, int]:
    """Ids of tasks that moved, by the key they had, in capitals."""
    wanted = Q()
    for key, numbers in _numbers_by_key(refs).items():
        wanted |= Q(project__key=key, number__in=numbers)
    rows = FormerNumber.objects.filter(wanted) if wanted else FormerNumber.objects.none()
    found = rows.values_list("project__key", "number", "task_id")
    return {f"{key}-{number}": task_id for key, number, task_id in found}


def find_member(actor: Actor, member_id: int) -> ProjectMember:
    return _one(_seen(actor, ProjectMember, pk=member_id), "membership")


def find_comment(actor: Actor, comment_id: int) -> Comment:
    return _one(_seen(actor, Comment, pk=comment_id), "comment")


def find_page(actor: Actor, page_id: int) -> Page:
    return _one(_seen(actor, Page, pk=page_id), "page")


def find_user(actor: Actor, user_id: int) -> User:
    found: User = _one(_seen(actor, User, pk=user_id), "user")
    return found


def find_tag(actor: Actor, tag_id: int) -> Tag:
    return _one(_seen(actor, Tag, pk=tag_id), "tag")


def _one(rows: list[M], noun: str) -> M:
    if not rows:
        raise NotFound(f"There is no such {noun}.")
    return rows[0]


def _seen(actor: Actor, model: type[M], **named: Any) -> list[M]:
    """The rows that the actor sees and that are named so, with what their rules look at."""
    return _shown(
        actor, SEEN.fetch_objects((model, tuple(named)), actor.viewer, tuple(named.values()))
    )


def is_seen(actor: Actor, model: type[Model], **named: Any) -> bool:
    """Whether the actor sees a row that is named so. Asked last."""
    names, values = tuple(named), tuple(named.values())
    return bool(SEEN.fetch((model, names), actor.viewer, values, commit_with=True))


def _shown(actor: Actor, rows: Iterable[M]) -> list[M]:
    """The rows, whose projects know that the actor works there: else he would not see them."""
    found = list(rows)
    if not actor.is_staff:
        for row in found:
            project = row if isinstance(row, Project) else getattr(row, "project", None)
            if project is not None:
                project.shown_to = actor.user.pk
    return found


@with_tenant_parameter
def _seen_rows(model: Any, names: tuple[str, ...], viewer: Viewer, values: Any) -> QuerySet[Any]:
    rows: QuerySet[Any] = model.objects.visible_to(viewer).order_by("pk")
    if model in LOADED:
        rows = rows.select_related(*LOADED[model])
    if names == IDS:
        return rows.filter(Among("pk", values))
    return rows.filter(**dict(zip(names, values, strict=True)))


IDS = ("ids",)  # any number of them
SEEN = QueryCache(_seen_rows)
LOADED: Mapping[type[Model], tuple[str, ...]] = {
    Project: ("owner",),
    ProjectMember: ("project", "user"),
    Task: ("project", "assignee"),
    Comment: ("task__project", "author"),
    Page: ("project", "owner"),
}


# ---- references in a body -----------------------------------------------------------------------


def referred_user(actor: Actor, user_id: int, field: str) -> User:
    found: User = References(actor, [{"user_id": user_id}]).find("user", user_id, field)
    return found


def resolve(actor: Actor, body: Mapping[str, Any]) -> dict[str, Any]:
    """One body with rows in place of ids: see References."""
    return References(actor, [body]).resolve(body)


class References:
    """The rows that bodies name by id, looked up once for all of them.

    One that cannot be seen is as wrong as one that does not exist.
    """

    def __init__(self, actor: Actor, bodies: Iterable[Mapping[str, Any]]) -> None:
        named: dict[str, set[int]] = {"user": set(), "project": set(), "task": set()}
        for body in bodies:
            for field in body.keys() & NOUNS.keys():
                named[NOUNS[field]] |= set(_as_list(body[field]))
        models: dict[str, Any] = {"user": User, "project": Project, "task": Task}
        self.rows: dict[str, dict[int, Any]] = {}
        for noun, model in models.items():
            ids = Ids(tuple(sorted(named[noun])))
            rows: list[Any] = (
                SEEN.fetch_objects((model, IDS), actor.viewer, ids) if ids.values else []
            )
            self.rows[noun] = {row.pk: row for row in _shown(actor, rows)}

    def resolve(self, body: Mapping[str, Any], *, known: Iterable[Task] = ()) -> dict[str, Any]:
        """The body with rows in place of ids, `assignee` for `assignee_id`.

        `known` are blockers that may be named unseen: they are on the task already. Raises Invalid.
        """
        self.rows["task"] = {task.pk: task for task in known} | self.rows["task"]
        values = {}
        for field, value in body.items():
            noun = NOUNS.get(field)
            if noun is None:
                values[field] = value
            elif isinstance(value, list):
                found = [self.find(noun, pk, f"{field}/{n}") for n, pk in enumerate(value)]
                values[field] = list({row.pk: row for row in found}.values())
            else:
                values[field.removesuffix("_id")] = value and self.find(noun, value, field)
        return values

    def find(self, noun: str, pk: int, field: str) -> Any:
        if pk not in self.rows[noun]:
            raise _unknown(field, noun)
        return self.rows[noun][pk]


def _as_list(value: Any) -> list[int]:
    return value if isinstance(value, list) else [value] if value else []


def _unknown(field: str, noun: str) -> Invalid:
    return Invalid.field(field, f"There is no such {noun}.", "unknown_reference")
