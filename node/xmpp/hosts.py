"""Hosts that strangers name."""

import ipaddress
import re

from node.xmpp.errors import one_line
from overlay.core.errors import RemoteProtocolError

_LABEL = "[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"  # RFC 1123 section 2.1
BROADCAST = ipaddress.IPv4Address("255.255.255.255")

_HOST_NAME = re.compile(rf"(?=.{{1,254}}$){_LABEL}(?:\.{_LABEL})*\.?")


def host_untrusted(text: str) -> str:
    """The IP address, without brackets, or the name that a text is.

    Raises:
        RemoteProtocolError: It is none of a machine.
    """
    text = text.strip()
    try:
        address = ipaddress.ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        # A name has a letter somewhere: 1.2.3 and 999.1.1.1 are neither names nor addresses.
        if _HOST_NAME.fullmatch(text) and not text.replace(".", "").isdecimal():
            return text
    else:
        zoned = isinstance(address, ipaddress.IPv6Address) and address.scope_id
        if not (address.is_unspecified or address.is_multicast or address == BROADCAST or zoned):
            return str(address)
    raise RemoteProtocolError(f"host {one_line(text)!r}")


def host6_untrusted(text: str) -> str | None:
    """The IPv6 address that a text is; None for none.

    Raises:
        RemoteProtocolError: It is something else.
    """
    if not text.strip():
        return None
    host = host_untrusted(text)
    if ":" not in host:
        raise RemoteProtocolError(f"host6 {one_line(text)!r}")
    return host
