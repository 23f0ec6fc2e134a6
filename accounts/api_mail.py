"""API operations that work with links in mails."""

from __future__ import annotations

from ninja import Router, Status

from accounts import tokens
from accounts.actions import password_resets as actions
from accounts.actions.email_changes import complete_email_change as complete_change
from accounts.actions.mail_tokens import NOT_LIVE
from accounts.auth import find_tenant, read_subdomain, reconcile_subdomains
from accounts.models import Tenant
from accounts.schemas.password_resets import (
    LinkBody,
    PasswordResetAccepted,
    PasswordResetCompletion,
    PasswordResetRequest,
)
from taskflow.audit.models import Via
from taskflow.http.addresses import find_client
from taskflow.http.errors import NotFound
from taskflow.http.request import Request
from taskflow.tenancy import inside

password_resets = Router(tags=["Signing in"])
email_changes = Router(tags=["Signing in"])
LINK_SENT = "If an active person has this e-mail, a link was sent to it."
FORBIDDEN = {"responses": {403: {"$ref": "#/components/responses/Forbidden"}}}


@password_resets.post("", response={202: PasswordResetAccepted}, auth=None, openapi_extra=FORBIDDEN)
def request_password_reset(request: Request, body: PasswordResetRequest) -> Status[dict[str, str]]:
    """Send a link by e-mail with which a person can set a new password, within one hour.

    The answer is the same, after the same time, whether or not an active user has the e-mail. A
    newer link replaces an earlier one. 403 `email_off` when this installation sends no e-mail. Any
    credentials sent along are ignored.
    """
    tenant = find_tenant(reconcile_subdomains(body.tenant, read_subdomain(request)))
    address = find_client(request.META)
    with inside(tenant):
        actions.request_password_reset(
            tenant, body.email, via=Via.API, address=address, request_id=request.request_id
        )
    return Status(202, {"detail": LINK_SENT})


@password_resets.post("/completion", response={204: None}, auth=None)
def complete_password_reset(request: Request, body: PasswordResetCompletion) -> Status[None]:
    """Set a new password with the token in the link of the mail.

    It revokes all tokens and ends all sessions of the user, who signs in with the new password
    afterwards. 422 when the link was used, has expired or was replaced by a newer one, and when the
    password is weak. Any credentials sent along are ignored.
    """
    token = body.token.get_secret_value()
    tenant = find_tenant_of_link(request, token)
    with inside(tenant):
        request.actor = actions.complete_password_reset(
            tenant,
            token,
            body.password.get_secret_value(),
            via=Via.API,
            address=find_client(request.META),
            request_id=request.request_id,
        )
    return Status(204, None)


@email_changes.post("/completion", response={204: None}, auth=None)
def complete_email_change(request: Request, body: LinkBody) -> Status[None]:
    """Take the new e-mail into use, with the token in the link that was sent to it.

    It revokes all tokens and ends all sessions of the user. 422 when the link was used, has expired
    or was replaced by a newer one; 409 when another user has got the e-mail since. Any credentials
    sent along are ignored.
    """
    token = body.token.get_secret_value()
    tenant = find_tenant_of_link(request, token)
    with inside(tenant):
        request.actor = complete_change(tenant, token, via=Via.API, request_id=request.request_id)
    return Status(204, None)


def find_tenant_of_link(request: Request, token: str) -> Tenant:
    """Return the active tenant that the token of a link names. One query.

    Raises Invalid for a token that names none, or another one than the host or X-Tenant.
    """
    tenant_id = tokens.read_tenant_id(token, tokens.MAIL_LINK)
    tenant = tenant_id and Tenant.objects.filter(pk=tenant_id, is_active=True).first()
    if not tenant:
        raise NOT_LIVE.copy()
    try:
        reconcile_subdomains(tenant.subdomain, read_subdomain(request))
    except NotFound:
        raise NOT_LIVE.copy() from None
    return tenant
