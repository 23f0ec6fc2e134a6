"""The page on which staff change their own password. It calls the same action as the API."""

from __future__ import annotations

from typing import Any, cast

from django import forms
from django.contrib import admin
from django.contrib.admin.forms import AdminPasswordChangeForm
from django.contrib.auth.views import PasswordChangeView
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse_lazy
from django.utils.translation import gettext_lazy as _

from accounts.actions.users import change_password
from accounts.admin.fields import set_messages
from accounts.admin.recorded import get_actor
from accounts.kept_session import keep_session
from taskflow.admin.refusals import list_sentences
from taskflow.admin.site import PasswordInput
from taskflow.audit.actor import ActorRequest
from taskflow.http.errors import Problem
from taskflow.http.unavailable import Contended

# The fields of the form, by those of the action.
FIELDS = {"current_password": "old_password", "new_password": "new_password1"}


class OwnPasswordForm(AdminPasswordChangeForm):
    """Django's form without its own checks of passwords, which the action makes."""

    revoke_agent_tokens = forms.BooleanField(
        required=False, label=_("Also revoke the tokens of my agents")
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        set_messages(self.fields.values())
        for name in ("old_password", "new_password1", "new_password2"):
            self.fields[name].widget = PasswordInput()

    def clean_old_password(self) -> str:
        return str(self.cleaned_data["old_password"])

    def validate_password_for_user(self, user: Any, password_field_name: str = "") -> None:
        """Leave it to the action."""


class OwnPasswordView(PasswordChangeView):
    form_class = OwnPasswordForm
    success_url = reverse_lazy("admin:password_change_done")

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**kwargs) | admin.site.each_context(self.request)

    def form_valid(self, form: Any) -> HttpResponse:
        values = form.cleaned_data
        try:
            with transaction.atomic():
                change_password(
                    get_actor(self.request),
                    current_password=values["old_password"],
                    new_password=values["new_password1"],
                    revoke_agent_tokens=values["revoke_agent_tokens"],
                )
        except Contended:  # the whole request is answered again
            raise
        except Problem as problem:
            return self._refuse(form, problem)
        keep_session(cast(ActorRequest, self.request))
        return HttpResponseRedirect(str(self.success_url))

    def _refuse(self, form: Any, problem: Problem) -> HttpResponse:
        """Show the form again, with the reason at its field."""
        names = [str(e.get("pointer", "")).removeprefix("#/") for e in problem.errors] or [""]
        for name, sentence in zip(names, list_sentences(problem), strict=True):
            form.add_error(FIELDS.get(name), sentence)
        return self.form_invalid(form)


def change_own_password(request: HttpRequest) -> HttpResponseBase:
    """Show the page, or change the password and keep this session."""
    return OwnPasswordView.as_view()(request)
