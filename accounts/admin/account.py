"""The page “My account”: one's own second factor and sessions, and the way to the password."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters

from accounts.actions import second_factors, sessions
from accounts.actions.confirmation import require_current_password
from accounts.admin.forms import locate_errors
from accounts.admin.forms_account import AccountForm, CodeForm, PasswordForm
from accounts.admin.recorded import get_actor
from accounts.admin.sign_in import show, show_enrolment, show_recovery_codes
from accounts.models import Session, find_second_factor
from taskflow.audit.actor import Actor
from taskflow.http.converters import is_id
from taskflow.http.errors import Problem
from taskflow.http.request import Request
from taskflow.http.unavailable import Contended

Handler = Callable[[HttpRequest, Actor], HttpResponse]


@never_cache
@sensitive_post_parameters()
def my_account(request: HttpRequest) -> HttpResponse:
    """Show the account, or do what the button of a form names."""
    actor = get_actor(request)
    if request.method != "POST":
        return show_account(request, actor)
    if actor.is_operator:
        messages.error(request, _("Work in the platform's own tenant to change your account."))
        return back()
    handler = HANDLERS.get(request.POST.get("action", ""))
    return handler(request, actor) if handler else back()


def show_account(request: HttpRequest, actor: Actor, **forms: AccountForm) -> HttpResponse:
    """Show the page. `forms` are those that were refused, with their errors."""
    context = {
        "factor_form": PasswordForm(prefix="factor"),
        "factor": None if actor.is_operator else find_second_factor(actor.user),
        "is_required": actor.tenant.second_factor_required,
        "sessions": [] if actor.is_operator else list_sessions(actor),
        "current": find_current(request),
        **forms,
    }
    return show(request, "admin/my_account.html", _("My account"), None, **context)


def list_sessions(actor: Actor) -> list[Session]:
    """Return the sessions of the actor, newest first. One query."""
    live = Session.objects.all().live_of(actor.user, timezone.now())
    return list(live.select_related("token").order_by("-pk"))


def find_current(request: HttpRequest) -> Session | None:
    """Return the session of the browser that sends the request."""
    assert isinstance(request, Request)
    session = request.browser_session
    return session if isinstance(session, Session) else None


def back() -> HttpResponse:
    return HttpResponseRedirect(reverse("admin_account"))


# ---- what the buttons do ------------------------------------------------------------------------


def begin(request: HttpRequest, actor: Actor) -> HttpResponse:
    """Begin to enrol a second factor."""
    return with_password(
        request,
        actor,
        lambda: show_enrolment(request, second_factors.begin_enrolment(actor), CodeForm()),
    )


def confirm(request: HttpRequest, actor: Actor) -> HttpResponse:
    """Put the second factor into use, and show its recovery codes."""
    form, factor = CodeForm(request.POST), find_second_factor(actor.user)
    if factor is None or factor.is_confirmed:
        return back()
    if form.is_valid():
        try:
            codes = second_factors.confirm_enrolment(actor, form.cleaned_data["otp"])
        except Problem as problem:
            add_errors(form, problem)
        else:
            return show_recovery_codes(request, codes, reverse("admin_account"))
    return show_enrolment(request, second_factors.build_enrolment(actor, factor), form)


def renew(request: HttpRequest, actor: Actor) -> HttpResponse:
    """Make new recovery codes, and show them."""
    return with_password(
        request,
        actor,
        lambda: show_recovery_codes(
            request, second_factors.renew_recovery_codes(actor), reverse("admin_account")
        ),
    )


def remove(request: HttpRequest, actor: Actor) -> HttpResponse:
    """Remove the second factor."""

    def do() -> HttpResponse:
        second_factors.remove_second_factor(actor)
        messages.success(request, _("Your second factor is removed."))
        return back()

    return with_password(request, actor, do)


def end_one(request: HttpRequest, actor: Actor) -> HttpResponse:
    """End the session that the button names."""
    text = request.POST.get("session", "")
    live = Session.objects.all().live_of(actor.user, timezone.now())
    session = live.filter(pk=text).first() if is_id(text) else None
    if session is not None:
        sessions.end_session(actor, session)
        messages.success(request, _("The session has ended."))
    return back()


def end_others(request: HttpRequest, actor: Actor) -> HttpResponse:
    """End all sessions but the one of this browser."""
    count = sessions.end_other_sessions(actor, find_current(request))
    sentence = ngettext("%(n)d other session ended.", "%(n)d other sessions ended.", count)
    messages.success(request, sentence % {"n": count})
    return back()


HANDLERS: dict[str, Handler] = {
    "begin": begin,
    "confirm": confirm,
    "renew": renew,
    "remove": remove,
    "end_one": end_one,
    "end_others": end_others,
}


def with_password(
    request: HttpRequest, actor: Actor, do: Callable[[], HttpResponse]
) -> HttpResponse:
    """Return the response of `do` if the form has the actor's password; else the form again."""
    form = PasswordForm(request.POST, prefix="factor")
    if not form.is_valid():
        return show_account(request, actor, factor_form=form)
    try:
        require_current_password(actor, form.cleaned_data["current_password"])
        return do()
    except Contended:
        raise
    except Problem as problem:
        add_errors(form, problem)
        return show_account(request, actor, factor_form=form)


def add_errors(form: AccountForm, problem: Problem) -> None:
    """Show the reason of a refusal at the fields that it names."""
    for field, sentence in locate_errors(problem, form.fields):
        form.add_error(field, sentence)


view = admin.site.admin_view(my_account)
