"""Adds what the headers X-Reason, X-On-Behalf-Of and Claim name to the actor."""

from __future__ import annotations

from dataclasses import replace

from django.http import HttpRequest

from accounts.models import User, UserKind
from taskflow.audit.actor import Actor
from taskflow.http.attribution import (
    HEADER_VARIABLES,
    ON_BEHALF_OF_HEADER,
    read_claim,
    read_on_behalf_of,
    read_reason,
)
from taskflow.http.errors import Forbidden, Invalid

NOT_RESPONSIBLE = Forbidden("An agent can act on behalf of its responsible user only.")
NOT_STAFF = Forbidden(
    "Only agents and administrators can act on behalf of another user."
    f" Send the request without {ON_BEHALF_OF_HEADER}."
)


def add_attribution(request: HttpRequest, actor: Actor) -> Actor:
    """Return the actor with the reason, the user and the claim that the request's headers name.

    The actor's events record both. Whether the actor may act for the user is not checked: see
    check_principal(). Costs a query when X-On-Behalf-Of is sent. Raises BadRequest for a malformed
    header, Invalid when an administrator names a user who does not exist, and Forbidden when
    another user does.
    """
    if not request.META.keys() & HEADER_VARIABLES:
        return actor
    reason, reference = read_reason(request), read_on_behalf_of(request)
    principal = None if reference is None else _find_user(actor, reference)
    return replace(actor, reason=reason, on_behalf_of=principal, claim_id=read_claim(request))


def check_principal(actor: Actor) -> None:
    """Raise Forbidden unless the actor may act for the user that the request names.

    An agent may act for its responsible user, and an administrator for any active user. Call it
    before the work is done, and not when a stored response is sent again: a retry is answered as
    the first request was, also after the user was deactivated.
    """
    principal = actor.on_behalf_of
    if principal is None:
        return
    if actor.user.kind == UserKind.AGENT:
        if principal.pk != actor.user.responsible_id:
            raise NOT_RESPONSIBLE.copy()
    elif not actor.is_staff:
        raise NOT_STAFF.copy()
    elif not principal.is_active:
        raise Forbidden(f"{principal} is deactivated. You can act on behalf of active users only.")


def _find_user(actor: Actor, reference: str | int) -> User:
    """Return the user with this id or handle. A user who may not name others gets one response,
    whether or not the user exists.
    """
    responsible: User | None = actor.user.responsible
    if responsible and reference in (responsible.pk, responsible.handle):
        return responsible
    lookup = {"pk": reference} if isinstance(reference, int) else {"handle": reference}
    user: User | None = User.objects.visible_to(actor.viewer).filter(**lookup).first()
    if user is not None:
        return user
    if actor.user.kind == UserKind.AGENT:
        raise NOT_RESPONSIBLE.copy()
    if not actor.is_staff:
        raise NOT_STAFF.copy()
    shown = reference if isinstance(reference, int) else f"@{reference}"
    sentence = f"There is no user {shown}. Give an id, or a handle as in @ada."
    raise Invalid.parameter(ON_BEHALF_OF_HEADER, sentence, "unknown_reference")
