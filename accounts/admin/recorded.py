"""Admin pages that write through the same actions as the API.

A RecordedAdmin never saves a row itself. Forms, inlines and bulk actions call the three hooks
create_row, change_row and delete_row of the row's own admin, and these call actions. When an action
refuses a change, the form shows the reason and keeps the input.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar, cast

from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db import IntegrityError, models, transaction
from django.forms import ModelForm
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from accounts.admin.fields import FormValues
from accounts.admin.forms import (
    FORMFIELD_CLASSES,
    InlineRowForm,
    PreloadedAutocomplete,
    RecordedForm,
)
from accounts.admin.rights import RuledAdmin, find_choices, is_permitted
from accounts.admin.rights import get_actor as get_actor
from accounts.models import Tenant
from accounts.rules import require_staff
from taskflow.admin.refusals import refusal_as_html, sentence_of
from taskflow.admin.site import TabularInline
from taskflow.audit.actor import Actor, ActorRequest
from taskflow.audit.conflicts import find_changes_since
from taskflow.audit.history import USERS_OF_EVENT, read_field_conflicts, read_history
from taskflow.audit.models import Event
from taskflow.audit.values import as_recorded
from taskflow.audit.visibility import select_log
from taskflow.http.converters import is_id
from taskflow.http.database_errors import problem_of_database_error
from taskflow.http.errors import NotFound, PreconditionFailed, Problem
from taskflow.http.preconditions import Precondition, parse_etag
from taskflow.http.request import Request
from taskflow.http.schema import In
from taskflow.http.unavailable import Contended

HISTORY_PAGE_SIZE = 50  # events
TECHNICAL_FIELDS = frozenset({"id", "DELETE", "row_version"})  # form fields that are no columns
OVERWRITE = "_overwrite"  # form field: ETag of the version that the user chose to overwrite


class RecordedInline(TabularInline):
    """An inline whose rows are saved by the admin of their own model.

    get_queryset() must select the rows of autocomplete_fields, or each row costs a query.
    """

    def check_edit(self, request: HttpRequest, parent: Any | None) -> None:
        """Raise Forbidden unless the user may add, change and delete rows of the parent row, which
        is None while it is new. The actions check each row when it is saved.
        """
        require_staff(get_actor(request))

    def _may_edit(self, request: HttpRequest, parent: Any | None) -> bool:
        return is_permitted(request, "edit", self, parent, lambda: self.check_edit(request, parent))

    def has_view_permission(self, request: HttpRequest, obj: Any | None = None) -> bool:
        row_admin: Any = self.admin_site.get_model_admin(self.model)
        return bool(row_admin.has_view_permission(request))

    def has_add_permission(self, request: HttpRequest, obj: Any | None = None) -> bool:
        return self._may_edit(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Any | None = None) -> bool:
        return self._may_edit(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any | None = None) -> bool:
        return self._may_edit(request, obj)

    def get_field_queryset(self, db: Any, db_field: Any, request: HttpRequest) -> Any:
        return find_choices(request, db_field)

    form = InlineRowForm
    formfield_overrides = FORMFIELD_CLASSES
    extra = 0
    per_page = 10
    tab = True

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        formset: Any = super().get_formset(request, obj, **kwargs)
        formset.form.schema = cast(Any, self.admin_site.get_model_admin(self.model)).schema
        return formset

    def get_fields(self, request: HttpRequest, obj: models.Model | None = None) -> list[Any]:
        fields = list(super().get_fields(request, obj))
        return [*fields, "row_version"] if self.has_change_permission(request, obj) else fields

    def formfield_for_foreignkey(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        if db_field.name in self.autocomplete_fields:
            kwargs["widget"] = PreloadedAutocomplete(db_field, self.admin_site)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)


class RecordedAdmin(RuledAdmin):
    """The base of all admin classes whose rows can be changed."""

    form: type[ModelForm[Any]] = RecordedForm
    schema: type[In] = In  # the API's schema, whose fields also validate the form
    formfield_overrides = FORMFIELD_CLASSES
    change_form_before_template = "admin/row_version.html"
    delete_confirmation_template = "admin/delete_row.html"
    delete_selected_confirmation_template = "admin/delete_rows.html"
    action_field_names: ClassVar[dict[str, str]] = {}  # form field: name in actions and events
    compressed_fields = True
    list_per_page = 50
    show_full_result_count = False  # it would count the whole table for every page

    # ---- hooks: each calls one action ----

    def create_row(self, actor: Actor, values: FormValues) -> models.Model:
        raise NotImplementedError

    def change_row(self, actor: Actor, row: Any, values: FormValues) -> None:
        raise NotImplementedError

    def delete_row(self, actor: Actor, row: Any) -> None:
        raise NotImplementedError

    def to_columns(self, values: FormValues) -> FormValues:
        """Return the values by the names of columns, where a field of the form has several."""
        return values

    # ---- Django's methods for saving, which call the hooks ----

    def save_model(self, request: HttpRequest, obj: Any, form: RecordedForm, change: bool) -> None:
        self._save(request, obj, form, is_new=not change)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Save the inlines. form.save_m2m() is not called: it would write without an action."""
        for formset in formsets:
            self.save_formset(request, form, formset, change=change)

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        """Save the rows of an inline through the admin of their own model."""
        row_admin: Any = self.admin_site.get_model_admin(formset.model)
        formset.new_objects, formset.changed_objects, formset.deleted_objects = [], [], []
        for inline_form in formset.forms:
            if inline_form in formset.deleted_forms:
                if inline_form.instance.pk:
                    row_admin.delete_row(get_actor(request), load_stored(inline_form.instance))
            elif inline_form.has_changed():
                row_admin._save(
                    request, inline_form.instance, inline_form, not inline_form.instance.pk
                )

    def _save(self, request: HttpRequest, obj: Any, form: RecordedForm, is_new: bool) -> None:
        if is_new:
            values = {n: v for n, v in form.cleaned_data.items() if n not in TECHNICAL_FIELDS}
            values = self.to_columns(values)
            row = self.create_row(get_actor(request), values)
            obj.__dict__.update(row.__dict__)  # Django reads the new id from obj
        else:
            names = [name for name in form.changed_data if name not in TECHNICAL_FIELDS]
            row = load_stored(obj)
            values = self.to_columns({name: form.cleaned_data[name] for name in names})
            if opened_version := form.cleaned_data.get("row_version"):
                actor, values = self._drop_unedited(request, row, values, opened_version)
                self.change_row(actor, row, values)
            else:
                self.change_row(get_actor(request), row, values)

    def _drop_unedited(
        self, request: HttpRequest, row: Any, values: FormValues, opened_version: int
    ) -> tuple[Actor, FormValues]:
        """Return an actor with the version that the edits are based on, and the edited values.

        A field that another user has changed since the form was opened differs from the stored
        value although this user did not edit it. The actor's precondition lets the recorder refuse
        edits of such fields.
        """
        since = find_changes_since(row, opened_version)
        resource_type = self.opts.model_name or ""
        edited = {}
        for name, value in values.items():
            edit = since.get(self.action_field_names.get(name, name))
            if edit is None or as_recorded(value) != edit.base:
                edited[name] = value
        precondition = parse_etag(request.POST.get(OVERWRITE, ""))
        if precondition is None or not precondition.is_for(resource_type, row.pk):
            precondition = Precondition(resource_type, row.pk, opened_version)
        return replace(get_actor(request), precondition=precondition), edited

    def delete_model(self, request: HttpRequest, obj: models.Model) -> None:
        self.delete_row(get_actor(request), load_stored(obj))

    def delete_queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        for row in queryset:
            if (
                type(row).objects.filter(pk=row.pk).exists()
            ):  # not deleted together with another one
                self.delete_row(get_actor(request), row)

    # ---- refusals ----

    def get_form(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        form: Any = super().get_form(request, *args, **kwargs)
        form.refusal = cast(ActorRequest, request).form_refusal
        form.schema = self.schema
        form.viewer = get_actor(request).viewer
        return form

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            with transaction.atomic():
                return render_now(super().changeform_view(request, *args, **kwargs))
        except PreconditionFailed as problem:
            return self._show_conflict(request, problem)
        except Contended:  # the whole request is answered again
            raise
        except (Problem, IntegrityError) as error:
            cast(ActorRequest, request).form_refusal = to_problem(error)
            return super().changeform_view(request, *args, **kwargs)

    def _show_conflict(self, request: HttpRequest, problem: PreconditionFailed) -> HttpResponse:
        """Show the edits of both users side by side, with the input in hidden fields."""
        fields = [
            (name, value)
            for name, values in request.POST.lists()
            for value in values
            if name not in ("csrfmiddlewaretoken", OVERWRITE)
        ]
        context = {
            **self.admin_site.each_context(request),
            "title": _("Another user has changed this since you opened it"),
            "sentence": sentence_of(problem.code, problem.detail),
            "conflicts": read_field_conflicts(get_actor(request), problem),
            "fields": [*fields, (OVERWRITE, problem.headers.get("ETag", ""))],
            "opts": self.opts,
        }
        return TemplateResponse(request, "admin/conflict.html", context, status=412)

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        extra_context = {"restoration": self.describe_restoration()}
        return self._redirect_on_refusal(
            request, super().delete_view, *args, extra_context=extra_context, **kwargs
        )

    def changelist_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return self._redirect_on_refusal(request, super().changelist_view, *args, **kwargs)

    def response_action(self, request: HttpRequest, queryset: Any, *args: Any) -> Any:
        """Raise NotFound when one of the selected values cannot be the id of a row."""
        if not all(is_id(text) for text in request.POST.getlist(ACTION_CHECKBOX_NAME)):
            raise NotFound(_("One of the selected rows does not exist."))
        response = super().response_action(request, queryset, *args)
        if isinstance(response, TemplateResponse) and response.context_data is not None:
            response.context_data["restoration"] = self.describe_restoration()
        return response

    def _redirect_on_refusal(
        self, request: HttpRequest, view: Callable[..., HttpResponse], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        try:
            with transaction.atomic():
                return render_now(view(request, *args, **kwargs))
        except Contended:  # the whole request is answered again
            raise
        except (Problem, IntegrityError) as error:
            messages.error(request, refusal_as_html(to_problem(error)))
            return HttpResponseRedirect(request.get_full_path())

    # ---- confirmation of deletes, and history ----

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Return at most 20 names, and the counts of count_to_delete().

        Django's own would load all rows that refer to these rows.
        """
        rows = list(objs[:21])
        names = [str(row) for row in rows[:20]] + ["…"] * (len(rows) > 20)
        counts = self.count_to_delete([row.pk for row in objs])
        return names, {_(name): count for name, count in counts.items()}, set(), []

    def count_to_delete(self, ids: list[int]) -> dict[str, int]:
        """Return what the delete page counts: the rows, and what is deleted or changed with them.

        The keys are labels in lower case, such as "tasks".
        """
        return {str(self.opts.verbose_name_plural): len(ids)}

    def describe_restoration(self) -> str:
        """Return the sentence of the delete page about how deleted rows can be restored."""
        return ""

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        row = self.get_object(request, unquote(object_id))  # None for what cannot be an id
        if row is None:
            raise Http404
        if not self.has_view_permission(request):
            raise PermissionDenied
        events = select_log(
            get_actor(request).viewer,
            Event.objects.filter(subject_type=self.model.__name__.lower(), subject_id=row.pk),
        )
        paginator = Paginator(
            events.select_related(*USERS_OF_EVENT).order_by("-id"), HISTORY_PAGE_SIZE
        )
        page = paginator.get_page(request.GET.get("p"))
        context = {
            **self.admin_site.each_context(request),
            "title": _("History: %(row)s") % {"row": row},
            "entries": read_history(get_actor(request), list(page), on_screen=True),
            "page": page,
            "shows_addresses": get_actor(request).is_staff,
            "opts": self.opts,
            "object": row,
            "original": row,
            **(extra_context or {}),
        }
        return TemplateResponse(request, "admin/event_history.html", context)

    def log_addition(self, *args: Any, **kwargs: Any) -> Any:  # replaced by the event log
        pass

    def log_change(self, *args: Any, **kwargs: Any) -> Any:
        pass

    def log_deletions(self, *args: Any, **kwargs: Any) -> Any:
        pass


def load_stored(row: Any) -> Any:
    """Load the row again, without the values that the form has set on the object. One query."""
    return type(row).objects.get(pk=row.pk)


def to_problem(error: Problem | IntegrityError) -> Problem:
    """Return the problem that explains why an action has failed."""
    return error if isinstance(error, Problem) else problem_of_database_error(error)


def render_now(response: HttpResponse) -> HttpResponse:
    """Render the response inside the savepoint, so that errors of its queries are handled there."""
    return response.render() if hasattr(response, "render") else response


def show_tenant_badge(request: HttpRequest) -> list[str] | None:
    """Return text and color of the badge on every page: the tenant; red for an operator."""
    assert isinstance(request, Request)
    if not isinstance(tenant := request.admin_tenant, Tenant):
        return None
    is_in_other_tenant = isinstance(request.actor, Actor) and request.actor.is_operator
    return [tenant.name, "danger" if is_in_other_tenant else "info"]
