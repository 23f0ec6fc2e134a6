"""The admin page that undoes events. It displays a plan, and undoes the events when confirmed."""

from __future__ import annotations

import re
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from pydantic import ValidationError

from accounts.admin import events
from accounts.admin.fields import FormValues, set_messages
from accounts.admin.recorded import get_actor, to_problem
from taskflow.admin.refusals import describe_refusal, write_in_words
from taskflow.admin.site import TextInput, action, display
from taskflow.audit.actor import Actor
from taskflow.audit.event_log import capture_events
from taskflow.audit.history import HistoryEntry, read_history
from taskflow.audit.models import Event
from taskflow.http.errors import Problem
from taskflow.http.unavailable import Contended
from tasks.actions.undo.undoing import UndoResult, undo
from tasks.admin.labels import PROJECT_COLUMN, USER_COLUMN, RowChoiceField, offer_rows
from tasks.admin.subjects import RowKey, find_subjects, show_subject
from tasks.models import Project
from tasks.queries.events import select_events
from tasks.schemas.undo import OnConflict, UndoRequest

admin.site.unregister(Event)
MAX_SHOWN = 200  # lines of a plan
EVENT_IDS = re.compile(r"[0-9]{1,18}(,[0-9]{1,18})*")


class UndoForm(forms.Form):
    """Selects the events to undo: by their ids, by request id, or by user and time."""

    event_ids = forms.CharField(required=False, widget=forms.HiddenInput)
    request_id = forms.CharField(required=False, max_length=64, widget=TextInput)
    actor: Any = RowChoiceField(USER_COLUMN, "users", required=False, placeholder=_("Me"))
    by_operators = forms.BooleanField(
        required=False, label=_("Instead of a user, operators and commands")
    )
    since = forms.DateTimeField(
        required=False, widget=TextInput(attrs={"placeholder": _("2026-12-01 09:00")})
    )
    project: Any = RowChoiceField(PROJECT_COLUMN, "projects", required=False, placeholder=_("All"))
    until = forms.DateTimeField(required=False, widget=forms.HiddenInput)  # when the plan was made
    skip = forms.BooleanField(
        required=False,
        label=_("Skip events that conflict with later changes of other users or cannot be undone"),
    )

    force = forms.BooleanField(
        required=False,
        label=_("Undo even what leaves open tasks below a done task or in a completed project"),
    )

    def __init__(self, actor: Actor, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        offer_rows(self, actor)
        set_messages(self.fields.values())
        self.fields["since"].label = gettext("since (%(zone)s)") % {
            "zone": timezone.get_current_timezone_name()
        }

    def clean_event_ids(self) -> str:
        """Refuse text that is not a list of ids, which would otherwise be ignored."""
        text: str = self.cleaned_data["event_ids"]
        if text and not EVENT_IDS.fullmatch(text):
            raise forms.ValidationError(gettext("Enter the ids of events, for example 17,18."))
        return text

    def clean_project(self) -> Project | None:
        """Refuse a project with event ids or a request id, where it would have no effect."""
        project: Project | None = self.cleaned_data["project"]
        if project and (self.cleaned_data.get("event_ids") or self.cleaned_data.get("request_id")):
            raise forms.ValidationError(
                gettext("A project can only be combined with a user and a time.")
            )
        return project

    def clean(self) -> FormValues:
        values = super().clean() or {}
        if values.get("actor") and values.get("by_operators"):
            self.add_error("by_operators", gettext("Choose a user, or this, not both."))
        body: dict[str, object] = {"on_conflict": OnConflict(["refuse", "skip"][values["skip"]])}
        if ids := [word for word in values.get("event_ids", "").split(",") if word.isdigit()]:
            body["event_ids"] = [int(word) for word in ids]
        elif values.get("request_id"):
            body |= {"request_id": values["request_id"], "actor": _name_actor(values)}
        elif values.get("since"):
            body |= {"since": values["since"].isoformat(), "actor": _name_actor(values)}
            if values.get("until"):
                body["until"] = values["until"].isoformat()
            if values.get("project"):
                body["project"] = str(values["project"].pk)
        try:
            values["undo_request"] = UndoRequest.model_validate(body)
        except ValidationError:
            raise forms.ValidationError(
                gettext("Enter a request id, or a user and a time.")
            ) from None
        return values


@admin.register(Event)
class EventAdminWithUndo(events.EventAdmin):
    list_display = ["created_at", "show_who", "show_what", "show_subject", "show_via", "request_id"]
    actions_list = ["undo_more"]
    actions_detail = ["undo_this"]

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Return the list with the rows that its events are about. One query for each type."""
        changelist: Any = super().get_changelist_instance(request)
        changelist.result_list = list(changelist.result_list)
        subjects = find_subjects(get_actor(request), map(_key_of, changelist.result_list))
        for event in changelist.result_list:
            event.subject = subjects.get(_key_of(event))
        return changelist

    @display(description=_("row"))
    def show_subject(self, event: Any) -> str:
        return show_subject(event.subject, event.subject_type, event.subject_id)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.undo_view)
        return [path("undo/", view, name="audit_event_undo"), *super().get_urls()]

    @action(description=_("Undo…"))
    def undo_more(self, request: HttpRequest) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:audit_event_undo"))

    @action(description=_("Undo…"))
    def undo_this(self, request: HttpRequest, object_id: int) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:audit_event_undo") + f"?event_ids={object_id}")

    def undo_view(self, request: HttpRequest) -> HttpResponse:
        """Show the form (GET), the plan (POST), or undo the events (POST with `confirmed`)."""
        is_post = request.method == "POST"
        sent = request.POST if is_post else None
        form = UndoForm(get_actor(request), sent, initial=_initial_values(request))
        plan: dict[str, object] | None = None
        refusal: Problem | None = None
        if is_post and form.is_valid():
            undo_request = _limit_to_plan(form)
            try:
                with transaction.atomic():
                    result, entries = _undo_events(
                        get_actor(request), undo_request, force=form.cleaned_data["force"]
                    )
                    transaction.set_rollback("confirmed" not in request.POST)
                if "confirmed" in request.POST:
                    messages.success(
                        request,
                        gettext("%(n)d changes were undone.") % {"n": len(result.event_ids)},
                    )
                    return HttpResponseRedirect(reverse("admin:audit_event_changelist"))
                plan = _describe_plan(get_actor(request), result, entries)
            except Contended:  # the whole request is answered again
                raise
            except (Problem, IntegrityError) as error:
                refusal = to_problem(error)
        context = {
            **self.admin_site.each_context(request),
            "title": _("Undo"),
            "form": form,
            "plan": plan,
            "refusal": refusal,
            "sentence": describe_refusal(refusal).sentence if refusal else "",
            "obstacles": _describe_errors(get_actor(request), refusal) if refusal else [],
            "opts": self.opts,
        }
        return TemplateResponse(request, "admin/undo.html", context)


def _name_actor(values: FormValues) -> str:
    """Return whose changes are undone, as UndoRequest names them."""
    if values.get("by_operators"):
        return "none"
    return str(values["actor"].pk) if values.get("actor") else "me"


def _key_of(event: Event) -> RowKey:
    return event.subject_type, event.subject_id


def _describe_plan(
    actor: Actor, result: UndoResult, entries: list[HistoryEntry]
) -> dict[str, object]:
    """Return what the template shows of a plan: each line with the row that it is about.

    The rows are as they are now, since the plan has been rolled back.
    """
    shown = entries[:MAX_SHOWN]
    events = [*(e.event for e in shown), *(obstacle.event for obstacle in result.left_out)]
    subjects = find_subjects(actor, map(_key_of, events))

    def show(event: Event) -> str:
        return show_subject(subjects.get(_key_of(event)), *_key_of(event))

    return {
        "entries": [(entry.sentence, show(entry.event)) for entry in shown],
        "hidden_count": len(entries) - len(shown),
        "left_out": [
            (show(obstacle.event), write_in_words(obstacle.detail)) for obstacle in result.left_out
        ],
        "count": len(result.event_ids),
    }


def _describe_errors(actor: Actor, refusal: Problem) -> list[tuple[str, str]]:
    """Return the row and the reason of each event that cannot be undone."""
    errors = [error for error in refusal.errors if "subject" in error]
    keys = [(str(e["subject"]["type"]), int(e["subject"]["id"])) for e in errors]
    subjects = find_subjects(actor, keys)
    return [
        (show_subject(subjects.get(key), *key), write_in_words(str(error["detail"])))
        for key, error in zip(keys, errors, strict=True)
    ]


def _initial_values(request: HttpRequest) -> dict[str, object]:
    full_hour = timezone.localtime().replace(minute=0, second=0, microsecond=0)
    return {"since": date_format(full_hour, "SHORT_DATETIME_FORMAT"), **request.GET.dict()}


def _limit_to_plan(form: UndoForm) -> UndoRequest:
    """Return the selection of the form, without events recorded after the plan was displayed."""
    undo_request: UndoRequest = form.cleaned_data["undo_request"]
    if "since" not in undo_request.model_fields_set:
        return undo_request
    until = undo_request.sent_fields().get("until") or timezone.now()
    data: Any = form.data  # request.POST, which is immutable
    form.data = {**data.dict(), "until": until.isoformat()}
    return undo_request.model_copy(update={"until": until})


def _undo_events(
    actor: Actor, undo_request: UndoRequest, *, force: bool
) -> tuple[UndoResult, list[HistoryEntry]]:
    """Undo the selected events. Return the result, and history entries of the undo itself."""
    events_to_undo = select_events(actor, undo_request)
    skip = undo_request.on_conflict == OnConflict.SKIP
    with capture_events() as recorded:
        result = undo(actor, events_to_undo, skip=skip, force=force)
    return result, read_history(actor, recorded, on_screen=True)
