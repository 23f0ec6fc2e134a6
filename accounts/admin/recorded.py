"""
Admin pages that write through the same actions as the API.

A RecordedAdmin never saves a row itself: adding, changing and deleting, in forms, inlines and bulk
actions alike, go to the three hooks of the row's own admin, which call actions. What an action
refuses is shown in the form, with the input kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, ClassVar

from django import forms
from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import unquote
from django.contrib.admin.widgets import AutocompleteSelect
from django.core.paginator import Paginator
from django.db import IntegrityError, models, transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.template.response import TemplateResponse

from accounts.admin.fields import IdCheckedBoundField, JsonField
from accounts.models import Tenant
from taskflow.admin.site import ModelAdmin, TabularInline
from taskflow.audit.actor import Actor
from taskflow.audit.conflicts import changes_since
from taskflow.audit.history import read_history, read_rivalries
from taskflow.audit.models import Event
from taskflow.audit.values import as_recorded
from taskflow.http.converters import is_id
from taskflow.http.errors import (
    Contended,
    NotFound,
    PreconditionFailed,
    Problem,
    problem_of_database,
)
from taskflow.http.parsing import check_values
from taskflow.http.preconditions import Precondition, parse_etag
from taskflow.http.schema import In

HISTORY_PAGE = 50  # events
FIELDS = {models.JSONField: {"form_class": JsonField}}
AS_WRITTEN = frozenset({"body", "password"})  # fields whose white space counts
UNCHECKED = frozenset({"password"})  # by the schema: the action judges it
NO_VALUES = frozenset({"id", "DELETE", "row_version"})  # of a form
OVERWRITE = "_overwrite"  # with the version that he has seen now


class RecordedForm(forms.ModelForm):  # type: ignore[type-arg]
    """Checks the tenant's unique rules too, and shows what an action refused.

    Subclasses have no Meta: the admin completes the class inside the request's tenant, where
    foreign keys find their choices.
    """

    bound_field_class = IdCheckedBoundField
    schema: ClassVar[type[In]] = In  # the API's, whose fields have the types of the form's values
    refusal: Problem | None = None
    row_version = forms.IntegerField(required=False, widget=forms.HiddenInput)  # when it was opened

    def __init__(self, data: Any = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(normalize_newlines(data), *args, **kwargs)
        if self.instance.pk:
            self.fields["row_version"].initial = self.instance.version
        for name in AS_WRITTEN & self.fields.keys():
            self.fields[name].strip = False  # type: ignore[attr-defined]

    def _get_validation_exclusions(self) -> set[str]:
        # With the tenant left out, Django would skip every unique rule: all lead with it.
        return super()._get_validation_exclusions() - {"tenant"}  # type: ignore[misc, no-any-return]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        cleaned |= self._checked_values(cleaned)
        if self.refusal is not None:
            self._show(self.refusal)
        return cleaned

    def _checked_values(self, cleaned: dict[str, Any]) -> dict[str, Any]:
        """What the API would store for the texts among the values that the person has changed."""
        changed = cleaned.keys() & self.changed_data if self.instance.pk else cleaned.keys()
        values = {name: as_recorded(cleaned[name]) for name in changed - UNCHECKED}
        try:
            read = check_values(self.schema, values)
        except Problem as problem:
            self._show(problem)
            return {}
        return {name: value for name, value in read.items() if type(value) is str}

    def _show(self, problem: Problem) -> None:
        for field, sentence in locate_errors(problem, self.fields):
            self.add_error(field, sentence)


def normalize_newlines(data: QueryDict | None) -> QueryDict | None:
    """Browsers send \\r\\n, which would change every text that is looked at."""
    if data is None:
        return None
    plain = data.copy()
    for name, values in data.lists():
        plain.setlist(name, [value.replace("\r\n", "\n") for value in values])
    return plain


def locate_errors(problem: Problem, known: Iterable[str]) -> list[tuple[str | None, str]]:
    """Where in the form to say it: at the field the problem points at, else above all."""
    found = []
    for error in problem.errors:
        name = str(error.get("pointer", "")).removeprefix("#/").removesuffix("_id")
        found.append((name if name in known else None, str(error["detail"])))
    return found if any(name for name, _ in found) else [(None, problem.detail)]


class PreloadedAutocomplete(AutocompleteSelect):
    """Labels its value from the row in hand, where Django's asks the database for every line."""

    known: models.Model | None = None

    def optgroups(self, name: str, value: Any, attr: Any = None) -> Any:
        if self.known is None or value != [str(self.known.pk)]:
            return super().optgroups(name, value, attr)
        option = self.create_option(name, value[0], str(self.known), True, 0)
        return [(None, [option], 0)]


