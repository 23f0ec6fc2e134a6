"""The requests of the API that make the inverse change of an event, on the row as it is now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from taskflow.audit.models import Event
from taskflow.audit.resource_types import resource_types
from taskflow.audit.values import as_recorded, is_creation, is_deletion, read_column
from tasks.models import Project, ProjectMember, Tag, Task
from tasks.models.registry import require_project

# Columns that requests do not set: they follow from the others.
DERIVED = {"completed_at", "published_at", "edited_at", "number", "deleted_at", "created_at"}
LINKS = ("tags", "blocked_by")


@dataclass
class Request:
    method: str
    path: str
    body: dict[str, Any] = field(default_factory=dict)


class NoInverse(Exception):
    """The API has no request that makes the inverse change. The message is the reason."""


def find_inverse(event: Event) -> list[Request]:
    """Return the requests that make the inverse change, in their order.

    What is in the trash is restored first. Raises NoInverse.
    """
    model = resource_types()[event.subject_type].model
    row = model._base_manager.filter(pk=event.subject_id).first()
    if is_deletion(model, event.changes):
        return _recreate(event, row)
    if row is None:
        raise NoInverse("The row was deleted permanently.")
    before = list(_restorations(row))
    if "deleted_at" in event.changes and event.changes["deleted_at"][0] is None:
        if not before:
            raise NoInverse("The row was restored already.")
        return before
    if is_creation(model, event.changes) or "deleted_at" in event.changes:
        if getattr(row, "deleted_at", None) is not None:
            raise NoInverse("The row is in the trash again.")
        return [*before, *_remove(event, row)]
    return [*before, *_change_back(event, row)]


def _recreate(event: Event, row: Any) -> list[Request]:
    if event.subject_type != "projectmember" or row is not None:
        raise NoInverse("The API creates rows with new ids.")
    values = {name: before for name, (before, _after) in event.changes.items()}
    project = Project.everything.filter(pk=values["project"]).first()
    if project is None:
        raise NoInverse("The project was deleted permanently.")
    body = {"user_id": values["user"], "role": values["role"]}
    create = Request("post", f"/projects/{project.pk}/members", body)
    return [*_restorations(project), create]


def _remove(event: Event, row: Any) -> list[Request]:
    if event.subject_type == "user":
        return [Request("patch", f"/users/{row.pk}", {"is_active": False})]
    paths = {"projectmember": "members", "apitoken": "tokens"}
    collection = paths.get(event.subject_type, f"{event.subject_type}s")
    return [Request("delete", f"/{collection}/{row.pk}")]


def _restorations(row: Any) -> Iterator[Request]:
    """Yield the requests that restore the row, and what it belongs to, from the trash."""
    chain: list[Any] = []
    if isinstance(row, ProjectMember) or resource_types()[row._meta.model_name].belongs_to:
        chain.append(require_project(row))
    task = row if isinstance(row, Task) else getattr(row, "task", None)
    if task is not None:
        while task.parent and task.parent.deleted_at == task.deleted_at and task.deleted_at:
            task = task.parent
        chain.append(task)
    if not isinstance(row, Task) and hasattr(row, "deleted_at"):
        chain.append(row)
    for one in chain:
        if one.deleted_at is not None:
            path = f"/trash/{one._meta.model_name}/{one.pk}/restoration"
            yield Request("post", f"{path}?force=true" if one is task else path)


def _change_back(event: Event, row: Any) -> Iterator[Request]:
    former = {n: before for n, (before, _after) in event.changes.items() if n not in DERIVED}
    columns = former.keys() - {*LINKS}
    is_same = all(as_recorded(read_column(row, n)) == former[n] for n in columns)
    if is_same and columns == former.keys():
        raise NoInverse("The row has the former values already.")
    if "project" in former and event.subject_type == "task":
        yield Request("post", f"/tasks/{row.pk}/move", {"project_id": former.pop("project")})
        former = {}  # a move changes nothing else; its inverse is a move
    if "is_published" in former:
        method = "post" if former.pop("is_published") else "delete"
        yield Request(method, f"/pages/{row.pk}/publication")
    body = {f"{n}_id" if _is_reference(row, n) else n: v for n, v in former.items()}
    for name in LINKS:
        if name in body:
            body[name] = _links_before(event, row, name)
    if "outcome" in body and body["outcome"] is None:
        del body["outcome"]
    if not body:
        return
    if event.subject_type == "task":
        _check_not_in_trash(event)
    path = f"/{event.subject_type}s/{row.pk}"
    path = {"tenant": "/tenant", "projectmember": f"/members/{row.pk}"}.get(event.subject_type, path)  # fmt: skip
    yield Request("patch", path + "?force=true" * (event.subject_type in ("task", "project")), body)


def _is_reference(row: Any, name: str) -> bool:
    column = row._meta.get_field(name)
    return bool(column.is_relation and not column.many_to_many)


def _links_before(event: Event, row: Any, name: str) -> list[Any]:
    """Return the present links without those that the event has added, with those it removed."""
    before, after = (set(ids) for ids in event.changes[name])
    present = set(getattr(row, name).values_list("pk", flat=True))
    wanted = sorted((present - (after - before)) | (before - after))
    if name == "blocked_by":
        return wanted
    names = dict(Tag.objects.filter(pk__in=wanted).values_list("pk", "name"))
    if len(names) < len(wanted):
        raise NoInverse("The tag was deleted. A request would create another one.")
    return list(names.values())


def _check_not_in_trash(event: Event) -> None:
    """Raise NoInverse if the event refers to a task in the trash, which requests cannot name."""
    ids = {pk for name in ("blocked_by",) for side in event.changes.get(name, ()) for pk in side or ()}  # fmt: skip
    ids |= {pk for pk in event.changes.get("parent", ()) if pk}
    rows = Task.everything.filter(pk__in=ids)
    if rows.filter(deleted_at__isnull=False).exists() or rows.filter(project__deleted_at__isnull=False).exists():  # fmt: skip
        raise NoInverse("It refers to a task in the trash.")
