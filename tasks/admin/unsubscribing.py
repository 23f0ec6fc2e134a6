"""The page of the link in each digest that ends the digests. It needs no sign-in.

Mail programs send a POST without having opened the page before (RFC 8058), so it has no token
against forged requests: the signed token of the link is what permits it. Opening the page changes
nothing, because programs that check mails open all links.
"""

from __future__ import annotations

from django import forms
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from accounts.admin.account_pages import AccountForm, show_page
from accounts.admin.password_resets import tenant_of_page
from tasks.actions.unsubscribing import find_subscriber, unsubscribe

MAX_TOKEN_LENGTH = 200


class UnsubscribeForm(AccountForm):
    token = forms.CharField(max_length=MAX_TOKEN_LENGTH, widget=forms.HiddenInput)


@csrf_exempt
@require_http_methods(["GET", "HEAD", "POST"])
def unsubscribe_page(request: HttpRequest) -> HttpResponse:
    """Show a button that ends the digests of the user of the link, or end them."""
    token = request.POST.get("token") or request.GET.get("token", "")
    user = find_subscriber(tenant_of_page(request), token[:MAX_TOKEN_LENGTH])
    if user is None:
        text = _("Sign in, and change the e-mails in your inbox.")
        return show_page(request, _("This link does not work"), text, status=404)
    if request.method == "POST":
        unsubscribe(user)
        text = _("You get no more summaries by e-mail. Your inbox has all notifications.")
        return show_page(request, _("You are unsubscribed"), text)
    form = UnsubscribeForm(initial={"token": token})
    text = _("Do you want no more summaries of your notifications by e-mail?")
    return show_page(request, _("Unsubscribe"), text, form=form, button=_("Unsubscribe"))
