"""Query strings and bodies are UTF-8, whatever the Content-Type of a request says."""

from __future__ import annotations

from typing import Any

from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest
from django.utils.http import parse_header_parameters

from taskflow.http.errors import UnsupportedMedia

ENCODING = "utf-8"
UTF8 = frozenset({"utf-8", "utf8"})


class Utf8Request(WSGIRequest):
    """A request whose Content-Type decides nothing but what reads the body.

    Django would decode the query string and forms with any codec of Python's that the header names.
    """

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        """Leave the encoding to be the default one. A header that cannot be read names no type."""
        try:
            parsed = parse_header_parameters(meta.get("CONTENT_TYPE", ""))
        except (LookupError, TypeError, ValueError):
            parsed = "", {}
        self.content_type, self.content_params = parsed


def check_charset(request: HttpRequest) -> None:
    """Raise UnsupportedMedia when the Content-Type names another charset than UTF-8."""
    charset = (request.content_params or {}).get("charset", ENCODING)
    if charset.lower() not in UTF8:
        raise UnsupportedMedia("Send the body as UTF-8.")
