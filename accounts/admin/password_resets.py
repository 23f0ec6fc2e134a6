"""The pages on which a person sets a forgotten password: one asks for a link, one follows it."""

from __future__ import annotations

from functools import partial

from django import forms
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods

from accounts.actions import password_resets as actions
from accounts.actions.mail_tokens import find_mail_token
from accounts.admin.account_pages import AccountForm, show_dead_link, show_page
from accounts.models import MailPurpose, Tenant
from taskflow.admin.site import PasswordInput, TextInput
from taskflow.audit.models import Via
from taskflow.http.addresses import find_client
from taskflow.http.request import Request

HOW_TO_ASK_AGAIN = _("Request a new one with “Forgotten your password” on the sign-in page.")


class PasswordResetForm(AccountForm):
    email = forms.EmailField(
        label=_("E-mail"),
        max_length=255,
        widget=TextInput(attrs={"type": "email", "autocomplete": "email"}),
    )


class NewPasswordForm(AccountForm):
    token = forms.CharField(max_length=200, widget=forms.HiddenInput)
    password = forms.CharField(
        label=_("New password"),
        max_length=200,
        strip=False,
        widget=PasswordInput(attrs={"autocomplete": "new-password"}),
    )


@require_http_methods(["GET", "HEAD", "POST"])
def password_reset(request: HttpRequest) -> HttpResponse:
    """Show the form for the e-mail, and send a link to it."""
    form = PasswordResetForm(request.POST if request.method == "POST" else None)
    title = gettext("Forgotten your password?")
    if form.is_valid():
        tenant, email = tenant_of_page(request), form.cleaned_data["email"]
        request_reset = partial(actions.request_password_reset, tenant, email, via=Via.ADMIN)
        who = {"address": find_client(request.META), "request_id": id_of(request)}
        if form.try_to(partial(request_reset, **who)):
            return show_page(
                request,
                gettext("Look at your mails"),
                gettext(
                    "If an active person has the e-mail %(email)s, a link was sent to it. It works"
                    " for one hour."
                )
                % {"email": email},
            )
    text = gettext(
        "Enter the e-mail with which you sign in. A link to set a new password is sent to it."
    )
    return show_page(request, title, text, form=form, button=gettext("Send the link"))


@require_http_methods(["GET", "HEAD", "POST"])
def password_reset_completion(request: HttpRequest) -> HttpResponse:
    """Show the form for a new password, and set it. Opening the page does not use the link up."""
    token = request.POST.get("token") or request.GET.get("token", "")
    row = find_mail_token(token, MailPurpose.PASSWORD_RESET)
    if row is None or row.user is None or not row.user.is_active:
        return show_dead_link(request, str(HOW_TO_ASK_AGAIN))
    data = request.POST if request.method == "POST" else None
    form = NewPasswordForm(data, initial={"token": token})
    if form.is_valid() and form.try_to(
        partial(
            actions.complete_password_reset,
            tenant_of_page(request),
            token,
            form.cleaned_data["password"],
            via=Via.ADMIN,
            address=find_client(request.META),
            request_id=id_of(request),
        )
    ):
        text = gettext(
            "Your new password is set. Where you were signed in, you are signed out, and tokens"
            " that you had are revoked."
        )
        return show_page(request, gettext("Sign in with your new password"), text)
    text = gettext("Choose a new password for %(email)s.") % {"email": row.user.email}
    return show_page(
        request, gettext("Set a new password"), text, form=form, button=gettext("Set the password")
    )


def tenant_of_page(request: HttpRequest) -> Tenant:
    """Return the tenant of the host, in whose unit of work the page is answered."""
    assert isinstance(request, Request)
    assert isinstance(request.admin_tenant, Tenant)
    return request.admin_tenant


def id_of(request: HttpRequest) -> str:
    assert isinstance(request, Request)
    return request.request_id
