"""Fields that offer rows while the user types, and how these rows are named: with the key, the
title and the project.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.admin.widgets import AutocompleteSelect
from django.core.exceptions import ValidationError
from django.db.models import Field, Model, QuerySet
from django.forms import BaseForm, ModelChoiceField
from django.http import Http404
from django.utils.functional import Promise

from accounts.admin.fields import IdCheckedBoundField, RowMultipleChoiceField
from accounts.admin.rights import get_actor
from taskflow.admin.sites import Autocomplete
from taskflow.audit.actor import Actor
from taskflow.http.converters import is_id
from tasks.admin.choices import AMONG, CHOICES
from tasks.models import Project, Tag, Task

NAME_AS_VALUE = "names"  # the parameter of an autocompletion whose values are names, not ids
USER_COLUMN = Task._meta.get_field("assignee")
PROJECT_COLUMN = Task._meta.get_field("project")


def label_of(row: Model) -> str:
    """Return the name of a row in a list of choices. The project of a task must be loaded."""
    if isinstance(row, Task):
        return f"{row.key} · {row.title} · {row.project.name}"
    return f"{row.key} · {row.name}" if isinstance(row, Project) else str(row)


class LabelledMultipleChoiceField(RowMultipleChoiceField):
    def label_from_instance(self, obj: Model) -> str:
        return label_of(obj)


class RowWidget(AutocompleteSelect):
    """Loads the rows of a set while the user types, and the chosen row when the page is shown."""

    def __init__(self, column: Field[Any, Any], among: str, placeholder: str | Promise) -> None:
        super().__init__(column, admin.site)
        self.among = among
        self.placeholder = placeholder

    def get_url(self) -> str:
        return f"{super().get_url()}?{urlencode({AMONG: self.among})}"

    def build_attrs(self, base_attrs: Any, extra_attrs: Any = None) -> dict[str, Any]:
        attrs = super().build_attrs(base_attrs, extra_attrs)
        return attrs | {"data-placeholder": str(self.placeholder)}


class RowChoiceField(ModelChoiceField):  # type: ignore[type-arg]
    """A choice of one row of a set of choices.py. The form calls offer_rows() when it is created.

    `column` is any column that refers to such rows. `placeholder` says what an empty field means.
    """

    bound_field_class = IdCheckedBoundField

    def __init__(
        self,
        column: Field[Any, Any],
        among: str,
        *,
        placeholder: str | Promise = "",
        **kwargs: Any,
    ) -> None:
        super().__init__(None, widget=RowWidget(column, among, placeholder), **kwargs)
        self.among = among

    def label_from_instance(self, obj: Model) -> str:
        return label_of(obj)

    def to_python(self, value: Any) -> Any:
        """Return the row, with one query. Text that cannot be an id is refused without one."""
        if value not in self.empty_values and not is_id(str(value)):
            raise ValidationError(self.error_messages["invalid_choice"])
        return super().to_python(value)


def offer_rows(form: BaseForm, actor: Actor) -> None:
    """Let the fields of the form accept the rows that the actor may choose. Nothing is queried."""
    for field in form.fields.values():
        if isinstance(field, RowChoiceField):
            field.queryset = CHOICES[field.among](actor)


class AutocompleteView(Autocomplete):
    """The rows that match what was typed into a field, named by label_of()."""

    def get_queryset(self) -> QuerySet[Any]:
        rows = super().get_queryset()
        if among := self.request.GET.get(AMONG):
            rows = rows.filter(pk__in=self._find_choices(rows.model, among).values("pk"))
        return rows.select_related("project") if rows.model is Task else rows

    def _find_choices(self, model: type[Model], among: str) -> QuerySet[Any]:
        """Return the rows of a set of choices.py. Raises Http404 if it is none of this type."""
        choices = CHOICES[among](get_actor(self.request)) if among in CHOICES else None
        if choices is None or choices.model is not model:
            raise Http404
        return choices

    def serialize_result(self, obj: Model, to_field_name: str) -> dict[str, str]:
        result = super().serialize_result(obj, to_field_name)
        value = result["id"]
        if isinstance(obj, Tag) and NAME_AS_VALUE in self.request.GET:
            value = obj.name
        return {"id": value, "text": label_of(obj)}
