"""
The admin classes of Unfold that the admin modules of the apps use.

To go back to Django's own admin, change this file and taskflow/admin_menu.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

from django.contrib import admin
from django.contrib.admin import FieldListFilter, SimpleListFilter
from django.contrib.admin.views.main import SEARCH_VAR
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.forms import Field
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.template.response import TemplateResponse
from django.utils.translation import gettext_lazy as _
from unfold.forms import PaginationInlineFormSet
from unfold.widgets import UnfoldAdminFileFieldWidget as FileInput
from unfold.widgets import UnfoldAdminPasswordWidget as PasswordInput
from unfold.widgets import UnfoldAdminSelectMultipleWidget as SelectMultiple
from unfold.widgets import UnfoldAdminSelectWidget as Select
from unfold.widgets import UnfoldAdminTextInputWidget as TextInput

from taskflow.admin.list_rows import ListRows
from taskflow.db.types import AnyField
from taskflow.http.converters import is_id

if TYPE_CHECKING:  # Unfold has no types, but its classes extend Django's
    F = TypeVar("F", bound=Callable[..., object])

    def action(**options: object) -> Callable[[F], F]: ...

    def display(**options: object) -> Callable[[F], F]: ...

    UnfoldModelAdmin = admin.ModelAdmin[Any]
    UnfoldTabularInline = admin.TabularInline[Any, Any]
    UnfoldAutocompleteFilter = FieldListFilter

    from django.forms import Textarea
else:
    from unfold.admin import ModelAdmin as UnfoldModelAdmin
    from unfold.admin import TabularInline as UnfoldTabularInline
    from unfold.contrib.filters.admin import AutocompleteSelectFilter as UnfoldAutocompleteFilter
    from unfold.decorators import action, display
    from unfold.widgets import UnfoldAdminTextareaWidget as Textarea

__all__ = [
    "AutocompleteSelectFilter",
    "FileInput",
    "ModelAdmin",
    "PasswordInput",
    "Select",
    "SelectMultiple",
    "TabularInline",
    "TextFilter",
    "TextInput",
    "Textarea",
    "action",
    "display",
]

# An entry of list_filter: a field, a field with the class of its filter, or a filter.
FilterItem = object
COLUMN_LOOKUPS = ("", "__exact", "__isnull")  # that Django's filters of a column use
DATE_LOOKUPS = ("__year", "__month", "__day")  # that date_hierarchy uses
FILTER_PANEL = "filter-panel"  # the id of the element into which a page loads its filters
NOT_BLANK = re.compile(r"[^\s\"']")  # empty quotes find nothing
BOOLEANS = frozenset({"true", "false", "1", "0"})
UNREADABLE = _(
    "The list cannot be filtered: the value of “%s” is empty or not valid for this filter."
    " Nothing was changed. Open the list again and choose its filters there.\n"
)


class AutocompleteSelectFilter(UnfoldAutocompleteFilter):
    """Unfold's class ignores `__isnull` if it is the only parameter, and shows all rows."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any] | None:
        return FieldListFilter.queryset(self, request, queryset)

    model_admin: admin.ModelAdmin[Any]  # Unfold sets both
    lookup_kwarg: str

    def choices(self, changelist: Any) -> Iterator[Any]:
        """Yield the form. It shows the name of the chosen row only if the user can see the row."""
        shown: Iterator[Any] = super().choices(changelist)
        for choice in shown:
            field: Any = self.field
            rows = self.model_admin.get_field_queryset(None, field, self.request)
            choice["form"].fields[self.lookup_kwarg].queryset = rows
            yield choice


class TextFilter(SimpleListFilter):
    """A parameter of a list with any text as its value, which the list itself reads and checks."""


class InlineFormSet(PaginationInlineFormSet):  # type: ignore[misc]
    def get_page_num(self) -> int:
        """Return the page, 1 if it is not a number. Unfold fails for “½”, which is numeric."""
        key = self.get_pagination_key()
        for sent in (self.request.GET.get(key, ""), self.request.POST.get(key, "")):
            if is_id(sent) and int(sent):
                return int(sent)
        return 1


class TabularInline(UnfoldTabularInline):
    formset = InlineFormSet


class RequestOfThread:
    """An attribute that holds the request which the current thread answers.

    Unfold sets `request` on a ModelAdmin, which all threads share. One thread would read another
    thread's request, which may be of another tenant.
    """

    def __init__(self) -> None:
        self._request: ContextVar[HttpRequest] = ContextVar("admin_request")

    def __get__(self, model_admin: object | None, owner: type) -> HttpRequest:
        request = self._request.get(None)
        if request is None:
            raise AttributeError("no request has been answered in this thread")
        return request

    def __set__(self, model_admin: object, request: HttpRequest) -> None:
        self._request.set(request)


