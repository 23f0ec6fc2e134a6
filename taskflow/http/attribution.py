"""The request headers X-Reason, X-On-Behalf-Of and Claim: why a write is made, and for which user.

Only their text is read here. Whether the actor may name the user is decided in accounts.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from django.http import HttpRequest

from taskflow.db.text import fold, is_one_line
from taskflow.db.types import MAX_ID
from taskflow.http.errors import BadRequest

REASON_HEADER, ON_BEHALF_OF_HEADER, CLAIM_HEADER = "X-Reason", "X-On-Behalf-Of", "Claim"
REASON_VARIABLE, ON_BEHALF_OF_VARIABLE = "HTTP_X_REASON", "HTTP_X_ON_BEHALF_OF"
CLAIM_VARIABLE = "HTTP_CLAIM"
# In request.META.
HEADER_VARIABLES = frozenset({REASON_VARIABLE, ON_BEHALF_OF_VARIABLE, CLAIM_VARIABLE})
MAX_REASON_LENGTH = 500  # characters, after decoding
# HTTP clients agree on ASCII only: fetch() refuses other characters, curl sends UTF-8, others send
# Latin-1, and granian passes such a header on as an empty one.
PERCENT_ENCODED = re.compile(r"(?:[ -$&-~]|%[0-9A-Fa-f]{2})*")
ID = re.compile(r"[1-9][0-9]{0,18}")
USER_REFERENCE = re.compile(r"@[A-Za-z0-9][A-Za-z0-9_.-]{0,49}|[1-9][0-9]{0,18}")


def read_reason(request: HttpRequest) -> str:
    """Return the decoded X-Reason, without white space around it; "" when the header is absent.

    Raises BadRequest unless it is one line of 1 to 500 characters, percent-encoded as UTF-8.
    """
    given: str | None = request.META.get(REASON_VARIABLE)
    if given is None:
        return ""
    reason = _decode(given)
    if not 1 <= len(reason) <= MAX_REASON_LENGTH or not is_one_line(reason):
        raise BadRequest(
            f"{REASON_HEADER} takes one line of 1 to {MAX_REASON_LENGTH} characters without control"
            " characters. Characters that are not ASCII, and %, are percent-encoded as UTF-8:"
            " “100 % für Ada” is 100%20%25%20f%C3%BCr%20Ada.",
            code="bad_reason",
        )
    return reason


def _decode(text: str) -> str:
    """Return the percent-encoded text decoded and stripped; "" when it cannot be decoded."""
    if PERCENT_ENCODED.fullmatch(text) is None:
        return ""
    try:
        return unquote_to_bytes(text).decode().strip()
    except UnicodeDecodeError:
        return ""


def read_on_behalf_of(request: HttpRequest) -> str | int | None:
    """Return the user that X-On-Behalf-Of names: an id, or a handle in lower case without its @.

    None when the header is absent. Raises BadRequest for anything else.
    """
    given: str | None = request.META.get(ON_BEHALF_OF_VARIABLE)
    if given is None:
        return None
    is_reference = USER_REFERENCE.fullmatch(given.strip())
    if is_reference and given.strip().startswith("@"):
        return fold(given.strip()[1:])
    if is_reference and int(given) <= MAX_ID:
        return int(given)
    raise BadRequest(
        f"{ON_BEHALF_OF_HEADER} takes one user: an id, or a handle as in @ada.",
        code="bad_on_behalf_of",
    )


def read_claim(request: HttpRequest) -> int | None:
    """Return the id of the claim that the header Claim names; None when the header is absent.

    Raises BadRequest for anything else.
    """
    given: str | None = request.META.get(CLAIM_VARIABLE)
    if given is None:
        return None
    if ID.fullmatch(given.strip()) and int(given) <= MAX_ID:
        return int(given)
    raise BadRequest(
        f"The header {CLAIM_HEADER} takes the id of a claim, which is a number.", code="bad_claim"
    )
