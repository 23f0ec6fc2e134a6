"""Which addresses a webhook may be sent to.

A tenant chooses the URL, and the server is inside the network of the operator. So a URL must not
reach what only this network can reach: the metadata service of a cloud, databases, the server
itself. `ipaddress.is_private` of Python 3.11 does not know all of these addresses.
"""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# From the registries of special-purpose addresses of IANA, and the server of Azure that answers
# virtual machines at an address which is public otherwise.
REFUSED_IPV4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # shared by the customers of a provider
        "127.0.0.0/8",
        "168.63.129.16/32",
        "169.254.0.0/16",  # link-local, with the metadata of clouds
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",
    )
)
# Everything else in IPv6 is not assigned to the public internet: loopback, addresses that contain
# one of IPv4 (::ffff:0:0/96, 64:ff9b::/96), unique local and link-local ones, multicast.
PUBLIC_IPV6 = IPv6Network("2000::/3")
REFUSED_IPV6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocols of the IETF; Teredo contains addresses of IPv4
        "2001:db8::/32",
        "2002::/16",  # 6to4, which contains addresses of IPv4
        "2620:4f:8000::/48",
        "3fff::/20",
    )
)


def may_connect(address: Address, allowed: Collection[Network] = ()) -> bool:
    """Return whether a webhook may be sent to the address: a public one, or one in `allowed`."""
    return is_in(address, allowed) or is_public(address)


def is_public(address: Address) -> bool:
    """Return whether the address belongs to a host of the public internet."""
    if isinstance(address, IPv4Address):
        return not is_in(address, REFUSED_IPV4)
    if address.scope_id is not None or address not in PUBLIC_IPV6:
        return False
    return not is_in(address, REFUSED_IPV6)


def is_in(address: Address, networks: Collection[Network]) -> bool:
    """Return whether one of the networks contains the address. Versions are never mixed."""
    return any(address.version == n.version and address in n for n in networks)


def parse_address(text: str) -> Address | None:
    """Return the address that a text is, in its usual form, or None."""
    try:
        return ip_address(text)
    except ValueError:
        return None


def parse_networks(texts: Collection[str]) -> tuple[Network, ...]:
    """Return the networks. Raises ValueError for a text that is none."""
    return tuple(ip_network(text) for text in texts)
