"""Resolve ids, keys and handles to rows that are visible to the actor."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from functools import reduce
from operator import or_
from typing import Any, TypeVar

from django.db.models import Model, Q, QuerySet

from accounts.models import User
from accounts.queries import register_project_finder
from taskflow.audit.actor import Actor
from taskflow.audit.resource_types import type_of_model
from taskflow.db.query import QueryCache
from taskflow.db.statements import IdArray, IsInIds
from taskflow.db.text import fold
from taskflow.db.types import MAX_ID
from taskflow.db.viewer import Viewer
from taskflow.http.errors import NotFound
from taskflow.http.responses import Lookup
from taskflow.tenancy import with_tenant_parameter
from tasks.models import FormerNumber, Project, ProjectKey, Task
from tasks.models.projects import KEY_PATTERN, ViewerRole, role_subquery
from tasks.models.registry import project_path, require_project

M = TypeVar("M", bound=Model)
PROJECT_KEY_PATTERN = re.compile(KEY_PATTERN.pattern, re.IGNORECASE | re.ASCII)
TASK_KEY_PATTERN = re.compile(
    rf"({KEY_PATTERN.pattern})-([1-9][0-9]{{0,8}})", re.IGNORECASE | re.ASCII
)
ID_PATTERN = re.compile(r"[1-9][0-9]{0,18}")


def read_id(text: str) -> int | None:
    """Return a positive id that fits the database, or None."""
    return int(text) if ID_PATTERN.fullmatch(text) and int(text) <= MAX_ID else None


def project_query(ref: str) -> Q:
    """Return the condition that selects a project by id or key. Other text selects no project."""
    try:
        return Q(**project_lookup(ref))
    except NotFound:
        return Q(pk__in=[])


def project_lookup(ref: str) -> Lookup:
    """Return the column and value that select the project with this id or key.

    Raises NotFound for text that is neither.
    """
    ref = ref.strip()
    if number := read_id(ref):
        return {"pk": number}
    if not PROJECT_KEY_PATTERN.fullmatch(ref):
        raise NotFound("There is no such project.")
    return {"key": ref.upper()}


def find_project(actor: Actor, ref: str) -> Project:
    """Return the visible project with this id or key. A former key finds it too.

    One query, three for a former key. Raises NotFound.
    """
    rows = _find_visible(actor, Project, **project_lookup(ref))
    if not rows and (pk := find_project_id_by_any_key(ref)):
        rows = _find_visible(actor, Project, pk=pk)
    return _get_first(rows, "project")


def find_project_id_by_any_key(ref: str) -> int | None:
    """Return the id of the project that has or had this key, or None. One query."""
    return find_project_ids_by_any_key([ref]).get(ref.upper())


def find_project_ids_by_any_key(refs: Iterable[str]) -> dict[str, int]:
    """Return the ids of projects by a key in capitals that they have or had. At most one query."""
    keys = sorted({ref.upper() for ref in refs if PROJECT_KEY_PATTERN.fullmatch(ref)})
    if not keys:
        return {}
    rows = ProjectKey.objects.filter(key__in=keys, project__isnull=False)
    return {key: pk for key, pk in rows.values_list("key", "project_id") if pk is not None}


def read_task_key(text: str) -> tuple[str, int] | None:
    """Return a task key such as WEB-12 as ("WEB", 12), or None for text that is no key."""
    match = TASK_KEY_PATTERN.fullmatch(text.strip())
    return (match[1].upper(), int(match[2])) if match else None


def task_lookup(ref: str) -> Lookup:
    """Return the columns and values that select the task with this id or key.

    Raises NotFound for text that is neither.
    """
    if number := read_id(ref):
        return {"pk": number}
    key = read_task_key(ref)
    if key is None:
        raise NotFound("There is no such task.")
    return {"project__key": key[0], "number": key[1]}


def find_task(actor: Actor, ref: str) -> Task:
    """Return the visible task with this id or key. A key from before the task was moved, or before
    its project got another key, finds it too.

    One query, four for a former key. Raises NotFound.
    """
    rows = _find_visible(actor, Task, **task_lookup(ref))
    if not rows and (pk := find_task_id_by_any_key(ref)):
        rows = _find_visible(actor, Task, pk=pk)
    return _get_first(rows, "task")


def find_task_id_by_any_key(text: str) -> int | None:
    """Return the id of the task that has or had this key, or None. Two queries for a key."""
    return _find_task_ids_by_any_key([text.strip()]).get(text.strip().upper())


def find_tasks(actor: Actor, refs: Iterable[str]) -> dict[str, Task]:
    """Return the visible tasks with these ids or keys, by the given text.

    A task that is given more than once is the same object each time. Tasks that are not visible are
    left out. At most four queries.
    """
    given = set(refs)
    rows = _with_role(Task.objects.visible_to(actor.viewer), actor.viewer)
    rows = rows.select_related("project", "assignee")
    ids = {ref: read_id(ref) for ref in given}
    keyed = [ref for ref in given if TASK_KEY_PATTERN.fullmatch(ref)]
    condition = Q(pk__in=sorted(pk for pk in ids.values() if pk))
    for key, numbers in _numbers_by_project_key(keyed).items():
        condition |= Q(project__key=key, number__in=numbers)
    by_id = {t.pk: t for t in _attach_roles(actor, rows.filter(condition))} if given else {}
    by_key = {task.key: task for task in by_id.values()}
    former_ids = _find_task_ids_by_any_key([ref for ref in keyed if ref.upper() not in by_key])
    if not_loaded := set(former_ids.values()) - by_id.keys():
        moved = rows.filter(pk__in=sorted(not_loaded))
        by_id |= {task.pk: task for task in _attach_roles(actor, moved)}
    by_ref = {ref: by_id.get(pk) if pk else None for ref, pk in ids.items()}
    by_ref |= {r: by_key.get(r.upper()) or by_id.get(former_ids.get(r.upper(), 0)) for r in keyed}
    return {ref: task for ref, task in by_ref.items() if task}


def _numbers_by_project_key(refs: Iterable[str]) -> dict[str, list[int]]:
    """Return the numbers in the task keys among `refs`, by project key in capitals."""
    numbers: dict[str, list[int]] = {}
    for ref in refs:
        if match := TASK_KEY_PATTERN.fullmatch(ref):
            numbers.setdefault(match[1].upper(), []).append(int(match[2]))
    return numbers


def _find_task_ids_by_any_key(refs: Iterable[str]) -> dict[str, int]:
    """Return the ids of tasks by a key in capitals that they have or had.

    The number may be from before the task was moved, and the project's key from before it was
    changed. Two queries, or none without keys.
    """
    condition = Q()
    for key, numbers in _numbers_by_project_key(refs).items():
        condition |= Q(project__keys__key=key, number__in=numbers)
    if not condition:
        return {}
    columns = ("project__keys__key", "number")
    moved = FormerNumber.objects.filter(condition).values_list(*columns, "task_id")
    present = Task.objects.filter(condition).values_list(*columns, "pk")
    return {f"{key}-{number}": task_id for key, number, task_id in (*moved, *present)}


def find_row(actor: Actor, model: type[M], row_id: int) -> M:
    """Return the visible row with this id. One query. Raises NotFound.

    It is loaded with the rows in its resource type's `select_related`, and with the actor's role in
    its project.
    """
    return _get_first(_find_visible(actor, model, pk=row_id), type_of_model(model).label)


def find_rows(actor: Actor, model: type[M], ids: Collection[int]) -> dict[int, M]:
    """Return the visible rows with these ids, by id. One query, or none without ids."""
    given = IdArray(tuple(sorted(ids)))
    rows: list[M] = VISIBLE_ROWS.fetch_objects((model, IDS), actor.viewer, given) if ids else []
    return {row.pk: row for row in _attach_roles(actor, rows)}


def _get_first(rows: list[M], label: str) -> M:
    """Return the first row. Raises NotFound with the label of the type if there is none."""
    if not rows:
        raise NotFound(f"There is no such {label}.")
    return rows[0]


def _find_visible(actor: Actor, model: type[M], **columns: object) -> list[M]:
    """Return the visible rows whose columns have these values. One query."""
    return _attach_roles(
        actor,
        VISIBLE_ROWS.fetch_objects((model, tuple(columns)), actor.viewer, tuple(columns.values())),
    )


def is_visible_row(actor: Actor, model: type[Model], **columns: object) -> bool:
    """Whether the actor can see a row whose columns have these values.

    One query. It must be the last of the request, because the transaction is committed with it.
    """
    names, values = tuple(columns), tuple(columns.values())
    return bool(VISIBLE_ROWS.fetch((model, names), actor.viewer, values, commit_with=True))


def _attach_roles(actor: Actor, rows: Iterable[M]) -> list[M]:
    """Return the rows, and move the actor's role, which was read with each row, to its project."""
    loaded = list(rows)
    for row in loaded:
        role = row.__dict__.pop("_viewer_role", None)
        if role is not None:
            require_project(row).viewer_role = ViewerRole(actor.user.pk, role)
    return loaded


