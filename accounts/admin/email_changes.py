"""The page on which a person confirms a new e-mail."""

from __future__ import annotations

from functools import partial

from django import forms
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods

from accounts.actions.email_changes import complete_email_change
from accounts.actions.mail_tokens import find_mail_token
from accounts.admin.account_pages import AccountForm, show_dead_link, show_page
from accounts.admin.password_resets import id_of, tenant_of_page
from accounts.models import MailPurpose
from taskflow.audit.models import Via

HOW_TO_ASK_AGAIN = _("Change your e-mail again to get a new one.")


class ConfirmationForm(AccountForm):
    token = forms.CharField(max_length=200, widget=forms.HiddenInput)


@require_http_methods(["GET", "HEAD", "POST"])
def email_confirmation(request: HttpRequest) -> HttpResponse:
    """Show a button, which takes the e-mail into use. Opening the page does not use the link up."""
    token = request.POST.get("token") or request.GET.get("token", "")
    row = find_mail_token(token, MailPurpose.EMAIL_CHANGE)
    if row is None:
        return show_dead_link(request, str(HOW_TO_ASK_AGAIN))
    form = ConfirmationForm(
        request.POST if request.method == "POST" else None, initial={"token": token}
    )
    complete = partial(complete_email_change, tenant_of_page(request), token)
    if form.is_valid() and form.try_to(partial(complete, via=Via.ADMIN, request_id=id_of(request))):
        text = gettext("From now on you sign in with %(email)s. You are signed out everywhere.") % {
            "email": row.email
        }
        return show_page(request, gettext("Your e-mail is confirmed"), text)
    names = {"tenant": tenant_of_page(request).name, "email": row.email}
    text = gettext("Sign in to %(tenant)s with %(email)s from now on?") % names
    return show_page(
        request, gettext("Confirm your e-mail"), text, form=form, button=gettext("Confirm")
    )
