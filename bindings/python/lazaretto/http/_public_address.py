"""An address is public only if everybody on the internet would reach the same machine by it: none
that is private, loopback, link-local, shared, multicast or reserved, nor one of those inside IPv6.
"""

from __future__ import annotations

import ipaddress
from typing import Sequence, Union

_Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]


def _networks(*texts: str) -> Sequence[_Network]:
    return [ipaddress.ip_network(text) for text in texts]


# The IANA registries of special-purpose addresses (RFC 6890 and its updates), 2026-11.
_NOT_PUBLIC_V4 = _networks(
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
    *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"),
    *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3"),
)
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")
_NOT_PUBLIC_V6 = _networks("2001::/23", "2001:db8::/32", "3fff::/20")
# Where an IPv4 address lies in an IPv6 one, and at which byte.
_AROUND_V4 = (
    (ipaddress.IPv6Network("::ffff:0:0/96"), 12),
    (ipaddress.IPv6Network("64:ff9b::/96"), 12),
    (ipaddress.IPv6Network("2002::/16"), 2),
)


def is_public(text: str) -> bool:
    """Returns whether the address ``text`` is public. What is no address is not."""
    try:
        # An address with a zone is link-local.
        address = ipaddress.ip_address(text.split("%", 1)[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_V4)
    for network, at in _AROUND_V4:
        if address in network:
            return is_public(str(ipaddress.IPv4Address(address.packed[at : at + 4])))
    return address in _GLOBAL_V6 and not any(address in network for network in _NOT_PUBLIC_V6)
