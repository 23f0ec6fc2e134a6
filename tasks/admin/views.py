"""The admin pages of stored views of tasks."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.admin.fields import FormValues
from accounts.admin.forms import RecordedForm
from accounts.admin.recorded import RecordedAdmin, get_actor
from accounts.rules import require_unbound
from taskflow.admin.refusals import list_sentences
from taskflow.admin.site import TextInput, display
from taskflow.audit.actor import Actor
from taskflow.http.errors import Problem
from taskflow.http.query_parameters import parse_query
from tasks.actions import views as actions
from tasks.admin.addresses import list_address, write_stored_where
from tasks.admin.where import describe_where
from tasks.models import View
from tasks.rules import require_view_owner
from tasks.schemas.task_filters import TaskWhere
from tasks.schemas.views import ViewCreate, dump_where, read_view_where

WHERE_HELP = _(
    "The filters of GET /tasks, as in an address: assignee=me&status_not=done&due_before=7d. The"
    " list of tasks offers “Save this view”, which writes them."
)


class WhereField(forms.CharField):
    """The filters of a view, which people read and write as a query string."""

    widget = TextInput

    def prepare_value(self, value: Any) -> Any:
        return write_stored_where(value) if isinstance(value, dict) else value

    def to_python(self, value: Any) -> Any:
        text = str(super().to_python(value) or "")
        try:
            return dump_where(parse_query(text, TaskWhere))
        except Problem as problem:
            raise forms.ValidationError(list_sentences(problem)) from None
        except ValueError as error:
            raise forms.ValidationError(f"It {error}.") from None

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(self.prepare_value(initial) != data)

    def run_validators(self, value: Any) -> None:
        """Check nothing more: the schema of the API checks the filters."""


class ViewForm(RecordedForm):
    where: Any = WhereField(label=_("Filters"), help_text=WHERE_HELP)

    def clean_sort(self) -> str | None:
        return self.cleaned_data["sort"] or None


@admin.register(View)
class ViewAdmin(RecordedAdmin):
    schema = ViewCreate
    form = ViewForm
    list_display = ["name", "show_filters", "layout", "owner", "is_shared", "show_tasks"]
    list_filter = ["is_shared", "layout"]
    search_fields = ["name"]
    ordering = ["name_folded"]
    fields = ["name", "where", ("layout", "group_by"), "sort", "is_shared"]

    def check_view(self, request: HttpRequest) -> None:
        """Permit everybody: the list has the own views and the shared ones."""

    def check_add(self, request: HttpRequest) -> None:
        require_unbound(get_actor(request), "views")

    def check_change(self, request: HttpRequest, row: View | None) -> None:
        if row is not None:
            require_view_owner(get_actor(request), row)

    def check_delete(self, request: HttpRequest, row: View | None) -> None:
        self.check_change(request, row)

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[View]:
        rows: models.QuerySet[View] = View.objects.visible_to(get_actor(request).viewer)
        return rows.select_related("owner")

    def describe_restoration(self) -> str:
        return gettext(
            "Views have no trash. To take the deletion back, use “Undo…” in the list of events. The"
            " tasks of a view stay as they are."
        )

    def create_row(self, actor: Actor, values: FormValues) -> View:
        return actions.create_view(actor, **_checked(actor, values))

    def change_row(self, actor: Actor, row: View, values: FormValues) -> None:
        actions.update_view(actor, row, **_checked(actor, values))

    def delete_row(self, actor: Actor, row: View) -> None:
        actions.delete_view(actor, row)

    @display(description=_("filters"))
    def show_filters(self, view: View) -> str:
        filters = describe_where(write_stored_where(view.where))
        return ", ".join(f"{f.label}: {f.values}" for f in filters)

    @display(description=_("tasks"))
    def show_tasks(self, view: View) -> SafeString:
        return format_html('<a href="{}">{}</a>', list_address(view=view.pk), _("Show the tasks"))


def _checked(actor: Actor, values: FormValues) -> FormValues:
    """Return the values, with filters that name only rows that the actor can see."""
    if "where" in values:
        values["where"] = read_view_where(actor, TaskWhere.read_stored(values["where"]))
    return values
