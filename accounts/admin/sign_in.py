"""The sign-in of the admin: the password, and then a code of the second factor.

After the password, the session names the user and nothing more. It grants nothing: the user is
signed in when the second step has succeeded. It is valid for five minutes and for five codes.
"""

from __future__ import annotations

import time
from typing import cast

from django.contrib import admin, auth, messages
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.crypto import constant_time_compare
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters

from accounts import one_time_codes
from accounts.actions import second_factors as actions
from accounts.actions.sessions import start_session
from accounts.actions.sign_ins import record_sign_in
from accounts.admin.forms_account import AccountForm, CodeForm
from accounts.admin.forms_sign_in import PasswordForm, show_limit
from accounts.auth import SESSION_ID
from accounts.models import Tenant, User, find_second_factor
from accounts.sign_in import NextStep, check_code, find_next_step
from taskflow.audit.actor import Actor
from taskflow.audit.models import Via
from taskflow.http.addresses import find_client
from taskflow.http.errors import Problem, TooManyAttempts
from taskflow.http.request import Request

PENDING = "pending_sign_in"  # session key: the user whose password was checked
PENDING_SECONDS = 300
MAX_CODES = 5  # then the password is asked for again
BACKEND = "accounts.auth.TenantBackend"
WRONG_CODE = _("This code is wrong, was used before, or is too old. Enter the present one.")
START_AGAIN = _("Sign in again: more than five minutes have passed, or too many codes were wrong.")


class PasswordStep(LoginView):
    """Checks the password. Signs the user in if no second step is left."""

    template_name = "admin/sign_in.html"

    def form_valid(self, form: auth.forms.AuthenticationForm) -> HttpResponse:
        user = form.get_user()
        assert isinstance(user, User)
        next_url = self.get_success_url()
        step, _factor = find_next_step(build_actor(self.request, user))
        if step is NextStep.NOTHING:
            complete(self.request, user)
            return HttpResponseRedirect(next_url)
        remember(self.request, user, next_url)
        return HttpResponseRedirect(
            reverse("admin_code" if step is NextStep.CODE else "admin_enrolment")
        )


@never_cache
@sensitive_post_parameters()
def sign_in(request: HttpRequest) -> HttpResponse:
    """Show the sign-in page, and check the password."""
    if request.method == "GET" and admin.site.has_permission(request):
        return HttpResponseRedirect(reverse("admin:index"))
    context = {
        **admin.site.each_context(request),
        "title": _("Sign in"),
        "subtitle": None,
        "app_path": request.get_full_path(),
    }
    if "next" not in request.GET and "next" not in request.POST:
        context["next"] = reverse("admin:index")
    view = PasswordStep.as_view(extra_context=context, authentication_form=PasswordForm)
    return cast(HttpResponse, view(request))


@never_cache
@sensitive_post_parameters()
def enter_code(request: HttpRequest) -> HttpResponse:
    """The second step of a user with a second factor: a code of the app, or a recovery code."""
    user = find_pending_user(request)
    factor = find_second_factor(user) if user else None
    if user is None or factor is None or not factor.is_confirmed:
        return start_again(request)
    form = CodeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            is_right = check_code(build_actor(request, user), factor, form.cleaned_data["otp"])
        except TooManyAttempts as problem:
            show_limit(request, form, problem)
        else:
            if is_right:
                return HttpResponseRedirect(complete(request, user))
            if not count_wrong_code(request):
                return start_again(request)
            form.add_error("otp", WRONG_CODE)
    return show(request, "admin/enter_code.html", gettext("Enter a code"), form)


