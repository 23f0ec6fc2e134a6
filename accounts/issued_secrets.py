"""The secrets that a response may contain, and the text that is stored in their place.

They are computed from the entropy of an Idempotency-Key, so that a retry gets the same ones.
"""

from __future__ import annotations

from collections.abc import Mapping

from accounts import one_time_codes, tokens
from taskflow.audit.actor import Actor
from taskflow.audit.webhooks import signatures

# Replaces a token in a stored response, so that no secret is stored.
TOKEN_PLACEHOLDER = "{the token that this answer issued}"  # noqa: S105
SECRET_PLACEHOLDER = "{the secret that this answer issued}"  # noqa: S105
RECOVERY_CODE_PLACEHOLDER = "{recovery code %d of this answer}"
SECOND_FACTOR_PATH = "/api/v1/me/second-factor"
WEBHOOKS_PATH = "/api/v1/webhooks"


def find_secrets(actor: Actor, entropy: bytes, path: str) -> Mapping[str, str]:
    """Return the secrets that a response to this path may contain, by their placeholders."""
    issued = {TOKEN_PLACEHOLDER: tokens.make_token_text(actor.tenant.pk, entropy)}
    if path.startswith(WEBHOOKS_PATH):
        salt = signatures.make_salt(entropy)
        issued[SECRET_PLACEHOLDER] = signatures.derive_secret(actor.tenant.pk, salt)
    if path.startswith(SECOND_FACTOR_PATH):
        salt = one_time_codes.make_salt(entropy)
        owner = one_time_codes.name_owner(actor.tenant.pk, actor.user.pk)
        issued[SECRET_PLACEHOLDER] = one_time_codes.derive_secret(owner, salt)
        for number, code in enumerate(one_time_codes.make_recovery_codes(entropy), 1):
            issued[RECOVERY_CODE_PLACEHOLDER % number] = code
    return issued


def hide(text: str, issued: Mapping[str, str]) -> str:
    """Return the text with placeholders in place of the secrets."""
    for placeholder, secret in issued.items():
        text = text.replace(secret, placeholder)
    return text


def show(text: str, issued: Mapping[str, str]) -> str:
    """Return the text with the secrets in place of their placeholders."""
    for placeholder, secret in issued.items():
        text = text.replace(placeholder, secret)
    return text
