"""Endpoints: normal form, compact form (BEP 5, BEP 32), and the networks that they count for.

Every address in the core is a ``(host, port)`` pair of a textual IP address and a UDP port.
IPv4-mapped IPv6 addresses (RFC 4291 section 2.5.5.2) are always written as IPv4, so that a
dual-stack socket and an IPv4 one give a peer the same name.
"""

import ipaddress
import struct

from overlay.core.errors import RemoteProtocolError
from overlay.core.remembering import remembered

Address = tuple[str, int]

COMPACT_IPV4 = 6
COMPACT_IPV6 = 18

# Sizes, in bytes, of the prefixes that one party is likely to own: IPv4 /24, IPv6 /48.
_NETWORK_IPV4 = 3
_NETWORK_IPV6 = 6
# RFC 6177, RFC 4291: the smallest IPv6 prefix that is handed out, and all of it to one host.
_HOST_IPV6 = 8
_LOOPBACK = b"loopback"
_LOOPBACK_IPV6 = bytes(15) + b"\1"


def _parse_host(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    ip = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    return ip


@remembered
def _host_facts(host: str) -> tuple[bytes, bool]:
    """Packed form of `host`, and whether it lies outside of the public Internet."""
    ip = _parse_host(host)
    return ip.packed, not ip.is_global


def normalise(host: str, port: int) -> Address:
    """Return the one name of an endpoint: no mapped IPv4, no zone, shortest spelling.

    Raises:
        ValueError: `host` is not an IP address.
    """
    return _normalised((host, port))


@remembered
def _normalised(address: Address) -> Address:
    return str(_parse_host(address[0])), address[1]


def pack_host(host: str) -> bytes:
    """Return the 4 or 16 bytes of an IP address."""
    return _host_facts(host)[0]


def is_private(host: str) -> bool:
    """Whether `host` is private, loopback, link-local or otherwise not a public address.

    Such addresses exist in labs and on local networks. They are exempt from the rules that
    rest on an address being scarce (ids bound to addresses, caps per network).
    """
    return _host_facts(host)[1]


def is_ipv6(host: str) -> bool:
    """Whether a normalised `host` is an IPv6 address."""
    return ":" in host


@remembered
def network_of(address: Address) -> bytes:
    """Return the network that an endpoint counts for in caps, quotas and samples.

    That is the /24 of an IPv4 and the /48 of an IPv6 address. A private endpoint stands for
    itself, address and port, so that a network of many peers can live on one machine.
    """
    packed, private = _host_facts(address[0])
    if private:
        return packed + struct.pack("!H", address[1])
    return packed[: _NETWORK_IPV4 if len(packed) == 4 else _NETWORK_IPV6]


def subnet_of(host: str) -> bytes:
    """Return the /24 or /48 that a host is in, public or private; loopback is one network."""
    packed = pack_host(host)
    if _is_loopback(packed):
        return _LOOPBACK
    return packed[: _NETWORK_IPV4 if len(packed) == 4 else _NETWORK_IPV6]


@remembered
def source_of(address: Address) -> bytes:
    """Return the key under which traffic from an endpoint is limited: one per host.

    That is an IPv4 address or an IPv6 /64. As in `network_of`, a private endpoint stands for
    itself.
    """
    packed, private = _host_facts(address[0])
    return packed + struct.pack("!H", address[1]) if private else packed[:_HOST_IPV6]


def host_of(address: Address) -> bytes:
    """Return the key of the machine behind an endpoint: its IPv4 address or IPv6 /64.

    On the loopback interface a process is a host, and an endpoint stands for itself.
    """
    packed = pack_host(address[0])
    if _is_loopback(packed):
        return packed + struct.pack("!H", address[1])
    return packed[:_HOST_IPV6]


def _is_loopback(packed: bytes) -> bool:
    return packed[0] == 127 if len(packed) == 4 else packed == _LOOPBACK_IPV6


@remembered
def encode_endpoint(address: Address) -> bytes:
    """Return the compact form of an endpoint: 6 bytes for IPv4, 18 for IPv6."""
    return pack_host(address[0]) + struct.pack("!H", address[1])


@remembered
def decode_endpoint_untrusted(data: bytes) -> Address:
    """Read a compact endpoint.

    Raises:
        RemoteProtocolError: Wrong length, port 0, or an address that no peer can have.
    """
    port = int.from_bytes(data[-2:], "big")
    if port == 0:
        raise RemoteProtocolError("endpoint without a port")
    if len(data) == COMPACT_IPV4:
        # 0.0.0.0/8, 224.0.0.0/4 and above: unspecified, multicast, reserved, broadcast.
        if data[0] == 0 or data[0] >= 224:
            raise RemoteProtocolError("endpoint is not a unicast address")
        return f"{data[0]}.{data[1]}.{data[2]}.{data[3]}", port
    if len(data) == COMPACT_IPV6:
        ip = ipaddress.IPv6Address(data[:-2])
        if ip.is_unspecified or ip.is_multicast or ip.ipv4_mapped is not None:
            raise RemoteProtocolError("endpoint is not a unicast address")
        return str(ip), port
    raise RemoteProtocolError(f"endpoint of {len(data)} bytes")


def format_address(address: Address) -> str:
    """Return `host:port`, with brackets around an IPv6 host (RFC 3986 section 3.2.2)."""
    host, port = address
    return f"[{host}]:{port}" if is_ipv6(host) else f"{host}:{port}"
