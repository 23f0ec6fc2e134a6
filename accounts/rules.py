"""Permissions on users and tokens. No HTTP and no writes.

A rule raises StaleRead for a column that it reads and that is not locked. The functions of
accounts/actions/locking.py lock them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.db.models import Q
from django.utils.translation import gettext, gettext_noop

from accounts.models import ApiToken, User, UserKind
from taskflow.audit.actor import Actor, TokenScope
from taskflow.audit.locks import LockMode, add_row_lock, require_fresh
from taskflow.audit.resource_types import resource_types
from taskflow.http.errors import Conflict, Forbidden, Invalid, Unauthenticated, merge_problems
from taskflow.http.references import build_unknown_reference


def require_staff(actor: Actor) -> None:
    """Raise Forbidden unless the actor is an administrator, with a token for the whole tenant."""
    if not actor.is_staff:
        raise Forbidden(gettext("Only an administrator of the tenant may do this."))
    if actor.project_ids is not None:  # otherwise it could create a user with more rights
        raise Forbidden("A token bound to projects cannot administer the tenant.")


def require_unbound(actor: Actor, subject: str) -> None:
    """Raise Forbidden for a token bound to projects, which changes nothing outside them.

    `subject` is what it cannot change: “tags”, “tokens”.
    """
    if actor.project_ids is not None:
        raise Forbidden(
            f"A token bound to projects cannot change {subject}. Use a token without project_ids."
        )


def require_control_of_user(actor: Actor, user: User) -> None:
    """Raise Forbidden unless the actor may manage the tokens of this user.

    Users may do so for themselves and for agents they are responsible for, administrators for all.
    With a token bound to projects, users may do so only for themselves.
    """
    if user.pk == actor.user.pk:
        return
    if actor.project_ids is not None:
        raise Forbidden("With a token bound to projects you can do this for yourself only.")
    require_fresh(user, "responsible_id")
    if not actor.is_staff and user.responsible_id != actor.user.pk:
        raise Forbidden(gettext("You can do this for yourself and for your own agents only."))


def require_control_of_token(actor: Actor, token: ApiToken) -> None:
    """Raise Forbidden unless the actor may rotate and revoke this token."""
    require_control_of_user(actor, token.user)
    if actor.project_ids is not None and (actor.token is None or actor.token.pk != token.pk):
        raise Forbidden("A token bound to projects can replace and revoke only itself.")


def require_right_to_new_token(actor: Actor, user: User) -> None:
    """Raise Forbidden unless the actor may know the text of a new token of this user.

    Whoever knows it can act as its user. Nobody acts as another person, not even an administrator.
    An operator has no row in the tenant, so that the token could not end with the operator.
    """
    if actor.is_operator:
        raise Forbidden(
            gettext_noop(
                "Operators create no tokens in a tenant. An administrator of it can do this."
            )
        )
    if user.kind == UserKind.HUMAN and user.pk != actor.user.pk:
        raise Forbidden(
            gettext(
                "Only %(user)s can create tokens for %(user)s. Create one for yourself or for an"
                " agent."
            )
            % {"user": user}
        )


def require_live(token: ApiToken) -> None:
    """Raise Conflict for a token that is revoked or has expired."""
    require_fresh(token, "revoked_at", "expires_at")
    if not token.is_live:
        raise Conflict(
            gettext_noop("An expired or revoked token cannot be rotated. Create a new one.")
        )


def require_live_credentials(actor: Actor) -> None:
    """Raise Unauthenticated when the request's own token has been revoked since the request began,
    or its user deactivated.

    Otherwise a revoked token could create another token.
    """
    if actor.member is not None:
        require_fresh(actor.member, "is_active")
        if not actor.member.is_active:
            raise Unauthenticated("Your user is deactivated. Ask an administrator.")
    if actor.token is None:
        return
    require_fresh(actor.token, "revoked_at", "expires_at")
    if not actor.token.is_live:
        raise Unauthenticated("This token is revoked or has expired. Sign in again.")


def require_active(user: User) -> None:
    """Raise Conflict when the user, or the user who is responsible for it, is deactivated."""
    for one in filter(None, [user, user.responsible]):
        require_fresh(one, "is_active")
        if not one.is_active:
            raise Conflict(
                gettext("%(user)s is deactivated. Activate this user first.") % {"user": one}
            )


def check_active(user: User, field: str) -> None:
    """Raise Invalid, naming the field of the body, when the user is deactivated."""
    require_fresh(user, "is_active")
    if not user.is_active:
        raise Invalid.field(field, gettext("%(user)s is deactivated.") % {"user": user})


def find_latest_expiry(actor: Actor) -> datetime | None:
    """Return the latest expiry (UTC) of a token that the actor creates; None for no limit.

    A token cannot create one that expires later. A session and the token of a sign-in have no
    limit: with the password, the user could create such tokens anyway.
    """
    token = actor.token
    return None if token is None or token.is_sign_in else token.expires_at


def require_no_more_rights(
    actor: Actor,
    scope: TokenScope,
    project_ids: Sequence[int] | None,
    expires_at: datetime | None,
) -> None:
    """Raise Forbidden when a token with these rights would permit more than the actor's own."""
    order = list(TokenScope)
    if order.index(scope) > order.index(actor.scope):
        raise Forbidden(f"A token of scope {actor.scope} cannot create one of scope {scope}.")
    if actor.project_ids is not None and not set(project_ids or [0]) <= {*actor.project_ids}:
        raise Forbidden(
            "A token cannot have access to more projects than the token that creates it."
        )
    latest = find_latest_expiry(actor)
    if latest is not None and (expires_at is None or expires_at > latest):
        raise Forbidden(
            "A token cannot expire later than the token that creates it, which expires at"
            f" {latest:%Y-%m-%dT%H:%M} UTC. Use a smaller expires_in_days, or sign in"
            " and create it with that token."
        )


