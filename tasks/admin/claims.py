"""Who works on what: the claims that have not ended, of which each can be broken."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin import SimpleListFilter
from django.db import models
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.timesince import timesince
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.admin.forms import RecordedForm
from accounts.admin.recorded import RecordedAdmin, get_actor
from taskflow.admin.empty import EMPTY
from taskflow.admin.site import AutocompleteSelectFilter, action, display
from tasks.actions import claims as actions
from tasks.admin.home.activity import CLAIMS_AT_WORK
from tasks.models import Claim
from tasks.models.claims import is_open, with_present_state


class ClaimForm(RecordedForm):
    """Shows a claim, which no form changes. It has no version."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        ModelForm.__init__(self, *args, **kwargs)


class AtWorkFilter(SimpleListFilter):
    """Leaves out claims that have expired, to which the first page leads."""

    title = _("at work")
    parameter_name = CLAIMS_AT_WORK

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("1", _("At work now"))]

    def queryset(
        self, request: HttpRequest, queryset: models.QuerySet[Claim]
    ) -> models.QuerySet[Claim]:
        return queryset.filter(is_open()) if self.value() == "1" else queryset


@admin.register(Claim)
class ClaimAdmin(RecordedAdmin):
    form = ClaimForm
    list_display = [
        "show_task",
        "user",
        "worker",
        "show_state",
        "show_progress",
        "note",
        "created_at",
        "show_heartbeat",
        "expires_at",
    ]
    list_filter = [AtWorkFilter, ("user", AutocompleteSelectFilter)]
    list_filter_submit = True
    search_fields = ["worker", "task__title"]
    ordering = ["-id"]
    actions = ["break_selected", "cancel_selected"]
    fields = [
        ("task", "user"),
        ("worker", "attempt"),
        ("created_at", "heartbeat_at"),
        ("expires_at", "cancel_requested_at"),
        ("progress", "fence"),
        "note",
        ("end", "ended_at"),
    ]

    def check_view(self, request: HttpRequest) -> None:
        """Permit everybody."""

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Claim]:
        """Return the claims that have not ended for the list, and all for the page of one."""
        rows = Claim.objects.visible_to(get_actor(request).viewer)
        if request.resolver_match and str(request.resolver_match.url_name).endswith("_changelist"):
            rows = rows.filter(ended_at__isnull=True)
        return with_present_state(rows.select_related("task__project", "user"))

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context = {"title": _("Who works on what"), **(extra_context or {})}
        return super().changelist_view(request, context)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Claim | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Claim | None = None) -> bool:
        return False

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the history of the task, which has the events of its claims."""
        claim = self.get_object(request, object_id)
        if claim is None:
            return HttpResponseRedirect(reverse("admin:tasks_claim_changelist"))
        return HttpResponseRedirect(reverse("admin:tasks_task_history", args=[claim.task_id]))

    @display(description=_("task"), ordering="task__title", header=True)
    def show_task(self, claim: Claim) -> list[str]:
        return [claim.task.title, claim.task.key]

    @display(
        description=_("state"),
        label={"works": "success", "asked to stop": "warning", "expired": "danger"},
    )
    def show_state(self, claim: Claim) -> tuple[str, Promise]:
        if not claim.is_open_now:
            return "expired", _("expired")
        return (
            ("asked to stop", _("asked to stop"))
            if claim.cancel_requested_at
            else (
                "works",
                _("works"),
            )
        )

    @display(description=_("progress"), ordering="progress")
    def show_progress(self, claim: Claim) -> str:
        return EMPTY if claim.progress is None else f"{claim.progress} %"

    @display(description=_("last heartbeat"), ordering="heartbeat_at")
    def show_heartbeat(self, claim: Claim) -> str:
        since = timesince(claim.heartbeat_at, claim.database_time)
        return gettext("%(time)s ago") % {"time": since}

    @action(description=_("Break: give the tasks back"), permissions=["view"])
    def break_selected(self, request: HttpRequest, queryset: models.QuerySet[Claim]) -> None:
        for claim in queryset.select_related("task__project", "user", "assignee_before"):
            actions.break_claim(get_actor(request), claim)

    @action(description=_("Ask the workers to stop"), permissions=["view"])
    def cancel_selected(self, request: HttpRequest, queryset: models.QuerySet[Claim]) -> None:
        for claim in queryset.select_related("task__project", "user"):
            actions.request_cancellation(get_actor(request), claim)
