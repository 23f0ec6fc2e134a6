"""Operations on invitations."""

from __future__ import annotations

from ninja import Query, Router, Status

from accounts.api_mail import find_tenant_of_link
from accounts.auth import admin_auth
from accounts.models import User
from accounts.queries import find_referenced_projects
from accounts.rules import require_staff
from accounts.schemas.users import UserResponse
from taskflow.audit.actor import Actor, ActorRequest
from taskflow.audit.models import Via
from taskflow.http.errors import NotFound
from taskflow.http.paging import PageContents, PageParams, paginate
from taskflow.http.request import Request
from taskflow.tenancy import inside
from tasks.actions import invitations as actions
from tasks.models import Role
from tasks.models.invitations import Invitation
from tasks.schemas.invitations import (
    InvitationAcceptance,
    InvitationCreate,
    InvitationListResponse,
    InvitationResponse,
    InvitedProject,
)

invitations = Router(tags=["Invitations"], auth=admin_auth)


@invitations.get("", response=InvitationListResponse)
def list_invitations(request: ActorRequest, page: Query[PageParams]) -> PageContents[Invitation]:
    """List all invitations, newest first. For administrators."""
    require_staff(request.auth)
    return paginate(Invitation.objects.visible_to(request.auth.viewer), page, order=["-id"])


@invitations.post("", response={201: InvitationResponse})
def create_invitation(request: ActorRequest, body: InvitationCreate) -> Status[Invitation]:
    """Send a person a link by e-mail that creates their user, within 7 days. For administrators.

    The person chooses handle and password, and joins the projects. Returns 409 when a user has the
    e-mail, or an invitation to it is open, and 403 `email_off` when this installation sends no
    e-mail.
    """
    require_staff(request.auth)
    values = body.sent_fields() | {"projects": _find_projects(request.auth, body.projects)}
    return Status(201, actions.invite(request.auth, **values))


@invitations.get("/{id:invitation_id}", response=InvitationResponse)
def get_invitation(request: ActorRequest, invitation_id: int) -> Invitation:
    """Get an invitation. For administrators."""
    return _find_invitation(request.auth, invitation_id)


@invitations.delete("/{id:invitation_id}", response={204: None})
def revoke_invitation(request: ActorRequest, invitation_id: int) -> Status[None]:
    """End the link of an invitation, which stays in the list. For administrators.

    Returns 409 when it was accepted.
    """
    actions.revoke_invitation(request.auth, _find_invitation(request.auth, invitation_id))
    return Status(204, None)


@invitations.post("/{id:invitation_id}/resending", response=InvitationResponse)
def resend_invitation(request: ActorRequest, invitation_id: int) -> Invitation:
    """Send a new link, which replaces the earlier one and works for 7 days. For administrators.

    Returns 409 when the invitation was accepted or revoked.
    """
    return actions.resend_invitation(request.auth, _find_invitation(request.auth, invitation_id))


@invitations.post("/acceptance", response=UserResponse, auth=None)
def accept_invitation(request: Request, body: InvitationAcceptance) -> User:
    """Create your user with the token in the link of the mail, and join the projects.

    Afterwards sign in with the e-mail and the password. If a user has the e-mail by now, send the
    token alone: that user joins the projects. Returns 422 when the link was used, has expired or
    was replaced by a newer one, and when the password is weak; 409 when the handle is taken. Any
    credentials sent along are ignored.
    """
    values = body.sent_fields() | {"token": body.token.get_secret_value()}
    values |= {"password": body.password.get_secret_value()} if body.password else {}
    tenant = find_tenant_of_link(request, values["token"])
    with inside(tenant):
        request.actor = actions.accept_invitation(
            tenant, **values, via=Via.API, request_id=request.request_id
        )
    return request.actor.user


def _find_projects(actor: Actor, projects: list[InvitedProject]) -> list[tuple[int, Role]]:
    if not projects:
        return []
    ids = find_referenced_projects(actor, [one.project for one in projects], "projects")
    return list(zip(ids, (one.role for one in projects), strict=True))


def _find_invitation(actor: Actor, invitation_id: int) -> Invitation:
    rows = Invitation.objects.visible_to(actor.viewer).select_related("invited_by")
    invitation: Invitation | None = rows.filter(pk=invitation_id).first()
    if invitation is None:
        raise NotFound("There is no such invitation.")
    return invitation
