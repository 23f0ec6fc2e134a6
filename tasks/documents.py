"""How the database builds what schemas/ describes, compiled once for each way of asking."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any, TypeVar

from django.db.models import BooleanField, Case, CharField, F, OuterRef, Q, Value, When

from accounts.actor import Actor
from accounts.tenancy import without_tenant
from taskflow.documents import Document, Found, Items, Joined, Param, Reading
from taskflow.errors import NotFound
from tasks.find import TASK_KEY, former_id, read_id
from tasks.models import Status, Tag, Task
from tasks.models.tasks import is_blocked
from tasks.schemas.tags import TagRef
from tasks.schemas.tasks import TaskResponse

M = TypeVar("M")


def task_document() -> Document:
    blockers = Task.objects.present().filter(blocking=OuterRef("pk")).order_by("pk")
    tags = Tag.objects.filter(tasks=OuterRef("pk")).order_by("name", "id")
    return Document(
        TaskResponse,
        key=Joined(F("project__key"), Value("-"), F("number")),
        completed=_holds(Q(status=Status.DONE)),
        ready=_holds(~Q(status=Status.DONE) & ~Q(is_blocked())),
        blocked_by=Items(blockers, "pk"),
        tags=Items(tags, Document(TagRef)),
    )


def found_task(actor: Actor, **named: Any) -> Found:
    """The task with this `id`, or this `key` and `number`, as an answer."""
    bounds = {f"project{n}": pk for n, pk in enumerate(actor.project_ids or ())}
    reading = _read_task(actor.is_staff, actor.project_ids is not None, len(bounds), *sorted(named))
    holes = {"tenant": actor.tenant.pk, "user": actor.user.pk, **bounds, **named}
    return Found(reading, holes)


def task_by_ref(actor: Actor, ref: str) -> Found:
    """The task with this id or key, one it had before it moved too, as an answer."""
    if number := read_id(ref):
        return found_task(actor, id=number)
    match = TASK_KEY.fullmatch(ref.strip())
    if match is None:
        raise NotFound("There is no such task.")
    found = found_task(actor, key=match[1].upper(), number=int(match[2]))

    def moved() -> Found | None:
        pk = former_id(ref)
        return found_task(actor, id=pk) if pk else None

    return replace(found, otherwise=moved)


HOLES = {
    "id": Q(pk=Param("id")),
    "key": Q(project__key=Param("key", CharField())),
    "number": Q(number=Param("number")),
}


@cache
def _read_task(is_staff: bool, is_bound: bool, bounds: int, *named: str) -> Reading:
    """For actors of one kind: what they may see is the same question, with other values."""
    projects = [Param(f"project{n}") for n in range(bounds)] if is_bound else None
    anybody: Any = SimpleNamespace(
        user=SimpleNamespace(pk=Param("user")), is_staff=is_staff, project_ids=projects
    )
    return Reading(
        "task",
        _with_holes(lambda: Task.objects.visible_to(anybody).filter(*(HOLES[n] for n in named))),
        _with_holes(task_document),
    )


def _with_holes(make: Callable[[], M]) -> Callable[[], M]:
    def made() -> M:
        with without_tenant():
            return make()

    return made


def _holds(question: Q) -> Case:
    return Case(When(question, then=True), default=False, output_field=BooleanField())
