"""A relay node: what it answers over XMPP and says in the overlay, from the state of its relay."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import trio

from node.endpoints import served_endpoints
from node.nat.behaviour import NatBehaviour
from node.nat.mapping import MappingStatus, PortMapping
from node.nat.server import StunServer
from node.nat.watch import SERVICE, NatWatch
from node.relay.forwarders.base import Reason
from node.relay.grants import ChannelClosed, ChannelGrant
from node.relay.relay import RelayService
from node.settings import RunSettings
from node.status.checks import check_mapping, check_nat, check_turn
from node.status.status import Check
from node.tracker import Tracker
from node.turn.service import TurnGrant, TurnService, no_turn
from node.xmpp import ServiceEntry, Session
from overlay.core.addresses import format_address, is_private
from overlay.dht import RunningPeer
from overlay.discovery import RelayDescription, advertise

ADDRESS_POLL = 1.0
"""Seconds between two looks whether the public address has changed."""

FAREWELL = 0.5
"""Seconds that channels serve on when their end has been told, so that no call hears a gap."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ready:
    """What a node offers once it serves."""

    jid: str
    """Address to ask for channels."""

    peer_id: str
    """Overlay id, 40 hexadecimal digits."""

    overlay: str
    """host:port of the overlay and of STUN."""

    public_address: str
    """IP address of the channels."""

    relay_ports: str
    """Range of the channels' UDP ports."""

    forwarder: str
    """What moves the packets."""

    port_mapping: str | None
    """Protocol by which the router has opened the ports; None if it has not, or there is none."""

    status: str | None
    """URL of the status page; None if there is none."""

    turn: str | None
    """host:port of the TURN server; None if there is none."""


