"""Keeps a relay node informed of what stands before it: at start, and when its address changes."""

import logging
from collections.abc import Callable, Mapping
from typing import Final

import trio

from node.endpoints import FAMILIES
from node.nat.behaviour import NatBehaviour
from node.nat.discover import discover
from node.nat.plan import MAX_FILTER_SERVERS, MAX_SERVERS
from overlay.core.addresses import Address, is_ipv6, network_of
from overlay.core.reachability.verdict import Verdict
from overlay.dht import RunningPeer
from overlay.errors import OverlayError
from overlay.sockets import OpenSocket, open_udp

SERVICE: Final = "stun-behavior"
"""What a relay advertises that has two addresses: the name of RFC 5780 section 5, as registered."""

INTERVAL: Final = 3600.0
"""Seconds between two discoveries while the address stays; routers are replaced now and then."""

RETRY: Final = 300.0
"""Seconds until the next one as long as nobody has answered."""

SOONEST: Final = 30.0
"""Seconds between two of them when the address changes often."""

SEARCH_TIME: Final = 5.0
"""Seconds to look for relays with two addresses."""

WANTED: Final = 32
"""Adverts that are looked through for them."""

_POLL: Final = 2.0
_DECIDING: Final = 30.0  # seconds for witnesses, whom a search must not have met
_REACHED: Final = {Verdict.REACHABLE: True, Verdict.UNREACHABLE: False, Verdict.UNKNOWN: None}

_log = logging.getLogger(__name__)


class NatWatch:
    """Finds out what the NATs before a peer do, and keeps the latest result.

    Args:
        peer: The peer; its contacts and the relays of its overlay are asked.
        is_opened: Whether a router was told to let everybody in to the peer's port over IPv4. Then
            it says nothing about the NAT that strangers reach it.
        open_socket: Opens sockets.
    """

    def __init__(
        self,
        peer: RunningPeer,
        is_opened: Callable[[], bool] = lambda: False,
        open_socket: OpenSocket = open_udp,
    ) -> None:
        self._peer = peer
        self._is_opened = is_opened
        self._open_socket = open_socket
        self._found: dict[bool, NatBehaviour] = {}
        self._logged: dict[bool, str] = {}

    @property
    def behaviour(self) -> Mapping[bool, NatBehaviour]:
        """What is known of the NATs over IPv4 (False) and over IPv6 (True), if anything is yet."""
        return {
            is_v6: found.with_reachability(self._reached(is_v6))
            for is_v6, found in self._found.items()
        }

    async def run(self) -> None:
        """Find out again and again, until cancelled."""
        await self._peer.wait_joined()
        await self._peer.wait_decided(_DECIDING)
        while True:
            endpoints = self._peer.endpoints
            began = trio.current_time()
            await self.look()
            answered = any(found.mapped is not None for found in self._found.values())
            due = began + (INTERVAL if answered else RETRY) * self._peer.rng.uniform(0.9, 1.1)
            while trio.current_time() < due:
                await trio.sleep(_POLL)
                if self._peer.endpoints != endpoints:
                    due = min(due, began + SOONEST)

    async def look(self) -> None:
        """Find out once; what is news is logged."""
        found = await self._peer.collect_adverts(WANTED, SEARCH_TIME)
        full = [
            endpoint
            for advert in found.adverts
            if SERVICE in advert.offer.services
            for endpoint in advert.endpoints
        ]
        for is_v6 in self._peer.reachability:
            servers = self._choose(full, is_v6)
            try:
                behaviour = await discover(
                    servers,
                    open_socket=self._open_socket,
                    host=self._peer.settings.host,
                    rng=self._peer.rng,
                )
            except OverlayError as error:
                _log.info("what a NAT does cannot be found out: %s", error)
                continue
            if servers:
                self._found[is_v6] = behaviour
                self._tell(is_v6)

    def _choose(self, full: list[Address], is_v6: bool) -> list[Address]:
        """Servers of one family in different networks, a few with two addresses first."""
        contacts = list(self._peer.neighbours(is_v6))
        own = self._peer.endpoints
        chosen: dict[bytes, Address] = {}
        for candidates, enough in ((full, MAX_FILTER_SERVERS), (contacts, MAX_SERVERS)):
            for address in self._peer.rng.sample(candidates, len(candidates)):
                if len(chosen) < enough and is_ipv6(address[0]) == is_v6 and address not in own:
                    chosen.setdefault(network_of(address), address)
        return list(chosen.values())

    def _reached(self, is_v6: bool) -> bool | None:
        if not is_v6 and self._is_opened():
            return None
        return _REACHED[self._peer.reachability[is_v6].verdict]

    def _tell(self, is_v6: bool) -> None:
        """Log a result that is news."""
        line = str(self.behaviour[is_v6])
        if self._logged.get(is_v6) != line:
            self._logged[is_v6] = line
            _log.info("over %s: %s", FAMILIES[is_v6], line)
