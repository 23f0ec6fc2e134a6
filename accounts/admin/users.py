"""People and agents."""

from __future__ import annotations

import re
from typing import Any, cast

import django.contrib.auth.admin  # noqa: F401 - registers Group, which is unregistered below
from django import forms
from django.contrib import admin
from django.contrib.auth.models import Group
from django.db import models
from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from accounts.actions import sessions as session_actions
from accounts.actions import users as user_actions
from accounts.admin.events import address_of_todays_events
from accounts.admin.fields import FormValues
from accounts.admin.forms import RecordedForm
from accounts.admin.recorded import RecordedAdmin, get_actor
from accounts.kept_session import keep_session
from accounts.models import User, UserKind
from accounts.schemas.users import UserCreate
from taskflow.admin.site import PasswordInput, action, display
from taskflow.audit.actor import Actor, ActorRequest

CONFIRMATION_FIELDS = frozenset({"current_password", "revoke_agent_tokens"})

admin.site.unregister(Group)  # Groups belong to no tenant: all tenants would share them.


class UserForm(RecordedForm):
    password = forms.CharField(
        required=False,
        widget=PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text=_(
            "Leave it empty to keep the password. A new password ends all sessions and tokens"
            " of the user."
        ),
    )
    current_password = forms.CharField(
        required=False,
        label=_("Your own password"),
        widget=PasswordInput(attrs={"autocomplete": "current-password"}),
        help_text=_("Needed to change the password or the e-mail of a person."),
    )
    revoke_agent_tokens = forms.BooleanField(
        required=False,
        label=_("Also revoke the tokens of the user's agents"),
        help_text=_("With a new password or e-mail."),
    )


@admin.register(User)
class UserAdmin(RecordedAdmin):
    schema = UserCreate
    form = UserForm
    list_display = [
        "show_name",
        "email",
        "show_kind",
        "show_status",
        "responsible",
        "created_at",
        "show_today",
    ]
    list_filter = ["kind", "is_active", "is_staff"]
    list_select_related = ["responsible"]
    search_fields = ["handle", "email", "full_name"]
    autocomplete_fields = ["responsible"]
    ordering = ["handle"]
    actions = ["activate", "deactivate", "end_sessions"]
    fields = [
        ("kind", "handle"),
        ("full_name", "email"),
        "password",
        ("current_password", "revoke_agent_tokens"),
        ("is_active", "is_staff"),
        "responsible",
    ]

    def check_choose(self, request: HttpRequest) -> None:
        """Permit everybody: any user of the tenant can be assigned or added to a project."""

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> list[str]:
        return ["kind"] if obj else []

    def create_row(self, actor: Actor, values: FormValues) -> User:
        is_active = values.pop("is_active")
        values = {n: v for n, v in values.items() if n not in CONFIRMATION_FIELDS}
        values["password"] = values["password"] or None
        user = user_actions.create_user(actor, **values)
        return user if is_active else user_actions.deactivate_user(actor, user)

    def change_row(self, actor: Actor, row: User, values: FormValues) -> None:
        if not values.get("password"):  # empty: keep the present one
            values.pop("password", None)
        values["current_password"] = values.get("current_password") or None
        user_actions.update_user(actor, row, **values)

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        keep_session(cast(ActorRequest, request))  # after a change of one's own row

    def delete_row(self, actor: Actor, row: User) -> None:
        user_actions.delete_user(actor, row)

    @display(description=_("user"), ordering="handle", header=True)
    def show_name(self, user: User) -> list[str]:
        initials = "".join(re.findall(r"\b\w", user.full_name)[:2]) or user.handle[:2]
        return [user.full_name or user.handle, f"@{user.handle}", initials.upper()]

    @display(description=_("kind"), ordering="kind", label={"human": "info", "agent": "primary"})
    def show_kind(self, user: User) -> tuple[str, str]:
        return user.kind, str(UserKind(user.kind).label)

    @display(
        description=_("status"),
        label={"administrator": "warning", "active": "success", "deactivated": "danger"},
    )
    def show_status(self, user: User) -> tuple[str, Promise]:
        if not user.is_active:
            return "deactivated", _("deactivated")
        return ("administrator", _("administrator")) if user.is_staff else ("active", _("active"))

    @display(description="")
    def show_today(self, user: User) -> str:
        return format_html(
            '<a class="text-primary-600 dark:text-primary-500" href="{}" aria-label="{}">{}</a>',
            address_of_todays_events(user),
            _("Today: what %s has done") % user,
            _("Today"),
        )

    @action(description=_("Activate"))
    def activate(self, request: HttpRequest, queryset: models.QuerySet[User]) -> None:
        for user in queryset:
            user_actions.update_user(get_actor(request), user, is_active=True)

    @action(description=_("Deactivate and revoke their tokens"))
    def deactivate(self, request: HttpRequest, queryset: models.QuerySet[User]) -> None:
        for user in queryset:
            user_actions.deactivate_user(get_actor(request), user)

    @action(description=_("End their sessions"))
    def end_sessions(self, request: HttpRequest, queryset: models.QuerySet[User]) -> None:
        for user in queryset:
            session_actions.end_sessions_of(get_actor(request), user)
