"""The events of signing in."""

from __future__ import annotations

import logging

from django.utils import timezone

from accounts.actions.notices import notify_of_sign_in
from accounts.passwords import KNOWN_LIFETIME
from taskflow.audit.actor import Actor
from taskflow.audit.models import Event
from taskflow.audit.recorder import record
from taskflow.http.addresses import find_site

SIGNED_IN = "signed_in"
log = logging.getLogger("taskflow.auth")


def is_new_place(actor: Actor) -> bool:
    """Return whether the actor has signed in within 90 days, but not from this address.

    IPv6 addresses of one network count as one. One query.
    """
    signed_in = Event.objects.filter(
        subject_type="user",
        subject_id=actor.user.pk,
        verb=SIGNED_IN,
        created_at__gt=timezone.now() - KNOWN_LIFETIME,
    )
    addresses = signed_in.values_list("address", flat=True).distinct().order_by("address")
    sites = {find_site(address) for address in addresses if address}
    return bool(sites) and find_site(actor.address) not in sites


def record_sign_in(actor: Actor) -> None:
    """Record that the actor has signed in: an event with the address, and a line in the log.

    A notice by mail goes to the user if the place is new. Call it once for each sign-in, when
    everything that it needs has been checked. accounts/passwords.py records refused ones.
    """
    if is_new_place(actor):
        notify_of_sign_in(actor.tenant, actor.user, actor.address)
    record(actor, actor.user, SIGNED_IN)
    log.info(
        "signed in",
        extra={
            "request_id": actor.request_id,
            "tenant": actor.tenant.pk,
            "user": actor.user.pk,
            "client": actor.address,
        },
    )
