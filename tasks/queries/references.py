"""Resolve the references in bodies: ids, keys and handles of rows that are visible to the actor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, TypeVar

from django.db.models import Model

from accounts.models import User
from taskflow.audit.actor import Actor
from taskflow.audit.resource_types import type_of_model
from taskflow.audit.values import FieldValues
from taskflow.http.references import build_unknown_reference
from tasks.models import RESOURCE_TYPES, Project, Task
from tasks.queries.lookup import (
    find_project_ids,
    find_rows,
    find_task_ids,
    find_user_ids,
)

M = TypeVar("M", bound=Model)


def resolve(actor: Actor, body: FieldValues) -> dict[str, Any]:
    """Return a body with rows in place of references: see References.resolve()."""
    return References(actor, [body]).resolve(body)


# The models whose rows bodies refer to, with the function that finds ids by key or handle.
REFERENCED_MODELS: Mapping[type[Model], Callable[[Actor, Iterable[str]], dict[str, int]]] = {
    User: find_user_ids,
    Project: find_project_ids,
    Task: find_task_ids,
}


@cache
def referenced_models() -> dict[str, type[Model]]:
    """Return the referenced model of each field of a body, by field name.

    A row is named by `assignee`, an id or a handle, or by `assignee_id`.
    """
    models: dict[str, type[Model]] = {}
    for resource_type in RESOURCE_TYPES:
        for field in resource_type.model._meta.get_fields():
            if not field.auto_created and field.related_model in REFERENCED_MODELS:
                models[field.name] = field.related_model
                models[getattr(field, "attname", field.name)] = field.related_model
    return models


class References:
    """The rows that bodies refer to by id, key or handle.

    Loads them for all bodies with one query per model, and with at most three more for a model of
    which a row is named by key or handle. A row that the actor cannot see is treated as if it did
    not exist.
    """

    def __init__(self, actor: Actor, bodies: Iterable[FieldValues]) -> None:
        models = referenced_models()
        refs_by_model: dict[type[Model], set[int | str]] = {}
        for body in bodies:
            for field in body.keys() & models.keys():
                if body[field]:
                    refs = refs_by_model.setdefault(models[field], set())
                    refs |= {*_as_list(body[field])}
        self.ids: dict[type[Model], dict[str, int]] = {}  # by key or handle
        self.rows: dict[type[Model], dict[int, Any]] = {}
        for model in [model for model in REFERENCED_MODELS if model in refs_by_model]:
            refs = refs_by_model[model]
            names = [ref for ref in refs if isinstance(ref, str)]
            self.ids[model] = REFERENCED_MODELS[model](actor, names) if names else {}
            ids = {ref for ref in refs if isinstance(ref, int)} | set(self.ids[model].values())
            self.rows[model] = _find_rows(actor, model, ids)

    def resolve(
        self, body: FieldValues, *, present_blockers: Iterable[Task] = ()
    ) -> dict[str, Any]:
        """Return the body with rows in place of references, also for `assignee_id`: `assignee`.

        `present_blockers` are the blockers that the task has already. They are accepted even if the
        actor cannot see them. Raises Invalid for any other row that is not visible.
        """
        if present_blockers:
            present = {task.pk: task for task in present_blockers}
            self.rows[Task] = present | self.rows.get(Task, {})
        values = {}
        for field, value in body.items():
            model = referenced_models().get(field)
            if model is None:
                values[field] = value
            elif isinstance(value, list):
                rows = [self.get_row(model, ref, f"{field}/{n}") for n, ref in enumerate(value)]
                values[field] = list({row.pk: row for row in rows}.values())
            else:
                values[field.removesuffix("_id")] = value and self.get_row(model, value, field)
        return values

    def get_row(self, model: type[M], ref: int | str, field: str) -> M:
        """Return a loaded row by id, key or handle.

        Raises Invalid that names the field of the body if the row is not visible.
        """
        pk = self.ids[model].get(ref) if isinstance(ref, str) else ref
        if pk is None or pk not in self.rows[model]:
            raise build_unknown_reference(field, type_of_model(model).label, ref)
        row: M = self.rows[model][pk]
        return row


def _find_rows(actor: Actor, model: type[Model], ids: set[int]) -> dict[int, Any]:
    """Return the visible rows with these ids, by id. Users always see themselves: no query."""
    member = actor.member
    if model is User and member is not None and ids == {member.pk}:
        return {member.pk: member}
    return find_rows(actor, model, ids)


def _as_list(value: Any) -> list[int | str]:
    return value if isinstance(value, list) else [value]
