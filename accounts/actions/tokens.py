"""Actions on API tokens: issue, rotate and revoke them."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from datetime import datetime, timedelta

from django.utils import timezone
from django.utils.translation import gettext_noop

from accounts import tokens
from accounts.actions.locking import lock_credentials, lock_token, lock_with_responsible
from accounts.actions.notices import notify_of_token
from accounts.actions.sign_ins import record_sign_in
from accounts.models import (
    ApiToken,
    User,
)
from accounts.passwords import require_same_password
from accounts.rules import (
    check_projects,
    find_latest_expiry,
    leave_out_invisible,
    require_active,
    require_control_of_token,
    require_control_of_user,
    require_live,
    require_live_credentials,
    require_no_more_rights,
    require_right_to_new_token,
    require_unbound,
)
from taskflow.audit.actor import Actor, TokenScope
from taskflow.audit.recorder import change, change_all, create
from taskflow.http.errors import Forbidden

SIGN_IN_TOKEN_LIFETIME = timedelta(days=30)
DEFAULT_TOKEN_LIFETIME = timedelta(days=90)
ROTATION_OVERLAP = timedelta(hours=24)  # for which the old token still works


def sign_in(actor: Actor) -> tuple[ApiToken, str]:
    """Create a token with all rights of the actor, for 30 days. Return it and its text.

    The caller has checked the password, which is checked again if it has changed since then. Raises
    Conflict when the user is deactivated.
    """
    user = actor.user
    checked = copy(user)
    lock_with_responsible(user)
    require_same_password(checked, user)
    require_active(user)
    record_sign_in(actor)
    expires_at = timezone.now() + SIGN_IN_TOKEN_LIFETIME
    return issue_token(actor, user, "sign-in", TokenScope.ADMIN, expires_at, is_sign_in=True)


def create_token(
    actor: Actor,
    *,
    name: str,
    scope: TokenScope,
    expires_in_days: int | None = None,
    project_ids: Sequence[int] | None = None,
    user: User | None = None,
) -> tuple[ApiToken, str]:
    """Create a token for the actor, or for an agent of the actor. Return it and its text.

    By default it expires after 90 days, but not later than the token that creates it.
    Raises Forbidden for another person, for an actor with a token bound to projects, and when the
    new token would have more rights than the actor's token or outlive it, Unauthenticated when
    another request has revoked that token, Conflict when the user is deactivated, and Invalid for a
    project that the actor cannot see.
    """
    require_unbound(actor, "tokens")
    owner = user or actor.user
    if owner.tenant_id != actor.tenant.pk:
        raise Forbidden(gettext_noop("An operator's token belongs to the platform."))
    # Who creates a token for an agent cannot be deactivated meanwhile: that would revoke it.
    lock_with_responsible(owner, actor.member)
    lock_credentials(actor)
    require_control_of_user(actor, owner)
    require_right_to_new_token(actor, owner)
    require_live_credentials(actor)
    require_active(owner)
    lifetime = (
        DEFAULT_TOKEN_LIFETIME if expires_in_days is None else timedelta(days=expires_in_days)
    )
    expires_at = timezone.now() + lifetime
    if expires_in_days is None:
        expires_at = min(expires_at, find_latest_expiry(actor) or expires_at)
    require_no_more_rights(actor, scope, project_ids, expires_at)
    check_projects(actor, project_ids)
    token, text = issue_token(actor, owner, name, scope, expires_at, project_ids)
    notify_of_token(actor.tenant, token)
    return token, text


def rotate_token(actor: Actor, token: ApiToken) -> tuple[ApiToken, str]:
    """Create a successor with the same rights and lifetime. The old token expires in 24 hours.

    A successor never outlives the token of the request, so no token can prolong itself. It leaves
    out projects that the actor cannot see any more. Raises Forbidden for the token of another
    person, and Conflict for a token that is revoked or has expired, or that has no project left.
    """
    lock_token(token, actor.member)
    lock_credentials(actor)
    require_control_of_token(actor, token)
    require_right_to_new_token(actor, token.user)
    require_live_credentials(actor)
    require_live(token)
    require_active(token.user)
    now, latest, scope = timezone.now(), find_latest_expiry(actor), TokenScope(token.scope)
    expires_at = None if token.expires_at is None else now + (token.expires_at - token.created_at)
    if latest is not None:
        expires_at = min(expires_at or latest, latest)
    project_ids = leave_out_invisible(actor, token.project_ids)
    require_no_more_rights(actor, scope, project_ids, expires_at)
    issued = issue_token(
        actor, token.user, token.name, scope, expires_at, project_ids, verb="rotated"
    )
    overlap_end = now + ROTATION_OVERLAP
    if token.expires_at is None or token.expires_at > overlap_end:
        change(actor, token, "rotated", expires_at=overlap_end)
    return issued


def revoke_token(actor: Actor, token: ApiToken) -> ApiToken:
    """End a token now. Revoking twice changes nothing."""
    lock_token(token)
    require_control_of_token(actor, token)
    return token if token.revoked_at else change(actor, token, "revoked", revoked_at=timezone.now())


def revoke_all(actor: Actor, user: User, *, except_token: ApiToken | None = None) -> int:
    """Revoke every token of the user, except `except_token`. Return how many were live."""
    live = ApiToken.objects.filter(user=user).live(timezone.now())
    revoked_tokens = live.exclude(pk=except_token.pk) if except_token else live
    return change_all(actor, revoked_tokens, "revoked", revoked_at=timezone.now())


def issue_token(
    actor: Actor,
    user: User,
    name: str,
    scope: TokenScope,
    expires_at: datetime | None,
    project_ids: Sequence[int] | None = None,
    *,
    verb: str = "created",
    entropy: bytes | None = None,
    is_sign_in: bool = False,
) -> tuple[ApiToken, str]:
    """Create a token with these rights, which are not checked. Return it and its text.

    It stores who has created it for another user. A token that an agent creates keeps the one of
    the token that the agent uses.
    With `entropy` (32 bytes) the text is always the same.
    """
    text = tokens.make_token_text(actor.tenant.pk, entropy or actor.entropy)
    token = ApiToken(
        user=user,
        name=name,
        prefix=text[: tokens.PREFIX_LENGTH],
        digest=tokens.compute_digest(text),
        scope=scope,
        project_ids=None if project_ids is None else sorted(set(project_ids)),
        expires_at=expires_at,
        is_sign_in=is_sign_in,
        issued_by_id=_find_issuer_id(actor, user),
    )
    return create(actor, token, verb), text


def _find_issuer_id(actor: Actor, user: User) -> int | None:
    """Return the id of the user who creates a token for another one, or None."""
    if user.pk != actor.user.pk:
        return actor.member.pk if actor.member else None
    return actor.token.issued_by_id if actor.token else None
