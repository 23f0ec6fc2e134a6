"""
The admin's look, in one place: what the apps' admin modules use of Unfold.

Going back to Django's own admin is a change of this file and of UNFOLD in the settings.
"""

from __future__ import annotations

from typing import Any

from django.contrib.admin import SimpleListFilter
from django.contrib.admin.utils import get_fields_from_path
from django.db.models import Model
from django.http import HttpRequest
from unfold.admin import ModelAdmin as UnfoldModelAdmin
from unfold.admin import TabularInline
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminPasswordWidget as PasswordInput
from unfold.widgets import UnfoldAdminSelectWidget as Select
from unfold.widgets import UnfoldAdminTextInputWidget as TextInput

__all__ = [
    "AutocompleteSelectFilter",
    "ModelAdmin",
    "PasswordInput",
    "Select",
    "TabularInline",
    "TextInput",
    "action",
    "display",
]

COLUMN_LOOKUPS = ("", "__exact", "__isnull")  # what Django's filters ask of a column
DATE_LOOKUPS = ("__year", "__month", "__day")  # what date_hierarchy asks


class ModelAdmin(UnfoldModelAdmin):  # type: ignore[misc]
    """The base of every admin class. A list is filtered by its list_filter and date_hierarchy only.

    Django allows any lookup on a model's own columns in the address of a list, so that
    `?password__regex=` would reveal a stored hash piece by piece. Another lookup answers 400.
    """

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        return lookup in self._filter_parameters(request)

    def _filter_parameters(self, request: HttpRequest) -> set[str]:
        names = {f"{self.date_hierarchy}{part}" for part in DATE_LOOKUPS if self.date_hierarchy}
        for item in self.get_list_filter(request):
            names |= _parameters_of(self.model, item)
        return names


def _parameters_of(model: type[Model], item: Any) -> set[str]:
    """The parameters that one entry of list_filter reads from the address of a list."""
    if isinstance(item, type) and issubclass(item, SimpleListFilter):
        return {str(item.parameter_name)}
    path = item[0] if isinstance(item, tuple | list) else item
    field: Any = get_fields_from_path(model, path)[-1]
    if field.is_relation:
        return {f"{path}__{field.target_field.name}__exact", f"{path}__isnull"}
    return {f"{path}{lookup}" for lookup in COLUMN_LOOKUPS}
