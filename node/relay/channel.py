"""One channel: which packets are taken from whom, and what is passed on (XEP-0278 section 3).

A channel has two legs of two components each, on four ports:

    P    requester RTP (`localport`)        P+2  peer RTP (`remoteport`)
    P+1  requester RTCP                     P+3  peer RTCP

A port is named by its offset from P; `offset ^ 2` is the other leg's port of the same component,
where its packets go out. Each port *latches* onto the first source that sends to it, as the XEP
has it, and unlike the XEP it locks: another source is taken only after the latched one has been
silent for a while, so that nobody can steal a live stream.

No I/O and no clock: packets, and the time in seconds, come in; packets to send come out.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Protocol

from node.relay.addresses import Address, is_public
from node.relay.budget import Budget, TokenBucket, bandwidth
from node.relay.drop import Drop

PORTS = 4
"""Ports of a channel: two legs of two components."""

MAX_HELD = 1500
"""Bytes: the longest packet kept for a leg that has not latched; Ethernet carries no longer one."""


@dataclass(frozen=True, kw_only=True)
class ChannelRules:
    """What a channel may do, and for how long."""

    expire: float = 60.0
    """Seconds without a packet from either side after which a channel closes (XEP-0278: 60)."""

    maxkbps: int | None = None
    """Kilobits (1000 bit) of UDP payload a second, in each direction; None: not limited."""

    allow_private_peers: bool = False
    """Whether sources that are not globally routable may be latched: for labs only."""

    relatch_after: float = 2.0
    """Seconds of silence of the latched source after which any other one is taken."""

    rebind_after: float = 0.5
    """The same for another port of the same IP address: a NAT that has rebound its mapping."""

    def __post_init__(self) -> None:
        if self.expire <= 0:
            raise ValueError(f"expire is {self.expire}: give a number of seconds above 0")
        if self.maxkbps is not None and self.maxkbps <= 0:
            raise ValueError(f"maxkbps is {self.maxkbps}: give a number above 0, or none")
        if not 0 < self.rebind_after <= self.relatch_after:
            raise ValueError("rebind_after must be above 0 and at most relatch_after")


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """What was carried: packets and UDP payload bytes that were passed on."""

    requester_packets: int = 0
    """From requesters to their peers."""
    requester_bytes: int = 0
    peer_packets: int = 0
    """From peers to requesters."""
    peer_bytes: int = 0
    drops: Mapping[str, int] = field(default_factory=dict)
    """Packets that were not passed on, by `Drop`; those `unsent` are counted above as well."""

    @property
    def size(self) -> int:
        """Bytes in both directions."""
        return self.requester_bytes + self.peer_bytes

    def __add__(self, other: "Traffic") -> "Traffic":
        return Traffic(
            requester_packets=self.requester_packets + other.requester_packets,
            requester_bytes=self.requester_bytes + other.requester_bytes,
            peer_packets=self.peer_packets + other.peer_packets,
            peer_bytes=self.peer_bytes + other.peer_bytes,
            drops=dict(Counter(self.drops) + Counter(other.drops)),
        )


@dataclass(frozen=True, kw_only=True)
class ChannelStats(Traffic):
    """What a channel has carried."""

    idle: float
    """Seconds since the last packet from either side."""


class Port:
    """One of the four ports of a channel: whom it has latched onto, and what came in there.

    A forwarder that lets the kernel filter sources writes `heard` and calls `admit` by itself for
    each packet of the latched source; all else goes through `Channel.receive`. While nothing limits
    what passes (`is_limited`, `budget.unlimited`) it may count it by itself, too.
    """

    __slots__ = ("_bucket", "_drops", "budget", "bytes", "heard", "held", "packets", "source")

    def __init__(self, bucket: TokenBucket | None, budget: Budget, drops: Counter[str]) -> None:
        self._bucket = bucket
        self.budget = budget
        self._drops = drops
        self.source: Address | None = None
        self.heard = -inf
        self.packets = 0
        self.bytes = 0
        self.held: bytes | None = None

    def latch(self, source: Address, now: float, rules: ChannelRules) -> bool:
        """Whether a packet from `source` is taken; latches onto it if it is new."""
        if self.source is not None and source != self.source:
            same_host = source[0] == self.source[0]
            lock = rules.rebind_after if same_host else rules.relatch_after
            if now - self.heard < lock:
                return False
        self.source = source
        self.heard = now
        return True

    @property
    def is_limited(self) -> bool:
        """Whether the port has a limit of its own, besides what it shares with all."""
        return self._bucket is not None

    def admit(self, size: int, now: float) -> bool:
        """Whether the channel's and the node's limits let a packet pass, which is then counted."""
        if self._bucket is not None and not self._bucket.take(size, now):
            self._drops[Drop.MAXKBPS] += 1
            return False
        lack = self.budget.take(size, now)
        if lack is not None:
            self._drops[lack] += 1
            return False
        self.packets += 1
        self.bytes += size
        return True

    def count(self, packets: int, size: int) -> None:
        """Count packets, of `size` bytes together, that the kernel has passed on by itself."""
        if self._bucket is not None:
            self._bucket.charge(size)
        self.budget.charge(size)
        self.packets += packets
        self.bytes += size

    def hold(self, payload: bytes) -> None:
        """Keep a packet until the other leg has latched: the latest one, if it is short enough."""
        if self.held is not None or len(payload) > MAX_HELD:
            self._drops[Drop.NO_PEER] += 1
        if len(payload) <= MAX_HELD:
            self.held = payload


class Channel:
    """The state of a channel.

    Args:
        rules: what the channel may do.
        now: seconds; the channel counts as active when it opens.
        budget: what it shares with other channels; by default it has one of its own, unlimited.
    """

    def __init__(self, rules: ChannelRules, now: float, budget: Budget | None = None) -> None:
        self.rules = rules
        self.drops: Counter[str] = Counter()
        self._touched = now
        budget = budget or Budget()
        requester, peer = bandwidth(rules.maxkbps, now), bandwidth(rules.maxkbps, now)
        self.ports = tuple(
            Port(bucket, budget, self.drops) for bucket in (requester, requester, peer, peer)
        )

    def receive(
        self, offset: int, payload: bytes, source: Address, now: float, *, is_own: bool = False
    ) -> list[tuple[int, bytes]]:
        """A packet that came in at a port.

        An empty packet shows that somebody still wants the channel, and does nothing else: it
        carries no media, so it neither latches nor is passed on.

        Args:
            offset: of the port where it came in.
            payload: of the UDP datagram.
            source: of the datagram.
            now: seconds.
            is_own: whether the source is an allocation of this relay.

        Returns:
            Packets to send: the offset of the port to send from, to the source that this port has
            latched, and the payload.
        """
        port, opposite = self.ports[offset], self.ports[offset ^ 2]
        if source != port.source and not (
            is_own or self.rules.allow_private_peers or is_public(source)
        ):
            self.drops[Drop.PRIVATE] += 1
            return []
        if not payload:
            self.touch(now)
            return []
        if not port.latch(source, now, self.rules):
            self.drops[Drop.LOCKED] += 1
            return []
        outgoing = []
        if opposite.held is not None:
            if opposite.admit(len(opposite.held), now):
                outgoing.append((offset, opposite.held))
            opposite.held = None
        if opposite.source is None:
            port.hold(payload)
        elif port.admit(len(payload), now):
            outgoing.append((offset ^ 2, payload))
        return outgoing

    def touch(self, now: float) -> None:
        """Somebody still wants the channel at `now` (seconds)."""
        self._touched = now

    @property
    def expires_at(self) -> float:
        """When the channel expires if no packet comes: seconds."""
        return self._active_at + self.rules.expire

    @property
    def _active_at(self) -> float:
        return max(self._touched, *(port.heard for port in self.ports))

    def stats(self, now: float) -> ChannelStats:
        """What the channel has carried until `now` (seconds)."""
        rtp, rtcp, peer_rtp, peer_rtcp = self.ports
        return ChannelStats(
            requester_packets=rtp.packets + rtcp.packets,
            requester_bytes=rtp.bytes + rtcp.bytes,
            peer_packets=peer_rtp.packets + peer_rtcp.packets,
            peer_bytes=peer_rtp.bytes + peer_rtcp.bytes,
            idle=now - self._active_at,
            drops=dict(self.drops),
        )


class Counted(Protocol):
    """What counts as a channel does: the ports in that order, and what was dropped."""

    @property
    def ports(self) -> tuple[Port, ...]:
        """The four."""

    @property
    def drops(self) -> Mapping[str, int]:
        """Packets that were not passed on, by `Drop`."""


def total(channels: Iterable[Counted]) -> Traffic:
    """What channels together have carried: asked for while media waits, so nothing is built."""
    packets = size = peer_packets = peer_size = 0
    drops: Counter[str] = Counter()
    for channel in channels:
        rtp, rtcp, peer_rtp, peer_rtcp = channel.ports
        packets += rtp.packets + rtcp.packets
        size += rtp.bytes + rtcp.bytes
        peer_packets += peer_rtp.packets + peer_rtcp.packets
        peer_size += peer_rtp.bytes + peer_rtcp.bytes
        for reason, count in channel.drops.items():
            drops[reason] += count
    return Traffic(
        requester_packets=packets,
        requester_bytes=size,
        peer_packets=peer_packets,
        peer_bytes=peer_size,
        drops=dict(drops),  # asdict, of dataclasses, breaks a Counter
    )
