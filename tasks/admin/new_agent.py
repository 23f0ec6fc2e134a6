"""The page on which an administrator adds an agent: its user, its membership and its token."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.actions.tokens import create_token
from accounts.actions.users import create_user
from accounts.admin.account_pages import AccountForm
from accounts.admin.fields import FormValues
from accounts.admin.recorded import get_actor
from accounts.models import ApiToken, User, UserKind
from accounts.schemas.users import UserCreate
from taskflow.admin.site import Select, TextInput
from taskflow.audit.actor import Actor, TokenScope
from taskflow.http.parsing import check_values
from tasks.actions.members import add_member
from tasks.admin.labels import PROJECT_COLUMN, RowChoiceField, offer_rows
from tasks.models import Project


class NewAgentForm(AccountForm):
    handle = forms.CharField(label=gettext_lazy("Handle"), max_length=50, widget=TextInput)
    full_name = forms.CharField(
        label=gettext_lazy("Name"), required=False, max_length=100, widget=TextInput
    )
    project: Any = RowChoiceField(
        PROJECT_COLUMN,
        "projects",
        label=gettext_lazy("Project"),
        placeholder=gettext_lazy("Choose a project"),
        help_text=gettext_lazy("The agent joins it, and its token works in this project alone."),
    )
    scope = forms.ChoiceField(
        label=gettext_lazy("Scope"),
        choices=[
            (TokenScope.WRITE.value, gettext_lazy("Read and write")),
            (TokenScope.READ.value, gettext_lazy("Read only")),
        ],
        widget=Select,
    )

    def __init__(self, actor: Actor, *args: object) -> None:
        super().__init__(*args)
        offer_rows(self, actor)


def add_agent(request: HttpRequest) -> HttpResponse:
    """Show the form, or create the agent and show its token, which is shown only once.

    Raises PermissionDenied for whoever is no administrator.
    """
    actor = get_actor(request)
    if not actor.is_staff:
        raise PermissionDenied
    form = NewAgentForm(actor, request.POST if request.method == "POST" else None)
    issued: list[tuple[ApiToken, str]] = []
    context = {**admin.site.each_context(request), "model_admin": SimpleNamespace(model=User)}
    if form.is_valid() and form.try_to(lambda: issued.append(_create(actor, form.cleaned_data))):
        context |= {"title": _("New token"), "issued": issued}
        return TemplateResponse(request, "admin/new_tokens.html", context)
    context |= {"title": _("Add agent"), "form": form}
    return TemplateResponse(request, "admin/new_agent.html", context)


def _create(actor: Actor, values: FormValues) -> tuple[ApiToken, str]:
    """Create the agent, add it to the project, and return its token and the text of the token."""
    project: Project = values["project"]
    names = {"handle": values["handle"], "full_name": values["full_name"]}
    agent = create_user(actor, **check_values(UserCreate, names | {"kind": UserKind.AGENT.value}))
    add_member(actor, project, user=agent)
    return create_token(
        actor,
        name=agent.handle,
        scope=TokenScope(values["scope"]),
        project_ids=[project.pk],
        user=agent,
    )
