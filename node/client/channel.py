"""A channel that this client holds on somebody's relay (XEP-0278 section 4)."""

import socket as stdlib_socket
from dataclasses import dataclass, field
from typing import NoReturn

import trio

from node.errors import UserError
from node.xmpp import ChannelOffer, Session, XmppError, XmppRefused

KEEPALIVES_PER_EXPIRY = 3
"""Two lost keepalives in a row must not cost an idle channel."""

CHECK_INTERVAL = 10.0
"""Seconds between two questions to the relay whether the channel is still open."""

GONE_AFTER = 35.0
"""Seconds without a relay that answers after which its channels count as lost: one that has lost
its XMPP server, and serves on, should be back by then."""


@dataclass(frozen=True)
class BorrowedChannel:
    """One borrowed channel: send your media to ``requester_address``, give ``peer_address`` away.

    RTCP, where it has a port of its own, goes one port higher on either side.
    """

    offer: ChannelOffer
    """What the relay granted."""

    host: str
    """The relay's host that the borrower reaches: ``offer.host``, or else ``offer.host6``."""

    rtcp: tuple[str, int]
    """Where the borrower's RTCP goes: resolved, and kept alive."""

    lost: trio.Event = field(default_factory=trio.Event, compare=False)
    """Set when the channel is gone: the relay says so, or does not answer over XMPP any more."""

    @property
    def relay(self) -> str:
        """JID of the relay node."""
        return self.offer.relay

    @property
    def requester_address(self) -> tuple[str, int]:
        """(host, localport): where the borrower sends to and receives from."""
        return self.host, self.offer.localport

    @property
    def peer_address(self) -> tuple[str, int]:
        """(host, remoteport): where the other end of the call sends to and receives from."""
        return self.offer.host, self.offer.remoteport

    @property
    def peer_address6(self) -> tuple[str, int] | None:
        """The same over IPv6, where the relay has both: one more candidate for the other end."""
        return None if self.offer.host6 is None else (self.offer.host6, self.offer.remoteport)


async def take_up(offer: ChannelOffer) -> BorrowedChannel:
    """Choose the host of a granted channel that this machine has a way to.

    Raises:
        UserError: The relay named a host that has no address.
    """
    port = offer.localport + 1
    try:
        addresses = await trio.socket.getaddrinfo(offer.host, port, type=stdlib_socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        raise UserError(
            f"{offer.relay} offers a channel at {offer.host}, which has no address; "
            "ask another relay"
        ) from None
    candidates = [(offer.host, str(address[0])) for *_, address in addresses]
    if offer.host6 is not None:
        candidates.append((offer.host6, offer.host6))
    host, ip = next((one for one in candidates if _has_way_to(one[1])), candidates[0])
    return BorrowedChannel(offer, host, (ip, port))


def _has_way_to(ip: str) -> bool:
    """Whether there is a route: connecting a datagram socket sends nothing."""
    with stdlib_socket.socket(_family(ip), stdlib_socket.SOCK_DGRAM) as sock:
        try:
            sock.connect((ip, 9))
        except OSError:
            return False
        return True


def _family(ip: str) -> stdlib_socket.AddressFamily:
    return stdlib_socket.AF_INET6 if ":" in ip else stdlib_socket.AF_INET


async def keep_alive(channel: BorrowedChannel) -> NoReturn:
    """Keep a channel from expiring while no media flows.

    Empty datagrams to the RTCP port: they carry nothing to forward, relays of this project never
    latch onto them, and on an older relay they can disturb no more than RTCP.
    """
    interval = max(channel.offer.expire, 1) / KEEPALIVES_PER_EXPIRY
    family = _family(channel.rtcp[0])
    with trio.socket.socket(family, stdlib_socket.SOCK_DGRAM) as socket:
        while True:
            try:
                await socket.sendto(b"", channel.rtcp)
            except OSError:
                # No route for now, or an ICMP error for an earlier one: the next may do better.
                await trio.lowlevel.checkpoint()
            await trio.sleep(interval)


async def watch(channel: BorrowedChannel, session: Session, *, ours: bool) -> None:
    """Ask the relay now and then for a channel; set ``lost`` when it or the relay is gone.

    A relay says by itself when a channel ends, but not when it crashes, nor to somebody who was
    disconnected at the time.

    Args:
        channel: With an id, else it cannot be asked for.
        session: To ask in.
        ours: The relay is known to be of this project. Others have no answer: if the first one is
            an error, no more is asked.
    """
    answered_at = trio.current_time()
    while trio.current_time() - answered_at < GONE_AFTER:
        try:
            # While our own stream is down nobody can be asked: that says nothing about the relay.
            if session.connected:
                await session.check_channel(channel.relay, channel.offer.id or "")
                ours = True
            answered_at = trio.current_time()
        except XmppError as error:
            if not ours:
                return
            if isinstance(error, XmppRefused) and error.condition == "item-not-found":
                break
        await trio.sleep(CHECK_INTERVAL)
    channel.lost.set()
