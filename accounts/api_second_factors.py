"""API operations for one's own second factor, and for enrolling one while signing in."""

from __future__ import annotations

from ninja import Router, Status

from accounts.actions import second_factors as actions
from accounts.actions.confirmation import require_current_password
from accounts.api import sign_in
from accounts.auth import admin_auth
from accounts.models import find_second_factor
from accounts.rules import require_own_account
from accounts.schemas.second_factors import (
    CurrentPassword,
    RecoveryCodesResponse,
    SecondFactorConfirmation,
    SecondFactorEnrolment,
    SecondFactorResponse,
)
from accounts.schemas.sign_in import Credentials, EnrolledResponse, EnrolmentConfirmation
from accounts.sign_in import inside_tenant_of_credentials, require_enrolment
from taskflow.audit.actor import ActorRequest
from taskflow.http.request import Request

second_factor = Router(tags=["Second factor"], auth=admin_auth)
enrolling = Router(tags=["Signing in"])
REFUSED = {"responses": {401: {"$ref": "#/components/responses/Unauthenticated"}}}


@second_factor.get("", response=SecondFactorResponse)
def get_second_factor(request: ActorRequest) -> dict[str, object]:
    """Get whether you have a second factor, and how many recovery codes are left."""
    require_own_account(request.auth)
    factor = find_second_factor(request.auth.user)
    is_enabled = factor is not None and factor.is_confirmed
    return {
        "is_enabled": is_enabled,
        "is_required": request.auth.tenant.second_factor_required and request.auth.user.is_staff,
        "enabled_at": factor and factor.confirmed_at,
        "recovery_codes_left": factor.codes_left if factor else 0,
    }


@second_factor.post("", response=SecondFactorEnrolment)
def begin_second_factor(request: ActorRequest, body: CurrentPassword) -> dict[str, object]:
    """Begin to enrol a second factor: get a secret for an authenticator app (TOTP).

    It is not in use until `POST /me/second-factor/confirmation` has received a code. Beginning
    again replaces the secret. Returns 409 `taken` when a second factor is in use.
    """
    require_own_account(request.auth)
    require_current_password(request.auth, body.current_password.get_secret_value())
    return _enrolment_response(actions.begin_enrolment(request.auth))


@second_factor.post("/confirmation", response=RecoveryCodesResponse)
def confirm_second_factor(
    request: ActorRequest, body: SecondFactorConfirmation
) -> dict[str, object]:
    """Put the second factor into use with a code of the app. Returns the recovery codes.

    From now on, signing in needs a code. Tokens and sessions that exist stay valid. Returns 409
    `no_second_factor` when no enrolment has begun.
    """
    return {"recovery_codes": actions.confirm_enrolment(request.auth, body.otp)}


@second_factor.post("/recovery-codes", response=RecoveryCodesResponse)
def renew_recovery_codes(request: ActorRequest, body: CurrentPassword) -> dict[str, object]:
    """Replace your recovery codes. The former ones stop working."""
    require_own_account(request.auth)
    require_current_password(request.auth, body.current_password.get_secret_value())
    return {"recovery_codes": actions.renew_recovery_codes(request.auth)}


@second_factor.post("/removal", response={204: None})
def remove_second_factor(request: ActorRequest, body: CurrentPassword) -> Status[None]:
    """Remove your second factor. No undo brings it back.

    Returns 409 `second_factor_mandatory` while your tenant requires it.
    """
    require_own_account(request.auth)
    require_current_password(request.auth, body.current_password.get_secret_value())
    actions.remove_second_factor(request.auth)
    return Status(204, None)


@enrolling.post("/second-factor", response=SecondFactorEnrolment, auth=None, openapi_extra=REFUSED)
def begin_enrolment(request: Request, body: Credentials) -> dict[str, object]:
    """Begin to enrol the second factor without which an administrator cannot sign in.

    For a sign-in that was answered with 401 `second_factor_enrolment_required`. Beginning again
    replaces the secret. Any credentials sent along are ignored.
    """
    with inside_tenant_of_credentials(request, body) as actor:
        require_enrolment(actor)
        return _enrolment_response(actions.begin_enrolment(actor))


@enrolling.post(
    "/second-factor/confirmation",
    response=EnrolledResponse,
    auth=None,
    openapi_extra=REFUSED,
)
def confirm_enrolment(request: Request, body: EnrolmentConfirmation) -> dict[str, object]:
    """Put the second factor into use with a code of the app, and sign in.

    Returns a token and the recovery codes. Any credentials sent along are ignored.
    """
    with inside_tenant_of_credentials(request, body) as actor:
        require_enrolment(actor)
        codes = actions.confirm_enrolment(actor, body.otp)
        signed_in = sign_in(request, actor.user, actor.tenant)
        return signed_in | {"recovery_codes": codes}


def _enrolment_response(enrolment: actions.Enrolment) -> dict[str, object]:
    return {"secret": enrolment.secret, "otpauth_uri": enrolment.uri}
