"""The check of passwords: limited, outside of transactions, and recorded.

Hashing a password takes 50 ms. A transaction must not be open meanwhile: on SQLite it would hold
the one writer. And an attempt counts whatever becomes of the request that has made it. So a request
that is inside a unit of work when it needs the check is interrupted and rolled back. The password
is checked, and the request is answered again, with the result.

docs/reliability.md describes the limits.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import timedelta
from math import ceil
from typing import Any, TypeVar, cast

from django.contrib.auth.hashers import check_password as is_hash_of
from django.contrib.auth.hashers import make_password
from django.utils.translation import gettext_noop

from accounts.limits import Attempt, Counter, Limit, count_attempt, give_back_attempt, make_key
from accounts.models import Tenant, User, password_forms
from taskflow.audit.actor import Actor
from taskflow.audit.models import Via
from taskflow.audit.recorder import record
from taskflow.db.text import fold
from taskflow.http.addresses import find_site
from taskflow.http.errors import TooManyAttempts
from taskflow.http.unavailable import Contended
from taskflow.tenancy import current_tenant_id, inside

T = TypeVar("T")
log = logging.getLogger("taskflow.auth")

# Five passwords at once, then one every 12 seconds; twenty at most, then one every 3 minutes.
FROM_ONE_ADDRESS = Limit("account and address", short_seconds=12, long_seconds=180)
OF_ONE_ADDRESS = Limit("address", short_seconds=12, long_seconds=180)
OF_ONE_ACCOUNT = Limit("account", short_seconds=12, long_seconds=180)
CODES = Limit("codes of an account", short_seconds=12, long_seconds=180)
ENROLMENT_CODES = Limit("codes of an enrolment", short_seconds=12, long_seconds=180)
# Events that attackers can cause: 300 an hour in a tenant, and of refusals five for an account.
FAILURES = Limit("events of a tenant", short_seconds=2, long_seconds=12)
REFUSALS = Limit("refusals of an account", short_seconds=720, long_seconds=720)
REGISTRATIONS_OF_ADDRESS = Limit("registrations of an address", short_seconds=60, long_seconds=180)
REGISTRATIONS = Limit("registrations", short_seconds=2, long_seconds=18)
# Mails with a link to set a new password. The account's own limit keeps its mailbox from flooding.
RESETS_OF_ADDRESS = Limit("resets of an address", short_seconds=60, long_seconds=180)
RESETS_OF_ACCOUNT = Limit("resets of an account", short_seconds=60, long_seconds=600)
KNOWN_LIFETIME = timedelta(days=90)  # for which an address counts as one of the account


@dataclass(frozen=True)
class Check:
    """A secret that somebody has typed for an account, which may not exist."""

    tenant: Tenant
    email: str
    address: str  # of the client
    via: Via
    request_id: str

    def run(self) -> Result:
        """Do the check. Call it outside of a unit of work."""
        raise NotImplementedError

    @property
    def account(self) -> tuple[object, ...]:
        """What stands for the account in limits. An unknown e-mail is limited as a known one is."""
        return self.tenant.pk, fold(self.email)

    @property
    def anonymous_actor(self) -> Actor:
        """The actor of events about somebody who has not signed in."""
        return Actor(
            User(tenant_id=None),
            self.tenant,
            via=self.via,
            request_id=self.request_id,
            address=self.address,
        )

    def log_fields(self, user: User | None) -> dict[str, object]:
        """Return what a line of the log contains. A typed e-mail may be a password: it is not."""
        return {
            "request_id": self.request_id,
            "tenant": self.tenant.pk,
            "user": user.pk if user else None,
            "client": self.address,
        }


@dataclass(frozen=True)
class PasswordCheck(Check):
    """A password, which is counted, hashed and compared."""

    password: str = field(repr=False)

    @property
    def counters(self) -> list[Counter]:
        """The counters of an attempt. From a known address only the first one counts."""
        site = find_site(self.address)
        return [
            Counter(FROM_ONE_ADDRESS, (*self.account, site)),
            Counter(OF_ONE_ADDRESS, (site,)),
            Counter(OF_ONE_ACCOUNT, self.account),
        ]

    @property
    def known_address(self) -> bytes:
        """The key that is remembered when the account has signed in from the address.

        It has the e-mail as it is stored: of two accounts whose e-mails fold alike, one could
        otherwise make an address known for the other, and guess its password from there.
        """
        email = self.email.lower()
        return make_key("known address", self.tenant.pk, email, find_site(self.address))

    def run(self) -> Result:
        attempt = count_attempt(self.counters, unless_remembered=self.known_address)
        if attempt.wait_seconds:
            _record_refusal(self, "password_limited")
            return TooManyAttempts(ceil(attempt.wait_seconds))
        user = _find_by_email(self)
        if _has_password(user, self.password) and user is not None and user.is_active:
            give_back_attempt(attempt, remember=self.known_address, lifetime=KNOWN_LIFETIME)
            return user
        _record_failure(self, user)
        return None


@dataclass(frozen=True)
class CodeCheck(Check):
    """A code of a second factor, which is only counted here, whether or not it is right.

    Nobody comes so far without the password, so no address is exempt. An enrolment is confirmed
    with a token alone, so its codes are counted apart from those of signing in.
    """

    limit: Limit = CODES

    def run(self) -> Result:
        attempt = count_attempt([Counter(self.limit, self.account)])
        if not attempt.wait_seconds:
            return None
        _record_refusal(self, "code_limited")
        return TooManyAttempts(ceil(attempt.wait_seconds), gettext_noop("codes"))


@dataclass(frozen=True)
class ResetCheck(Check):
    """A request for a link to set a new password, which is only counted here."""

    def run(self) -> Result:
        counters = [
            Counter(RESETS_OF_ADDRESS, (find_site(self.address),)),
            Counter(RESETS_OF_ACCOUNT, self.account),
        ]
        attempt = count_attempt(counters)
        if not attempt.wait_seconds:
            return None
        log.warning("too many password resets", extra=self.log_fields(None))
        return TooManyAttempts(
            ceil(attempt.wait_seconds), gettext_noop("requests for a new password")
        )


@dataclass(frozen=True)
class AddressProof(Check):
    """A client that has proved with the link in a mail that it is the account's."""

    def run(self) -> Result:
        remember_address(self.tenant, self.email, self.address)
        return None


