"""Entering the overlay through relays that are known by their XMPP address."""

import logging
from collections.abc import Iterable

import trio

from node.xmpp import ServiceEntry, Session, XmppError
from overlay.dht import RunningPeer

STUN_PORT = 3478
"""Of a STUN server that names no port (RFC 8489 section 14)."""

MAX_ADDRESSES = 4
"""STUN services of one relay that are tried: a node has one or two."""

FIRST_RETRY = 2.0
LAST_RETRY = 60.0
"""Seconds of back-off until a relay answers, doubled from the first to the longest."""

_log = logging.getLogger(__name__)


async def enter_overlay(session: Session, peer: RunningPeer, relays: Iterable[str]) -> None:
    """Ask each relay for its STUN service, and join through it: a node has both on one port."""
    async with trio.open_nursery() as nursery:
        for relay in relays:
            nursery.start_soon(_enter_through, session, peer, relay)


async def _enter_through(session: Session, peer: RunningPeer, relay: str) -> None:
    retry = FIRST_RETRY
    while True:
        try:
            services = await session.request_services(relay)
        except XmppError as error:
            _log.warning("cannot enter the overlay through %s: %s", relay, error)
        else:
            if await enter_by(peer, services):
                return
            _log.warning("cannot enter the overlay through %s: it names no STUN service", relay)
        await trio.sleep(retry)
        retry = min(LAST_RETRY, 2 * retry)


async def enter_by(peer: RunningPeer, services: Iterable[ServiceEntry]) -> bool:
    """Join through the STUN services among those of relays; whether there are any."""
    stun = [service for service in services if service.kind == "stun"][:MAX_ADDRESSES]
    async with trio.open_nursery() as nursery:
        for service in stun:
            nursery.start_soon(peer.enter, service.address, service.port or STUN_PORT)
    return bool(stun)
