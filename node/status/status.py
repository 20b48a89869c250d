"""The snapshot of a node that everything shown is made of.

Its fields are the keys of `/status.json`, which stay as they are from version to version; new ones
may come. No address and no JID of anybody else is among them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Result = Literal["ok", "warning", "failed", "unknown"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """Whether one thing is as it should be."""

    name: str
    """What was looked at, such as: reachable over IPv4."""
    result: Result
    """warning: it works, but not as well as it could. unknown: it is too early to tell."""
    meaning: str
    """What that means for who runs the node."""
    remedy: str = ""
    """What to do; empty if nothing is to be done."""


@dataclass(frozen=True, kw_only=True)
class Forwarder:
    """What moves the packets."""

    name: str
    ready: bool
    """Whether it can take channels."""
    lacks: str = ""
    """What it would take to have the kernel forward all that it can; empty: nothing, or it is not
    to."""


@dataclass(frozen=True, kw_only=True)
class Channels:
    """Channels, and the requests for them since the start."""

    open: int
    capacity: int
    """Channels open at once, at most."""
    free: float
    """Share of the capacity that is offered to others: 0 to 1."""
    granted: int
    refused: Mapping[str, int]
    """Requests by the condition of the stanza error that answered them."""
    ended: Mapping[str, int]
    """Channels by the reason of their end."""


@dataclass(frozen=True, kw_only=True)
class Direction:
    """What was passed on in one direction of all channels, as UDP payload."""

    bytes: int
    """Since the start."""
    packets: int
    """Since the start."""
    rate: float
    """Bytes a second, over the latest interval of the history."""


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """What all channels carry."""

    to_peers: Direction
    """From those who hold channels to the other ends of their calls."""
    to_requesters: Direction
    """Back to them."""
    dropped: Mapping[str, int]
    """Packets that were not passed on since the start, by the reason."""


@dataclass(frozen=True, kw_only=True)
class Lifetime:
    """What the node has given since it first ran with its state directory."""

    bytes: int
    """UDP payload passed on in both directions, each byte once."""
    since: str
    """ISO 8601, UTC."""


@dataclass(frozen=True, kw_only=True)
class QuotaUse:
    """The volume that may be passed on in a day or a month."""

    name: str
    """As it was set, such as 50GB/month."""
    bytes: int
    used: int
    """Bytes that were passed on; the latest of them, 0.025 % of the quota at most, may lack."""
    ends: str
    """When the count begins anew: ISO 8601, UTC."""
    reserved: int = 0
    """Bytes besides that are handed out to the forwarder; what it leaves of them comes back."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the node's owner lends, and to whom."""

    policy: str
    """public or roster."""
    allowed: int
    """JIDs and domains that it lends to, and else to nobody; 0 is no such limit."""
    denied: int
    """JIDs and domains that it never lends to."""
    channels: int
    channels_per_jid: int
    channels_per_domain: int
    requests_per_minute: int
    """Of one bare JID."""
    maxkbps: int | None
    """Of each channel and direction, kbit/s; null is not limited."""
    node_kbps: int | None
    """Of all channels together, kbit/s."""
    expire: float
    """Seconds of silence after which a channel ends."""
    quota: str | None
    hours: str | None
    """When it lends, local time; null is always."""


@dataclass(frozen=True, kw_only=True)
class Reach:
    """Whether strangers reach the node over one address family."""

    family: Literal["IPv4", "IPv6"]
    verdict: str
    """unknown, reachable or unreachable."""
    heard: int
    """Strangers of late that were sent, and came through."""
    missed: int
    """Strangers of late that were sent, and did not."""


@dataclass(frozen=True, kw_only=True)
class Overlay:
    """The node as a peer among others."""

    peer_id: str
    """40 hexadecimal digits."""
    neighbours: int
    """Contacts in its routing tables."""
    reachability: tuple[Reach, ...]
    events: Mapping[str, int]
    """What was sent, received, answered, dropped, refused or timed out since the start, by name."""


@dataclass(frozen=True, kw_only=True)
class History:
    """The latest five minutes at most; one entry for each interval, the oldest first."""

    interval: float
    """Seconds."""
    to_peers: tuple[float, ...]
    """Bytes a second."""
    to_requesters: tuple[float, ...]
    """Bytes a second."""
    channels: tuple[int, ...]
    """Channels that were open."""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """The TURN server that browsers use."""

    address: str
    """host:port."""
    allocations: int
    """Of the channels that are open, those that are allocations of our own server."""
    credentials: int
    """Handed out since the start."""


@dataclass(frozen=True, kw_only=True)
class Status:
    """A node at one moment."""

    version: str
    time: str
    """ISO 8601, UTC."""
    uptime: float
    """Seconds since the start."""
    jid: str
    """Address to ask for channels."""
    public_address: str
    """host:port of the overlay and STUN; the channels are on the same host."""
    relay_ports: str
    """Range of the channels' UDP ports."""
    forwarder: Forwarder
    channels: Channels
    traffic: Traffic
    lifetime: Lifetime
    quota: QuotaUse | None
    limits: Limits
    overlay: Overlay
    checks: tuple[Check, ...]
    history: History
    turn: Turn | None = None
