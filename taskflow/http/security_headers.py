"""The headers that every response has, and which request ids are accepted."""

from __future__ import annotations

import re

# Not a token: request ids are written in the log and in events.
REQUEST_ID = re.compile(r"(?!tf_)[A-Za-z0-9_.-]{1,64}")
VARY_API = ("Accept-Encoding", "Authorization", "Cookie", "X-Tenant")
COMMON_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
API_HEADERS = COMMON_HEADERS | {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "private, no-store",
    "Vary": ", ".join(VARY_API),
}
# Unfold's Alpine.js evaluates expressions and both it and Swagger write style attributes.
PAGE_HEADERS = COMMON_HEADERS | {
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'unsafe-eval';"
    " style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none';"
    " base-uri 'none'; form-action 'self'"
}