@never_cache
@sensitive_post_parameters()
def enrol(request: HttpRequest) -> HttpResponse:
    """The second step of an administrator who has to enrol a second factor first."""
    user = find_pending_user(request)
    if user is None or find_next_step(build_actor(request, user))[0] is not NextStep.ENROLMENT:
        return start_again(request)
    actor = build_actor(request, user)
    factor, form = find_second_factor(user), CodeForm(request.POST or None)
    if request.method == "POST" and factor is not None and form.is_valid():
        try:
            codes = actions.confirm_enrolment(actor, form.cleaned_data["otp"])
        except TooManyAttempts as problem:
            show_limit(request, form, problem)
        except Problem:
            form.add_error("otp", WRONG_CODE)
        else:
            return show_recovery_codes(request, codes, complete(request, user))
    if factor is None and request.method != "POST":
        return show(request, "admin/begin_enrolment.html", gettext("Second factor"), AccountForm())
    enrolment = actions.build_enrolment(actor, factor) if factor else actions.begin_enrolment(actor)
    if factor is None:
        form = CodeForm()
    return show_enrolment(request, enrolment, form)


# ---- pages --------------------------------------------------------------------------------------


def show_enrolment(
    request: HttpRequest, enrolment: actions.Enrolment, form: AccountForm
) -> HttpResponse:
    """Show the QR code and the secret of an enrolment, with the form for the first code."""
    context = {
        "qr_code": one_time_codes.draw_qr_code(enrolment.uri),
        "secret": enrolment.secret,
    }
    return show(request, "admin/confirm_enrolment.html", gettext("Second factor"), form, **context)


def show_recovery_codes(request: HttpRequest, codes: list[str], next_url: str) -> HttpResponse:
    """Show new recovery codes, once."""
    context = {"codes": codes, "next_url": next_url}
    return show(request, "admin/recovery_codes.html", gettext("Recovery codes"), None, **context)


def show(
    request: HttpRequest, template: str, title: str, form: AccountForm | None, **context: object
) -> HttpResponse:
    context |= {**admin.site.each_context(request), "title": title, "form": form}
    return TemplateResponse(request, template, context)


# ---- the state between the two steps ------------------------------------------------------------


def build_actor(request: HttpRequest, user: User) -> Actor:
    """Return the user as an actor in the tenant of the host, signed in or not."""
    assert isinstance(request, Request)
    assert isinstance(request.admin_tenant, Tenant)
    return Actor(
        user,
        request.admin_tenant,
        via=Via.ADMIN,
        request_id=request.request_id,
        address=find_client(request.META),
    )


def remember(request: HttpRequest, user: User, next_url: str) -> None:
    """Store in the session whose password was checked. Another key makes a known one worthless."""
    request.session.cycle_key()
    request.session[PENDING] = {
        "user": user.pk,
        "credentials": user.get_session_auth_hash(),
        "at": int(time.time()),
        "wrong_codes": 0,
        "next": next_url,
    }


def find_pending_user(request: HttpRequest) -> User | None:
    """Return the user whose password was checked in the last five minutes, or None.

    None also if the password was changed or the user was deactivated since.
    """
    pending = request.session.get(PENDING)
    if pending is None or not 0 <= time.time() - pending["at"] < PENDING_SECONDS:
        return None
    user: User | None = User.objects.active().filter(pk=pending["user"]).first()
    if user is None or not user.can_use_admin:
        return None
    is_same = constant_time_compare(pending["credentials"], user.get_session_auth_hash())
    return user if is_same else None


def count_wrong_code(request: HttpRequest) -> bool:
    """Count a wrong code. Return whether another one may be tried."""
    pending = request.session[PENDING]
    pending["wrong_codes"] += 1
    request.session.modified = True
    return bool(pending["wrong_codes"] < MAX_CODES)


def start_again(request: HttpRequest) -> HttpResponse:
    """Forget the first step, and go to the sign-in page."""
    if request.session.pop(PENDING, None):
        messages.error(request, START_AGAIN)
    return HttpResponseRedirect(reverse("admin:login"))


def complete(request: HttpRequest, user: User) -> str:
    """Sign the user in. Return the URL of the page to go to."""
    pending = request.session.pop(PENDING, None)
    request.session.flush()  # whatever it was, the user gets a new one
    auth.login(request, user, backend=BACKEND)
    actor = build_actor(request, user)
    record_sign_in(actor)
    session = start_session(actor, user_agent=request.META.get("HTTP_USER_AGENT", ""))
    request.session[SESSION_ID] = session.pk
    return str(pending["next"]) if pending else reverse("admin:index")
