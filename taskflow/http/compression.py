"""gzip for the bodies of responses, except for those that contain a token or another secret.

The length of a compressed body shows what parts of it have in common. If one part is a secret and
another is chosen by somebody else, the secret can be guessed bit by bit (the BREACH attack).
"""

from __future__ import annotations

import gzip
import re

from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_vary_headers

MIN_BYTES = 1024  # below it, the headers are most of the response
LEVEL = 3  # a list of 50 tasks takes half the time of level 6, and is a tenth longer
COMPRESSED_TYPE = re.compile(r"text/|application/([a-z.]+\+)?json\b")
TOKEN_PATTERN = re.compile(
    rb"t[fm]_[1-9][0-9]*_[0-9A-Za-z]{49}"
)  # as accounts/tokens.py makes them

# Secrets of a second factor: in the JSON of the API, and in the pages of the admin.
SECRET_PATTERN = re.compile(rb'otpauth:|"recovery_codes":\s*\["|class="segno"|id="recovery-codes"')


def compress(request: HttpRequest, response: HttpResponse) -> None:
    """Compress the body if the client accepts gzip and if that is worthwhile and safe.

    A streamed response is left as it is, so that no part of it waits for a later one. The ETag
    becomes a weak one, since the bytes differ from those of the uncompressed body.
    """
    if response.streaming or not accepts_gzip(request.META.get("HTTP_ACCEPT_ENCODING", "")):
        return
    body = response.content
    if len(body) < MIN_BYTES or not COMPRESSED_TYPE.match(response.get("Content-Type", "")):
        return
    if response.has_header("Content-Encoding") or is_event_stream(response):
        return
    if TOKEN_PATTERN.search(body) or SECRET_PATTERN.search(body):
        return
    response.content = gzip.compress(body, LEVEL, mtime=0)
    response["Content-Encoding"] = "gzip"
    patch_vary_headers(response, ["Accept-Encoding"])
    if response.has_header("Content-Length"):
        response["Content-Length"] = str(len(response.content))
    etag = response.get("ETag", "")
    if etag.startswith('"'):
        response["ETag"] = f"W/{etag}"


def is_event_stream(response: HttpResponse) -> bool:
    """Return whether this is the first part of a response that goes on for long."""
    return response.get("Content-Type", "").startswith("text/event-stream")


def accepts_gzip(header: str) -> bool:
    """Return whether an Accept-Encoding allows gzip, which a weight of zero refuses."""
    weights: dict[str, float] = {}
    for part in header.lower().split(","):
        name, _, parameter = part.partition(";")
        weights[name.strip()] = _read_weight(parameter)
    return weights.get("gzip", weights.get("*", 0.0)) > 0


def _read_weight(parameter: str) -> float:
    """Return the number in `q=0.5`; 1 without a parameter, 0 for one that is malformed."""
    name, _, number = parameter.replace(" ", "").partition("=")
    if not name:
        return 1.0
    return float(number) if name == "q" and re.fullmatch(r"[01](\.\d{0,3})?", number) else 0.0