class Node:
    """What a node answers over XMPP and says in the overlay, from the state of its relay.

    Attributes:
        settings: What it runs with at the moment.
    """

    def __init__(
        self,
        settings: RunSettings,
        peer: RunningPeer,
        mapping: PortMapping | None,
        relay: RelayService,
        session: Session,
        status_url: str | None,
        turn: TurnService | None = None,
    ) -> None:
        self.settings = settings
        self._peer = peer
        self._mapping = mapping
        self._relay = relay
        self._session = session
        self._turn = turn
        self.tracker = Tracker(peer)
        self.nat_watch = NatWatch(peer, is_opened=lambda: self.port_mapping.state == "open")
        self.stun_server: StunServer | None = None
        self._advertising = trio.CancelScope()
        self._draining = False
        self._told: set[str] = set()
        self._status_url = status_url

    async def request_channel(self, requester: str, protocol: str) -> ChannelGrant:
        """Open a channel for a full JID.

        Raises:
            Refused: With the stanza error to answer.
        """
        return await self._relay.request_channel(requester)

    async def services(self, requester: str) -> Iterable[ServiceEntry]:
        """The services that this node knows: its own, and other relays that it has verified.

        Its own relay is the first, and told only to those that it lends to.
        """
        endpoints = served_endpoints(self._peer)
        services = [ServiceEntry("stun", host, port=port) for host, port in endpoints]
        if self._relay.permits(requester):
            policy = self._relay.limits.access.advertised
            services.append(ServiceEntry("relay", self._session.jid, policy=policy))
        return services + self.tracker.entries(self._session.jid)

    @property
    def offers_turn(self) -> bool:
        """Whether there is a TURN server to get credentials for."""
        return self._turn is not None and bool(self._turn.addresses)

    async def turn(self, requester: str) -> Iterable[TurnGrant]:
        """Hand out credentials for the TURN server.

        Raises:
            Refused: With the stanza error to answer.
        """
        if self._turn is None:
            raise no_turn()
        return self._turn.grant(requester)

    async def holds(self, requester: str, channel_id: str) -> bool:
        """Whether a channel is open and the requester's own."""
        return self._relay.holds(channel_id, requester)

    async def release(self, requester: str, channel_id: str) -> bool:
        """Close a channel if it is the requester's own."""
        return await self._relay.release(channel_id, requester)

    async def advertise(self, registered: trio.Event) -> None:
        """Keep the node in the overlay's directory; ``registered`` is set when it is there."""
        while not self._draining:
            with trio.CancelScope() as self._advertising:
                async with trio.open_nursery() as nursery:
                    await nursery.start(advertise, self._peer, self.describe)
                    registered.set()

    async def report_ends(self) -> None:
        """Tell requesters of channels that ended without them, until cancelled."""
        async for closed in self._relay.closed:
            await self._report_end(closed)

    async def follow_address(self) -> None:
        """Log in again whenever the public address has changed: no connection outlives that."""
        before = self._peer.endpoints[0][0]
        while True:
            await trio.sleep(ADDRESS_POLL)
            now = self._peer.endpoints[0][0]
            if not is_private(before) and now != before:
                _log.info("the public address has changed; connecting to the XMPP server again")
                await self._session.reconnect()
            before = now

    async def change(self, settings: RunSettings) -> None:
        """Take new limits at once; open channels keep what they were granted.

        Raises:
            UserError: The settings cannot be; all stays as it was.
        """
        changed, fixed = self.settings.changed_to(settings)
        changed.check_policy()
        limits = changed.relay_limits()
        if changed.needs_roster:
            await self._session.follow_roster()
        before = self.describe()
        await self._relay.change(limits)
        changes = changed.changes_from(self.settings)
        self.settings = changed
        if replace(self.describe(), free=before.free) != before:
            self._advertising.cancel()  # and begin again, with what is true now
        told = ", ".join(changes) or "no limit has changed"
        rest = f"; to change {', '.join(fixed)}, start the node again" if fixed else ""
        _log.warning("the settings were read again: %s%s", told, rest)

    async def drain(self) -> None:
        """Take in nobody new, and wait for the open channels to end, but not for too long."""
        self._draining = True
        self._advertising.cancel()
        self._relay.drain()
        seconds = self.settings.drain
        if seconds and self._relay.open_channels:
            _log.warning(
                "channels that are still open: %d; they may end within %g s, "
                "or interrupt again to leave at once",
                self._relay.open_channels,
                seconds,
            )
            with trio.move_on_after(seconds):
                await self._relay.wait_until_empty()

    async def leave(self) -> None:
        """Tell the requesters, give them time to move their calls, and close all channels."""
        self._relay.drain()
        try:
            for channel_id, requester, seconds in self._relay.lent():
                self._told.add(channel_id)
                await self._session.send_killed(requester, channel_id, seconds)
            with trio.move_on_after(FAREWELL):
                await self._relay.wait_until_empty()
        finally:
            await self._relay.close_all()
        while self._relay.closed.statistics().current_buffer_used:
            await self._report_end(await self._relay.closed.receive())

    async def _report_end(self, closed: ChannelClosed) -> None:
        if closed.reason != Reason.RELEASED and closed.id not in self._told:
            await self._session.send_killed(closed.requester, closed.id, closed.seconds)

    def describe(self) -> RelayDescription:
        """What to advertise at the moment."""
        services: tuple[str, ...] = ("channel", "stun")
        if self.stun_server is not None and self.stun_server.addresses is not None:
            services += (SERVICE,)
        if self.offers_turn:
            services += ("turn",)
        return RelayDescription(
            jid=self._session.jid,
            services=services,
            policy=self._relay.limits.access.advertised,
            maxkbps=self._relay.limits.maxkbps,
            capacity=self._relay.capacity,
            free=self._relay.free,
        )

    def warn_of_a_private_address(self) -> None:
        """Tell the volunteer if nobody can use this relay."""
        host = self.ready.public_address
        if is_private(host) and not self.settings.allow_private_peers:
            _log.warning(
                "this node knows only a private address of its own, and packets of private "
                "addresses are not relayed: pass --public-address, or --allow-private-peers in a "
                "laboratory"
            )

    @property
    def nat(self) -> Mapping[bool, NatBehaviour]:
        """What NATs do over IPv4 (False) and over IPv6 (True), if anything is known of them."""
        return self.nat_watch.behaviour

    @property
    def port_mapping(self) -> MappingStatus:
        """The ports that the router has opened."""
        return MappingStatus("off") if self._mapping is None else self._mapping.status

    def checks(self) -> list[Check]:
        """What is known of the NAT and of the router, for the status page."""
        found = [check_nat(is_v6, behaviour) for is_v6, behaviour in self.nat.items()]
        if self._mapping is not None:
            found.append(check_mapping(self._mapping.status))
        if self.settings.turn_wanted:
            found.append(check_turn(offered=self.offers_turn))
        return found

    @property
    def ready(self) -> Ready:
        """What to tell the volunteer."""
        endpoint = served_endpoints(self._peer)[0]
        mapping = self.port_mapping
        return Ready(
            jid=self._session.jid,
            peer_id=self._peer.peer_id.hex(),
            overlay=format_address(endpoint),
            public_address=endpoint[0],
            relay_ports=self.settings.relay_ports,
            forwarder=self._relay.forwarder.use.name,
            port_mapping=mapping.protocol if mapping.state == "open" else None,
            status=self._status_url,
            turn=format_address(self._turn.addresses[0])
            if self._turn and self.offers_turn
            else None,
        )
