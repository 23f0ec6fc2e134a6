"""The events of signing in."""

from __future__ import annotations

import logging

from taskflow.audit.actor import Actor
from taskflow.audit.recorder import record

log = logging.getLogger("taskflow.auth")


def record_sign_in(actor: Actor) -> None:
    """Record that the actor has signed in: an event with the address, and a line in the log.

    Call it once for each sign-in, when everything that it needs has been checked. accounts/
    passwords.py records refused ones.
    """
    record(actor, actor.user, "signed_in")
    log.info(
        "signed in",
        extra={
            "request_id": actor.request_id,
            "tenant": actor.tenant.pk,
            "user": actor.user.pk,
            "client": actor.address,
        },
    )
