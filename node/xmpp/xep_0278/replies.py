"""XEP-0278: what other nodes send, read with suspicion.

Deployed relays leave out the namespace (as the XEP's own example does), ``id``, ``protocol`` or
``expire``; that is read. What cannot be meant is not: these parsers raise RemoteProtocolError.
"""

from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree as ET

from node.xmpp.attributes import integer_untrusted, local_name
from node.xmpp.errors import one_line
from node.xmpp.hosts import host6_untrusted, host_untrusted
from node.xmpp.xep_0278.stanza import SERVICES
from overlay.core.errors import RemoteProtocolError

DEFAULT_EXPIRE = 60
"""Seconds after which an unused channel ends if the relay does not say (XEP-0278 example 2)."""

MAX_EXPIRE = 7 * 86400
MAX_KBPS = 10_000_000
MAX_SECONDS = 2**31 - 1
MAX_PORT = 65534  # RTCP is one above
MAX_ID = 1023  # bytes of a JID's part (RFC 7622), for lack of another limit: ids are any text
MAX_ADDRESS = 3071  # bytes of a JID
MAX_SERVICES = 256
"""Entries of one tracker that are read: a client visits at most tens of them."""


@dataclass(frozen=True)
class ChannelOffer:
    """A channel that a relay has granted."""

    relay: str
    """The JID that granted it, as it was asked."""
    id: str | None
    """The relay's name for it; some relays give none."""
    host: str
    """The relay's IP address or host name."""
    localport: int
    """UDP port for the requester's RTP; RTCP is one above."""
    remoteport: int
    """UDP port for the peer's RTP; RTCP is one above."""
    maxkbps: int | None
    """Bandwidth limit, kbit/s; None: none."""
    expire: int
    """Seconds without a packet after which the relay ends the channel."""
    host6: str | None = None
    """The relay's IPv6 address, with the same ports; None if it names none besides the host."""


@dataclass(frozen=True)
class ServiceEntry:
    """One service that a tracker knows."""

    kind: str
    """relay, tracker, stun or turn."""
    address: str
    """A JID (relay, tracker) or a host (stun, turn)."""
    policy: Literal["public", "roster"] = "public"
    """``roster``: for the contacts of that relay, and not to be passed on."""
    protocol: str = "udp"
    """Transport; all deployed relays have udp."""
    port: int | None = None
    """Port of a STUN or TURN server; None: the default one."""


@dataclass(frozen=True)
class Killed:
    """Somebody says that a channel has ended: true if ``relay`` is who granted it."""

    relay: str
    """The full JID that says so."""
    id: str
    """The channel's id."""
    seconds: int | None
    """How long the channel lived, if told."""


def parse_channel_untrusted(iq: ET.Element, relay: str) -> ChannelOffer:
    """Read the answer to a channel request.

    Args:
        iq: The result stanza.
        relay: Who was asked.

    Raises:
        RemoteProtocolError: There is no channel in it, or none that could be used.
    """
    channel = _child(iq, "channel")
    if (protocol := channel.get("protocol", "udp")) != "udp":
        raise RemoteProtocolError(f"protocol {one_line(protocol)!r} where udp was asked for")
    channel_id = channel.get("id") or None
    if channel_id is not None and len(channel_id) > MAX_ID:
        raise RemoteProtocolError(f"an id of {len(channel_id)} characters")
    localport = integer_untrusted(channel, "localport", 1, MAX_PORT)
    remoteport = integer_untrusted(channel, "remoteport", 1, MAX_PORT)
    if localport is None or remoteport is None or localport == remoteport:
        raise RemoteProtocolError("no ports, or one for both ends")
    return ChannelOffer(
        relay=relay,
        id=channel_id,
        host=host_untrusted(channel.get("host", "")),
        localport=localport,
        remoteport=remoteport,
        maxkbps=integer_untrusted(channel, "maxkbps", 1, MAX_KBPS),
        expire=integer_untrusted(channel, "expire", 1, MAX_EXPIRE) or DEFAULT_EXPIRE,
        host6=host6_untrusted(channel.get("host6", "")),
    )


def parse_services_untrusted(iq: ET.Element) -> list[ServiceEntry]:
    """Read a tracker's answer, leaving out entries of other kinds and those without use.

    Args:
        iq: The result stanza.

    Returns:
        At most MAX_SERVICES entries in the tracker's order, no kind and address twice.

    Raises:
        RemoteProtocolError: There is no list of services in it.
    """
    entries: dict[tuple[str, str], ServiceEntry] = {}
    for element in _child(iq, "services"):
        kind = local_name(element)
        address = element.get("address", "")
        if (
            kind not in SERVICES
            or not 0 < len(address) <= MAX_ADDRESS
            or element.get("protocol", "udp") != "udp"
        ):
            continue
        try:
            port = integer_untrusted(element, "port", 1, 65535)
        except RemoteProtocolError:
            continue
        # Whatever is not said to be public is not passed on.
        policy: Literal["public", "roster"] = (
            "public" if element.get("policy") == "public" else "roster"
        )
        entries.setdefault((kind, address), ServiceEntry(kind, address, policy, port=port))
        if len(entries) == MAX_SERVICES:
            break
    return list(entries.values())


def parse_killed_untrusted(event: ET.Element, sender: str) -> Killed:
    """Read an event about a channel.

    Args:
        event: The channel element of the event namespace.
        sender: Who sent it.

    Raises:
        RemoteProtocolError: It is another event, or it does not say of which channel.
    """
    if event.get("event") != "killed":
        raise RemoteProtocolError("an event other than killed")
    channel_id = channel_id_untrusted(event)
    try:
        seconds = integer_untrusted(event, "time", 0, MAX_SECONDS)
    except RemoteProtocolError:
        seconds = None  # the Erlang relay sends fractions; nobody needs the figure
    return Killed(sender, channel_id, seconds)


def channel_id_untrusted(event: ET.Element) -> str:
    """The channel that an event, or a question about one, names.

    Raises:
        RemoteProtocolError: It names none.
    """
    channel_id = event.get("id", "")
    if not 0 < len(channel_id) <= MAX_ID:
        raise RemoteProtocolError("no id, or one that is too long")
    return channel_id


def _child(iq: ET.Element, name: str) -> ET.Element:
    for element in iq:
        if local_name(element) == name:
            return element
    raise RemoteProtocolError(f"an answer without <{name}/>")
