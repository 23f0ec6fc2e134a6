"""Limits of the mails that a user lets TaskFlow send to an address of the user's choice.

They are invitations, and links that confirm a new e-mail. Without limits, an administrator or a
user could fill anybody's mailbox. docs/reliability.md describes the limits.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from math import ceil

from accounts.limits import Counter, Limit, count_attempt
from accounts.passwords import Check, find_result
from taskflow.audit.actor import Actor
from taskflow.audit.models import Via
from taskflow.db.text import fold
from taskflow.http.errors import TooManyAttempts

log = logging.getLogger("taskflow.auth")

# Five mails at once to one address, then one a minute; twenty at most, then one every 10 minutes.
TO_ONE_ADDRESS = Limit("mails to an address", short_seconds=60, long_seconds=600)
# Twenty invitations at once, then one every 18 seconds: 200 an hour.
INVITATIONS = Limit("invitations of a tenant", short_seconds=0.001, long_seconds=18)
EMAIL_CHANGES = Limit("e-mail changes of a user", short_seconds=60, long_seconds=600)


@dataclass(frozen=True)
class MailCheck(Check):
    """A mail to `email`, which is only counted here."""

    limit: Limit
    sender: tuple[object, ...]  # whose mails the limit counts
    what: str  # in the refusal: “invitations”

    def run(self) -> TooManyAttempts | None:
        counters = [
            Counter(TO_ONE_ADDRESS, (self.tenant.pk, fold(self.email))),
            Counter(self.limit, self.sender),
        ]
        attempt = count_attempt(counters)
        if not attempt.wait_seconds:
            return None
        log.warning("too many mails", extra=self.log_fields(None))
        return TooManyAttempts(ceil(attempt.wait_seconds), self.what)


def limit_invitations(actor: Actor, email: str) -> None:
    """Count an invitation to this address. Raises TooManyAttempts when a limit is reached.

    Commands are not limited.
    """
    _count(actor, email, INVITATIONS, (actor.tenant.pk,), "invitations")


def limit_email_changes(actor: Actor, email: str) -> None:
    """Count a link to a new e-mail of the actor. Raises TooManyAttempts when a limit is reached."""
    sender = (actor.tenant.pk, actor.user.pk)
    _count(actor, email, EMAIL_CHANGES, sender, "changes of your e-mail")


def _count(actor: Actor, email: str, limit: Limit, sender: tuple[object, ...], what: str) -> None:
    if actor.via is Via.COMMAND:
        return
    check = MailCheck(
        actor.tenant, email, actor.address, actor.via, actor.request_id, limit, sender, what
    )
    result = find_result(check)
    if isinstance(result, TooManyAttempts):
        raise result
