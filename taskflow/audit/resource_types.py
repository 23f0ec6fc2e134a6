"""The descriptions of the resource types that history, undo and the trash need.

A resource type is a model whose changes are recorded. The apps describe theirs once and register
them when their models are loaded; this package never imports the apps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.core.exceptions import FieldDoesNotExist
from django.db import models

from taskflow.audit.verbs import register_event_verb
from taskflow.tenancy import is_tenant_model

if TYPE_CHECKING:
    from taskflow.db.viewer import Viewer


@dataclass(frozen=True, eq=False)
class ResourceType:
    """The description of one model.

    Fields are given by their names in the model:

    `label`: the name that is shown to people, in lower case: "membership".
    `belongs_to`: the foreign key to the owning row. Who can see that row can see this one; both are
    in the same project and are purged together. None for a project, and for a row in no project.
    `parent`: the foreign key to a row of the same type, where the rows form trees.
    `author`: the foreign key to a user who may change and delete the row without being a manager.
    `own_visibility`: the method of its QuerySet that selects the rows that a viewer can see, of
    those whose project the viewer can see. None if these are all of them.
    `draft_visibility`: the method of its QuerySet that selects the rows that a viewer can see even
    as drafts, of those whose project the viewer can see. None if its rows are never drafts.
    `is_referred_by_name`: True if requests refer to rows by a name, and create those that do not
    exist. So everybody may refer to every row, also to one that is not visible.
    `select_related`: what a look-up loads with the row, because rules and responses read it.
    `search_columns`: the full-text index covers them; of several, the first is the title.
    `csv_columns`: the columns of a CSV file that can be read back, in their order.
    `unique`: columns with unique values. An undo frees a value before another row gets it.
    `created_verb` and `removed_verb`: how creating a row and deleting it for good is recorded.
    `removal`: (verb, field) of the change that removes a row without deleting it. The field is set
    to the current time, or to False if it is a boolean. None if rows are deleted.
    `restores_values`: False for credentials: an undo revokes those that were created, and never
    brings values back.
    `changed_without_event`: columns that the events do not follow.
    `filled_by_migration`: columns to which a migration has given a value, without an event.
    `inverse_verbs`: how undoing a change is recorded, by the verb of that change, where it is not
    `changed`.
    `sentences`: the predicates of history sentences, by verb, where they differ from the general
    ones. `{name}` stands for the value of a field, `{label}` for the label.
    """

    model: Any  # a TenantModel or Tenant, with what its managers add, such as visible_to()
    label: str
    belongs_to: str | None = None
    parent: str | None = None
    author: str | None = None
    own_visibility: str | None = None
    draft_visibility: str | None = None
    is_referred_by_name: bool = False
    select_related: tuple[str, ...] = ()
    search_columns: tuple[str, ...] = ()
    csv_columns: tuple[str, ...] = ()
    unique: tuple[str, ...] = ()
    created_verb: str = "created"
    removed_verb: str = "deleted"
    removal: tuple[str, str] | None = None
    restores_values: bool = True
    changed_without_event: tuple[str, ...] = ()
    filled_by_migration: tuple[str, ...] = ()
    inverse_verbs: Mapping[str, str] = field(default_factory=dict)
    sentences: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def name(self) -> str:
        """The `subject_type` of its events."""
        return str(self.model._meta.model_name)

    @cached_property
    def is_trashable(self) -> bool:
        return hasattr(self.model, "deleted_at")

    @cached_property
    def owner_model(self) -> Any:
        """The model that `belongs_to` refers to, or None."""
        return (
            self.model._meta.get_field(self.belongs_to).related_model if self.belongs_to else None
        )

    def path_to(self, model: type[models.Model]) -> str | None:
        """Return the path of foreign keys from a row to the row of `model` that it belongs to.

        `pk` if `model` is the type's own, None if it does not belong to such a row.
        """
        if self.model is model:
            return "pk"
        if self.belongs_to is None:
            return None
        path = type_of_model(self.owner_model).path_to(model)
        if path is None:
            return None
        return self.belongs_to if path == "pk" else f"{self.belongs_to}__{path}"

    def all_rows(self) -> models.QuerySet[Any]:
        """Return all rows, also those in the trash, each with the row that it belongs to loaded.

        The recorder reads the project of the row from it.
        """
        rows: models.QuerySet[Any] = self.model._base_manager.all()
        return rows.select_related(self.belongs_to) if self.belongs_to else rows

    def rows_visible_within_project(self, viewer: Viewer) -> models.QuerySet[Any]:
        """Return all rows, also those in the trash, that the viewer can see if the viewer can see
        their projects. The caller must check the projects, which may be in the trash too.
        """
        rows = self.all_rows()
        visible: models.QuerySet[Any] = (
            getattr(rows, self.own_visibility)(viewer) if self.own_visibility else rows
        )
        return visible

    def rows(self, ids: Iterable[int]) -> models.QuerySet[Any]:
        """Return the rows of all_rows() that have these ids."""
        return self.all_rows().filter(pk__in=sorted(ids))


_registered: dict[str, ResourceType] = {}


def register_resource_types(types: Iterable[ResourceType]) -> None:
    """Register the types. Each must come after the type that it belongs to.

    Undo restores rows in this order, and removes them in the opposite order.
    """
    for resource_type in types:
        _registered[resource_type.name] = resource_type
        for verb in {*resource_type.sentences, *resource_type.inverse_verbs}:
            sentence = resource_type.sentences.get(verb)
            register_event_verb(
                resource_type.name,
                verb,
                sentence,
                inverse=resource_type.inverse_verbs.get(verb),
            )


def resource_types() -> Mapping[str, ResourceType]:
    """Return the registered types by name, in their order."""
    return _registered


def type_of_model(model: Any) -> ResourceType:
    """Return the description of a model. Raises KeyError if it is not a resource type."""
    return _registered[model._meta.model_name]


def model_of_field(subject_type: str, name: str) -> type[models.Model] | None:
    """Return the model whose ids a field of an event contains.

    None if its values are not ids, or if it is not a field of a registered type.
    """
    resource_type = _registered.get(subject_type)
    if resource_type is None:
        return None
    try:
        related = resource_type.model._meta.get_field(name).related_model
    except FieldDoesNotExist:
        return None
    return related if isinstance(related, type) and is_tenant_model(related) else None
