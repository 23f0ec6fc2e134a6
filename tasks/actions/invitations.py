"""Invite people by e-mail, and accept an invitation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from django.conf import settings
from django.utils import timezone
from django.utils.translation import gettext, gettext_noop

from accounts import tokens
from accounts.actions.locking import lock_users
from accounts.actions.mail_tokens import (
    LIFETIMES,
    NOT_LIVE,
    delete_mail_tokens_of_subject,
    find_mail_token,
    issue_mail_token,
    use_mail_token,
)
from accounts.actions.mails import build_invitation_mail, require_mail
from accounts.actions.users import create_user
from accounts.mail_limits import limit_invitations
from accounts.models import MailPurpose, Tenant, User, UserKind
from accounts.rules import require_staff
from taskflow.audit.actor import Actor
from taskflow.audit.models import Via
from taskflow.audit.quotas import check_quota
from taskflow.audit.recorder import change, create, lock
from taskflow.http.errors import Conflict, Invalid
from taskflow.mail.sending import send_after_commit
from tasks.actions.members import add_member
from tasks.models import Project, ProjectMember, Role
from tasks.models.invitations import Invitation

COLUMNS = ("accepted_at", "revoked_at", "expires_at")  # that the rules below read
USER_EXISTS = Conflict(
    gettext_noop("A user has this e-mail. Add the user to the projects instead."), code="taken"
)
PASSWORD_MISSING = Invalid.field("password", "Choose a password, and send it.", "missing")


def invite(
    actor: Actor,
    *,
    email: str,
    full_name: str = "",
    is_staff: bool = False,
    projects: Sequence[tuple[int, Role]] = (),
) -> Invitation:
    """Send a person a link that creates their user, within 7 days. For administrators.

    `projects` are the ids of projects that the actor can see, with the roles in them. Raises
    Conflict when a user has the e-mail or an invitation to it is open, Forbidden when this
    installation sends no mail, TooManyAttempts when a limit of mails is reached, and QuotaExceeded
    when the tenant could not have so many users.
    """
    require_staff(actor)
    require_mail()
    limit_invitations(actor, email)
    _check_quota(actor)
    if User.objects.with_email(email).exists():
        raise USER_EXISTS.copy()
    invitation = Invitation(
        email=email,
        full_name=full_name,
        is_staff=is_staff,
        projects=[{"project_id": pk, "role": role.value} for pk, role in dict(projects).items()],
        invited_by=actor.member,
        expires_at=timezone.now() + LIFETIMES[MailPurpose.INVITATION],
    )
    create(actor, invitation)
    _send(actor, invitation)
    return invitation


def resend_invitation(actor: Actor, invitation: Invitation) -> Invitation:
    """Send a new link, which replaces the earlier one and works for 7 days. For administrators.

    Raises Conflict for an invitation that was accepted or revoked, and TooManyAttempts when a limit
    of mails is reached.
    """
    require_staff(actor)
    require_mail()
    limit_invitations(actor, invitation.email)
    lock(invitation, *COLUMNS)
    if invitation.accepted_at or invitation.revoked_at:
        raise Conflict(
            gettext("The invitation is %(state)s, so that it cannot be sent again. Send a new one.")
            % {"state": gettext(str(invitation.state))}
        )
    expires_at = timezone.now() + LIFETIMES[MailPurpose.INVITATION]
    change(actor, invitation, "resent", expires_at=expires_at, invited_by=actor.member)
    _send(actor, invitation)
    return invitation


def revoke_invitation(actor: Actor, invitation: Invitation) -> Invitation:
    """End the link of an invitation. It stays in the list. Revoking twice changes nothing.

    Raises Conflict for an invitation that was accepted.
    """
    require_staff(actor)
    lock(invitation, *COLUMNS)
    if invitation.accepted_at:
        raise Conflict(gettext_noop("The invitation was accepted. Deactivate the user instead."))
    delete_mail_tokens_of_subject(MailPurpose.INVITATION, invitation.pk)
    if not invitation.revoked_at:
        change(actor, invitation, "revoked", revoked_at=timezone.now())
    return invitation


def accept_invitation(
    tenant: Tenant,
    token: str,
    *,
    password: str | None = None,
    handle: str | None = None,
    full_name: str | None = None,
    via: Via,
    request_id: str = "",
) -> Actor:
    """Create the user whom an invitation names, and add the user to its projects.

    Returns the user as the actor. If a user with this e-mail was created since, that user only
    joins the projects. The events of the user and the memberships have the administrator who
    invited as their actor; that of the acceptance has the user. Raises Invalid for a link that does
    not work, a weak password or a missing one, and Conflict when the handle is taken. The link
    still works then.
    """
    if tokens.read_tenant_id(token, tokens.MAIL_LINK) != tenant.pk:
        raise NOT_LIVE.copy()
    invitation = _lock_invitation(use_mail_token(token, MailPurpose.INVITATION).subject_id)
    inviter = _find_inviter(tenant, invitation)
    inviter = replace(inviter, via=via, request_id=request_id)
    user = _find_user(invitation.email)
    if user is None:
        if password is None:
            raise PASSWORD_MISSING.copy()
        name = invitation.full_name if full_name is None else full_name
        user = create_user(
            inviter,
            email=invitation.email,
            handle=handle,
            password=password,
            full_name=name,
            is_staff=invitation.is_staff,
        )
    elif password is not None or handle is not None or full_name is not None:
        raise Conflict(
            "A user has this e-mail by now. Use the token alone to join the projects.",
            code="taken",
        )
    _join_projects(inviter, user, invitation)
    actor = Actor(user, tenant, via=via, request_id=request_id)
    change(actor, invitation, "accepted", accepted_at=timezone.now(), user=user)
    return actor


def find_invitation_of_link(token: str) -> Invitation | None:
    """Return the invitation of a link that would work now, or None. Changes nothing."""
    row = find_mail_token(token, MailPurpose.INVITATION)
    return _find(row.subject_id) if row else None


def _check_quota(actor: Actor) -> None:
    """Raise QuotaExceeded if the users who are invited and this one would be too many."""
    if "users" in settings.QUOTAS:
        pending = Invitation.objects.filter(
            accepted_at=None, revoked_at=None, expires_at__gt=timezone.now()
        )
        check_quota(actor, "users", pending.count() + 1)


def _find(invitation_id: int | None) -> Invitation | None:
    found: Invitation | None = Invitation.objects.filter(pk=invitation_id or 0).first()
    return found


def _send(actor: Actor, invitation: Invitation) -> None:
    token = issue_mail_token(actor.tenant, MailPurpose.INVITATION, subject_id=invitation.pk)
    send_after_commit(build_invitation_mail(actor, invitation.email, invitation.full_name, token))


def _lock_invitation(invitation_id: int | None) -> Invitation:
    """Lock an invitation that can be accepted. Raises Invalid for another one."""
    invitation = _find(invitation_id)
    if invitation is None:
        raise NOT_LIVE.copy()
    lock(invitation, *COLUMNS)
    if invitation.accepted_at or invitation.revoked_at:
        raise NOT_LIVE.copy()
    return invitation


def _find_inviter(tenant: Tenant, invitation: Invitation) -> Actor:
    """Return who has invited, as an actor. Raises Invalid for a user who administers no more.

    An operator has no row in the tenant, so that the actor has no id then.
    """
    inviter = invitation.invited_by
    if inviter is None:
        return Actor(User(is_superuser=True), tenant)
    lock_users([inviter])
    if not (inviter.is_active and inviter.is_staff):
        raise NOT_LIVE.copy()
    return Actor(inviter, tenant)


def _find_user(email: str) -> User | None:
    """Return the active person with this e-mail, or None. Raises Invalid for a deactivated one."""
    user: User | None = User.objects.filter(email=email).first()
    if user is not None:
        lock_users([user])
        if not user.is_active or user.kind != UserKind.HUMAN:
            raise NOT_LIVE.copy()
    return user


def _join_projects(inviter: Actor, user: User, invitation: Invitation) -> None:
    """Make the user a member of the projects that still exist, unless the user is one already."""
    roles = {one["project_id"]: Role(one["role"]) for one in invitation.projects}
    joined = ProjectMember.objects.filter(user=user, project__in=roles)
    projects = Project.objects.filter(pk__in=roles).exclude(pk__in=joined.values("project_id"))
    for project in projects.order_by("pk"):
        add_member(inviter, project, user=user, role=roles[project.pk])
