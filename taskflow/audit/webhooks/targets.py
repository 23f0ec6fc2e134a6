"""The URLs to which webhooks are sent.

Only one form of a host is accepted: a name in ASCII, or an address in its usual form. Resolvers
read other forms as addresses too: `2130706433`, `0x7f.1` and `①②⑦.⓪.⓪.①` are all 127.0.0.1.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv6Address

from django.utils.translation import gettext, gettext_noop

from taskflow.audit.webhooks.addresses import Network, may_connect, parse_address

MAX_URL_LENGTH = 2000  # characters
DEFAULT_PORTS = {"https": 443, "http": 80}
URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9A-Fa-f:.]{2,45}\]|[0-9A-Za-z.-]{1,253})"
    r"(:(?P<port>[0-9]{1,5}))?(?P<path>/[!$&-;=@-Z_a-z~%()*+,]*)?(\?(?P<query>[!$&-;=?@-Z_a-z~%]*))?"
)
NAME = re.compile(r"([0-9a-z]([0-9a-z-]{0,61}[0-9a-z])?\.)*[a-z]([0-9a-z-]{0,61}[0-9a-z])?")
PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


class BadTarget(ValueError):
    """A webhook cannot be sent to this URL. The message completes “The URL …”."""


@dataclass(frozen=True)
class Target:
    """A URL in parts. `host` is a name in lower case or an address, without brackets."""

    is_secure: bool
    host: str
    port: int
    path: str  # with the query

    @property
    def authority(self) -> str:
        """The value of the header Host."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        is_default = self.port == DEFAULT_PORTS["https" if self.is_secure else "http"]
        return host if is_default else f"{host}:{self.port}"


def parse_target(url: str, allowed: Collection[Network] = ()) -> Target:
    """Return the parts of the URL of a webhook. Raises BadTarget with what to write.

    `allowed` are the networks of the operator, which may be private, and reached without TLS. A
    name is not resolved here: what it stands for is judged before each connection.
    """
    match = URL.fullmatch(url)
    if match is None or len(url) > MAX_URL_LENGTH or PERCENT.search(url):
        raise BadTarget(
            gettext(
                "must be like https://example.com/path: ASCII, no user name, no fragment, at most"
                " %(limit)d characters"
            )
            % {"limit": MAX_URL_LENGTH}
        )
    is_secure = match["scheme"] == "https"
    if not is_secure and not allowed:
        raise BadTarget(gettext_noop("must begin with https://"))
    port = int(match["port"] or DEFAULT_PORTS[match["scheme"]])
    if not 1 <= port <= 65_535:
        raise BadTarget(gettext_noop("must have a port between 1 and 65535"))
    path = (match["path"] or "/") + (f"?{match['query']}" if match["query"] is not None else "")
    return Target(is_secure, _read_host(match["host"], allowed), port, path)


def _read_host(text: str, allowed: Collection[Network]) -> str:
    """Return the host in lower case. Raises BadTarget for an address that is not allowed."""
    host = text.strip("[]").lower()
    address = parse_address(host)
    if address is not None and isinstance(address, IPv6Address) == text.startswith("["):
        if not may_connect(address, allowed):
            raise BadTarget(gettext_noop("must not be an address of a private network"))
        return host
    if not NAME.fullmatch(host):
        raise BadTarget(
            gettext_noop(
                "must name its host as example.com, 192.0.2.1 or [2001:db8::1]. Write a name with"
                " other letters in its form for DNS, which begins with xn--"
            )
        )
    return host
