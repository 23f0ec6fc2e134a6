"""Absolute links to pages of this installation, for mails.

They are built from the settings alone. The Host header of a request is chosen by its sender, who
could otherwise have a secret link with another host sent to somebody else.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from django.conf import settings

STANDARD_PORTS = (0, 80, 443)


def build_link(subdomain: str, path: str, query: Mapping[str, str] | None = None) -> str:
    """Return the URL of a page in the tenant with this subdomain.

    The default tenant has the host without a subdomain, for which no DNS record is needed.
    """
    scheme = "https" if settings.HTTPS else "http"
    is_default = subdomain == settings.DEFAULT_TENANT
    host = settings.DOMAIN if is_default else f"{subdomain}.{settings.DOMAIN}"
    port = "" if settings.LINK_PORT in STANDARD_PORTS else f":{settings.LINK_PORT}"
    return f"{scheme}://{host}{port}{path}" + (f"?{urlencode(query)}" if query else "")
