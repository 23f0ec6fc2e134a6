"""Who may do what to people and tokens. Questions about an actor; no HTTP, no writes."""

from __future__ import annotations

from collections.abc import Sequence

from accounts.actor import Actor
from accounts.models import User
from taskflow.errors import Conflict, Forbidden


def require_staff(actor: Actor) -> None:
    """Raise Forbidden unless the actor administers the tenant, and his token not only projects."""
    if not actor.is_staff:
        raise Forbidden("Only an administrator of the tenant may do this.")
    if actor.project_ids is not None:  # or it would make somebody with rights it has not
        raise Forbidden("A token bound to projects cannot administer the tenant.")


def require_hold_over(actor: Actor, user: User) -> None:
    """Raise Forbidden unless `user` is the actor, an agent he answers for, or he is staff."""
    if actor.is_staff or user.pk == actor.user.pk or user.responsible_id == actor.user.pk:
        return
    raise Forbidden("You can do this for yourself and for your own agents only.")


def require_no_wider(actor: Actor, project_ids: Sequence[int] | None) -> None:
    """Raise Forbidden when a token for these projects would show more than the actor's own."""
    if actor.project_ids is not None and not set(project_ids or [0]) <= {*actor.project_ids}:
        raise Forbidden("A token cannot show more projects than the one that makes it.")


def require_another_staff(*leaving: User) -> None:
    """Raise Conflict when no administrator of the tenant would be left."""
    # Locked, or two administrators could end each other at the same time.
    rows = User.objects.active().filter(is_staff=True)
    staff = rows.order_by("pk").select_for_update(no_key=True)
    ids = {user.pk for user in leaving}
    if all(one.pk in ids for one in staff):
        raise Conflict("The last administrator has to stay one. Make somebody else one first.")
