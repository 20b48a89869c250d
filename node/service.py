"""A relay node: overlay peer, relay and XMPP session, wired together for as long as it runs."""

import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import trio

from node.endpoints import served_endpoints
from node.entrance import enter_overlay
from node.nat.mapping import PortMapping, open_port_mapping
from node.nat.server import open_stun_server
from node.relay.forwarders.pool import ForwarderPool, processes_for
from node.relay.forwarders.use import kernel_use
from node.relay.opening import open_relay
from node.relay.relay import RelayService
from node.relay_node import Node
from node.settings import RunSettings
from node.settings.run import LIFETIME_FILE, QUOTA_FILE
from node.status.observer import Parts, open_observer
from node.status.server import open_status_page
from node.turn.service import TurnService, open_turn_port, open_turn_server
from node.xmpp import open_session
from overlay.core.addresses import Address
from overlay.dht import RunningPeer, open_peer
from overlay.nursery import open_background_nursery

REGISTER_TIMEOUT = 10.0
"""Seconds that the first registration in the overlay may keep a node from being ready."""

MAPPING_TIMEOUT = 5.0
"""Seconds that a slow router may keep a node from being ready; it goes on opening ports."""

LEAVE_TIMEOUT = 3.0
"""Seconds that closing the channels and telling their requesters may take."""

_log = logging.getLogger(__name__)


@asynccontextmanager
async def open_node(settings: RunSettings) -> AsyncIterator[Node]:
    """Run a relay node during the block.

    Raises:
        UserError: Something in the settings or around the node keeps it from serving.
        OverlayError: The same, as the overlay says it.
    """
    settings.check()
    status_page = settings.status_page()
    account = settings.xmpp_account()
    limits = settings.relay_limits()
    ports = settings.relay_port_range()
    alternate = settings.stun_alternate_address()
    use = await kernel_use(settings.forwarder)
    processes = settings.forwarder_processes or processes_for(limits, use)
    settings.other_turn_server()  # whether it can be used is told before anything is opened
    async with (
        open_peer(settings.peer_settings()) as peer,
        open_turn_port(settings.own_turn_port()) as turn_port,
        _open_mapping(settings, peer, turn_port) as mapping,
        open_session(account) as session,
        open_relay(
            limits,
            lambda: [host for host, _ in served_endpoints(peer)],
            ports=ports,
            reachable=lambda: None if mapping is None else mapping.channels,
            quota_file=settings.state_directory() / QUOTA_FILE,
            contacts=lambda: session.subscribers,
            make_forwarder=partial(ForwarderPool, use=use, processes=processes),
        ) as relay,
        _open_turn(settings, relay, turn_port, partial(_turn_addresses, peer, mapping)) as turn,
        open_observer(
            Parts(peer, relay, session, settings.relay_ports, turn),
            settings.state_directory() / LIFETIME_FILE,
        ) as observer,
        open_status_page(status_page, observer.snapshot) as status_url,
    ):
        node = Node(settings, peer, mapping, relay, session, status_url, turn)
        observer.more_checks.append(node.checks)
        try:
            async with open_background_nursery() as nursery, AsyncExitStack() as stack:
                if alternate is not None:
                    server = open_stun_server(peer, *alternate)
                    node.stun_server = await stack.enter_async_context(server)
                nursery.start_soon(node.nat_watch.run)
                nursery.start_soon(node.tracker.run)
                nursery.start_soon(node.report_ends)
                nursery.start_soon(enter_overlay, session, peer, settings.bootstrap_relays)
                if settings.needs_roster:
                    await session.follow_roster()
                if settings.component is None:
                    nursery.start_soon(node.follow_address)
                if mapping is not None:
                    with trio.move_on_after(MAPPING_TIMEOUT):
                        await mapping.settled.wait()
                await nursery.start(session.serve, node)
                registered = trio.Event()
                nursery.start_soon(node.advertise, registered)
                with trio.move_on_after(REGISTER_TIMEOUT):
                    await registered.wait()
                if not registered.is_set():
                    _log.warning("no place in the overlay yet: nobody finds this relay until then")
                node.warn_of_a_private_address()
                yield node
        finally:
            with trio.move_on_after(LEAVE_TIMEOUT, shield=True):
                await node.leave()


@asynccontextmanager
async def _open_mapping(
    settings: RunSettings, peer: RunningPeer, turn_port: socket.socket | None
) -> AsyncIterator[PortMapping | None]:
    """Have the router open the node's ports, if there may be one."""
    if not settings.maps_ports:
        yield None
        return
    async with open_port_mapping(
        peer.local_address[1],
        settings.relay_port_range(),
        settings.channels,
        settings.mapping_secret(),
        peer.opened,
        None if turn_port is None else turn_port.getsockname()[1],
    ) as mapping:
        yield mapping


@asynccontextmanager
async def _open_turn(
    settings: RunSettings,
    relay: RelayService,
    listener: socket.socket | None,
    addresses: Callable[[int], list[Address]],
) -> AsyncIterator[TurnService | None]:
    """Offer TURN: of a server that is there already, or else of our own."""
    other = settings.other_turn_server()
    if other is not None:
        address, secret = other
        yield TurnService(relay, secret, lambda: [address])
    elif listener is None:
        yield None
    else:
        port = listener.getsockname()[1]
        secret = settings.own_turn_secret()
        async with open_turn_server(relay, listener, secret, lambda: addresses(port)) as turn:
            yield turn


def _turn_addresses(peer: RunningPeer, mapping: PortMapping | None, port: int) -> list[Address]:
    """Where others reach our own TURN server."""
    if mapping is not None and not mapping.reaches_turn:
        return []
    return [(host, port) for host, _ in served_endpoints(peer)]
