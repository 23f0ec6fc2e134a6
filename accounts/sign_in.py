"""The second step of a sign-in: a code of the second factor, or its enrolment.

A sign-in takes the password, and then a code if the user has a second factor. Administrators of a
tenant that requires one enrol it first.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

from accounts.actions.second_factors import use_code
from accounts.auth import find_tenant, read_subdomain, reconcile_subdomains
from accounts.models import SecondFactor, find_second_factor
from accounts.passwords import (
    PasswordCheck,
    find_user_by_password,
    limit_codes,
    load_checked_user,
)
from accounts.schemas.sign_in import Credentials
from taskflow.audit.actor import Actor
from taskflow.audit.models import Via
from taskflow.http.addresses import find_client
from taskflow.http.errors import Unauthenticated
from taskflow.http.request import Request
from taskflow.tenancy import inside

ENROLMENT_PATH = "/api/v1/auth/second-factor"


class NextStep(StrEnum):
    """What a sign-in needs after the password."""

    NOTHING = "nothing"
    CODE = "code"
    ENROLMENT = "enrolment"


@contextmanager
def inside_tenant_of_credentials(request: Request, credentials: Credentials) -> Iterator[Actor]:
    """Open a unit of work in the tenant of the credentials, and check the password.

    The context yields the user as an actor, whose second factor is not checked yet. Raises NotFound
    without such a tenant, Unauthenticated for an unknown e-mail or a wrong password, and
    TooManyAttempts when a limit is reached.
    """
    tenant = find_tenant(reconcile_subdomains(credentials.tenant, read_subdomain(request)))
    address = find_client(request.META)
    check = PasswordCheck(
        tenant,
        credentials.email,
        address,
        Via.API,
        request.request_id,
        credentials.password.get_secret_value(),
    )
    user = find_user_by_password(check)
    if user is None:
        raise Unauthenticated("The e-mail or the password is wrong.")
    with inside(tenant):
        stored = load_checked_user(user)
        yield Actor(stored, tenant, request_id=request.request_id, address=address)


def find_next_step(actor: Actor) -> tuple[NextStep, SecondFactor | None]:
    """Return what is left after the password, and the user's second factor if one is in use.

    One query.
    """
    factor = find_second_factor(actor.user)
    if factor is not None and factor.is_confirmed:
        return NextStep.CODE, factor
    is_due = actor.tenant.second_factor_required and actor.user.is_staff
    return (NextStep.ENROLMENT if is_due else NextStep.NOTHING), None


def require_second_factor(actor: Actor, code: str | None) -> None:
    """Raise Unauthenticated unless the code completes the sign-in, or it needs none.

    The actor is the user whose password was checked. The code is used up.
    """
    step, factor = find_next_step(actor)
    if step is NextStep.ENROLMENT:
        raise Unauthenticated(
            "Administrators of this tenant need a second factor. Enrol one with"
            f" POST {ENROLMENT_PATH}, or on the sign-in page of the admin.",
            code="second_factor_enrolment_required",
        )
    if factor is None:
        return
    if not code:
        raise Unauthenticated(
            "This user has a second factor. Send the present code of the app, or a recovery code,"
            " as `otp` with the e-mail and the password.",
            code="second_factor_required",
        )
    if not check_code(actor, factor, code):
        raise Unauthenticated(
            "The code is wrong, was used before, or is too old. Send the present one.",
            code="wrong_second_factor",
        )


def require_enrolment(actor: Actor) -> None:
    """Raise Unauthenticated unless the sign-in of the actor needs the enrolment first."""
    if find_next_step(actor)[0] is not NextStep.ENROLMENT:
        raise Unauthenticated(
            "This sign-in needs no enrolment. Sign in with POST /api/v1/auth/login. Enrol a second"
            " factor with POST /api/v1/me/second-factor."
        )


def check_code(actor: Actor, factor: SecondFactor, code: str) -> bool:
    """Return whether the code is right, and use it up. Every check of a code is made here.

    Raises TooManyAttempts when a limit is reached.
    """
    limit_codes(actor)
    return use_code(actor, factor, code)
