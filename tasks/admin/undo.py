"""What the work adds to the admin of events: taking them back, with the plan shown first."""

from __future__ import annotations

import re
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from pydantic import ValidationError

from accounts.admin import events
from accounts.admin.recorded import get_actor, to_problem
from accounts.models import User
from taskflow.admin.site import Select, TextInput, action
from taskflow.audit.actor import Actor
from taskflow.audit.history import Entry, read_history
from taskflow.audit.models import Event
from taskflow.audit.recorder import capture_events
from taskflow.http.errors import Problem
from tasks.actions.undo import Undone, undo
from tasks.models import Project
from tasks.queries.filters import choose_events
from tasks.schemas.undo import OnConflict, UndoRequest

admin.site.unregister(Event)
DATETIME = "%Y-%m-%d %H:%M"
EVENT_IDS = re.compile(r"[0-9]{1,18}(,[0-9]{1,18})*")


class UndoForm(forms.Form):
    """One of: events by id, a request, or all that somebody did since."""

    event_ids = forms.CharField(required=False, widget=forms.HiddenInput)
    request_id = forms.CharField(required=False, max_length=64, widget=TextInput)
    actor = forms.ChoiceField(required=False, widget=Select)
    since = forms.DateTimeField(
        required=False, widget=TextInput(attrs={"placeholder": "2026-12-01 09:00"})
    )
    project: Any = forms.ModelChoiceField(None, required=False, widget=Select, empty_label="All")
    until = forms.DateTimeField(required=False, widget=forms.HiddenInput)  # when it was planned
    skip = forms.BooleanField(
        required=False, label="Leave out what others have changed since, and what cannot come back"
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        users = [(str(user.pk), str(user)) for user in User.objects.order_by("handle")]
        self.fields["actor"].choices = [  # type: ignore[attr-defined]
            ("", "I, myself"),
            ("none", "An operator or a command"),
            *users,
        ]
        self.fields["project"].queryset = Project.objects.order_by("key")  # type: ignore[attr-defined]

    def clean_event_ids(self) -> str:
        """Refuse what is no list of ids, instead of choosing events in another way."""
        text: str = self.cleaned_data["event_ids"]
        if text and not EVENT_IDS.fullmatch(text):
            raise forms.ValidationError("Give the ids of events, as in 17,18.")
        return text

    def clean_project(self) -> Any:
        """Refuse a project where it would not narrow what is chosen."""
        project = self.cleaned_data["project"]
        if project and (self.cleaned_data.get("event_ids") or self.cleaned_data.get("request_id")):
            raise forms.ValidationError("Only for what somebody did since an instant.")
        return project

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        body: dict[str, Any] = {"on_conflict": OnConflict(["refuse", "skip"][values["skip"]])}
        if ids := [word for word in values.get("event_ids", "").split(",") if word.isdigit()]:
            body["event_ids"] = [int(word) for word in ids]
        elif values.get("request_id"):
            body |= {"request_id": values["request_id"], "actor": values.get("actor") or "me"}
        elif values.get("since"):
            body |= {"since": values["since"].isoformat(), "actor": values.get("actor") or "me"}
            if values.get("project"):
                body["project"] = str(values["project"].pk)
        try:
            values["wanted"] = UndoRequest.model_validate(body)
        except ValidationError:
            raise forms.ValidationError("Give a request, or somebody and since when.") from None
        return values


@admin.register(Event)
class EventAdmin(events.EventAdmin):
    actions_list = ["undo_more"]
    actions_detail = ["undo_this"]

    def get_urls(self) -> Any:
        view = self.admin_site.admin_view(self.undo_view)
        return [path("undo/", view, name="audit_event_undo"), *super().get_urls()]

    @action(description="Undo…")
    def undo_more(self, request: HttpRequest) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:audit_event_undo"))

    @action(description="Undo…")
    def undo_this(self, request: HttpRequest, object_id: int) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:audit_event_undo") + f"?event_ids={object_id}")

    def undo_view(self, request: HttpRequest) -> HttpResponse:
        """Ask what, show the plan, do it: the last two are POSTs of the same form."""
        is_post = request.method == "POST"
        form = UndoForm(request.POST if is_post else None, initial=_initial(request))
        plan: dict[str, Any] | None = None
        refusal: Problem | None = None
        if is_post and form.is_valid():
            wanted = _wanted_until_the_plan(form)
            try:
                with transaction.atomic():
                    done, entries = _take_back(get_actor(request), wanted)
                    transaction.set_rollback("confirmed" not in request.POST)
                if "confirmed" in request.POST:
                    messages.success(request, f"{len(done.event_ids)} changes are taken back.")
                    return HttpResponseRedirect(reverse("admin:audit_event_changelist"))
                plan = {"entries": entries, "done": done}
            except (Problem, IntegrityError) as error:
                refusal = to_problem(error)
        context = {
            **self.admin_site.each_context(request),
            "title": "Undo",
            "form": form,
            "plan": plan,
            "refusal": refusal,
            "opts": self.opts,
        }
        return TemplateResponse(request, "admin/undo.html", context)


def _initial(request: HttpRequest) -> dict[str, Any]:
    hour_ago = timezone.now().replace(minute=0, second=0, microsecond=0)
    return {"since": hour_ago.strftime(DATETIME), **request.GET.dict()}


def _wanted_until_the_plan(form: UndoForm) -> UndoRequest:
    """What the form chooses, without what was done after the plan was shown."""
    wanted: UndoRequest = form.cleaned_data["wanted"]
    if "since" not in wanted.model_fields_set:
        return wanted
    until = form.cleaned_data["until"] or timezone.now()
    data: Any = form.data  # the request's, which cannot be changed
    form.data = {**data.dict(), "until": until.isoformat()}
    return wanted.model_copy(update={"until": until})


def _take_back(actor: Actor, wanted: UndoRequest) -> tuple[Undone, list[Entry]]:
    chosen = choose_events(actor, wanted)
    with capture_events() as recorded:
        done = undo(actor, chosen, skip=wanted.on_conflict == OnConflict.SKIP)
    return done, read_history(actor, recorded)
