"""The address and the scheme with which a client has sent a request.

Both come from the connection. Headers count only where the connection is that of a proxy which
TASKFLOW_TRUST_PROXY names: any client can send them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from django.conf import settings

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
MAX_ADDRESS_LENGTH = 64  # characters; IPv6 with an IPv4 part has 45, the zone comes in addition
HOST_BITS_OF_SITE = 64  # of an IPv6 address: one client chooses them freely


def find_client(environ: Mapping[str, object]) -> str:
    """Return the address of the client.

    It is that of the connection. Of a trusted proxy, X-Forwarded-For is read from the right, where
    each proxy adds the address that it has seen: the first one that is no trusted proxy is the
    client's. What is before it was sent by the client, and so was an address that cannot be parsed.
    """
    remote = str(environ.get("REMOTE_ADDR", ""))
    if not settings.TRUST_PROXY:
        return remote
    address = parse_address(remote)
    if address is None or not is_trusted(address, settings.TRUST_PROXY):
        return remote
    for text in reversed(str(environ.get("HTTP_X_FORWARDED_FOR", "")).split(",")):
        forwarded = parse_address(text)
        if forwarded is None:
            break
        address = forwarded
        if not is_trusted(address, settings.TRUST_PROXY):
            break
    return str(address)


def find_scheme(environ: Mapping[str, object]) -> str:
    """Return `http` or `https`: the scheme of the client's own connection.

    X-Forwarded-Proto counts only if a trusted proxy has sent the request. Of several values the
    last one counts, which the proxy has added.
    """
    scheme = str(environ.get("wsgi.url_scheme", "http"))
    forwarded = environ.get("HTTP_X_FORWARDED_PROTO")
    if not settings.TRUST_PROXY or not forwarded:
        return scheme
    address = parse_address(str(environ.get("REMOTE_ADDR", "")))
    if address is None or not is_trusted(address, settings.TRUST_PROXY):
        return scheme
    last = str(forwarded).rpartition(",")[2].strip().lower()
    return "https" if last == "https" else "http"


def parse_address(text: str) -> Address | None:
    """Return the address in the text, which may have a port as in `[::1]:80`; None for others.

    An IPv4 address within IPv6 (::ffff:192.0.2.1), as a socket of both kinds shows it, is returned
    as the IPv4 address. Otherwise one client would have two addresses.
    """
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def is_trusted(address: Address, networks: Sequence[Network]) -> bool:
    """Return whether the address belongs to one of the networks."""
    return any(address in network for network in networks)


def find_site(address: str) -> str:
    """Return what stands for a client in limits: an IPv4 address, or the /64 network of IPv6.

    A client with IPv6 has all addresses of such a network. A text that is no address is returned
    unchanged.
    """
    parsed = parse_address(address)
    if not isinstance(parsed, IPv6Address):
        return str(parsed) if parsed else address
    return str(ip_network((int(parsed), 128 - HOST_BITS_OF_SITE), strict=False))
