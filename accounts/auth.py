"""
From a request to an Actor: who is asking, in which tenant, and how much his token lets him.

TenantMiddleware opens the request's one transaction, inside the tenant that the credentials name,
and rolls it back when the answer is an error.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib import auth
from django.contrib.auth.backends import BaseBackend
from django.contrib.auth.hashers import make_password
from django.contrib.sessions.backends.db import SessionStore
from django.core.exceptions import DisallowedHost
from django.db import Error as DatabaseError
from django.db import InterfaceError, OperationalError, transaction
from django.http import HttpRequest, HttpResponse
from django.http.request import split_domain_port
from django.utils import timezone
from ninja.security.http import HttpBearer
from ninja.utils import check_csrf

from accounts import tokens
from accounts.actor import Actor
from accounts.events.models import Via
from accounts.models import PLATFORM, ApiToken, Scope, Tenant, User
from accounts.tenancy import TenantError, inside
from taskflow.errors import (
    BadRequest,
    Forbidden,
    NotFound,
    Problem,
    Unauthenticated,
    Unavailable,
    answer_database_error,
)

API, ADMIN = "/api/", "/admin/"
# Who calls these becomes somebody, whatever old token or cookie he still sends.
STRANGERS_WELCOME = frozenset({"/api/v1/auth/login", "/api/v1/auth/register"})
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
LAST_USED_EVERY = timedelta(hours=1)
ACTING_TENANT = "acting_tenant"  # session key: where an operator is at work
UNKNOWN_CREDENTIALS = (
    "The token is unknown, expired or revoked. Get one from POST /api/v1/auth/login."
)
NO_TENANT = "There is no such tenant."

GetResponse = Callable[[HttpRequest], HttpResponse]


# ---- which tenant -------------------------------------------------------------------------------


def named_subdomain(request: HttpRequest) -> str | None:
    """The tenant named by X-Tenant or the host; None when neither does.

    Raises DisallowedHost for a host that is not ours, NotFound when the two disagree.
    """
    host, _port = split_domain_port(request.get_host())
    suffix = f".{settings.DOMAIN}"
    by_host = host.removesuffix(suffix) if host.endswith(suffix) else None
    return agreed_subdomain(by_host, request.headers.get("X-Tenant"))


def agreed_subdomain(*named: str | None) -> str | None:
    """The one tenant that all of these name; None when none does. Raises NotFound."""
    names = {name.lower() for name in named if name}
    if len(names) > 1:
        raise NotFound(NO_TENANT)
    return names.pop() if names else None


def find_tenant(subdomain: str | None) -> Tenant:
    """The active tenant of that name, or the default one. Raises NotFound."""
    name = subdomain or settings.DEFAULT_TENANT
    tenant = Tenant.objects.filter(subdomain=name, is_active=True).first()
    if tenant is None:
        raise NotFound(NO_TENANT)
    return tenant


# ---- who ----------------------------------------------------------------------------------------


def find_token(text: str) -> ApiToken | None:
    """The live token with this text, its user and tenant; asked inside the tenant it names."""
    found: ApiToken | None = (
        ApiToken.objects.select_related("user", "tenant")
        .live(timezone.now())
        .filter(digest=tokens.digest_of(text), user__is_active=True, tenant__is_active=True)
        .first()
    )
    return found


def check_password(email: str, password: str) -> User | None:
    """The active person with this e-mail and password, in as much time as finding nobody takes."""
    user: User | None = User.objects.filter(email=email.lower()).first()
    if user is None or not user.has_usable_password():
        make_password(password)
        return None
    return user if user.check_password(password) and user.is_active else None


class TenantBackend(BaseBackend):
    """Signs staff in to the admin, within the tenant whose scope is open."""

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> User | None:
        if not username or password is None or "\0" in username:
            return None
        return check_password(username, password)

    def get_user(self, user_id: int) -> User | None:
        user: User | None = User.objects.active().filter(pk=user_id).first()
        return user


# ---- the unit of work ---------------------------------------------------------------------------


class TenantMiddleware:
    """One request, one transaction, one tenant."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path.startswith(API):
            return self.answer_api(request)
        if request.path.startswith(ADMIN):
            return self.answer_admin(request)
        return self.get_response(request)

    def answer_api(self, request: HttpRequest) -> HttpResponse:
        try:
            subdomain = named_subdomain(request)
            if request.path in STRANGERS_WELCOME:
                return self.get_response(request)
            text = bearer_of(request)
            if text is not None:
                return self.answer_token(request, text, subdomain)
            key = request.COOKIES.get(settings.SESSION_COOKIE_NAME, "")
            if key.isalnum():  # as we make them; PostgreSQL chokes on some others
                return self.answer_session(request, key, subdomain)
            return self.get_response(request)
        except DisallowedHost:
            return BadRequest("The Host header is not one of ours.").as_response(request)
        except Problem as problem:
            return problem.as_response(request)
        except DatabaseError as error:
            return answer_database_error(request, error)

    def answer_token(self, request: HttpRequest, text: str, subdomain: str | None) -> HttpResponse:
        tenant_id = tokens.tenant_id_of(text)
        if tenant_id is None:
            return self.get_response(request)  # what needs a token answers 401
        is_safe = request.method in SAFE
        with inside(tenant_id, reading=is_safe):
            token = find_token(text)
            if token is not None:
                if subdomain not in (None, token.tenant.subdomain):
                    raise NotFound(NO_TENANT)
                request.actor = actor_of_token(request, token)  # type: ignore[attr-defined]
            response = self.work(request)
        if token is not None:
            note_use(token)
        return response

    def answer_session(self, request: HttpRequest, key: str, subdomain: str | None) -> HttpResponse:
        request.session = SessionStore(key)
        name = subdomain or settings.DEFAULT_TENANT
        home = Tenant.objects.filter(subdomain=name, is_active=True).first()
        if home is None or (user := user_of_session(request, home)) is None:
            return self.get_response(request)
        tenant = acting_tenant(request, user, home)
        with inside(tenant, reading=request.method in SAFE):
            request.actor = Actor(  # type: ignore[attr-defined]
                user, tenant, request_id=getattr(request, "request_id", "")
            )
            return self.work(request)

    def answer_admin(self, request: HttpRequest) -> HttpResponse:
        try:
            return self.answer_staff(request, find_tenant(named_subdomain(request)))
        except NotFound:
            return HttpResponse(NO_TENANT, status=404, content_type="text/plain")
        except (OperationalError, InterfaceError):
            return HttpResponse(Unavailable().detail, status=503, content_type="text/plain")

    def answer_staff(self, request: HttpRequest, home: Tenant) -> HttpResponse:
        user = user_of_session(request, home)
        tenant = acting_tenant(request, user, home)
        request.tenant = tenant  # type: ignore[attr-defined]
        if user is not None:
            request._cached_user = user  # type: ignore[attr-defined]  # what auth.get_user() answers
            request.actor = Actor(  # type: ignore[attr-defined]
                user, tenant, via=Via.ADMIN, request_id=getattr(request, "request_id", "")
            )
        with inside(tenant, reading=request.method in SAFE):
            return self.work(request)

    def work(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if response.streaming:
            raise TenantError("a streamed answer outlives its transaction: open scopes inside it")
        if hasattr(response, "render") and not getattr(response, "is_rendered", True):
            response.render()  # a lazy page would query after the scope has closed
        if response.status_code >= 400:
            transaction.set_rollback(True)
        return response


def bearer_of(request: HttpRequest) -> str | None:
    scheme, _, text = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    return text.strip() if scheme.lower() == "bearer" else None


def actor_of_token(request: HttpRequest, token: ApiToken) -> Actor:
    return Actor(
        token.user,
        token.tenant,
        scope=Scope(token.scope),
        project_ids=None if token.project_ids is None else tuple(token.project_ids),
        token=token,
        request_id=getattr(request, "request_id", ""),
    )


def user_of_session(request: HttpRequest, home: Tenant) -> User | None:
    """The session's user, looked for in the host's own tenant: elsewhere the cookie is nobody's."""
    if not request.session.get(auth.SESSION_KEY):
        return None
    with inside(home, reading=True):
        user = auth.get_user(request)
    return user if isinstance(user, User) else None


def acting_tenant(request: HttpRequest, user: User | None, home: Tenant) -> Tenant:
    """Staff works at home; an operator where he said he would."""
    picked = request.session.get(ACTING_TENANT)
    if user is None or not user.is_superuser or home.subdomain != PLATFORM or picked is None:
        return home
    return Tenant.objects.filter(pk=picked).first() or home


def note_use(token: ApiToken) -> None:
    """Keep last_used_at true to the hour, in a transaction of its own: reads never write.

    The answer is settled by then; a busy database may cost the note, not the answer.
    """
    now = timezone.now()
    if token.last_used_at is None or now - token.last_used_at > LAST_USED_EVERY:
        with suppress(OperationalError), inside(token.tenant):
            ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)


