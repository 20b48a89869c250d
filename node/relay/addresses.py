"""Addresses of the peers of a channel, and which of them a relay may send to.

A relay sends to whatever address its port has latched. An address that is not globally routable
would aim it at the volunteer's own network (RFC 8656 section 21.2.1 for the same in TURN).
"""

import ipaddress
from typing import Any

Address = tuple[str, int]
"""Host (an IPv4 address, or an IPv6 one that is not IPv4-mapped) and port."""

IPV4_MAPPED = "::ffff:"
"""What an IPv4 address has before it where a dual-stack socket shows it."""

_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")  # RFC 4291 section 2.4; IANA assigns no other
_PROTOCOL_ASSIGNMENTS = ipaddress.IPv4Network("192.0.0.0/24")  # RFC 6890; not all known to Python


def address_of(sockaddr: tuple[Any, ...]) -> Address:
    """The address in a socket address; a dual-stack socket shows IPv4 as IPv4-mapped IPv6."""
    host: str = sockaddr[0]
    if host.startswith(IPV4_MAPPED) and "." in host:
        host = host.removeprefix(IPV4_MAPPED)
    return host, sockaddr[1]


def is_public(address: Address) -> bool:
    """Whether an address is a unicast one that the whole Internet can reach.

    Refuses private, loopback, link-local, multicast, unspecified, reserved and documentation
    ranges, IPv6 that embeds such an IPv4 address (mapped; 6to4, RFC 3056), and port 0.
    """
    host, port = address
    ip = ipaddress.ip_address(host)
    if isinstance(ip, ipaddress.IPv6Address):
        embedded = ip.ipv4_mapped or ip.sixtofour
        if embedded is not None:
            ip = embedded
        elif ip not in _GLOBAL_UNICAST:
            return False
    return port != 0 and ip.is_global and not ip.is_multicast and ip not in _PROTOCOL_ASSIGNMENTS
