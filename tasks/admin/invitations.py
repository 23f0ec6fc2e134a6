"""Invitations, which are sent and revoked here but not changed, and the page of their links."""

from __future__ import annotations

from functools import partial
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import AutocompleteSelectMultiple
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods

from accounts.admin.account_pages import AccountForm, show_dead_link, show_page
from accounts.admin.fields import FormValues, RowMultipleChoiceField
from accounts.admin.forms import RecordedForm
from accounts.admin.password_resets import id_of, tenant_of_page
from accounts.admin.recorded import RecordedAdmin, get_actor
from accounts.models import User
from taskflow.admin.site import PasswordInput, Select, TextInput, action, display
from taskflow.audit.actor import Actor
from taskflow.audit.models import Via
from taskflow.http.parsing import check_values
from tasks.actions import invitations as actions
from tasks.models import Project, ProjectMember, Role
from tasks.models.invitations import Invitation
from tasks.schemas.invitations import InvitationAcceptance, InvitationCreate

HOW_TO_ASK_AGAIN = _("Ask an administrator to send the invitation again.")

STATES = {
    "pending": _("pending"),
    "accepted": _("accepted"),
    "revoked": _("revoked"),
    "expired": _("expired"),
}


class ProjectsWidget(AutocompleteSelectMultiple):
    """Offers the projects while the user types, so that the page does not load all of them."""

    def __init__(self) -> None:
        super().__init__(ProjectMember._meta.get_field("project"), admin.site)


class InvitationForm(RecordedForm):
    join: Any = RowMultipleChoiceField(
        queryset=None,
        required=False,
        widget=ProjectsWidget,
        label=_("Projects"),
        help_text=_("Projects that the person joins."),
    )
    role = forms.ChoiceField(
        choices=Role.choices, initial=Role.MEMBER, widget=Select, label=_("Role in them")
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "join" in self.fields:  # the form for a new invitation
            join: Any = self.fields["join"]
            join.queryset = Project.objects.order_by("name")


@admin.register(Invitation)
class InvitationAdmin(RecordedAdmin):
    schema = InvitationCreate
    form = InvitationForm
    list_display = ["email", "full_name", "show_state", "invited_by", "expires_at", "created_at"]
    list_select_related = ["invited_by"]
    search_fields = ["email", "full_name"]
    ordering = ["-id"]
    actions = ["resend", "revoke"]
    add_fieldsets = [(None, {"fields": ["email", "full_name", "is_staff", "join", "role"]})]
    fields = [
        ("email", "full_name"),
        "is_staff",
        ("invited_by", "user"),
        ("created_at", "expires_at"),
        ("accepted_at", "revoked_at"),
    ]

    def has_change_permission(self, request: HttpRequest, obj: Invitation | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Invitation | None = None) -> bool:
        return False  # a revoked invitation stays on the list

    def create_row(self, actor: Actor, values: FormValues) -> Invitation:
        role = Role(values.pop("role"))
        projects = [(project.pk, role) for project in values.pop("join")]
        return actions.invite(actor, **values, projects=projects)

    @display(
        description=_("state"),
        label={
            "pending": "info",
            "accepted": "success",
            "revoked": "danger",
            "expired": "warning",
        },
    )
    def show_state(self, invitation: Invitation) -> tuple[str, Promise]:
        state = str(invitation.state)
        return state, STATES[state]

    @action(description=_("Send again, with a new link"), permissions=["view"])
    def resend(self, request: HttpRequest, queryset: models.QuerySet[Invitation]) -> None:
        for invitation in queryset:
            actions.resend_invitation(get_actor(request), invitation)

    @action(description=_("Revoke"), permissions=["view"])
    def revoke(self, request: HttpRequest, queryset: models.QuerySet[Invitation]) -> None:
        for invitation in queryset:
            actions.revoke_invitation(get_actor(request), invitation)


# ---- the page of the link -----------------------------------------------------------------------


class AcceptanceForm(AccountForm):
    token = forms.CharField(max_length=200, widget=forms.HiddenInput)
    full_name = forms.CharField(max_length=100, required=False, widget=TextInput)
    handle = forms.CharField(
        max_length=50,
        required=False,
        widget=TextInput,
        help_text=_("A short name, such as ada for @ada. If it is empty, one is chosen."),
    )
    password = forms.CharField(
        max_length=200,
        strip=False,
        widget=PasswordInput(attrs={"autocomplete": "new-password"}),
    )


class JoinForm(AccountForm):
    token = forms.CharField(max_length=200, widget=forms.HiddenInput)


@require_http_methods(["GET", "HEAD", "POST"])
def accept_invitation(request: HttpRequest) -> HttpResponse:
    """Show the form for the new user, and create the user. Opening the page creates nothing."""
    token = request.POST.get("token") or request.GET.get("token", "")
    invitation = actions.find_invitation_of_link(token)
    if invitation is None:
        return show_dead_link(request, str(HOW_TO_ASK_AGAIN))
    is_user = User.objects.filter(email=invitation.email).exists()
    form_class = JoinForm if is_user else AcceptanceForm
    initial = {"token": token, "full_name": invitation.full_name}
    form = form_class(request.POST if request.method == "POST" else None, initial=initial)
    names = {"tenant": tenant_of_page(request).name, "email": invitation.email}
    if form.is_valid() and form.try_to(partial(_accept, request, form)):
        text = gettext("You are now a user of %(tenant)s. Your e-mail is %(email)s.") % names
        return show_page(request, gettext("Welcome to TaskFlow"), text)
    text = gettext("You are invited to %(tenant)s with the e-mail %(email)s.") % names
    return show_page(
        request, gettext("Join %(tenant)s") % names, text, form=form, button=gettext("Accept")
    )


def _accept(request: HttpRequest, form: AccountForm) -> None:
    """Accept the invitation with the values of the form, checked as those of the API are."""
    values: FormValues = dict(form.cleaned_data)
    if "handle" in values:
        values["handle"] = values["handle"] or None
        names = {"full_name": values["full_name"], "handle": values["handle"]}
        values |= check_values(InvitationAcceptance, names)
    actions.accept_invitation(
        tenant_of_page(request), **values, via=Via.ADMIN, request_id=id_of(request)
    )
