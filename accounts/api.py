"""API operations for signing in, one's own user, the tenant, tokens and users."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from ninja import Query, Router, Status
from pydantic import Secret

from accounts.actions import tenants as tenant_actions
from accounts.actions import tokens as token_actions
from accounts.actions import users as user_actions
from accounts.actions.sessions import start_session
from accounts.auth import admin_auth, read_auth
from accounts.kept_session import keep_session
from accounts.models import ApiToken, Tenant, User
from accounts.passwords import limit_registrations
from accounts.queries import find_referenced_projects, find_referenced_user, find_user
from accounts.rules import require_staff
from accounts.schemas.sign_in import Login, Registration, SignedInResponse
from accounts.schemas.tenants import TenantResponse, TenantUpdate, TenantUsage
from accounts.schemas.tokens import (
    IssuedTokenResponse,
    TokenCreate,
    TokenListResponse,
    TokenResponse,
)
from accounts.schemas.users import (
    MeResponse,
    MeUpdate,
    PasswordChange,
    UserCreate,
    UserFilters,
    UserListResponse,
    UserResponse,
    UserUpdate,
)
from accounts.sign_in import inside_tenant_of_credentials, require_second_factor
from taskflow.audit.actor import Actor, ActorRequest
from taskflow.audit.models import Via
from taskflow.audit.quotas import read_usage
from taskflow.db.columns import columns_of
from taskflow.db.expressions import contains_text
from taskflow.db.text import fold
from taskflow.http.addresses import find_client
from taskflow.http.errors import Forbidden, Invalid, NotFound
from taskflow.http.paging import PageContents, PageParams, paginate
from taskflow.http.preconditions import etag_of
from taskflow.http.request import Request
from taskflow.http.schema import UserIdOrHandle
from taskflow.tenancy import inside

signing_in = Router(tags=["Signing in"])
me = Router(tags=["Me"], auth=admin_auth)
token_routes = Router(tags=["Tokens"], auth=admin_auth)
users = Router(tags=["Users"], auth=admin_auth)
tenant_routes = Router(tags=["Tenant"], auth=admin_auth)

REGISTRATION_CLOSED = Forbidden(
    "This installation does not accept registrations. Ask its operator, who can create a tenant"
    " with “manage.py create_tenant”, or open registration with TASKFLOW_REGISTRATION=1.",
    code="registration_closed",
)

# ---- signing in ---------------------------------------------------------------------------------


@signing_in.post(
    "/register",
    response={201: SignedInResponse},
    auth=None,
    openapi_extra={"responses": {403: {"$ref": "#/components/responses/Forbidden"}}},
)
def register(request: Request, body: Registration) -> Status[dict[str, object]]:
    """Create a tenant and its first administrator, and sign the administrator in.

    Returns 403 `registration_closed` when this installation does not accept registrations, 409
    when the subdomain is taken, 422 when the password is weak, or when the subdomain or the name is
    reserved or looks like one that is: those of the default tenant, and names such as `www` and
    `admin`. Any credentials sent along are ignored.
    """
    if not settings.REGISTRATION:
        raise REGISTRATION_CLOSED.copy()
    limit_registrations(find_client(request.META))
    values = body.sent_fields() | {"password": body.password.get_secret_value()}
    actor = tenant_actions.register_tenant(**values, via=Via.API, request_id=request.request_id)
    return Status(201, sign_in(request, actor.user, actor.tenant))


@signing_in.post(
    "/login",
    response=SignedInResponse,
    auth=None,
    openapi_extra={"responses": {401: {"$ref": "#/components/responses/Unauthenticated"}}},
)
def login(request: Request, body: Login) -> dict[str, object]:
    """Exchange an e-mail and a password for a token that is valid for 30 days.

    A user with a second factor sends a code as `otp` too. Without one, the right password gets 401
    `second_factor_required`; an administrator who has to enrol one first gets 401
    `second_factor_enrolment_required`. An unknown e-mail, a wrong password and a deactivated user
    get the same 401, after the same time. After five wrong passwords or codes the response is 429:
    wait for Retry-After seconds. Any credentials sent along are ignored.
    """
    with inside_tenant_of_credentials(request, body) as actor:
        require_second_factor(actor, body.otp)
        return sign_in(request, actor.user, actor.tenant)


@signing_in.post("/logout", response={204: None}, auth=read_auth)
def logout(request: ActorRequest) -> Status[None]:
    """Revoke the token that this request is sent with."""
    if request.auth.token is None:
        raise Invalid("This request uses an admin session, not a token. Sign out in the admin.")
    token_actions.revoke_token(request.auth, request.auth.token)
    return Status(204, None)


def sign_in(request: Request, user: User, tenant: Tenant) -> dict[str, object]:
    """Create a token for a user whose credentials were checked. Return the response."""
    with inside(tenant):
        actor = Actor(
            user, tenant, request_id=request.request_id, address=find_client(request.META)
        )
        token, text = token_actions.sign_in(actor)
        start_session(actor, user_agent=request.META.get("HTTP_USER_AGENT", ""), token=token)
    request.actor = actor  # for the log
    return {"token": text, "expires_at": token.expires_at, "user": user, "tenant": tenant}


# ---- one's own user -----------------------------------------------------------------------------


@me.get("", response=MeResponse)
def get_me(request: ActorRequest) -> User:
    """Get your user, your tenant and the scope of your credentials."""
    return request.auth.user


@me.patch("", response=MeResponse)
def update_me(request: ActorRequest, body: MeUpdate) -> User:
    """Change your name, handle or e-mail. 409 when another user has the handle or e-mail.

    A person's new e-mail needs `current_password`: 422 when it is missing or wrong. It ends your
    other sessions and tokens. If this installation sends mail, it takes effect when the link that
    is sent to it is followed; until then responses have the present one. Returns 403 for a token
    that is bound to projects.
    """
    user = user_actions.update_me(request.auth, **_open_passwords(body.sent_fields()))
    keep_session(request)
    return user


@me.post("/password", response={204: None})
def change_password(request: ActorRequest, body: PasswordChange) -> Status[None]:
    """Set a new password. This ends all your other sessions and tokens.

    With `revoke_agent_tokens: true`, also the tokens of the agents you are responsible for.
    Returns 422 when the current password is wrong or the new one is weak, and 403 for a token that
    is bound to projects.
    """
    user_actions.change_password(
        request.auth,
        current_password=body.current_password.get_secret_value(),
        new_password=body.new_password.get_secret_value(),
        revoke_agent_tokens=body.revoke_agent_tokens,
    )
    keep_session(request)
    return Status(204, None)


# ---- the tenant ---------------------------------------------------------------------------------


@tenant_routes.get("", response=TenantResponse)
def get_tenant(request: ActorRequest) -> Tenant:
    """Get the tenant that you work in."""
    return request.auth.tenant


@tenant_routes.get("/usage", response=TenantUsage)
def get_tenant_usage(request: ActorRequest) -> dict[str, object]:
    """Get how many rows and how much text the tenant has, with the limits. For administrators.

    A process counts a tenant at most every 5 seconds, and less often if that takes long: for at
    most 1 % of the time.
    """
    require_staff(request.auth)
    usage = read_usage(request.auth.tenant.pk)
    return {name: {"used": used, "limit": limit} for name, (used, limit) in usage.items()}


@tenant_routes.api_operation(["PATCH", "PUT"], "", response=TenantResponse)
def update_tenant(request: ActorRequest, body: TenantUpdate) -> Tenant:
    """Change the tenant's name or time zone. For administrators. PUT behaves like PATCH."""
    return tenant_actions.update_tenant(request.auth, **body.sent_fields())


