"""The text of a bearer token, `tf_<tenant>_<secret><checksum>`, and of a link in a mail, `tm_…`.

It names its tenant, so that no token is looked up across tenants. A token that names another tenant
is not found there. The checksum rejects typing errors and random guesses without a query.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
import zlib

from taskflow.db.types import MAX_ID

ALPHABET = string.digits + string.ascii_letters
VALUES = {digit: value for value, digit in enumerate(ALPHABET)}
SECRET_LENGTH, CHECKSUM_LENGTH = 43, 6  # 43 base-62 digits hold 256 bits
TOKEN_PATTERN = re.compile(
    rf"(t[fm])_([1-9][0-9]{{0,18}})_([0-9A-Za-z]{{{SECRET_LENGTH + CHECKSUM_LENGTH}}})"
)
BEARER, MAIL_LINK = "tf", "tm"  # the beginnings of the two kinds
PREFIX_LENGTH = 12  # characters stored in plain text, by which users recognise a token


def make_token_text(tenant_id: int, entropy: bytes | None = None, kind: str = BEARER) -> str:
    """Return a new token's text. The same `entropy` (32 bytes) gives the same text."""
    number = int.from_bytes(entropy or secrets.token_bytes(32))
    body = f"{kind}_{tenant_id}_{_base62(number, SECRET_LENGTH)}"
    return body + _checksum(body)


def read_tenant_id(text: str, kind: str = BEARER) -> int | None:
    """Return the id of the tenant that a token names, or None if the text is not well-formed."""
    match = TOKEN_PATTERN.fullmatch(text)
    if (
        match is None
        or match[1] != kind
        or _number_of(text[-CHECKSUM_LENGTH:]) != zlib.crc32(text[:-CHECKSUM_LENGTH].encode())
    ):
        return None
    return int(match[2]) if int(match[2]) <= MAX_ID else None


def compute_digest(text: str) -> str:
    """Return the SHA-256 of a token's text in hexadecimal, as it is stored."""
    return hashlib.sha256(text.encode()).hexdigest()


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), CHECKSUM_LENGTH)


def _number_of(digits: str) -> int:
    """Return the number that _base62() has written."""
    number = 0
    for digit in digits:
        number = number * len(ALPHABET) + VALUES[digit]
    return number


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))
