"""The codes of a second factor: those of an authenticator app (TOTP, RFC 6238) and recovery codes.

No secret is stored. The secret of an app is computed from the key of the installation and a random
salt that the database holds, and a recovery code is stored as a digest with that key. So a copy of
the database, without the key, contains neither. With another TASKFLOW_SECRET_KEY, the codes of all
second factors are wrong.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from datetime import datetime

import pyotp
import segno
from django.utils.crypto import salted_hmac

ISSUER = "TaskFlow"
DIGITS = 6
STEP_SECONDS = 30
TOLERATED_STEPS = (0, -1, 1)  # for clocks that differ by up to 30 seconds
SECRET_BYTES = 20  # RFC 4226 recommends 160 bits
RECOVERY_CODES = 10
RECOVERY_CODE_BYTES = 10  # 80 bits: 16 characters of base 32
GROUP = 4  # characters of a recovery code between two dashes


def make_salt(entropy: bytes | None = None) -> str:
    """Return a new salt in hexadecimal. The same `entropy` gives the same salt."""
    seed = entropy or secrets.token_bytes(32)
    return hashlib.sha256(b"taskflow.second-factor.salt" + seed).hexdigest()


def name_owner(tenant_id: int | None, user_id: int) -> str:
    """Return the text that stands for a user in secrets and digests."""
    return f"{tenant_id} {user_id}"


def derive_secret(owner: str, salt: str) -> str:
    """Return the secret of the owner's authenticator app, in base 32."""
    value = f"{owner} {salt}"
    key = salted_hmac("taskflow.second-factor.secret", value, algorithm="sha256").digest()
    return base64.b32encode(key[:SECRET_BYTES]).decode()


def build_uri(secret: str, *, account: str, tenant: str) -> str:
    """Return the otpauth URI, which an app reads from a QR code. `account` is the e-mail."""
    return pyotp.TOTP(secret).provisioning_uri(name=account, issuer_name=f"{ISSUER} {tenant}")


def draw_qr_code(uri: str) -> str:
    """Return an SVG element with the QR code, for a page. It has no style and no script."""
    return segno.make(uri, error="m").svg_inline(scale=5, light="#fff")


def is_app_code(text: str) -> bool:
    """Return whether the text has the form of an app's code. Other texts may be recovery codes."""
    return len(text) == DIGITS and text.isascii() and text.isdigit()


def find_step(secret: str, code: str, now: datetime) -> int | None:
    """Return the number of the time step that has this code, or None.

    The present step and its two neighbours are tried. All of them are compared, so that the time
    does not depend on which one it is.
    """
    totp = pyotp.TOTP(secret)
    present = int(now.timestamp()) // STEP_SECONDS
    steps = [present + offset for offset in TOLERATED_STEPS]
    matching = [step for step in steps if hmac.compare_digest(totp.generate_otp(step), code)]
    return matching[0] if matching else None


def make_recovery_codes(entropy: bytes | None = None) -> list[str]:
    """Return ten new codes, as in ABCD-EFGH-IJKL-MNOP. The same `entropy` gives the same codes."""
    seed = entropy or secrets.token_bytes(32)
    return [_make_recovery_code(seed, number) for number in range(RECOVERY_CODES)]


def _make_recovery_code(seed: bytes, number: int) -> str:
    value = b"taskflow.recovery-code" + bytes([number]) + seed
    text = base64.b32encode(hashlib.sha256(value).digest()[:RECOVERY_CODE_BYTES]).decode()
    return "-".join(text[start : start + GROUP] for start in range(0, len(text), GROUP))


def normalize_code(text: str) -> str:
    """Return a typed code in capitals, without spaces and dashes."""
    return "".join(text.split()).replace("-", "").upper()


def compute_recovery_digest(owner: str, code: str) -> str:
    """Return the keyed digest of a recovery code in hexadecimal, as it is stored."""
    value = f"{owner} {normalize_code(code)}"
    return salted_hmac("taskflow.recovery-code", value, algorithm="sha256").hexdigest()
