"""What a relay tells of channels: granted, open, and ended."""

from dataclasses import dataclass

from node.relay.channel import ChannelStats
from node.relay.forwarders.base import Reason


@dataclass(frozen=True)
class ChannelGrant:
    """A channel for its requester, as XEP-0278 section 3 describes it."""

    id: str
    """An unguessable Nmtoken."""
    host: str
    """The relay's public address."""
    localport: int
    """Where the requester sends RTP; RTCP goes to the next one."""
    remoteport: int
    """Where the requester's peer sends RTP; RTCP goes to the next one."""
    maxkbps: int | None
    """Kilobits a second in each direction; None: not limited."""
    expire: int
    """Seconds without a packet after which the channel closes."""
    host6: str | None = None
    """The relay's public IPv6 address, with the same ports, if `host` is an IPv4 one."""


@dataclass(frozen=True)
class ChannelClosed:
    """A channel has ended, and its ports are closed."""

    id: str
    requester: str
    """The full JID that asked for the channel, as it was written."""
    reason: Reason
    seconds: int
    """How long the channel lived."""
    stats: ChannelStats | None
    """What it carried; None if that was lost in a crash."""


@dataclass(frozen=True)
class ChannelStatus:
    """An open channel."""

    id: str
    requester: str
    localport: int
    seconds: float
    """Since it opened."""
    stats: ChannelStats | None
    """What it has carried; None if the forwarder did not say in time."""
