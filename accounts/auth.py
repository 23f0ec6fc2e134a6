"""Authentication: the tenant of a request, its user, and the scope of its token."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.contrib.auth.backends import BaseBackend
from django.db import Error as DatabaseError
from django.db.models import Case, CharField, DateTimeField, F, Q, QuerySet, When
from django.http import HttpRequest
from django.http.request import split_domain_port
from django.utils import timezone
from ninja.security import HttpBearer
from ninja.utils import check_csrf

from accounts import tokens
from accounts.models import PLATFORM, ApiToken, Session, Tenant, User
from accounts.models.sessions import USE_INTERVAL
from accounts.passwords import PasswordCheck, find_user_by_password, load_checked_user
from taskflow.audit.actor import Actor, TokenScope
from taskflow.audit.models import Via
from taskflow.db.query import Query
from taskflow.db.statements import Parameter
from taskflow.http import credentials
from taskflow.http.addresses import find_client
from taskflow.http.database_errors import describe_database_error
from taskflow.http.errors import Forbidden, NotFound, Unauthenticated
from taskflow.http.preconditions import SAFE
from taskflow.http.request import Request
from taskflow.http.schema import is_unstorable
from taskflow.tenancy import inside, with_tenant_parameter

log = logging.getLogger("taskflow.auth")

# Sign-in endpoints. Any credentials sent along are ignored.
PUBLIC_PATHS = frozenset(
    {
        "/api/v1/auth/login",
        "/api/v1/auth/register",
        "/api/v1/auth/second-factor",
        "/api/v1/auth/second-factor/confirmation",
        "/api/v1/auth/password-resets",
        "/api/v1/auth/password-resets/completion",
        "/api/v1/auth/email-changes/completion",
        "/api/v1/invitations/acceptance",
    }
)
LAST_USED_INTERVAL = timedelta(hours=1)
SESSION_ID = "session"  # session key: id of the row of the sign-in
ACTING_TENANT = "acting_tenant"  # session key: id of the tenant that an operator works in
HOW_TO_AUTHENTICATE = (
    "Send the header Authorization: Bearer tf_… with a token from POST /api/v1/auth/login."
)
NO_TENANT = "There is no such tenant."
SCOPES = tuple(TokenScope)  # from the one that allows least


# ---- which tenant -------------------------------------------------------------------------------


def read_subdomain(request: Request) -> str | None:
    """Return the subdomain that X-Tenant or the host names, or None if neither names one.

    Raises DisallowedHost for a host that is not in ALLOWED_HOSTS, NotFound when the two differ.
    """
    host, _port = _split_host(request.get_host())
    suffix = f".{settings.DOMAIN}"
    by_host = host.removesuffix(suffix) if host.endswith(suffix) else None
    by_header = request.META.get("HTTP_X_TENANT")
    if by_host is None and by_header is None:
        return None
    return reconcile_subdomains(by_host, by_header)


_split_host = lru_cache(1000)(split_domain_port)


def reconcile_subdomains(*named: str | None) -> str | None:
    """Return the one subdomain among these names, or None if all of them are None.

    Raises NotFound when they differ or one cannot be a subdomain. An empty name cannot: granian
    passes a header that is not ASCII on as an empty one.
    """
    names = {name.lower() for name in named if name is not None}
    if len(names) > 1 or "" in names or any(is_unstorable(name) for name in names):
        raise NotFound(NO_TENANT)
    return names.pop() if names else None


def find_tenant(subdomain: str | None) -> Tenant:
    """Return what find_active_tenant() does. Raises NotFound instead of returning None."""
    tenant = find_active_tenant(subdomain)
    if tenant is None:
        raise NotFound(NO_TENANT)
    return tenant


def find_active_tenant(subdomain: str | None) -> Tenant | None:
    """Return the active tenant with this subdomain; for None the default tenant, or None.

    If no tenant has the subdomain of the default tenant, it is the only tenant there is. One query,
    and a second one in that case.
    """
    name = subdomain or settings.DEFAULT_TENANT
    tenant = Tenant.objects.filter(subdomain=name).first()
    if tenant is None and subdomain is None:
        others = list(Tenant.objects.exclude(subdomain=PLATFORM).order_by("pk")[:2])
        tenant = others[0] if len(others) == 1 else None
    return tenant if tenant is not None and tenant.is_active else None


# ---- which user ---------------------------------------------------------------------------------


def find_live_token(text: str) -> ApiToken | None:
    """Return the token with its user and tenant, or None if it cannot be used. One query."""
    values = {"digest": tokens.compute_digest(text), "now": datetime.now(UTC)}
    found = LIVE_TOKEN_QUERY.fetch_objects(values)
    return found[0] if found else None


@with_tenant_parameter
def _live_tokens() -> QuerySet[ApiToken]:
    digest, now = Parameter("digest", CharField()), Parameter("now", DateTimeField())
    return select_usable_tokens(now).filter(digest=digest).select_related("user", "tenant")


def select_usable_tokens(now: datetime | Parameter) -> QuerySet[ApiToken]:
    """Return the tokens that can be used at `now`, with `maker_id`, see Viewer."""
    live: QuerySet[ApiToken] = ApiToken.objects.live(now)
    live = live.filter(user__is_active=True, tenant__is_active=True)
    # The tokens of an agent work only while its responsible user is active, and who created them.
    live = live.filter(Q(user__responsible__isnull=True) | Q(user__responsible__is_active=True))
    live = live.filter(Q(issued_by__isnull=True) | Q(issued_by__is_active=True))
    # The projects that a token shows are limited by those of who created it.
    member = Case(When(issued_by__is_staff=False, then=F("issued_by")))
    return live.annotate(maker_id=member)


LIVE_TOKEN_QUERY = Query(_live_tokens)


class TenantBackend(BaseBackend):
    """Signs people in to the admin, within the tenant of the current unit of work.

    Raises TooManyAttempts when a limit is reached.
    """

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> User | None:
        if not username or password is None or "\0" in username:
            return None
        assert isinstance(request, Request)
        assert isinstance(request.admin_tenant, Tenant)
        check = PasswordCheck(
            request.admin_tenant,
            username,
            find_client(request.META),
            Via.ADMIN,
            request.request_id,
            password,
        )
        user = find_user_by_password(check)
        return load_checked_user(user) if user else None

    def get_user(self, user_id: int) -> User | None:
        user: User | None = User.objects.active().filter(pk=user_id).first()
        return user


# ---- credentials -------------------------------------------------------------------------------


def read_bearer_token(request: Request) -> str | None:
    """Return the text after `Authorization: Bearer`, or None if the header has another scheme."""
    return credentials.read_bearer_token(request.META)


def describe_refused_token(request: Request) -> str:
    """Return a sentence about what is wrong with the credentials of a request without an actor."""
    scheme, _, text = request.META.get("HTTP_AUTHORIZATION", "").strip().partition(" ")
    if not scheme:
        return "No token was sent."
    if scheme.lower() != "bearer":
        return "The header Authorization does not begin with “Bearer”."
    if not text.strip():
        return "The header Authorization has no token after “Bearer”."
    if tokens.read_tenant_id(text.strip()) is None:
        return "This is not a token of TaskFlow, or not all of it."
    return "The token is unknown, expired or revoked."


def build_token_actor(request: Request, token: ApiToken) -> Actor:
    """Return the token's user as an actor with the token's rights.

    Needs a token of find_live_token(), with its user and tenant.
    """
    return Actor(
        token.user,
        token.tenant,
        scope=TokenScope(token.scope),
        project_ids=None if token.project_ids is None else tuple(token.project_ids),
        maker_id=getattr(token, "maker_id", None),
        token=token,
        request_id=request.request_id,
        address=find_client(request.META),
    )


def record_token_use(token: ApiToken) -> None:
    """Update last_used_at, at most once an hour, in a transaction of its own.

    The request's own transaction is already committed, so every error here is only logged: a busy
    or read-only database must not turn an acknowledged write into an error. It does not wait for a
    lock either: the next request tries again.
    """
    now = datetime.now(UTC)
    if token.last_used_at is not None and now - token.last_used_at <= LAST_USED_INTERVAL:
        return
    try:
        with inside(token.tenant, max_wait=0):
            free = ApiToken.objects.filter(pk=token.pk).select_for_update(skip_locked=True)
            ApiToken.objects.filter(pk__in=free.values("pk")).update(last_used_at=now)
    except Exception as error:
        trace = None if isinstance(error, DatabaseError) else error
        text = describe_database_error(error)
        log.warning("last_used_at of a token was not updated: %s", text, exc_info=trace)


def record_session_use(session: Session, tenant: Tenant) -> None:
    """Update last_used_at of a browser's session, at most every five minutes.

    As with record_token_use(), an error is only logged.
    """
    now = timezone.now()
    if now - session.last_used_at <= USE_INTERVAL:
        return
    try:
        with inside(tenant, max_wait=0):
            Session.objects.all().record_use(session, now)
    except Exception as error:
        trace = None if isinstance(error, DatabaseError) else error
        text = describe_database_error(error)
        log.warning("last_used_at of a session was not updated: %s", text, exc_info=trace)


# ---- what a token allows ------------------------------------------------------------------------


class TokenScopeAuth(HttpBearer):
    """Requires a token of any scope to read, and of `write_scope` or more to write.

    It is set on routers, so endpoints do not check scopes themselves. An admin session with its
    CSRF token is accepted as well, so that the docs page works.
    """

    csrf = True  # makes the docs page send the CSRF token

    def __init__(self, write_scope: TokenScope) -> None:
        super().__init__()
        self.write_scope = write_scope

    def __call__(self, request: HttpRequest) -> Actor:
        assert isinstance(request, Request)
        actor = request.actor
        if not isinstance(actor, Actor):
            raise Unauthenticated(f"{describe_refused_token(request)} {HOW_TO_AUTHENTICATE}")
        if request.method not in SAFE:
            self.check_writing(request, actor)
        return actor

    def check_writing(self, request: Request, actor: Actor) -> None:
        if actor.token is None and check_csrf(request) is not None:
            raise Forbidden("Send the X-CSRFToken of your session.", code="csrf_failed")
        if SCOPES.index(actor.scope) < SCOPES.index(self.write_scope):
            raise Forbidden(
                f"This needs a token of scope {self.write_scope}; yours is {actor.scope}.",
                code="insufficient_scope",
            )

    def authenticate(self, request: HttpRequest, token: str) -> None:
        raise NotImplementedError  # not used: HttpBearer would log tokens under DEBUG


write_auth = TokenScopeAuth(write_scope=TokenScope.WRITE)
admin_auth = TokenScopeAuth(write_scope=TokenScope.ADMIN)
read_auth = TokenScopeAuth(write_scope=TokenScope.READ)  # a token of any scope can sign out