# ---- what a token lets him do -------------------------------------------------------------------


class SignedIn(HttpBearer):
    """Reading needs any scope; writing needs `writes` or more. So no endpoint has to say.

    A signed-in admin session serves too, with its CSRF token, so that the docs page works.
    """

    csrf = True  # tells the docs page to send the token

    def __init__(self, writes: Scope) -> None:
        super().__init__()
        self.writes = writes

    def __call__(self, request: HttpRequest) -> Actor:
        actor: Actor | None = getattr(request, "actor", None)
        if actor is None:
            raise Unauthenticated(UNKNOWN_CREDENTIALS)
        if request.method not in SAFE:
            self.check_writing(request, actor)
        return actor

    def check_writing(self, request: HttpRequest, actor: Actor) -> None:
        if actor.token is None and check_csrf(request) is not None:
            raise Forbidden("Send the X-CSRFToken of your session.", code="csrf_failed")
        order = list(Scope)
        if order.index(actor.scope) < order.index(self.writes):
            raise Forbidden(
                f"This needs a token of scope {self.writes}; yours is {actor.scope}.",
                code="insufficient_scope",
            )

    def authenticate(self, request: HttpRequest, token: str) -> None:
        raise NotImplementedError  # HttpBearer's own way, which logs tokens under DEBUG


signed_in = SignedIn(writes=Scope.WRITE)
managing = SignedIn(writes=Scope.ADMIN)
leaving = SignedIn(writes=Scope.READ)  # any token may end itself
