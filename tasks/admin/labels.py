"""How rows are named where one of them is chosen: with the key, the title and the project."""

from __future__ import annotations

from typing import Any

from django.db.models import Model, QuerySet
from django.forms import ModelChoiceField

from accounts.admin.fields import RowMultipleChoiceField
from taskflow.admin.sites import Autocomplete
from tasks.models import Project, Tag, Task

NAME_AS_VALUE = "names"  # the parameter of an autocompletion whose values are names, not ids


def label_of(row: Model) -> str:
    """Return the name of a row in a list of choices. The project of a task must be loaded."""
    if isinstance(row, Task):
        return f"{row.key} · {row.title} · {row.project.name}"
    return f"{row.key} · {row.name}" if isinstance(row, Project) else str(row)


class LabelledChoiceField(ModelChoiceField):  # type: ignore[type-arg]
    def label_from_instance(self, obj: Model) -> str:
        return label_of(obj)


class LabelledMultipleChoiceField(RowMultipleChoiceField):
    def label_from_instance(self, obj: Model) -> str:
        return label_of(obj)


class AutocompleteView(Autocomplete):
    """The rows that match what was typed into a field, named by label_of()."""

    def get_queryset(self) -> QuerySet[Any]:
        rows = super().get_queryset()
        return rows.select_related("project") if rows.model is Task else rows

    def serialize_result(self, obj: Model, to_field_name: str) -> dict[str, str]:
        result = super().serialize_result(obj, to_field_name)
        value = result["id"]
        if isinstance(obj, Tag) and NAME_AS_VALUE in self.request.GET:
            value = obj.name
        return {"id": value, "text": label_of(obj)}
