"""API tokens: they are created and revoked here, but not changed."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from accounts.actions import tokens as token_actions
from accounts.admin.fields import FormValues
from accounts.admin.forms import RecordedForm
from accounts.admin.recorded import RecordedAdmin, get_actor
from accounts.models import ApiToken
from accounts.rules import require_unbound
from accounts.schemas.tokens import TokenCreate
from taskflow.admin.site import TextInput, action, display
from taskflow.audit.actor import Actor, TokenScope


class TokenForm(RecordedForm):
    expires_in_days = forms.IntegerField(
        min_value=1, max_value=3650, initial=90, widget=TextInput(attrs={"type": "number"})
    )


@admin.register(ApiToken)
class ApiTokenAdmin(RecordedAdmin):
    schema = TokenCreate
    form = TokenForm
    list_display = [
        "name",
        "show_prefix",
        "user",
        "issued_by",
        "show_scope",
        "show_state",
        "expires_at",
        "last_used_at",
    ]
    list_filter = ["scope"]
    list_select_related = ["user", "issued_by"]
    search_fields = ["name", "prefix", "user__handle"]
    autocomplete_fields = ["user"]
    ordering = ["-id"]
    actions = ["revoke", "rotate"]
    add_fieldsets = [(None, {"fields": ["user", "name", "scope", "expires_in_days"]})]
    fields = [
        ("user", "name"),
        "issued_by",
        ("prefix", "scope"),
        ("created_at", "expires_at"),
        ("revoked_at", "last_used_at"),
        "project_ids",
    ]

    def check_view(self, request: HttpRequest) -> None:
        """Permit everybody: the list has the own tokens and those of the own agents."""

    def check_add(self, request: HttpRequest) -> None:
        require_unbound(get_actor(request), "tokens")

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[ApiToken]:
        return ApiToken.objects.visible_to(get_actor(request).viewer)

    def has_change_permission(self, request: HttpRequest, obj: ApiToken | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: ApiToken | None = None) -> bool:
        return False  # a revoked token stays on the list

    def create_row(self, actor: Actor, values: FormValues) -> ApiToken:
        values["scope"] = TokenScope(values["scope"])
        token, text = token_actions.create_token(actor, **values)
        token.shown_once = text  # type: ignore[attr-defined]
        return token

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: str | None = None
    ) -> HttpResponse:
        return self.show_tokens(request, [(obj, obj.shown_once)])

    def show_tokens(
        self, request: HttpRequest, issued: list[tuple[ApiToken, str]]
    ) -> TemplateResponse:
        """Return the only page that shows the texts of these new tokens.

        It is the response to the request that created them. A message would be stored until the
        next page, in a cookie or in the table of sessions.
        """
        context = {
            **self.admin_site.each_context(request),
            "title": ngettext("New token", "New tokens", len(issued)),
            "opts": self.opts,
            "issued": issued,
        }
        return TemplateResponse(request, "admin/new_tokens.html", context)

    @display(description=_("begins with"))
    def show_prefix(self, token: ApiToken) -> str:
        return f"{token.prefix}…"

    @display(
        description=_("scope"),
        ordering="scope",
        label={"read": "info", "write": "warning", "admin": "danger"},
    )
    def show_scope(self, token: ApiToken) -> str:
        return token.scope

    @display(
        description=_("state"), label={"live": "success", "expired": "warning", "revoked": "danger"}
    )
    def show_state(self, token: ApiToken) -> tuple[str, Promise]:
        if token.is_live:
            return "live", _("live")
        return ("revoked", _("revoked")) if token.revoked_at else ("expired", _("expired"))

    @action(description=_("Revoke"), permissions=["view"])
    def revoke(self, request: HttpRequest, queryset: models.QuerySet[ApiToken]) -> None:
        for token in queryset.select_related("user"):
            token_actions.revoke_token(get_actor(request), token)

    @action(
        description=_("Replace by a new token; the old one works for 24 hours"),
        permissions=["view"],
    )
    def rotate(self, request: HttpRequest, queryset: models.QuerySet[ApiToken]) -> TemplateResponse:
        actor = get_actor(request)
        return self.show_tokens(
            request,
            [token_actions.rotate_token(actor, token) for token in queryset.select_related("user")],
        )
