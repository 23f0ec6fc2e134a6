"""The form of the sign-in page, and how forms show that a limit is reached."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.forms import Form
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from taskflow.admin.refusals import list_sentences
from taskflow.http.errors import TooManyAttempts
from taskflow.http.request import Request

if TYPE_CHECKING:  # Unfold has no types, but its class extends Django's
    from django.contrib.admin.forms import AdminAuthenticationForm as AuthenticationForm
else:
    from unfold.forms import AuthenticationForm


REFUSED = _("The e-mail or the password is wrong, or the user is deactivated.")
FOR_PEOPLE = _("Agents cannot sign in here. They use the API with a token.")


class PasswordForm(AuthenticationForm):
    """Asks for e-mail and password. Shows a sentence when too many passwords were wrong."""

    error_messages = {**AuthenticationForm.error_messages, "invalid_login": REFUSED}

    def confirm_login_allowed(self, user: AbstractBaseUser) -> None:
        """Raise ValidationError for an agent. Django would refuse all but administrators."""
        if not getattr(user, "can_use_admin", False):
            raise ValidationError(FOR_PEOPLE)

    def clean(self) -> dict[str, Any]:
        try:
            return super().clean()
        except TooManyAttempts as problem:
            set_refusal(self.request, problem)
            raise ValidationError(list_sentences(problem)) from None


def show_limit(request: HttpRequest, form: Form, problem: TooManyAttempts) -> None:
    """Show the sentence above the form, and give the page the status 429."""
    set_refusal(request, problem)
    for sentence in list_sentences(problem):
        form.add_error(None, sentence)


def set_refusal(request: HttpRequest | None, problem: TooManyAttempts) -> None:
    """Let accounts/middleware.py give the page the status of the problem, and Retry-After."""
    assert isinstance(request, Request)
    request.form_refusal = problem
