"""The forms of the sign-in and of one's own account. Actions check the values."""

from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy as _

from accounts.admin.fields import set_messages
from taskflow.admin.site import PasswordInput, TextInput

PASSWORD_LENGTH = 200  # characters, as in the API


class AccountForm(forms.Form):
    """A form whose fields say what to do about a wrong value."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # the form's own arguments
        set_messages(self.fields.values())


class CodeForm(AccountForm):
    """A code of the second factor."""

    otp = forms.CharField(
        label=_("Code"),
        max_length=40,
        widget=TextInput(attrs={"autocomplete": "one-time-code", "autofocus": ""}),
    )


class PasswordForm(AccountForm):
    """The password, which a change of the second factor asks for again."""

    current_password = forms.CharField(
        label=_("Your password"),
        max_length=PASSWORD_LENGTH,
        strip=False,
        widget=PasswordInput(attrs={"autocomplete": "current-password"}),
    )