_results: ContextVar[dict[Check, Result] | None] = ContextVar("results", default=None)


class CheckNeeded(BaseException):
    """Ends an attempt to answer a request, whose password or code is then checked.

    It is no Exception, so that no handler on the way makes a response of it.
    """

    def __init__(self, check: Check) -> None:
        super().__init__("a password has to be checked outside of the transaction")
        self.check = check


class CheckOutdated(BaseException):
    """Ends an attempt to answer a request whose password was changed after its check.

    The password is checked again. It is no Exception, for the same reason as CheckNeeded.
    """


def answer_with_password_checks(answer: Callable[[], T], restore: Callable[[], object]) -> T:
    """Return the result of `answer`, which is called again after each password that it needs.

    Call it outside of a unit of work. `restore` is called before each further attempt.
    """
    results: dict[Check, Result] = {}
    token = _results.set(results)
    try:
        while True:
            try:
                return answer()
            except CheckNeeded as needed:
                results[needed.check] = needed.check.run()
            except CheckOutdated:
                results.clear()
            restore()
    finally:
        _results.reset(token)


def find_user_by_password(check: PasswordCheck) -> User | None:
    """Return the active user with this e-mail and password, or None.

    An unknown e-mail takes the same time and has the same limits, so that neither reveals which
    accounts exist. Raises TooManyAttempts when a limit is reached, before anything is hashed. The
    user's password may have changed since it was checked: compare it under a lock.
    """
    result = find_result(check)
    if isinstance(result, TooManyAttempts):
        raise result
    return result


def is_own_password(actor: Actor, password: str) -> bool:
    """Return whether this is the password of the actor.

    For actions that ask for the password again. Raises TooManyAttempts when a limit is reached. If
    another request has changed the password since it was checked, it is checked again.
    """
    user = find_user_by_password(PasswordCheck(**_who(actor), password=password))
    if user is None or user.pk != actor.user.pk:
        return False
    require_same_password(user, actor.user)
    return True


def limit_codes(actor: Actor, limit: Limit = CODES) -> None:
    """Count a code of the actor's second factor. Raises TooManyAttempts when a limit is reached."""
    result = find_result(CodeCheck(**_who(actor), limit=limit))
    if isinstance(result, TooManyAttempts):
        raise result