def _with_role(rows: QuerySet[M], viewer: Viewer) -> QuerySet[Model, M]:
    """Add a column with the viewer's role in the project of each row.

    Staff need no role, so that nothing is added for them. The fields of `viewer` may be parameters.
    """
    path = project_path(rows.model)
    if path is None or viewer.is_staff:
        return rows
    annotated: QuerySet[Model, M] = rows.annotate(_viewer_role=role_subquery(viewer, path))
    return annotated


@with_tenant_parameter
def _visible_rows_query(
    model: Any, names: tuple[str, ...], viewer: Viewer, values: Any
) -> QuerySet[Any]:
    rows: QuerySet[Any] = model.objects.visible_to(viewer).order_by("pk")
    rows = _with_role(rows, viewer)
    if related := type_of_model(model).select_related:
        rows = rows.select_related(*related)
    if names == IDS:
        return rows.filter(IsInIds("pk", values))
    return rows.filter(**dict(zip(names, values, strict=True)))


IDS = ("ids",)  # in place of column names: select by any number of ids
VISIBLE_ROWS = QueryCache(_visible_rows_query)


# ---- ids by reference ---------------------------------------------------------------------------


def find_project_ids(actor: Actor, refs: Iterable[str]) -> dict[str, int]:
    """Return the ids of the visible projects with these ids or keys, by the given text.

    One query, and two more for former keys. Projects that are not visible are left out.
    """
    given = list(refs)
    visible = Project.objects.visible_to(actor.viewer)
    rows = visible.filter(reduce(or_, map(project_query, given)))
    ids = {str(ref): pk for pk, key in rows.values_list("pk", "key") for ref in (pk, key)}
    if former := [ref for ref in given if ref.upper() not in ids]:
        by_key = find_project_ids_by_any_key(former)
        present = set(visible.filter(pk__in=by_key.values()).values_list("pk", flat=True))
        ids |= {key: pk for key, pk in by_key.items() if pk in present}
    return {ref: ids[ref.upper()] for ref in given if ref.upper() in ids}


register_project_finder(find_project_ids)


def find_user_ids(actor: Actor, refs: Iterable[str]) -> dict[str, int]:
    """Return the ids of the visible users that are given as `me`, by id or by `@handle`, by text.

    One query, none if all of them are `me`. Users who are not visible are left out.
    """
    given = list(refs)
    ids = {"me": actor.user.pk}
    names = [fold(ref) for ref in given if ref not in ids]
    if names:
        users = User.objects.visible_to(actor.viewer).filter(
            Q(pk__in=[pk for name in names if (pk := read_id(name))])
            | Q(handle__in=[name[1:] for name in names if name.startswith("@")])
        )
        for pk, handle in users.values_list("pk", "handle"):
            ids |= {str(pk): pk, f"@{handle}": pk}
    return {ref: ids[fold(ref)] for ref in given if fold(ref) in ids}


def find_task_ids(actor: Actor, refs: Iterable[str]) -> dict[str, int]:
    """Return the ids of the visible tasks with these ids or keys, by the given text.

    At most three queries: see find_tasks().
    """
    return {ref: task.pk for ref, task in find_tasks(actor, refs).items()}
