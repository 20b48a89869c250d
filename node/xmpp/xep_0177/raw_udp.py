"""XEP-0177: Jingle Raw UDP Transport Method: the plugin, and transports as they are read."""

import secrets
from dataclasses import dataclass
from typing import ClassVar, Final
from xml.etree import ElementTree as ET

from slixmpp.plugins import BasePlugin
from slixmpp.xmlstream import register_stanza_plugin

from node.xmpp.attributes import choice_untrusted, integer_untrusted, needed_integer_untrusted
from node.xmpp.errors import one_line
from node.xmpp.xep_0166 import jingle_of
from node.xmpp.xep_0166.stanza import Content
from node.xmpp.xep_0176.transport import TYPES, usable_address
from node.xmpp.xep_0177 import stanza
from node.xmpp.xep_0177.stanza import NS, RawCandidateElement, RawTransportElement
from overlay.core.errors import RemoteProtocolError

MAX_COMPONENTS: Final = 8  # RTP and RTCP are two


@dataclass(frozen=True)
class RawCandidate:
    """Where media of a component is to be sent."""

    component: int
    ip: str
    port: int
    type: str | None = None
    """host, srflx, prflx or relay, if told."""
    generation: int = 0

    def stanza(self) -> RawCandidateElement:
        """Return it as an element, with an id that is new."""
        element = RawCandidateElement()
        for name in ("component", "generation", "ip", "port"):
            element[name] = str(getattr(self, name))
        element["id"] = secrets.token_hex(5)
        if self.type is not None:
            element["type"] = self.type
        return element


@dataclass(frozen=True)
class RawTransport:
    """Raw UDP: one address for each component."""

    candidates: tuple[RawCandidate, ...] = ()

    def stanza(self) -> RawTransportElement:
        """Return it as an element."""
        transport = RawTransportElement()
        for candidate in self.candidates:
            transport.append(candidate.stanza())
        return transport


def parse_raw_transport_untrusted(transport: ET.Element) -> RawTransport:
    """Read a transport.

    Raises:
        RemoteProtocolError: It is malformed, or an address is none that media may be sent to:
            here nothing is checked before it is used.
    """
    candidates: dict[int, RawCandidate] = {}
    for child in transport:
        if child.tag != f"{{{NS}}}candidate":
            continue
        component = needed_integer_untrusted(child, "component", 1, 256)
        if component in candidates or len(candidates) == MAX_COMPONENTS:
            raise RemoteProtocolError("two candidates of a component, or too many of them")
        if (ip := usable_address(child.get("ip", ""))) is None:
            raise RemoteProtocolError(f"ip {one_line(child.get('ip', ''))!r}")
        port = needed_integer_untrusted(child, "port", 1, 65535)
        kind = choice_untrusted(child, "type", TYPES) if "type" in child.attrib else None
        generation = integer_untrusted(child, "generation", 0, 255) or 0
        candidates[component] = RawCandidate(component, ip, port, kind, generation)
    return RawTransport(tuple(candidates.values()))


class XEP_0177(BasePlugin):  # noqa: N801  (slixmpp finds plugins by this name)
    """XEP-0177: Jingle Raw UDP Transport Method."""

    name = "xep_0177"
    description = "XEP-0177: Jingle Raw UDP Transport Method"
    dependencies: ClassVar[set[str]] = {"xep_0166"}
    stanza = stanza

    def plugin_init(self) -> None:
        """Have Jingle read this transport.

        The feature is not shown by itself: who asks for it wants media without encryption.
        """
        jingle = jingle_of(self.xmpp)
        jingle.parsers[f"{{{NS}}}transport"] = parse_raw_transport_untrusted
        register_stanza_plugin(Content, RawTransportElement)
        register_stanza_plugin(RawTransportElement, RawCandidateElement, iterable=True)

    def plugin_end(self) -> None:
        """Undo plugin_init."""
        jingle_of(self.xmpp).parsers.pop(f"{{{NS}}}transport", None)
