"""The router through which this machine's packets leave, and our address toward it."""

import ipaddress
import socket
import struct
from pathlib import Path
from typing import Final

from node.nat.mapping.router import MappingError

_ROUTES: Final = Path("/proc/self/net/route")  # not /proc/net: a hardened service has none
_UP_AND_GATEWAY: Final = 0x0003  # RTF_UP, RTF_GATEWAY of linux/route.h


def default_gateway() -> str:
    """Return the IPv4 address of the default gateway.

    Raises:
        MappingError: There is none.
    """
    try:
        host = parse_routes(_ROUTES.read_text())
    except OSError as error:
        raise MappingError(f"the routes are not to be read: {error.strerror}") from error
    if host is None:
        raise MappingError("this machine has no default gateway")
    return host


def parse_routes(text: str) -> str | None:
    """Return the gateway of the default route of the lowest metric, from Linux's table."""
    gateways = []
    for line in text.splitlines()[1:]:
        _, destination, gateway, flags, _, _, metric, mask, *_ = line.split()
        is_default = int(destination, 16) == int(mask, 16) == 0
        if is_default and int(flags, 16) & _UP_AND_GATEWAY == _UP_AND_GATEWAY:
            # Addresses are written as the machine holds them in a word.
            packed = struct.pack("=I", int(gateway, 16))
            gateways.append((int(metric), str(ipaddress.IPv4Address(packed))))
    return min(gateways, default=(0, None))[1]


def own_host_toward(host: str) -> str:
    """Return the address that this machine has toward a host; nothing is sent.

    Raises:
        MappingError: There is no way to it.
    """
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        try:
            sock.connect((host, 9))
        except OSError as error:
            raise MappingError(f"no way to {host}: {error.strerror}") from error
        own: str = sock.getsockname()[0]
        return own