# ---- tokens -------------------------------------------------------------------------------------


@token_routes.get("", response=TokenListResponse)
def list_tokens(request: ActorRequest, page: Query[PageParams]) -> PageContents[ApiToken]:
    """List your tokens and those of your agents, newest first; for administrators, all tokens.

    A token bound to projects shows only itself.
    """
    return paginate(ApiToken.objects.visible_to(request.auth.viewer), page, order=["-id"])


@token_routes.post("", response={201: IssuedTokenResponse})
def create_token(request: ActorRequest, body: TokenCreate) -> Status[dict[str, object]]:
    """Create a token for yourself or for an agent you are responsible for. Its text is shown once.

    Returns 403 for another user, and for a token that is bound to projects. Also returns 403 when
    the new token would allow more than the token that you send: a larger scope, other projects, or
    a later expiry. A token from signing in does not limit the expiry.
    """
    values = body.sent_fields()
    _resolve_user(request, values, "user")
    if values.get("user") is None:
        values.pop("user", None)
    if projects := values.pop("projects", None):
        values["project_ids"] = find_referenced_projects(request.auth, projects, "projects")
    token, text = token_actions.create_token(request.auth, **({"scope": body.scope} | values))
    return Status(201, _issued_response(request, token, text))


@token_routes.get("/{id:token_id}", response=TokenResponse)
def get_token(request: ActorRequest, token_id: int) -> ApiToken:
    """Get a token that you can see, without its text."""
    return _find_token(request, token_id)


