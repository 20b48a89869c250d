"""A channel that this client holds on somebody's relay (XEP-0278 section 4)."""

import socket as stdlib_socket
from dataclasses import dataclass, field
from typing import NoReturn

import trio

from node.xmpp import ChannelOffer

KEEPALIVES_PER_EXPIRY = 3
"""Two lost keepalives in a row must not cost an idle channel."""


@dataclass(frozen=True)
class BorrowedChannel:
    """One borrowed channel: send your media to ``requester_address``, give ``peer_address`` away.

    RTCP, where it has a port of its own, goes one port higher on either side.
    """

    offer: ChannelOffer
    """What the relay granted."""

    lost: trio.Event = field(default_factory=trio.Event, compare=False)
    """Set when the relay says that the channel is gone."""

    @property
    def relay(self) -> str:
        """JID of the relay node."""
        return self.offer.relay

    @property
    def requester_address(self) -> tuple[str, int]:
        """(host, localport): where the borrower sends to and receives from."""
        return self.offer.host, self.offer.localport

    @property
    def peer_address(self) -> tuple[str, int]:
        """(host, remoteport): where the other end of the call sends to and receives from."""
        return self.offer.host, self.offer.remoteport


async def keep_alive(channel: BorrowedChannel) -> NoReturn:
    """Keep a channel from expiring while no media flows.

    Empty datagrams to the RTCP port: they carry nothing to forward, relays of this project never
    latch onto them, and on an older relay they can disturb no more than RTCP.
    """
    host, localport = channel.requester_address
    interval = channel.offer.expire / KEEPALIVES_PER_EXPIRY
    addresses = await trio.socket.getaddrinfo(host, localport + 1, type=stdlib_socket.SOCK_DGRAM)
    family, kind, protocol, _, address = addresses[0]
    with trio.socket.socket(family, kind, protocol) as socket:
        while True:
            try:
                await socket.sendto(b"", address)
            except OSError:
                # No route for now, or an ICMP error for an earlier one: the next may do better.
                await trio.lowlevel.checkpoint()
            await trio.sleep(interval)
