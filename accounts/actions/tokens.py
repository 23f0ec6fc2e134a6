"""Actions on API tokens: issue, rotate and revoke them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.utils import timezone

from accounts import tokens
from accounts.models import (
    ApiToken,
    Tenant,
    User,
)
from accounts.rules import (
    latest_expiry,
    require_hold_over,
    require_hold_over_token,
    require_no_stronger,
)
from taskflow.audit.actor import Actor, TokenScope
from taskflow.audit.recorder import (
    change,
    change_all,
    create,
    lock_all,
)
from taskflow.http.errors import Conflict, Forbidden

SIGN_IN_LASTS = timedelta(days=30)
TOKEN_LASTS = timedelta(days=90)
ROTATION_OVERLAP = timedelta(hours=24)  # both tokens work, so that clients can change over


def sign_in(user: User, tenant: Tenant, *, request_id: str = "") -> tuple[ApiToken, str]:
    """Make a token for everything the user may do. Return it and its text.

    Raises Conflict when the user is being deactivated at this moment.
    """
    actor = Actor(user, tenant, request_id=request_id)
    _hold_active(user)
    ends = timezone.now() + SIGN_IN_LASTS
    return issue_token(actor, user, "sign-in", TokenScope.ADMIN, ends, is_sign_in=True)


def create_token(
    actor: Actor,
    *,
    name: str,
    scope: TokenScope,
    expires_in_days: int | None = None,
    project_ids: Sequence[int] | None = None,
    user: User | None = None,
) -> tuple[ApiToken, str]:
    """Make a token for oneself, or for an agent one is responsible for. Return it and its text.

    It lasts 90 days unless told otherwise, or as long as the token that makes it if that ends
    before. Raises Forbidden when it would have more rights than that, or outlast it.
    """
    owner = user or actor.user
    require_hold_over(actor, owner)
    if owner.tenant_id != actor.tenant.pk:
        raise Forbidden("An operator's token belongs to the platform.")
    _hold_active(owner)
    lasts = TOKEN_LASTS if expires_in_days is None else timedelta(days=expires_in_days)
    ends = timezone.now() + lasts
    if expires_in_days is None:
        ends = min(ends, latest_expiry(actor) or ends)
    require_no_stronger(actor, scope, project_ids, ends)
    return issue_token(actor, owner, name, scope, ends, project_ids)


def rotate_token(actor: Actor, token: ApiToken) -> tuple[ApiToken, str]:
    """Make a successor with the same rights and length of life. The old one ends in 24 hours.

    A successor ends at the latest with the token that makes it: no token prolongs itself.
    """
    require_hold_over_token(actor, token)
    if not token.is_live:
        raise Conflict("An expired or revoked token has no successor. Create a new one.")
    _hold_active(token.user)
    now, latest, scope = timezone.now(), latest_expiry(actor), TokenScope(token.scope)
    expires_at = None if token.expires_at is None else now + (token.expires_at - token.created_at)
    if latest is not None:
        expires_at = min(expires_at or latest, latest)
    require_no_stronger(actor, scope, token.project_ids, expires_at)
    issued = issue_token(
        actor, token.user, token.name, scope, expires_at, token.project_ids, verb="rotated"
    )
    ends = now + ROTATION_OVERLAP
    if token.expires_at is None or token.expires_at > ends:
        change(actor, token, "rotated", expires_at=ends)
    return issued


def revoke_token(actor: Actor, token: ApiToken) -> ApiToken:
    """End a token now. Revoking twice changes nothing."""
    require_hold_over_token(actor, token)
    return token if token.revoked_at else change(actor, token, "revoked", revoked_at=timezone.now())


def revoke_all(actor: Actor, user: User, *, keep: ApiToken | None = None) -> int:
    """End every token of his. Return how many were live."""
    live = ApiToken.objects.filter(user=user).live(timezone.now())
    others = live.exclude(pk=keep.pk) if keep else live
    return change_all(actor, others, "revoked", revoked_at=timezone.now())


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
    """Make a token with just these rights; the doors above decide them. Return it and its text.

    With `entropy` (32 bytes) the text is always the same.
    """
    text = tokens.make_text(actor.tenant.pk, entropy or actor.entropy)
    token = ApiToken(
        user=user,
        name=name,
        prefix=text[: tokens.SHOWN],
        digest=tokens.digest_of(text),
        scope=scope,
        project_ids=None if project_ids is None else sorted(set(project_ids)),
        expires_at=expires_at,
        is_sign_in=is_sign_in,
    )
    return create(actor, token, verb), text


def _hold_active(user: User) -> None:
    """Keep the user, and who is responsible for the user, from being deactivated until we commit.

    Else a token made at this moment would outlive the deactivation. Raises Conflict when one of
    them is deactivated.
    """
    people = [user, *filter(None, [user.responsible])]
    lock_all(people, "is_active")
    for one in people:
        if not one.is_active:
            raise Conflict(f"{one} is deactivated. Activate this user first.")
