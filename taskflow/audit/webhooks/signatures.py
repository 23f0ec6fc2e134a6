"""Secrets and signatures of webhooks, as https://www.standardwebhooks.com specifies them.

No secret is stored. It is computed from the key of the installation and a random salt that the
database holds, so that a copy of the database does not contain it. With another
TASKFLOW_SECRET_KEY, all webhooks have other secrets.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable

from django.utils.crypto import salted_hmac

PREFIX = "whsec_"
VERSION = "v1"


def make_salt(entropy: bytes | None = None) -> str:
    """Return a new salt in hexadecimal. The same `entropy` gives the same salt."""
    seed = entropy or secrets.token_bytes(32)
    return hashlib.sha256(b"taskflow.webhook.salt" + seed).hexdigest()


def derive_secret(tenant_id: int | None, salt: str) -> str:
    """Return the secret of a webhook with this salt: `whsec_` and 32 bytes in base 64."""
    value = f"{tenant_id} {salt}"
    key = salted_hmac("taskflow.webhook.secret", value, algorithm="sha256").digest()
    return PREFIX + base64.b64encode(key).decode()


def sign(key_texts: Iterable[str], message_id: str, timestamp: int, body: bytes) -> str:
    """Return the value of `webhook-signature`: one signature for each secret.

    `timestamp` is in seconds since 1970, as in the header `webhook-timestamp`.
    """
    content = f"{message_id}.{timestamp}.".encode() + body
    return " ".join(f"{VERSION},{_sign(text, content)}" for text in key_texts)


def _sign(text: str, content: bytes) -> str:
    key = base64.b64decode(text.removeprefix(PREFIX))
    return base64.b64encode(hmac.digest(key, content, "sha256")).decode()
