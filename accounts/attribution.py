"""Adds the reason and the user of the headers X-Reason and X-On-Behalf-Of to the actor."""

from __future__ import annotations

from dataclasses import replace

from django.http import HttpRequest

from accounts.models import User, UserKind
from taskflow.audit.actor import Actor
from taskflow.http.attribution import (
    HEADER_VARIABLES,
    ON_BEHALF_OF_HEADER,
    read_on_behalf_of,
    read_reason,
)
from taskflow.http.errors import Forbidden, Invalid


def add_attribution(request: HttpRequest, actor: Actor) -> Actor:
    """Return the actor with the reason and the user that the request's headers name.

    The actor's events record both. Costs a query when X-On-Behalf-Of is sent. Raises BadRequest
    for a malformed header, Forbidden when the actor may not act for that user, and Invalid when
    an administrator names a user who does not exist.
    """
    if not request.META.keys() & HEADER_VARIABLES:
        return actor
    reason, reference = read_reason(request), read_on_behalf_of(request)
    principal = None if reference is None else find_principal(actor, reference)
    return replace(actor, reason=reason, on_behalf_of=principal)


def find_principal(actor: Actor, reference: str | int) -> User:
    """Return the user, given by id or handle, for whom the actor may act.

    An agent may act for its responsible user, and an administrator for any active user.
    """
    if actor.user.kind == UserKind.AGENT:
        responsible: User | None = actor.user.responsible
        if responsible is None or reference not in (responsible.pk, responsible.handle):
            raise Forbidden("An agent can act on behalf of its responsible user only.")
        return responsible
    if not actor.is_staff:
        raise Forbidden(
            "Only agents and administrators can act on behalf of another user."
            f" Send the request without {ON_BEHALF_OF_HEADER}."
        )
    return _find_active_user(actor, reference)


def _find_active_user(actor: Actor, reference: str | int) -> User:
    lookup = {"pk": reference} if isinstance(reference, int) else {"handle": reference}
    user: User | None = User.objects.visible_to(actor.viewer).filter(**lookup).first()
    if user is None:
        shown = reference if isinstance(reference, int) else f"@{reference}"
        sentence = f"There is no user {shown}. Give an id, or a handle as in @ada."
        raise Invalid.parameter(ON_BEHALF_OF_HEADER, sentence, "unknown_reference")
    if not user.is_active:
        raise Forbidden(f"{user} is deactivated. You can act on behalf of active users only.")
    return user
