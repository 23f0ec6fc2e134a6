"""Who may do what to people and tokens. Questions about an actor; no HTTP, no writes."""

from __future__ import annotations

from accounts.actor import Actor
from accounts.models import User
from taskflow.errors import Conflict, Forbidden


def require_staff(actor: Actor) -> None:
    """Raise Forbidden unless the actor administers the tenant."""
    if not actor.is_staff:
        raise Forbidden("Only an administrator of the tenant may do this.")


def require_hold_over(actor: Actor, user: User) -> None:
    """Raise Forbidden unless `user` is the actor, an agent he answers for, or he is staff."""
    if actor.is_staff or user.pk == actor.user.pk or user.responsible_id == actor.user.pk:
        return
    raise Forbidden("You can do this for yourself and for your own agents only.")


def require_another_staff(user: User) -> None:
    """Raise Conflict when `user` is the tenant's last administrator."""
    if not User.objects.active().filter(is_staff=True).exclude(pk=user.pk).exists():
        raise Conflict("The last administrator has to stay one. Make somebody else one first.")