class ModelAdmin(UnfoldModelAdmin):
    """The base of all admin classes. Lists are filtered by list_filter and date_hierarchy only.

    Django allows any lookup of a model's own columns in the URL of a list, so that
    `?password__regex=` would reveal a stored hash piece by piece. Other lookups are answered 400.
    So are filters with an empty or invalid value. Django and Unfold ignore some of these, and an
    action would then change all rows.
    """

    request = RequestOfThread()
    change_list_template = "admin/list.html"
    list_filter_submit: bool  # Unfold sets it

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if request.method != "POST" and (address := self._address_without_empty_fields(request)):
            return HttpResponseRedirect(address)
        if name := self._unreadable_parameter(request):
            return HttpResponse(UNREADABLE % name, status=400, content_type="text/plain")
        response = super().changelist_view(request, extra_context)
        if isinstance(response, TemplateResponse) and response.context_data is not None:
            changelist = response.context_data.get("cl")  # an action has other pages
            response.context_data["list_rows"] = ListRows(changelist)
            if request.headers.get("HX-Target") == FILTER_PANEL:
                response.template_name = "admin/filter_panel.html"
        return response

    def _address_without_empty_fields(self, request: HttpRequest) -> str | None:
        """Return the URL without the empty fields of a filter or search form; None without any."""
        query = request.GET.copy()
        for name in {SEARCH_VAR, *self._form_parameters(request)} & query.keys():
            query.setlist(name, [value for value in query.getlist(name) if value])
        query_string = query.urlencode()
        return (
            f"{request.path}?{query_string}"
            if _count_values(query) < _count_values(request.GET)
            else None
        )

    def _unreadable_parameter(self, request: HttpRequest) -> str | None:
        """Return the first parameter whose value the list cannot be filtered by, if any."""
        if any(NOT_BLANK.search(text) is None for text in request.GET.getlist(SEARCH_VAR)):
            return SEARCH_VAR
        for item in self.get_list_filter(request):
            for name in sorted(_parameters_of(self.model, item) & request.GET.keys()):
                for value in request.GET.getlist(name):
                    if not self._is_valid_value(request, item, name, value):
                        return name
        return None

    def _is_valid_value(
        self, request: HttpRequest, item: FilterItem, name: str, value: str
    ) -> bool:
        if isinstance(item, type) and issubclass(item, TextFilter):
            return bool(value.strip())
        if isinstance(item, type) and issubclass(item, SimpleListFilter):
            choices = item(request, {}, self.model, self).lookup_choices
            return value in {str(choice) for choice, _label in choices}
        if name.endswith("__isnull"):
            return value.lower() in BOOLEANS
        field = _field_of(self.model, item)
        return is_id(value) if field.is_relation else _is_value_of(field, value)

    def _form_parameters(self, request: HttpRequest) -> set[str]:
        """Return the fields of Unfold's filter form, which a browser also sends when empty."""
        items = self.get_list_filter(request) if self.list_filter_submit else []
        return {
            name
            for item in items
            if isinstance(item, tuple)
            for name in _parameters_of(self.model, item)
            if name.endswith("__exact")
        }

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Return the initial values in the URL that the form of a new row can parse."""
        form = self.get_form(request, None, change=False)()
        proposed = super().get_changeform_initial_data(request)
        return {
            name: value
            for name, value in proposed.items()
            if name in form.fields and _is_readable(form.fields[name], value)
        }

    def get_paginator(
        self, request: HttpRequest, queryset: QuerySet[Any], *args: Any, **kwargs: Any
    ) -> Paginator[Any]:
        """Order rows that have no order, as those of an autocompletion. Otherwise one page could
        repeat rows of another, and leave out others.
        """
        if not queryset.ordered:
            queryset = queryset.order_by(*self.get_ordering(request), "pk")
        return super().get_paginator(request, queryset, *args, **kwargs)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        return lookup in self._filter_parameters(request)

    def _filter_parameters(self, request: HttpRequest) -> set[str]:
        names = {f"{self.date_hierarchy}{part}" for part in DATE_LOOKUPS if self.date_hierarchy}
        for item in self.get_list_filter(request):
            names |= _parameters_of(self.model, item)
        return names


def _parameters_of(model: type[Model], item: FilterItem) -> set[str]:
    """Return the parameters that one entry of list_filter reads from the URL."""
    if isinstance(item, type) and issubclass(item, SimpleListFilter):
        return {str(item.parameter_name)}
    path, field = _path_of(item), _field_of(model, item)
    if field.is_relation:
        return {f"{path}__{field.target_field.name}__exact", f"{path}__isnull"}
    return {f"{path}{lookup}" for lookup in COLUMN_LOOKUPS}


def _path_of(item: FilterItem) -> str:
    return str(item[0] if isinstance(item, tuple) else item)


def _field_of(model: type[Model], item: FilterItem) -> Any:
    """Return the model field that one entry of list_filter filters by."""
    *relations, name = _path_of(item).split("__")
    owner: Any = model
    for relation in relations:
        owner = owner._meta.get_field(relation).related_model
    return owner._meta.get_field(name)


def _is_value_of(column: AnyField, text: str) -> bool:
    try:
        return bool(text.strip()) and column.to_python(text) is not None
    except ValidationError:
        return False


def _is_readable(field: Field, value: object) -> bool:
    try:
        field.clean(value)
    except ValidationError:
        return False
    return True


def _count_values(query: QueryDict) -> int:
    """Return the number of values in a query string."""
    return sum(len(values) for _name, values in query.lists())
