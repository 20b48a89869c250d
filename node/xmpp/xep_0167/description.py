"""XEP-0167 sections 4 and 8: descriptions and infos, written, and read with suspicion."""

import re
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree as ET

from node.xmpp.attributes import (
    choice_untrusted,
    integer_untrusted,
    local_name,
    needed_integer_untrusted,
    text_untrusted,
)
from node.xmpp.xep_0167.stanza import (
    INFOS,
    NS,
    DescriptionElement,
    InfoElement,
    ParameterElement,
    PayloadTypeElement,
)
from overlay.core.errors import RemoteProtocolError

MAX_PAYLOAD_TYPES: Final = 128  # RFC 3550: seven bits
MAX_PARAMETERS: Final = 32  # of one payload type
MAX_CHILDREN: Final = 256  # of a description; header extensions and feedback are not read here

_VALUE: Final = re.compile(r"[^\x00-\x1f\x7f;]{0,256}")  # goes into a line of SDP, between ";"
_NAMED: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]{0,64}")  # a token, RFC 8866 section 9
_MEDIA: Final = re.compile(r"[a-z]{1,16}")
_CREATORS: Final = frozenset({"initiator", "responder"})


@dataclass(frozen=True)
class PayloadType:
    """A format (RFC 8866 section 6.6): number, name, clock rate in Hz, channels, parameters."""

    id: int
    name: str
    clockrate: int | None = None
    """None: that of the static payload type (RFC 3551)."""
    channels: int = 1
    parameters: tuple[tuple[str, str], ...] = ()
    ptime: int | None = None
    """Milliseconds of a packet."""
    maxptime: int | None = None

    def stanza(self) -> PayloadTypeElement:
        """Return it as an element."""
        element = PayloadTypeElement()
        element["id"] = str(self.id)
        if self.name:
            element["name"] = self.name
        for name in ("clockrate", "ptime", "maxptime"):
            if (value := getattr(self, name)) is not None:
                element[name] = str(value)
        if self.channels != 1:
            element["channels"] = str(self.channels)
        for name, text in self.parameters:
            parameter = ParameterElement()
            parameter["name"] = name
            parameter["value"] = text
            element.append(parameter)
        return element


@dataclass(frozen=True)
class RtpDescription:
    """What media is sent, and in which formats, the best first."""

    media: str
    """audio or video."""
    payload_types: tuple[PayloadType, ...]
    rtcp_mux: bool = True
    """RTCP goes with RTP over one port (RFC 5761)."""
    ssrc: int | None = None

    def stanza(self) -> DescriptionElement:
        """Return it as an element."""
        element = DescriptionElement()
        element["media"] = self.media
        if self.ssrc is not None:
            element["ssrc"] = str(self.ssrc)
        for payload_type in self.payload_types:
            element.append(payload_type.stanza())
        if self.rtcp_mux:
            element["rtcp-mux"] = True
        return element


@dataclass(frozen=True)
class RtpInfo:
    """What session-info tells: active, hold, mute, ringing, unhold or unmute."""

    kind: str
    content: tuple[str, str] | None = None
    """Creator and name of the content that mute and unmute are about; None: all."""

    def stanza(self) -> InfoElement:
        """Return it as an element."""
        element = INFOS[self.kind]()
        if self.content is not None:
            element["creator"], element["name"] = self.content
        return element


def parse_description_untrusted(description: ET.Element) -> RtpDescription:
    """Read a description.

    Raises:
        RemoteProtocolError: It is malformed.
    """
    if len(description) > MAX_CHILDREN:
        raise RemoteProtocolError(f"more than {MAX_CHILDREN} children of a description")
    payload_types: dict[int, PayloadType] = {}
    for element in description.iterfind(f"{{{NS}}}payload-type"):
        payload_type = _payload_type(element)
        if payload_type.id in payload_types:
            raise RemoteProtocolError("two payload types of one id")
        payload_types[payload_type.id] = payload_type
    return RtpDescription(
        text_untrusted(description, "media", _MEDIA),
        tuple(payload_types.values()),
        description.find(f"{{{NS}}}rtcp-mux") is not None,
        integer_untrusted(description, "ssrc", 0, 2**32 - 1),
    )


def _payload_type(element: ET.Element) -> PayloadType:
    number = needed_integer_untrusted(element, "id", 0, MAX_PAYLOAD_TYPES - 1)
    name = text_untrusted(element, "name", _NAMED)
    if not name and number >= 96:
        raise RemoteProtocolError("a dynamic payload type without a name")  # section 4.1
    parameters = [
        (text_untrusted(child, "name", _NAMED), text_untrusted(child, "value", _VALUE))
        for child in element.iterfind(f"{{{NS}}}parameter")
    ]
    if len(parameters) > MAX_PARAMETERS:
        raise RemoteProtocolError(f"more than {MAX_PARAMETERS} parameters")
    return PayloadType(
        number,
        name,
        integer_untrusted(element, "clockrate", 1, 1_000_000),
        integer_untrusted(element, "channels", 1, 255) or 1,
        tuple(parameters),
        integer_untrusted(element, "ptime", 1, 10_000),
        integer_untrusted(element, "maxptime", 1, 10_000),
    )


def parse_info_untrusted(element: ET.Element) -> RtpInfo:
    """Read what session-info tells.

    Raises:
        RemoteProtocolError: It is malformed.
    """
    content = None
    if "name" in element.attrib:
        name = element.attrib["name"]
        if not 0 < len(name) <= 256:
            raise RemoteProtocolError("a name that is empty or too long")
        content = choice_untrusted(element, "creator", _CREATORS), name
    return RtpInfo(local_name(element), content)
