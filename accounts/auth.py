"""
From a request to an Actor: who is asking, in which tenant, and how much his token lets him.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.backends import BaseBackend
from django.contrib.auth.hashers import make_password
from django.db.models import CharField, DateTimeField, Q, QuerySet
from django.http import HttpRequest
from django.http.request import split_domain_port
from django.utils import timezone
from ninja.security.http import HttpBearer
from ninja.utils import check_csrf

from accounts import tokens
from accounts.models import ApiToken, Tenant, User
from taskflow.audit.actor import Actor, TokenScope
from taskflow.db.query import Compiled
from taskflow.db.statements import Param
from taskflow.http.errors import (
    Forbidden,
    NotFound,
    Unauthenticated,
)
from taskflow.http.preconditions import SAFE
from taskflow.http.schema import is_unstorable
from taskflow.tenancy import asking, in_any_tenant, inside

log = logging.getLogger("taskflow.auth")

# Who calls these becomes somebody, whatever old token or cookie he still sends.
PUBLIC_PATHS = frozenset({"/api/v1/auth/login", "/api/v1/auth/register"})
LAST_USED_INTERVAL = timedelta(hours=1)
ACTING_TENANT = "acting_tenant"  # session key: where an operator is at work
INVALID_CREDENTIALS = (
    "The token is unknown, expired or revoked. Get one from POST /api/v1/auth/login."
)
MISSING_CREDENTIALS = (
    "Send a token as Authorization: Bearer tf_… Get one from POST /api/v1/auth/login."
)
NO_TENANT = "There is no such tenant."


# ---- which tenant -------------------------------------------------------------------------------


def read_subdomain(request: HttpRequest) -> str | None:
    """The tenant named by X-Tenant or the host; None when neither does.

    Raises DisallowedHost for a host that is not ours, NotFound when the two disagree.
    """
    host, _port = split_domain_port(request.get_host())
    suffix = f".{settings.DOMAIN}"
    by_host = host.removesuffix(suffix) if host.endswith(suffix) else None
    return reconcile_subdomains(by_host, request.META.get("HTTP_X_TENANT"))


def reconcile_subdomains(*named: str | None) -> str | None:
    """The one tenant that all of these name; None when none does. Raises NotFound.

    An empty name is the name of no tenant. The server hands on a header that is not ASCII as an
    empty one.
    """
    names = {name.lower() for name in named if name is not None}
    if len(names) > 1 or "" in names or any(is_unstorable(name) for name in names):
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


def inside_tenant_of_token(
    text: str, tenant_id: int, *, reading: bool
) -> AbstractContextManager[list[ApiToken]]:
    """Inside the tenant that a token's text names: the live one with this text, if there is one,
    with its user and tenant.
    """
    values = {"digest": tokens.compute_digest(text), "now": timezone.now()}
    return asking(tenant_id, LIVE_TOKEN, values, reading=reading)


@in_any_tenant
def _live_tokens() -> QuerySet[ApiToken]:
    digest, now = Param("digest", CharField()), Param("now", DateTimeField())
    live = ApiToken.objects.live(now).filter(digest=digest)
    live = live.filter(user__is_active=True, tenant__is_active=True)
    # An agent works only while somebody answers for it.
    live = live.filter(Q(user__responsible__isnull=True) | Q(user__responsible__is_active=True))
    return live.select_related("user", "tenant")


LIVE_TOKEN = Compiled(_live_tokens)


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


# ---- credentials -------------------------------------------------------------------------------


def read_bearer_token(request: HttpRequest) -> str | None:
    scheme, _, text = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    return text.strip() if scheme.lower() == "bearer" else None


def build_token_actor(request: HttpRequest, token: ApiToken) -> Actor:
    return Actor(
        token.user,
        token.tenant,
        scope=TokenScope(token.scope),
        project_ids=None if token.project_ids is None else tuple(token.project_ids),
        token=token,
        request_id=getattr(request, "request_id", ""),
    )


def record_token_use(token: ApiToken) -> None:
    """Keep last_used_at true to the hour, in a transaction of its own: reads never write.

    What the response acknowledges is committed by then. So whatever goes wrong
    here is logged, and nothing else: a busy or read-only database costs the note, not the response.
    """
    now = timezone.now()
    if token.last_used_at is not None and now - token.last_used_at <= LAST_USED_INTERVAL:
        return
    try:
        with inside(token.tenant, patience=0):
            ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)
    except Exception as error:
        log.warning("the use of a token was not noted", exc_info=error)


# ---- what a token lets him do -------------------------------------------------------------------


class TokenScopeAuth(HttpBearer):
    """Reading needs any scope; writing needs `writes` or more. So no endpoint has to say.

    A signed-in admin session serves too, with its CSRF token, so that the docs page works.
    """

    csrf = True  # tells the docs page to send the token

    def __init__(self, writes: TokenScope) -> None:
        super().__init__()
        self.writes = writes

    def __call__(self, request: HttpRequest) -> Actor:
        actor: Actor | None = getattr(request, "actor", None)
        if actor is None:
            is_sent = "HTTP_AUTHORIZATION" in request.META
            raise Unauthenticated(INVALID_CREDENTIALS if is_sent else MISSING_CREDENTIALS)
        if request.method not in SAFE:
            self.check_writing(request, actor)
        return actor

    def check_writing(self, request: HttpRequest, actor: Actor) -> None:
        if actor.token is None and check_csrf(request) is not None:
            raise Forbidden("Send the X-CSRFToken of your session.", code="csrf_failed")
        order = list(TokenScope)
        if order.index(actor.scope) < order.index(self.writes):
            raise Forbidden(
                f"This needs a token of scope {self.writes}; yours is {actor.scope}.",
                code="insufficient_scope",
            )

    def authenticate(self, request: HttpRequest, token: str) -> None:
        raise NotImplementedError  # HttpBearer's own way, which logs tokens under DEBUG


write_auth = TokenScopeAuth(writes=TokenScope.WRITE)
admin_auth = TokenScopeAuth(writes=TokenScope.ADMIN)
read_auth = TokenScopeAuth(writes=TokenScope.READ)  # any token may end itself
