"""An allocation and what it lets through: permissions and channels (RFC 8656 sections 7, 9, 12).

No I/O and no clock: the time in seconds comes in.
"""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

from node.relay.addresses import Address
from node.relay.budget import Budget, bandwidth
from node.relay.channel import ChannelRules, ChannelStats, Port

FiveTuple = tuple[Address, str]
"""A client's address, and the host of ours that it sends to; port and protocol are the server's."""

DEFAULT_LIFETIME: Final = 600
MAX_LIFETIME: Final = 3600
"""Seconds of an allocation without a refresh (RFC 8656 section 7.2)."""

PERMISSION_LIFETIME: Final = 300.0
CHANNEL_LIFETIME: Final = 600.0
"""Seconds (RFC 8656 sections 9 and 12)."""

FIRST_CHANNEL: Final = 0x4000
LAST_CHANNEL: Final = 0x7FFF
"""RFC 8656 ends at 0x4FFF, but clients of RFC 5766 section 11 go on to here, and coturn's still do.
Nothing else that could be taken for it comes to the server's port."""

MAX_PERMISSIONS: Final = 128
"""Of an allocation; as many channels. ICE makes one for each remote candidate, some ten."""


class Place:
    """What one or two allocations share: a place of the relay, its limits and its counts.

    Args:
        place_id: names it.
        rules: how much may pass.
        budget: what it shares with everybody else.
        now: seconds.
    """

    def __init__(self, place_id: str, rules: ChannelRules, budget: Budget, now: float) -> None:
        self.id = place_id
        self.rules = rules
        self.drops: Counter[str] = Counter()
        to_peers, to_client = bandwidth(rules.maxkbps, now), bandwidth(rules.maxkbps, now)
        self.to_peers = Port(to_peers, budget, self.drops)
        self.to_client = Port(to_client, budget, self.drops)
        unused = Port(None, budget, self.drops)
        self.ports = (self.to_peers, unused, self.to_client, unused)
        """In the order of a channel's, so that both are counted alike."""
        self.heard = now
        """When a packet last came from either side."""

    def stats(self, now: float) -> ChannelStats:
        """What was carried until `now`."""
        return ChannelStats(
            requester_packets=self.to_peers.packets,
            requester_bytes=self.to_peers.bytes,
            peer_packets=self.to_client.packets,
            peer_bytes=self.to_client.bytes,
            idle=max(0.0, now - self.heard),
            drops=dict(self.drops),
        )


@dataclass(slots=True)
class Permission:
    """A host whose packets are passed on to the client."""

    expires_at: float


@dataclass(slots=True, eq=False)
class Channel:
    """A number that stands for a peer."""

    number: int
    peer: Address
    permission: Permission
    expires_at: float

    def is_open(self, now: float) -> bool:
        """Whether what the peer sends goes to the client under this number."""
        return now < self.expires_at and now < self.permission.expires_at


class Full(Exception):  # noqa: N818
    """An allocation has as many permissions or channels as it may have."""


@dataclass(slots=True, eq=False)
class Allocation:
    """A client's relayed addresses, and who may send there."""

    five_tuple: FiveTuple
    username: bytes
    place: Place
    index: int
    """Which of the place's ports it has: 0, or 1 for one that was reserved."""
    relayed: dict[bool, Address]
    """By whether it is IPv6; both have one port."""
    expires_at: float
    transaction_id: bytes
    """Of the request that made it."""
    answer: bytes
    """To that request, should it come once more."""
    permissions: dict[str, Permission] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    channel_of: dict[Address, Channel] = field(default_factory=dict)

    def permit(self, host: str, now: float) -> Permission:
        """Install or refresh a permission.

        Raises:
            Full: there are too many others.
        """
        expires_at = now + PERMISSION_LIFETIME
        permission = self.permissions.get(host)
        if permission is None:
            self._make_room(now)
            permission = self.permissions[host] = Permission(expires_at)
            for channel in self.channels.values():  # their own may have been forgotten
                if channel.peer[0] == host:
                    channel.permission = permission
        permission.expires_at = expires_at
        return permission

    def can_permit(self, hosts: set[str], now: float) -> bool:
        """Whether there is room for permissions for all these hosts."""
        live = {host for host, one in self.permissions.items() if now < one.expires_at}
        return len(live | hosts) <= MAX_PERMISSIONS

    def is_permitted(self, host: str, now: float) -> bool:
        """Whether the client lets a host send."""
        permission = self.permissions.get(host)
        return permission is not None and now < permission.expires_at

    def bind(self, number: int, peer: Address, now: float) -> Channel:
        """Bind a number to a peer, or refresh that, and permit its host.

        Raises:
            ValueError: one of them is bound to another.
            Full: there are too many others.
        """
        self._forget_channels(now)
        channel = self.channels.get(number)
        if channel is not self.channel_of.get(peer):
            raise ValueError("bound otherwise")
        if channel is None and len(self.channels) == MAX_PERMISSIONS:
            raise Full
        permission = self.permit(peer[0], now)
        if channel is None:
            channel = Channel(number, peer, permission, now + CHANNEL_LIFETIME)
            self.channels[number] = self.channel_of[peer] = channel
        channel.expires_at = now + CHANNEL_LIFETIME
        return channel

    def open_channel(self, number: int, now: float) -> Channel | None:
        """The channel of a number, if it is bound."""
        channel = self.channels.get(number)
        return channel if channel is not None and now < channel.expires_at else None

    def forget_peers(self, families: Collection[bool]) -> None:
        """Forget who may send over these address families, by whether they are IPv6."""
        for host in [host for host in self.permissions if (":" in host) in families]:
            del self.permissions[host]
        for channel in [one for one in self.channels.values() if (":" in one.peer[0]) in families]:
            self._forget(channel)

    def _make_room(self, now: float) -> None:
        if len(self.permissions) < MAX_PERMISSIONS:
            return
        for host in [host for host, one in self.permissions.items() if one.expires_at <= now]:
            del self.permissions[host]
        if len(self.permissions) >= MAX_PERMISSIONS:
            raise Full

    def _forget_channels(self, now: float) -> None:
        for channel in [one for one in self.channels.values() if one.expires_at <= now]:
            self._forget(channel)

    def _forget(self, channel: Channel) -> None:
        del self.channels[channel.number], self.channel_of[channel.peer]
        channel.expires_at = 0.0  # whoever has it at hand sees that it is over
