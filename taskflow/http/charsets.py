"""Bodies are UTF-8."""

from __future__ import annotations

from django.http import HttpRequest

from taskflow.http.errors import UnsupportedMedia

ENCODING = "utf-8"
UTF8_NAMES = frozenset({"utf-8", "utf8"})


def check_charset(request: HttpRequest) -> None:
    """Raise UnsupportedMedia if the Content-Type names another charset than UTF-8."""
    charset = (request.content_params or {}).get("charset", ENCODING)
    if charset.lower() not in UTF8_NAMES:
        raise UnsupportedMedia("Send the body as UTF-8.")