class InlineRowForm(RecordedForm):
    """A line of an inline."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():
            widget = getattr(field.widget, "widget", field.widget)  # within the add-another wrapper
            if isinstance(widget, PreloadedAutocomplete) and self.instance.pk:
                widget.known = self.instance._state.fields_cache.get(name)


class RecordedInline(TabularInline):
    """Lines that the admin of their own model saves. Select what autocomplete_fields point at."""

    form = InlineRowForm
    formfield_overrides = FIELDS
    extra = 0
    per_page = 10
    tab = True

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        formset = super().get_formset(request, obj, **kwargs)
        formset.form.schema = self.admin_site._registry[self.model].schema
        return formset

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fields = list(super().get_fields(request, obj))
        return [*fields, "row_version"] if self.has_change_permission(request, obj) else fields

    def formfield_for_foreignkey(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        if db_field.name in self.autocomplete_fields:
            kwargs["widget"] = PreloadedAutocomplete(db_field, self.admin_site)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)


class RecordedAdmin(ModelAdmin):
    form = RecordedForm
    schema: type[In] = In  # of the API: what its fields refuse, the form refuses too
    formfield_overrides = FIELDS
    change_form_before_template = "admin/row_version.html"
    action_field_names: ClassVar[dict[str, str]] = {}  # where a form calls a field otherwise
    compressed_fields = True
    list_per_page = 50
    show_full_result_count = False  # would count the whole table for every page

    # ---- the hooks: each calls one action ----

    def create_row(self, actor: Actor, values: dict[str, Any]) -> models.Model:
        raise NotImplementedError

    def change_row(self, actor: Actor, row: Any, values: dict[str, Any]) -> None:
        raise NotImplementedError

    def delete_row(self, actor: Actor, row: Any) -> None:
        raise NotImplementedError

    # ---- Django's ways of saving, led to the hooks ----

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        self._save(request, obj, form, is_new=not change)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Without form.save_m2m(), which would write round the actions."""
        for formset in formsets:
            self.save_formset(request, form, formset, change=change)

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        """Rows of an inline are saved by the admin of their own model."""
        own = self.admin_site._registry[formset.model]
        formset.new_objects, formset.changed_objects, formset.deleted_objects = [], [], []
        for inline_form in formset.forms:
            if formset.can_delete and formset._should_delete_form(inline_form):
                if inline_form.instance.pk:
                    own.delete_row(get_actor(request), fresh(inline_form.instance))
            elif inline_form.has_changed():
                own._save(request, inline_form.instance, inline_form, not inline_form.instance.pk)

    def _save(self, request: HttpRequest, obj: Any, form: Any, is_new: bool) -> None:
        if is_new:
            values = {n: v for n, v in form.cleaned_data.items() if n not in NO_VALUES}
            row = self.create_row(get_actor(request), values)
            obj.__dict__.update(row.__dict__)  # where Django looks for the new id
        else:
            names = [name for name in form.changed_data if name not in NO_VALUES]
            row, values = fresh(obj), {name: form.cleaned_data[name] for name in names}
            if opened := form.cleaned_data.get("row_version"):
                actor, values = self._as_opened(request, row, values, opened)
                self.change_row(actor, row, values)
            else:
                self.change_row(get_actor(request), row, values)

    def _as_opened(
        self, request: HttpRequest, row: Any, values: dict[str, Any], opened: int
    ) -> tuple[Actor, dict[str, Any]]:
        """What he edited, since others' edits look like his to a form that was opened before them;
        and an actor who overwrites nothing that he has not seen.
        """
        since = changes_since(row, opened)
        noun = self.opts.model_name or ""
        touched = {}
        for name, value in values.items():
            other = since.get(self.action_field_names.get(name, name))
            if other is None or as_recorded(value) != other.base:
                touched[name] = value
        seen = parse_etag(request.POST.get(OVERWRITE, ""))
        if seen is None or not seen.names(noun, row.pk):
            seen = Precondition(noun, row.pk, opened)
        return replace(get_actor(request), precondition=seen), touched

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        self.delete_row(get_actor(request), fresh(obj))

    def delete_queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        for row in queryset:
            if type(row).objects.filter(pk=row.pk).exists():  # else it went with one before it
                self.delete_row(get_actor(request), row)

    # ---- refusals ----

    def get_form(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        form = super().get_form(request, *args, **kwargs)
        form.refusal = getattr(request, "refusal", None)
        form.schema = self.schema
        return form

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        try:
            with transaction.atomic():
                return rendered(super().changeform_view(request, *args, **kwargs))
        except PreconditionFailed as problem:
            return self._show_conflict(request, problem)
        except Contended:  # the whole request is answered again
            raise
        except (Problem, IntegrityError) as error:
            request.refusal = to_problem(error)  # type: ignore[attr-defined]
            return super().changeform_view(request, *args, **kwargs)

    def _show_conflict(self, request: HttpRequest, problem: PreconditionFailed) -> HttpResponse:
        """Yours beside theirs, to choose; what he typed is kept."""
        kept = [
            (name, value)
            for name, values in request.POST.lists()
            for value in values
            if name not in ("csrfmiddlewaretoken", OVERWRITE)
        ]
        context = {
            **self.admin_site.each_context(request),
            "title": "Somebody else has saved this meanwhile",
            "problem": problem,
            "rivalries": read_rivalries(get_actor(request), problem),
            "kept": [*kept, (OVERWRITE, problem.headers.get("ETag", ""))],
            "opts": self.opts,
        }
        return TemplateResponse(request, "admin/conflict.html", context, status=412)

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        return self._or_message(request, super().delete_view, *args, **kwargs)

    def changelist_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        return self._or_message(request, super().changelist_view, *args, **kwargs)

    def response_action(self, request: HttpRequest, queryset: Any) -> Any:
        """Raises NotFound when one of the chosen values cannot be the id of a row."""
        if not all(is_id(text) for text in request.POST.getlist(ACTION_CHECKBOX_NAME)):
            raise NotFound("One of the chosen rows does not exist.")
        return super().response_action(request, queryset)

    def _or_message(self, request: HttpRequest, view: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            with transaction.atomic():
                return rendered(view(request, *args, **kwargs))
        except Contended:  # the whole request is answered again
            raise
        except (Problem, IntegrityError) as error:
            messages.error(request, to_problem(error).detail)
            return HttpResponseRedirect(request.get_full_path())

    # ---- what is going to be deleted, and what has happened ----

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """A short list. Collecting all that hangs on a project would load all its tasks."""
        rows = list(objs[:21])
        names = [str(row) for row in rows[:20]] + ["…"] * (len(rows) > 20)
        return names, {str(self.opts.verbose_name_plural): len(objs)}, set(), []

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: Any = None
    ) -> HttpResponse:
        row = self.get_object(request, unquote(object_id))  # None for what cannot be an id
        if row is None:
            raise Http404
        events = Event.objects.filter(subject_type=self.model.__name__.lower(), subject_id=row.pk)
        paginator = Paginator(events.select_related("actor").order_by("-id"), HISTORY_PAGE)
        page = paginator.get_page(request.GET.get("p"))
        context = {
            **self.admin_site.each_context(request),
            "title": f"History: {row}",
            "entries": read_history(get_actor(request), list(page)),
            "page": page,
            "opts": self.opts,
            "object": row,
            "original": row,
        }
        return TemplateResponse(request, "admin/event_history.html", context)

    def log_addition(self, *args: Any) -> None:  # the event log has it already
        pass

    def log_change(self, *args: Any) -> None:
        pass

    def log_deletions(self, *args: Any) -> None:
        pass


def get_actor(request: HttpRequest) -> Actor:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    return actor


def fresh(row: Any) -> Any:
    """The row as stored: the form has already put its values on the one it holds."""
    return type(row).objects.get(pk=row.pk)


def to_problem(error: Problem | IntegrityError) -> Problem:
    return error if isinstance(error, Problem) else problem_of_database(error)


def rendered(response: Any) -> Any:
    """Inside the savepoint, so that its queries fail there if they do."""
    return response.render() if hasattr(response, "render") else response


def show_tenant_badge(request: HttpRequest) -> list[str] | None:
    """The badge on every page: where one is at work. Red for an operator away from home."""
    tenant: Tenant | None = getattr(request, "tenant", None)
    if tenant is None:
        return None
    actor: Actor | None = getattr(request, "actor", None)
    return [tenant.name, "danger" if actor is not None and actor.is_operator else "info"]
