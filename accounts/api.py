"""Signing in, oneself, tokens, and the people and agents of the tenant."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from ninja import Query, Router
from ninja import Status as Answer

from accounts.actions import tenants as tenant_actions
from accounts.actions import tokens as token_actions
from accounts.actions import users as user_actions
from accounts.auth import (
    admin_auth,
    check_password,
    find_tenant,
    read_auth,
    read_subdomain,
    reconcile_subdomains,
)
from accounts.models import ApiToken, Tenant, User
from accounts.schemas import (
    Login,
    MeResponse,
    MeUpdate,
    PasswordChange,
    Registration,
    SignedInResponse,
    TenantResponse,
    TenantUpdate,
    TokenCreate,
    TokenIssued,
    TokenPage,
    UserCreate,
    UserFilters,
    UserPage,
    UserResponse,
    UserUpdate,
)
from taskflow.audit.actor import Actor, ActorRequest
from taskflow.audit.models import Via
from taskflow.http.errors import Forbidden, Invalid, NotFound, Unauthenticated
from taskflow.http.paging import PageParams, paginate
from taskflow.tenancy import inside

signing_in = Router(tags=["Signing in"])
me = Router(tags=["Me"], auth=admin_auth)
token_routes = Router(tags=["Tokens"], auth=admin_auth)
users = Router(tags=["Users"], auth=admin_auth)
tenant_routes = Router(tags=["Tenant"], auth=admin_auth)

# ---- signing in ---------------------------------------------------------------------------------


@signing_in.post(
    "/register",
    response={201: SignedInResponse},
    auth=None,
    openapi_extra={"responses": {403: {"$ref": "#/components/responses/Forbidden"}}},
)
def register(request: HttpRequest, body: Registration) -> Answer[dict[str, Any]]:
    """Create a tenant and its first administrator, and sign him in.

    Refused with 403 when the installation does not take registrations, 409 when the subdomain is
    taken, 422 when it is reserved or the default tenant's, or the password is weak.
    """
    if not settings.REGISTRATION:
        raise Forbidden("This installation does not take registrations. Ask its operator.")
    values = body.sent() | {"password": body.password.get_secret_value()}
    actor = tenant_actions.register_tenant(**values, via=Via.API, request_id=_id_of(request))
    return Answer(201, _signed_in(request, actor.user, actor.tenant))


@signing_in.post(
    "/login",
    response=SignedInResponse,
    auth=None,
    openapi_extra={"responses": {401: {"$ref": "#/components/responses/Unauthenticated"}}},
)
def login(request: HttpRequest, body: Login) -> dict[str, Any]:
    """Exchange e-mail and password for a token that lasts 30 days.

    An unknown e-mail, a wrong password and a deactivated user get the same 401, in the same time.
    """
    tenant = find_tenant(reconcile_subdomains(body.tenant, read_subdomain(request)))
    with inside(tenant):
        user = check_password(body.email, body.password.get_secret_value())
        if user is None:
            raise Unauthenticated("E-mail or password is wrong.")
        return _signed_in(request, user, tenant)


@signing_in.post("/logout", response={204: None}, auth=read_auth)
def logout(request: ActorRequest) -> Answer[None]:
    """Revoke the token that this request carries."""
    if request.auth.token is None:
        raise Invalid("You are here by an admin session; sign out in the admin.")
    token_actions.revoke_token(request.auth, request.auth.token)
    return Answer(204, None)


def _signed_in(request: HttpRequest, user: User, tenant: Tenant) -> dict[str, Any]:
    with inside(tenant):
        token, text = token_actions.sign_in(user, tenant, request_id=_id_of(request))
    request.actor = Actor(user, tenant)  # type: ignore[attr-defined]  # for the log
    return {"token": text, "expires_at": token.expires_at, "user": user, "tenant": tenant}


def _id_of(request: HttpRequest) -> str:
    return getattr(request, "request_id", "")


# ---- oneself ------------------------------------------------------------------------------------


@me.get("", response=MeResponse)
def get_me(request: ActorRequest) -> User:
    """Who you are, in which tenant, and what your credentials let you do."""
    return request.auth.user


@me.patch("", response=MeResponse)
def update_me(request: ActorRequest, body: MeUpdate) -> User:
    """Change your name, handle or e-mail. 409 when another has the handle or e-mail."""
    return user_actions.update_me(request.auth, **body.sent())


@me.post("/password", response={204: None})
def change_password(request: ActorRequest, body: PasswordChange) -> Answer[None]:
    """Set a new password. Every other token of yours ends.

    422 when the current password is wrong or the new one weak, 403 with a token bound to projects.
    """
    user_actions.change_password(
        request.auth,
        current_password=body.current_password.get_secret_value(),
        new_password=body.new_password.get_secret_value(),
    )
    return Answer(204, None)


# ---- the tenant ---------------------------------------------------------------------------------


@tenant_routes.get("", response=TenantResponse)
def get_tenant(request: ActorRequest) -> Tenant:
    """The tenant that you work in."""
    return request.auth.tenant


@tenant_routes.api_operation(["PATCH", "PUT"], "", response=TenantResponse)
def update_tenant(request: ActorRequest, body: TenantUpdate) -> Tenant:
    """Change its name or time zone. For administrators. PUT does the same."""
    return tenant_actions.update_tenant(request.auth, **body.sent())


# ---- tokens -------------------------------------------------------------------------------------


@token_routes.get("", response=TokenPage)
def list_tokens(request: ActorRequest, page: Query[PageParams]) -> dict[str, Any]:
    """Your tokens and your agents', newest first; all of the tenant's for administrators.

    A token bound to projects shows itself only.
    """
    return paginate(ApiToken.objects.visible_to(request.auth), page, order=["-id"])


@token_routes.post("", response={201: TokenIssued})
def create_token(request: ActorRequest, body: TokenCreate) -> Answer[dict[str, Any]]:
    """Create a token for yourself, or for an agent you answer for. Its text is shown once.

    403 when the user is somebody else, or when it would be more than the token you send: of a
    larger scope, for other projects, or with a later end. The token of a sign-in bounds no end.
    """
    values = body.sent()
    if user_id := values.pop("user_id", None):
        values["user"] = _referred_user(request, user_id, "user_id")
    token, text = token_actions.create_token(request.auth, **({"scope": body.scope} | values))
    return Answer(201, _issued(token, text))


@token_routes.post("/{id:token_id}/rotation", response={201: TokenIssued})
def rotate_token(request: ActorRequest, token_id: int) -> Answer[dict[str, Any]]:
    """Replace a token by one with the same rights. The old one works for another 24 hours.

    The new one ends at the latest with the token you send, unless that is of a sign-in. 409 when
    it has already ended.
    """
    token, text = token_actions.rotate_token(request.auth, _find_token(request, token_id))
    return Answer(201, _issued(token, text))


@token_routes.delete("/{id:token_id}", response={204: None})
def revoke_token(request: ActorRequest, token_id: int) -> Answer[None]:
    """End a token now. It stays in the list, revoked."""
    token_actions.revoke_token(request.auth, _find_token(request, token_id))
    return Answer(204, None)


def _issued(token: ApiToken, text: str) -> dict[str, Any]:
    columns = {f.attname: getattr(token, f.attname) for f in token._meta.concrete_fields}
    return columns | {"token": text}


def _find_token(request: ActorRequest, token_id: int) -> ApiToken:
    found: ApiToken | None = (
        ApiToken.objects.visible_to(request.auth).select_related("user").filter(pk=token_id).first()
    )
    if found is None:
        raise NotFound("There is no such token.")
    return found


# ---- users --------------------------------------------------------------------------------------


@users.get("", response=UserPage)
def list_users(request: ActorRequest, filters: Query[UserFilters]) -> dict[str, Any]:
    """The people and agents of the tenant, by id.

    A token bound to projects shows you and the members of these projects.
    """
    wanted = filters.sent()
    names = {"kind", "is_active", "handle", "email"} & wanted.keys()
    rows = User.objects.visible_to(request.auth).filter(**{n: wanted[n] for n in names})
    return paginate(rows, filters, order=["id"])


@users.post("", response={201: UserResponse})
def create_user(request: ActorRequest, body: UserCreate) -> Answer[User]:
    """Add a person or an agent. For administrators.

    A person without a password cannot sign in until one is set. An agent signs in with tokens
    only. 409 when the handle or e-mail is taken.
    """
    return Answer(201, user_actions.create_user(request.auth, **_user_values(request, body)))


@users.get("/{id:user_id}", response=UserResponse)
def get_user(request: ActorRequest, user_id: int) -> User:
    """One person or agent."""
    return _find_user(request, user_id)


@users.api_operation(["PATCH", "PUT"], "/{id:user_id}", response=UserResponse)
def update_user(request: ActorRequest, user_id: int, body: UserUpdate) -> User:
    """Change what is sent. For administrators.

    `is_active: false` also ends the user's tokens, and those of agents the user is responsible
    for. 409 when it would leave the tenant without an administrator.
    """
    user = _find_user(request, user_id)
    return user_actions.update_user(request.auth, user, **_user_values(request, body))


@users.delete("/{id:user_id}", response={204: None})
def delete_user(request: ActorRequest, user_id: int) -> Answer[None]:
    """Delete somebody who has done and owns nothing. For administrators.

    409 `owns_things` lists what stands in the way; deactivate him instead.
    """
    user_actions.delete_user(request.auth, _find_user(request, user_id))
    return Answer(204, None)


def _user_values(request: ActorRequest, body: UserCreate | UserUpdate) -> dict[str, Any]:
    values = body.sent()
    if (password := values.get("password")) is not None:
        values["password"] = password.get_secret_value()
    if "responsible_id" in values:
        responsible_id = values.pop("responsible_id")
        values["responsible"] = responsible_id and _referred_user(
            request, responsible_id, "responsible_id"
        )
    return values


def _find_user(request: ActorRequest, user_id: int) -> User:
    found: User | None = User.objects.visible_to(request.auth).filter(pk=user_id).first()
    if found is None:
        raise NotFound("There is no such user.")
    return found


def _referred_user(request: ActorRequest, user_id: int, field: str) -> User:
    found: User | None = User.objects.visible_to(request.auth).filter(pk=user_id).first()
    if found is None:
        raise Invalid.field(field, "There is no such user.", "unknown_reference")
    return found
