"""The form of a page for people who are not signed in, and the answer to it."""

from __future__ import annotations

from collections.abc import Callable

from django import forms
from django.contrib import admin
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.admin.fields import set_messages
from accounts.admin.forms import locate_errors
from accounts.admin.recorded import to_problem
from taskflow.http.errors import Problem
from taskflow.http.request import Request
from taskflow.http.unavailable import Contended

LINK_NOT_VALID = _(
    "This link does not work any more: it was used, it has expired, or a newer one was sent."
)


class AccountForm(forms.Form):
    """A form whose action may refuse its values."""

    refusal: Problem | None = None

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        set_messages(self.fields.values())

    def try_to(self, act: Callable[[], object]) -> bool:
        """Call `act`, and return whether it succeeded. Otherwise the form shows why it has not.

        What `act` has written is rolled back then.
        """
        try:
            with transaction.atomic():
                act()
        except Contended:  # the whole request is answered again
            raise
        except (Problem, IntegrityError) as error:
            self.refusal = to_problem(error)
            for field, sentence in locate_errors(self.refusal, self.fields):
                self.add_error(field, sentence)
            return False
        return True


def show_page(
    request: HttpRequest,
    title: str,
    text: str = "",
    *,
    form: AccountForm | None = None,
    button: str = "",
    status: int = 200,
) -> HttpResponse:
    """Return a page with a text, and with a form if there is one. No cache may store it."""
    assert isinstance(request, Request)
    if form is not None and form.refusal is not None:
        request.form_refusal = form.refusal  # the middleware sets the status of a reached limit
    context = {
        **admin.site.each_context(request),
        "title": title,
        "text": text,
        "form": form,
        "button": button,
    }
    response = TemplateResponse(request, "admin/account_page.html", context, status=status)
    response["Cache-Control"] = "private, no-store"
    return response


def show_dead_link(request: HttpRequest, advice: str) -> HttpResponse:
    """Return the page of a link that does not work. `advice` says how to get a new one."""
    return show_page(
        request, gettext("This link does not work"), f"{LINK_NOT_VALID} {advice}", status=404
    )
