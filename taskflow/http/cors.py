"""The CORS headers of a response that does not pass through the middleware."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from django.conf import settings


def cors_headers(path: str, origin: str, vary: str) -> dict[str, str]:
    """Return the headers without which a browser hides a response from the page of `origin`.

    The same as of django-cors-headers; `vary` is the value of the header Vary without them. No
    headers if TASKFLOW_CORS_ORIGINS is not set.
    """
    if not settings.CORS_ALLOWED_ORIGINS or not re.match(settings.CORS_URLS_REGEX, path):
        return {}
    headers = {"Vary": f"{vary}, origin" if vary else "origin"}
    if is_allowed_origin(origin):
        headers["Access-Control-Allow-Origin"] = origin
        headers["Access-Control-Expose-Headers"] = ", ".join(settings.CORS_EXPOSE_HEADERS)
    return headers


def is_allowed_origin(origin: str) -> bool:
    """Return whether TASKFLOW_CORS_ORIGINS contains the origin."""
    try:
        sent = urlsplit(origin)
    except ValueError:
        return False
    allowed = (urlsplit(text) for text in settings.CORS_ALLOWED_ORIGINS)
    return any((sent.scheme, sent.netloc) == (url.scheme, url.netloc) for url in allowed)