def limit_password_resets(check: ResetCheck) -> None:
    """Count a request for a new password. Raises TooManyAttempts when a limit is reached.

    An e-mail that nobody has is limited as a known one is.
    """
    result = find_result(check)
    if isinstance(result, TooManyAttempts):
        raise result


def remember_proved_address(check: AddressProof) -> None:
    """Let the account sign in from the address even while others use up its attempts."""
    find_result(check)


def load_checked_user(user: User) -> User:
    """Load a user again whose password was checked before this unit of work began.

    If another request has changed the password since, or deactivated the user, it is checked again.
    """
    stored: User | None = User.objects.active().filter(pk=user.pk).first()
    require_same_password(user, stored)
    return cast(User, stored)


def require_same_password(checked: User, stored: User | None) -> None:
    """Let the password be checked again when it is no longer the one that was checked.

    Raises Contended where nothing answers the request again: see answer_with_password_checks().
    """
    if stored is not None and checked.password == stored.password:
        return
    if _results.get() is not None:
        raise CheckOutdated
    raise Contended("Another request has changed the password. Send the request again.")


def limit_registrations(address: str) -> None:
    """Count a registration from the address. Raises TooManyAttempts when a limit is reached.

    Call it outside of a unit of work: the registration counts whatever becomes of it.
    """
    counters = [
        Counter(REGISTRATIONS_OF_ADDRESS, (find_site(address),)),
        Counter(REGISTRATIONS, ()),
    ]
    attempt = count_attempt(counters)
    if attempt.wait_seconds:
        log.warning("too many registrations", extra={"client": address})
        raise TooManyAttempts(ceil(attempt.wait_seconds), gettext_noop("registrations"))


def remember_address(tenant: Tenant, email: str, address: str) -> None:
    """Let the account sign in from the address even while others use up its attempts.

    For other proofs of who sends a request than the password, such as a link in an e-mail.
    """
    check = PasswordCheck(tenant, email, address, Via.API, "", "")
    give_back_attempt(Attempt(0.0, ()), remember=check.known_address, lifetime=KNOWN_LIFETIME)


def _who(actor: Actor) -> dict[str, Any]:
    """Return the fields of a check of the actor's own account."""
    return {
        "tenant": actor.tenant if actor.member else actor.user.tenant,
        "email": actor.user.email or "",
        "address": actor.address,
        "via": actor.via,
        "request_id": actor.request_id,
    }


def find_result(check: Check) -> Result:
    """Return the result of the check, which runs once for a request."""
    results = _results.get()
    if results is None:
        return check.run()
    if check not in results:
        if current_tenant_id() is not None:
            raise CheckNeeded(check)
        results[check] = check.run()
    return results[check]


def _find_by_email(check: Check) -> User | None:
    """Return the user with this e-mail, without regard to case and width, or None. One query.

    straße.example and strasse.example fold alike but are two domains, so that the e-mail as it was
    typed is preferred.
    """
    with inside(check.tenant, read_only=True):
        users = list(User.objects.with_email(check.email))
    return max(users, key=lambda user: user.email == check.email.lower(), default=None)


def _has_password(user: User | None, password: str) -> bool:
    """Return whether this is the user's password. Without a user it takes the same time."""
    if user is None or not user.has_usable_password():
        for form in password_forms(password):
            make_password(form)
        return False
    return any(is_hash_of(form, user.password) for form in password_forms(password))


Result = User | TooManyAttempts | None  # the user as read, a refusal, or None


# ---- events -------------------------------------------------------------------------------------


def _record_failure(check: Check, user: User | None) -> None:
    """Record a wrong password, at the tenant if there is no such account: that takes as long."""
    log.warning("password refused", extra=check.log_fields(user))
    _record(check, user, "password_refused")


def _record_refusal(check: Check, verb: str) -> None:
    """Record that a limit is reached, at most five times an hour for each account."""
    if count_attempt([Counter(REFUSALS, check.account)]).wait_seconds:
        return
    user = _find_by_email(check)
    log.warning("too many attempts", extra=check.log_fields(user))
    _record(check, user, verb)


def _record(check: Check, user: User | None, verb: str) -> None:
    """Write an event, unless attackers have already caused too many of them in the tenant."""
    if count_attempt([Counter(FAILURES, (check.tenant.pk,))]).wait_seconds:
        return
    with inside(check.tenant):
        record(check.anonymous_actor, user or cast(Any, check.tenant), verb)
