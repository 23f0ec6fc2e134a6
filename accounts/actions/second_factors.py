"""Actions on second factors: enrol, confirm, renew the recovery codes, use a code, remove.

The caller has checked the password. No undo restores or removes a second factor: its events belong
to no resource type.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils import timezone
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _
from django.utils.translation import gettext_noop

from accounts import one_time_codes
from accounts.actions.locking import lock_users
from accounts.actions.notices import notify
from accounts.models import RecoveryCode, SecondFactor, User, find_second_factor
from accounts.passwords import ENROLMENT_CODES, limit_codes
from accounts.rules import require_own_account
from taskflow.audit.actor import Actor
from taskflow.audit.recorder import change, create, lock, remove
from taskflow.audit.verbs import register_event_verb
from taskflow.http.errors import Conflict, Invalid

NO_SECOND_FACTOR = Conflict(
    "You have no second factor. Enrol one with POST /api/v1/me/second-factor.",
    code="no_second_factor",
)
for _verb, _sentence in {
    "begun": "began to enrol a second factor",
    "enabled": "enabled a second factor",
    "renewed": "made new recovery codes",
    "recovered": "signed in with a recovery code",
    "removed": "removed the second factor",
    "reset": "reset the second factor",
}.items():
    register_event_verb("secondfactor", _verb, _sentence)


@dataclass(frozen=True)
class Enrolment:
    """What an authenticator app needs. It is shown once."""

    secret: str
    uri: str


def begin_enrolment(actor: Actor) -> Enrolment:
    """Begin to enrol a second factor of the actor. It is not in use until it is confirmed.

    Beginning again replaces the secret. Raises Conflict when a second factor is in use.
    """
    require_own_account(actor)
    lock_users([actor.user])  # serializes two beginnings
    salt = one_time_codes.make_salt(actor.entropy)
    factor = find_second_factor(actor.user)
    if factor is None:
        factor = create(actor, SecondFactor(user=actor.user, salt=salt), "begun")
    else:
        lock(factor, "confirmed_at")
        if factor.is_confirmed:
            raise Conflict(
                gettext_noop("You have a second factor already. Remove it first."), code="taken"
            )
        change(actor, factor, "begun", salt=salt)
    return build_enrolment(actor, factor)


def build_enrolment(actor: Actor, factor: SecondFactor) -> Enrolment:
    """Return what the app of an enrolment that has begun needs."""
    secret = _secret_of(factor)
    uri = one_time_codes.build_uri(
        secret, account=actor.user.email or actor.user.handle, tenant=actor.tenant.name
    )
    return Enrolment(secret, uri)


def confirm_enrolment(actor: Actor, code: str) -> list[str]:
    """Put the second factor into use. Return its recovery codes, which are shown once.

    Raises Conflict when no enrolment has begun or it is confirmed already, Invalid for a wrong
    code, and TooManyAttempts when a limit is reached.
    """
    require_own_account(actor)
    factor = find_second_factor(actor.user)
    if factor is None:
        raise NO_SECOND_FACTOR.copy()
    limit_codes(actor, ENROLMENT_CODES)  # a token alone could try all, to get the recovery codes
    lock(factor, "confirmed_at", "salt", "last_step")
    if factor.is_confirmed:
        raise Conflict(gettext_noop("Your second factor is confirmed already."), code="taken")
    if not _use_app_code(factor, one_time_codes.normalize_code(code)):
        raise Invalid.field("otp", gettext_noop("This is not the present code of the app."))
    notify(actor.tenant, actor.user, _("A second factor was set up for your account."))
    return _replace_codes(actor, factor, "enabled", confirmed_at=timezone.now())


def renew_recovery_codes(actor: Actor) -> list[str]:
    """Replace the recovery codes of the actor. Return the new ones, which are shown once."""
    require_own_account(actor)
    codes = _replace_codes(actor, _lock_confirmed(actor.user), "renewed")
    notify(actor.tenant, actor.user, _("New recovery codes were made for your account."))
    return codes


def remove_second_factor(actor: Actor) -> None:
    """Remove the actor's second factor. Raises Conflict if there is none, or if it is required."""
    require_own_account(actor)
    factor = _lock_confirmed(actor.user)
    if actor.tenant.second_factor_required and actor.user.is_staff:
        raise Conflict(
            "Administrators of this tenant need a second factor. To change the app, ask the"
            " operator to reset the present one.",
            code="second_factor_mandatory",
        )
    remove(actor, factor, "removed")
    notify(actor.tenant, actor.user, _("The second factor of your account was removed."))


def reset_second_factor(actor: Actor, user: User) -> bool:
    """Remove the second factor of another user, for an operator. Return whether there was one."""
    factor = find_second_factor(user)
    if factor is None:
        return False
    remove(actor, factor, "reset")
    notify(actor.tenant, user, _("An operator has removed the second factor of your account."))
    return True


def use_code(actor: Actor, factor: SecondFactor, code: str) -> bool:
    """Return whether this is a code of the actor's second factor, and use it up.

    A code of the app counts once, a recovery code too. Using a recovery code is recorded.
    """
    text = one_time_codes.normalize_code(code)
    if one_time_codes.is_app_code(text):
        return _use_app_code(factor, text)
    digest = one_time_codes.compute_recovery_digest(_owner_of(factor), text)
    if not RecoveryCode.objects.use(factor, digest):
        return False
    left = RecoveryCode.objects.filter(factor=factor).count()
    change(actor, factor, "recovered", codes_left=left)
    sentence = _("A recovery code was used to sign in to your account; {left} are left.")
    notify(actor.tenant, actor.user, format_lazy(sentence, left=left))
    return True


def _use_app_code(factor: SecondFactor, code: str) -> bool:
    step = one_time_codes.find_step(_secret_of(factor), code, timezone.now())
    return step is not None and SecondFactor.objects.all().use_step(factor, step)


def _owner_of(factor: SecondFactor) -> str:
    return one_time_codes.name_owner(factor.tenant_id, factor.user_id)


def _secret_of(factor: SecondFactor) -> str:
    return one_time_codes.derive_secret(_owner_of(factor), factor.salt)


def _lock_confirmed(user: User) -> SecondFactor:
    """Return the user's second factor, locked. Raises Conflict unless one is in use."""
    factor = find_second_factor(user)
    if factor is None:
        raise NO_SECOND_FACTOR.copy()
    lock(factor, "confirmed_at")
    if not factor.is_confirmed:
        raise NO_SECOND_FACTOR.copy()
    return factor


def _replace_codes(actor: Actor, factor: SecondFactor, verb: str, **values: object) -> list[str]:
    codes = one_time_codes.make_recovery_codes(actor.entropy)
    RecoveryCode.objects.all().replace(factor, _digests_of(factor, codes))
    change(actor, factor, verb, codes_left=len(codes), codes_made_at=timezone.now(), **values)
    return codes


def _digests_of(factor: SecondFactor, codes: Sequence[str]) -> list[str]:
    owner = _owner_of(factor)
    return [one_time_codes.compute_recovery_digest(owner, code) for code in codes]
