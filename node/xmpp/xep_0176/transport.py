"""XEP-0176 section 5: transports as they are written, and read with suspicion."""

import ipaddress
import re
import secrets
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree as ET

from node.xmpp.attributes import (
    choice_untrusted,
    integer_untrusted,
    needed_integer_untrusted,
    text_untrusted,
)
from node.xmpp.xep_0176.stanza import NS, CandidateElement, RemoteCandidateElement, Transport
from node.xmpp.xep_0320.dtls_srtp import TAG as FINGERPRINT_TAG
from node.xmpp.xep_0320.dtls_srtp import Fingerprint, parse_fingerprint_untrusted
from overlay.core.errors import RemoteProtocolError

MAX_CANDIDATES: Final = 64
"""Of one transport; hosts with many addresses have a dozen, and each costs checks (RFC 8445
section 19.5.1)."""

TYPES: Final = frozenset({"host", "prflx", "relay", "srflx"})

# RFC 8839 section 5: ice-char, and how many of it.
_FOUNDATION: Final = re.compile(r"[A-Za-z0-9+/]{1,32}")
_UFRAG: Final = re.compile(r"[A-Za-z0-9+/]{4,256}")
_PASSWORD: Final = re.compile(r"[A-Za-z0-9+/]{22,256}")
_BROADCAST: Final = ipaddress.IPv4Address("255.255.255.255")


@dataclass(frozen=True)
class IceCandidate:
    """An address that an ICE agent may be reached at (RFC 8445 section 5.3)."""

    ip: str
    port: int
    type: str
    """host, srflx, prflx or relay."""
    priority: int
    foundation: str
    component: int = 1
    rel_addr: str | None = None
    """Where a reflexive or relayed address comes from; None: not told."""
    rel_port: int | None = None
    generation: int = 0

    def stanza(self) -> CandidateElement:
        """Return it as an element, with an id that is new."""
        element = CandidateElement()
        for name in ("component", "foundation", "generation", "ip", "port", "priority", "type"):
            element[name] = str(getattr(self, name))
        element["id"] = secrets.token_hex(5)
        element["network"] = "0"
        element["protocol"] = "udp"
        if self.rel_addr is not None and self.rel_port is not None:
            element["rel-addr"] = self.rel_addr
            element["rel-port"] = str(self.rel_port)
        return element


@dataclass(frozen=True)
class RemoteCandidate:
    """The address of the other side that was chosen for a component."""

    component: int
    ip: str
    port: int


@dataclass(frozen=True)
class IceTransport:
    """ICE-UDP: credentials and candidates, and with them the DTLS fingerprint (XEP-0320)."""

    ufrag: str | None = None
    """None: as told before; some leave it out when they trickle."""
    pwd: str | None = None
    candidates: tuple[IceCandidate, ...] = ()
    fingerprint: Fingerprint | None = None
    chosen: tuple[RemoteCandidate, ...] = ()

    def stanza(self) -> Transport:
        """Return it as an element."""
        transport = Transport()
        if self.ufrag is not None and self.pwd is not None:
            transport["ufrag"] = self.ufrag
            transport["pwd"] = self.pwd
        if self.fingerprint is not None:
            transport.append(self.fingerprint.stanza())
        for candidate in self.candidates:
            transport.append(candidate.stanza())
        for remote in self.chosen:
            element = RemoteCandidateElement()
            for name in ("component", "ip", "port"):
                element[name] = str(getattr(remote, name))
            transport.append(element)
        return transport


def parse_ice_transport_untrusted(transport: ET.Element) -> IceTransport:
    """Read a transport, without the candidates that nobody here could try.

    Raises:
        RemoteProtocolError: It is malformed.
    """
    ufrag = pwd = None
    if "ufrag" in transport.attrib or "pwd" in transport.attrib:
        ufrag = text_untrusted(transport, "ufrag", _UFRAG)
        pwd = text_untrusted(transport, "pwd", _PASSWORD)
    candidates: list[IceCandidate] = []
    fingerprints: list[Fingerprint] = []
    chosen: list[RemoteCandidate] = []
    for number, child in enumerate(transport):
        if number == 2 * MAX_CANDIDATES:
            raise RemoteProtocolError("too many children of a transport")
        if child.tag == FINGERPRINT_TAG:
            fingerprints.append(parse_fingerprint_untrusted(child))
        elif child.tag == f"{{{NS}}}candidate":
            if (candidate := _candidate(child)) is not None:
                candidates.append(candidate)
        elif child.tag == f"{{{NS}}}remote-candidate":
            component = needed_integer_untrusted(child, "component", 1, 256)
            port = needed_integer_untrusted(child, "port", 1, 65535)
            if (ip := usable_address(child.get("ip", ""))) is not None:
                chosen.append(RemoteCandidate(component, ip, port))
    if len(candidates) > MAX_CANDIDATES:
        raise RemoteProtocolError(f"more than {MAX_CANDIDATES} candidates")
    if len(fingerprints) > 1:
        raise RemoteProtocolError("two fingerprints")
    return IceTransport(
        ufrag, pwd, tuple(candidates), next(iter(fingerprints), None), tuple(chosen)
    )


def _candidate(element: ET.Element) -> IceCandidate | None:
    """A candidate; None if it is for other protocols, or has no address that can be tried."""
    component = needed_integer_untrusted(element, "component", 1, 256)
    port = needed_integer_untrusted(element, "port", 0, 65535)
    priority = needed_integer_untrusted(element, "priority", 0, 2**32 - 1)
    foundation = text_untrusted(element, "foundation", _FOUNDATION)
    kind = choice_untrusted(element, "type", TYPES)
    generation = integer_untrusted(element, "generation", 0, 255) or 0
    ip = usable_address(element.get("ip", ""))
    if ip is None or port == 0 or element.get("protocol", "udp").lower() != "udp":
        return None
    # For information only, so one that cannot be meant is left out.
    rel_addr = usable_address(element.get("rel-addr", ""))
    rel_port = integer_untrusted(element, "rel-port", 0, 65535)
    return IceCandidate(
        ip, port, kind, priority, foundation, component, rel_addr, rel_port, generation
    )


def usable_address(text: str) -> str | None:
    """The IP address that a text is, if it is one that a packet may be sent to.

    Host names are left out (RFC 8839 section 5.1 lets us, and who looks one up tells where it is),
    and so is what is no other host: loopback, multicast, broadcast and unspecified addresses.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    address = mapped or address
    if (
        address.is_loopback
        or address.is_multicast
        or address.is_unspecified
        or address == _BROADCAST
        or (isinstance(address, ipaddress.IPv6Address) and address.scope_id)
    ):
        return None
    return str(address)