@token_routes.post("/{id:token_id}/rotation", response={201: IssuedTokenResponse})
def rotate_token(request: ActorRequest, token_id: int) -> Status[dict[str, object]]:
    """Replace a token by a new one with the same rights. The old one works for another 24 hours.

    The new token expires no later than the token that you send, unless that one comes from signing
    in. Returns 409 when the token has expired or is revoked.
    """
    token, text = token_actions.rotate_token(request.auth, _find_token(request, token_id))
    return Status(201, _issued_response(request, token, text))


@token_routes.delete("/{id:token_id}", response={204: None})
def revoke_token(request: ActorRequest, token_id: int) -> Status[None]:
    """Revoke a token. It stays in the list."""
    token_actions.revoke_token(request.auth, _find_token(request, token_id))
    return Status(204, None)


def _issued_response(request: ActorRequest, token: ApiToken, text: str) -> dict[str, object]:
    """Return the new token with its text, and set its ETag."""
    request.etag = etag_of(token)
    columns = {f.attname: getattr(token, f.attname) for f in columns_of(ApiToken)}
    return columns | {"token": text}


def _find_token(request: ActorRequest, token_id: int) -> ApiToken:
    token: ApiToken | None = (
        ApiToken.objects.visible_to(request.auth.viewer)
        .select_related("user")
        .filter(pk=token_id)
        .first()
    )
    if token is None:
        raise NotFound("There is no such token.")
    return token


# ---- users --------------------------------------------------------------------------------------


@users.get("", response=UserListResponse)
def list_users(request: ActorRequest, filters: Query[UserFilters]) -> PageContents[User]:
    """List the people and agents of the tenant, ordered by id.

    A token bound to projects shows you and the members of these projects.
    """
    sent = filters.sent_fields()
    chosen = {name: sent[name] for name in {"kind", "is_active"} & sent.keys()}
    chosen |= {"handle": fold(sent["handle"])} if "handle" in sent else {}
    rows = User.objects.visible_to(request.auth.viewer).filter(**chosen)
    rows = rows.with_email(sent["email"]) if "email" in sent else rows
    if "q" in sent:
        rows = rows.filter(contains_text(fold(sent["q"]), "handle", "full_name_folded"))
    return paginate(rows, filters, order=["id"])


@users.post("", response={201: UserResponse})
def create_user(request: ActorRequest, body: UserCreate) -> Status[User]:
    """Add a person or an agent. For administrators.

    A person without a password cannot sign in until one is set. An agent has no password and only
    uses tokens. Returns 409 when the handle or e-mail is taken.
    """
    return Status(201, user_actions.create_user(request.auth, **_user_values(request, body)))


@users.get("/{user_id}", response=UserResponse)
def get_user(request: ActorRequest, user_id: UserIdOrHandle) -> User:
    """Get a person or an agent."""
    return find_user(request.auth, user_id)


@users.api_operation(["PATCH", "PUT"], "/{user_id}", response=UserResponse)
def update_user(request: ActorRequest, user_id: UserIdOrHandle, body: UserUpdate) -> User:
    """Change the fields that are sent. For administrators.

    A person's new password or e-mail needs your own password as `current_password`: 422 when it is
    missing or wrong. It ends the sessions and tokens of that user. `is_active: false` also revokes
    the user's tokens and deactivates the agents that the user is responsible for. Returns 409 when
    the tenant would have no active administrator, and for an agent whose responsible user is
    deactivated.
    """
    user = find_user(request.auth, user_id)
    return user_actions.update_user(request.auth, user, **_user_values(request, body))


@users.delete("/{user_id}", response={204: None})
def delete_user(request: ActorRequest, user_id: UserIdOrHandle) -> Status[None]:
    """Delete a user who owns nothing and has made no change. For administrators.

    409 `owns_things` lists what refers to the user. Deactivate or offboard such a user instead.
    """
    user_actions.delete_user(request.auth, find_user(request.auth, user_id))
    return Status(204, None)


def _user_values(request: ActorRequest, body: UserCreate | UserUpdate) -> dict[str, Any]:
    values = _open_passwords(body.sent_fields())
    _resolve_user(request, values, "responsible")
    return values


def _open_passwords(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values with the text of each password."""
    return {n: v.get_secret_value() if isinstance(v, Secret) else v for n, v in values.items()}


def _resolve_user(request: ActorRequest, values: dict[str, Any], name: str) -> None:
    """Replace `<name>` or `<name>_id` in the values by the user that it names, or by None."""
    for field in {name, f"{name}_id"} & values.keys():
        ref = values.pop(field)
        values[name] = ref and find_referenced_user(request.auth, ref, field)
