"""Webhooks and their deliveries. The secret of a webhook is shown once, on a page of its own."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from accounts.admin.fields import FormValues
from accounts.admin.forms import RecordedForm
from accounts.admin.recorded import RecordedAdmin, get_actor
from accounts.admin.rights import RuledAdmin
from taskflow.admin.site import AutocompleteSelectFilter, Textarea, action, display
from taskflow.audit.actor import Actor
from tasks.actions import webhooks as actions
from tasks.admin.rights import check_webhook_manager
from tasks.models import Delivery, Webhook
from tasks.models.deliveries import DeliveryState
from tasks.models.webhooks import WebhookState
from tasks.schemas.webhooks import WebhookCreate

STATE_LABELS = {WebhookState.ACTIVE: "success", WebhookState.PAUSED: "warning"}
DELIVERY_LABELS = {
    DeliveryState.PENDING: "info",
    DeliveryState.DELIVERED: "success",
    DeliveryState.WITHHELD: "warning",
}


class EventTypesField(forms.CharField):
    """Types of events, one on each line. Empty for all types."""

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        return str(value or "").split() or None


class WebhookForm(RecordedForm):
    event_types: Any = EventTypesField(
        required=False,
        widget=Textarea(attrs={"rows": 4}),
        help_text=_("One on each line, such as task.completed. Empty: all events."),
    )


@admin.register(Webhook)
class WebhookAdmin(RecordedAdmin):
    schema = WebhookCreate
    form = WebhookForm
    list_display = ["url", "project", "owner", "show_state", "pause_reason", "failure_count"]
    list_filter = ["state"]
    list_select_related = ["project", "owner"]
    search_fields = ["url"]
    autocomplete_fields = ["project"]
    ordering = ["-id"]
    actions = ["pause", "resume", "ping", "rotate"]
    add_fieldsets = [(None, {"fields": ["url", "project", "event_types"]})]
    fields = [
        "url",
        ("project", "owner"),
        "event_types",
        ("state", "pause_reason"),
        ("failure_count", "former_until"),
        ("created_at", "updated_at"),
    ]

    def check_view(self, request: HttpRequest) -> None:
        check_webhook_manager(request, None)

    def check_add(self, request: HttpRequest) -> None:
        check_webhook_manager(request, None)

    def check_change(self, request: HttpRequest, row: Webhook | None) -> None:
        check_webhook_manager(request, row.project if row else None)

    def check_delete(self, request: HttpRequest, row: Webhook | None) -> None:
        check_webhook_manager(request, row.project if row else None)

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Webhook]:
        return Webhook.objects.visible_to(get_actor(request).viewer)

    def get_readonly_fields(self, request: HttpRequest, obj: Webhook | None = None) -> Any:
        others = ("state", "pause_reason", "failure_count", "former_until", "created_at")
        return (*others, "updated_at", *(("project", "owner") if obj else ()))

    def get_fieldsets(self, request: HttpRequest, obj: Webhook | None = None) -> Any:
        return super().get_fieldsets(request, obj) if obj else self.add_fieldsets

    def create_row(self, actor: Actor, values: FormValues) -> Webhook:
        return actions.create_webhook(actor, **values)

    def change_row(self, actor: Actor, row: Webhook, values: FormValues) -> None:
        actions.update_webhook(actor, row, **values)

    def delete_row(self, actor: Actor, row: Webhook) -> None:
        actions.delete_webhook(actor, row)

    def count_to_delete(self, ids: list[int]) -> dict[str, int]:
        deliveries = Delivery.objects.filter(webhook__in=ids).count()
        return super().count_to_delete(ids) | ({"deliveries": deliveries} if deliveries else {})

    def describe_restoration(self) -> str:
        return gettext(
            "Webhooks have no trash. Events that nobody has received stay in the event log."
        )

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: str | None = None
    ) -> HttpResponse:
        return self.show_secrets(request, [obj])

    def show_secrets(self, request: HttpRequest, webhooks: list[Webhook]) -> TemplateResponse:
        """Return the only page that shows the new secrets of these webhooks."""
        context = {
            **self.admin_site.each_context(request),
            "title": ngettext("New secret", "New secrets", len(webhooks)),
            "opts": self.opts,
            "webhooks": webhooks,
        }
        return TemplateResponse(request, "admin/new_secrets.html", context)

    @display(description=_("state"), ordering="state", label=STATE_LABELS)
    def show_state(self, webhook: Webhook) -> str:
        return webhook.state

    @action(description=_("Pause"), permissions=["view"])
    def pause(self, request: HttpRequest, queryset: models.QuerySet[Webhook]) -> None:
        for webhook in queryset.select_related("project"):
            actions.pause_webhook(get_actor(request), webhook)

    @action(description=_("Resume"), permissions=["view"])
    def resume(self, request: HttpRequest, queryset: models.QuerySet[Webhook]) -> None:
        for webhook in queryset.select_related("project", "owner"):
            actions.resume_webhook(get_actor(request), webhook)

    @action(description=_("Send a ping"), permissions=["view"])
    def ping(self, request: HttpRequest, queryset: models.QuerySet[Webhook]) -> None:
        for webhook in queryset.select_related("project"):
            actions.ping(get_actor(request), webhook)

    @action(description=_("Replace the secret; both work for 24 hours"), permissions=["view"])
    def rotate(self, request: HttpRequest, queryset: models.QuerySet[Webhook]) -> TemplateResponse:
        actor = get_actor(request)
        rows = list(queryset.select_related("project"))
        return self.show_secrets(request, [actions.rotate_secret(actor, row) for row in rows])


@admin.register(Delivery)
class DeliveryAdmin(RuledAdmin):
    """The log of deliveries, which can be sent again."""

    list_display = [
        "created_at",
        "webhook",
        "event_type",
        "show_state",
        "attempts",
        "response_status",
        "duration_ms",
        "attempted_at",
    ]
    list_filter = ["state", ("webhook", AutocompleteSelectFilter)]
    list_filter_submit = True
    list_select_related = ["webhook"]
    search_fields = ["message_id", "event_type"]
    ordering = ["-id"]
    list_per_page = 50
    show_full_result_count = False
    actions = ["send_again"]
    fields = [
        ("webhook", "message_id"),
        ("event_type", "event_ids"),
        ("state", "attempts"),
        ("next_attempt_at", "attempted_at", "finished_at"),
        ("response_status", "duration_ms"),
        "response_start",
        "error",
        "created_at",
    ]

    def check_view(self, request: HttpRequest) -> None:
        check_webhook_manager(request, None)

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Delivery]:
        return Delivery.objects.visible_to(get_actor(request).viewer)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Delivery | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Delivery | None = None) -> bool:
        return False

    @display(description=_("state"), ordering="state", label=DELIVERY_LABELS)
    def show_state(self, delivery: Delivery) -> str:
        return delivery.state

    @action(description=_("Send again"), permissions=["view"])
    def send_again(self, request: HttpRequest, queryset: models.QuerySet[Delivery]) -> None:
        for delivery in queryset.select_related("webhook__project"):
            actions.redeliver(get_actor(request), delivery)