def check_projects(actor: Actor, project_ids: Sequence[int] | None) -> None:
    """Raise Invalid unless the actor can see all of these projects of a new token.

    The errors point to the others in `project_ids`. A project of another tenant is treated as if it
    did not exist. One query, or none for None.
    """
    if project_ids is None:
        return
    visible = _find_visible_projects(actor, project_ids)
    problems = [
        build_unknown_reference(f"project_ids/{n}", "project", pk)
        for n, pk in enumerate(project_ids)
        if pk not in visible
    ]
    if problems:
        raise merge_problems(problems)


def leave_out_invisible(actor: Actor, project_ids: Sequence[int] | None) -> list[int] | None:
    """Return those of the projects of a token that the actor can see; None for no limit.

    One query, or none for None. Raises Conflict if none is left.
    """
    if project_ids is None:
        return None
    visible = _find_visible_projects(actor, project_ids)
    if not visible:
        raise Conflict(
            gettext_noop("You can see none of the token's projects any more. Create a new token.")
        )
    return sorted(visible)


def _find_visible_projects(actor: Actor, project_ids: Sequence[int]) -> set[int]:
    projects = resource_types()["project"].model.objects.visible_to(actor.viewer)
    return set(projects.filter(pk__in=sorted(set(project_ids))).values_list("pk", flat=True))


def require_another_staff(*leaving: User) -> None:
    """Raise Conflict when no administrator of the tenant would be left.

    Locks the administrators and the leaving users, so that two administrators cannot deactivate
    each other at the same time.
    """
    ids = {user.pk for user in leaving}
    rows = User.objects.filter(Q(is_active=True, is_staff=True) | Q(pk__in=ids)).order_by("pk")
    staff = [one for one in add_row_lock(rows, LockMode.UPDATE) if one.is_active and one.is_staff]
    if all(one.pk in ids for one in staff):
        raise Conflict(
            gettext("This is the last administrator. Make another user administrator first.")
        )


def require_own_account(actor: Actor) -> None:
    """Raise Forbidden unless the actor is a person with a password, in their own tenant.

    With a token bound to projects, sign-ins and their second factor are out of reach.
    """
    if actor.project_ids is not None:
        raise Forbidden("A token bound to projects has no access to sign-ins and second factors.")
    if actor.is_operator:
        raise Forbidden(
            gettext_noop("An operator can be changed only in the platform's own tenant.")
        )
    if actor.user.kind != UserKind.HUMAN:
        raise Forbidden(
            gettext_noop("An agent has no password, so it has no second factor and no sessions.")
        )
