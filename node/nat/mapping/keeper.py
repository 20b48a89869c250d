"""Keeps the ports of a node open on the router for as long as it runs.

The overlay's port, that of TURN, and a pool of relay ports: four for each channel. A router takes
from some ms to a second for a mapping, too long while a call is set up, and many keep a few dozen
of them. So the pool is mapped beforehand, channel by channel, until it is large enough or the
router refuses, and channels use its ports alone.

XEP-0278 names ports in a grant, and the overlay's peers answer to where a datagram came from. So a
port counts as open only if it is the same outside. If the router has given it to somebody else, a
channel is tried elsewhere, and the overlay's port has to be another one.
"""

import logging
import math
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Literal

import trio

from node.nat.mapping.router import (
    LEASE,
    MappingError,
    MappingLostError,
    PortTakenError,
    Router,
)
from node.nat.mapping.search import find_router
from node.nat.mapping.status import MappingStatus
from node.relay.channel import PORTS
from node.relay.ports import first_ports
from overlay.core.addresses import is_private
from overlay.nursery import open_background_nursery
from overlay.troubles import Troubles

POOL: Final = 8
"""Channels that ports are opened for: 34 mappings with the overlay's and TURN's. Some routers have
room for 32 to 64, and each costs more than the one before: miniupnpd 2.3.1 takes 2 s for 32 on a
busy machine, and 10 s for 64. Whoever lends more forwards the ports by hand."""

CHECK_INTERVAL: Final = 15.0
"""Seconds between two looks whether the router has forgotten, or its address has changed."""

MISSES: Final = 3
"""Looks without an answer after which the router is looked for again."""

FIRST_RETRY: Final = 5.0
LAST_RETRY: Final = 300.0
"""Seconds until a router is asked or looked for again, doubled from the first to the longest."""

SHORTEST_LEASE: Final = 2 * CHECK_INTERVAL
"""Seconds; a router that grants less is not asked more often for it."""

CLOSE_MISSES: Final = 2
"""Ports that a router may fail to close until it is no longer asked; what is left expires."""

CLOSE_AT_ONCE: Final = 4
"""Ports that a router is asked to close at the same time: it need not wait for us between them."""

CLOSE_TIMEOUT: Final = 20.0
"""Seconds that closing the ports may take at the end; what is left expires. A busy miniupnpd 2.3.1
takes 8 s for 34, and a further signal ends the wait."""

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Lease:
    renew: float  # on Trio's clock
    expires: float


class PortMapping:
    """The ports that the router has opened; see `open_port_mapping`.

    Attributes:
        settled: Set once it is known whether a router opens ports.
    """

    def __init__(
        self,
        port: int,
        relay_ports: tuple[int, int],
        channels: int,
        secret: bytes,
        opened: Callable[[str], None],
        turn_port: int | None,
    ) -> None:
        self.settled = trio.Event()
        self._port = port
        self._opened = opened
        self._turn_port = turn_port
        self._secret = secret
        self._wanted = min(channels, POOL)
        # The same after each start, so that a crash leaves no mappings of other ports behind.
        firsts = first_ports(*relay_ports)
        order = random.Random(secret).sample(firsts, len(firsts))  # noqa: S311 - not guessable
        self._candidates = order[: 2 * self._wanted]
        self._untried: list[int] = []
        self._refusal = ""
        self._remedy = (
            "switch PCP, NAT-PMP or UPnP on in its settings, or forward UDP ports "
            f"{port} and {relay_ports[0]}-{relay_ports[1]} to this machine there"
        )
        self._consequence = f"unless strangers reach port {port}, this node serves nobody"
        self._troubles = Troubles()
        self._router: Router | None = None
        self._external: str | None = None
        self._leases: dict[int, _Lease] = {}
        self._blocks: list[int] = []
        self._state: Literal["trying", "open", "closed"] = "trying"
        self._was_open = False
        self._error: str | None = None
        self._hint = ""

    @property
    def status(self) -> MappingStatus:
        """The state at the moment."""
        expires = min((lease.expires for lease in self._leases.values()), default=math.inf)
        is_open = self._state == "open"
        return MappingStatus(
            state=self._state,
            protocol=None if self._router is None else self._router.protocol,
            router=None if self._router is None else self._router.host,
            external_address=self._external,
            overlay_port=self._port if is_open else None,
            relay_ports=tuple(sorted(self._blocks)) if is_open else (),
            expires=None if math.isinf(expires) else time.time() + expires - trio.current_time(),
            error=self._error,
            remedy="" if self._error is None else self._hint,
        )

    @property
    def channels(self) -> frozenset[int] | None:
        """First ports of the channels that strangers reach; None if the router never opened any.

        Then they reach all of them, because somebody has forwarded them by hand, or not even the
        overlay's port, and the witnesses tell.
        """
        return frozenset(self._blocks) if self._was_open else None

    @property
    def reaches_turn(self) -> bool:
        """Whether strangers reach the TURN server's port, as far as it depends on the router."""
        return not self._was_open or self._turn_port in self._leases

    async def run(self) -> None:
        """Open the ports and keep them open until cancelled; then close them."""
        retry = FIRST_RETRY
        try:
            while True:
                try:
                    self._router = await find_router(self._secret)
                    await self._open(self._router)
                    retry = FIRST_RETRY
                    await self._keep(self._router)
                except MappingError as error:
                    self._fail(error)
                await trio.sleep(retry)
                retry = min(LAST_RETRY, 2 * retry)
        finally:
            opened, left = len(self._leases), await self._close()
            if left and self._router is not None:
                _log.warning(
                    "the router %s has not closed %d of %d ports: they stay open for up to %d min",
                    self._router.host,
                    left,
                    opened,
                    math.ceil(LEASE / 60),
                )

    async def _open(self, router: Router) -> None:
        """Open the overlay's port and those of a first channel, or else neither.

        Raises:
            MappingError: They are not to be had.
        """
        self._leases.clear()
        self._blocks.clear()
        self._external = None
        self._untried = list(reversed(self._candidates))
        try:
            host = await self._map_overlay(router)
            await self._map_first(router)
            await self._map_turn(router)
        except MappingError:
            await self._close()
            raise
        self._state = "open"
        self._error = None
        self._was_open = True
        self._troubles.end("port mapping")
        _log.info("%s has opened UDP port %d by %s", router.host, self._port, router.protocol)
        self._opened(host)
        self.settled.set()

    async def _keep(self, router: Router) -> None:
        """Open what is missing and renew what is open, until the router fails.

        Raises:
            MappingError: It does.
        """
        misses = 0
        while True:
            try:
                await self._grow(router, self._wanted)
                await self._renew(router)
                await trio.sleep(FIRST_RETRY if misses else CHECK_INTERVAL)
                self._compare(await router.check(self._port))
                misses = 0
                self._error = None
            except MappingLostError as error:
                _log.info("%s: %s; the ports are opened again", router.host, error)
                await self._open(router)
            except MappingError as error:
                self._error = f"the router {router.host} fails: {error}"
                self._hint = error.remedy or "the node goes on trying"
                misses += 1
                if misses == MISSES:
                    raise MappingError(
                        f"the router {router.host} fails: {error}", error.remedy
                    ) from error

    async def _map_overlay(self, router: Router) -> str:
        """Return the public address."""
        try:
            await self._map(router, self._port)
        except MappingError as error:
            other_port = "choose another port with --port"
            raise MappingError(
                f"the router {router.host} does not open UDP port {self._port}: {error}",
                other_port if isinstance(error, PortTakenError) else error.remedy,
            ) from error
        if self._external is None or is_private(self._external):
            raise MappingError(
                f"the router {router.host} has no public address, but {self._external}: there is "
                "another NAT before it, the provider's or that of a second router",
                "ask the provider for a public address, or have the second router pass all on",
            )
        return self._external

    async def _map_first(self, router: Router) -> None:
        await self._grow(router, 1)
        if not self._blocks:
            raise MappingError(f"the router {router.host} opens no relay ports: {self._refusal}")

    async def _map_turn(self, router: Router) -> None:
        """Open the TURN server's port; without it the node serves all but browsers."""
        if self._turn_port is None:
            return
        try:
            await self._map(router, self._turn_port)
        except MappingLostError:
            raise
        except MappingError as error:
            _log.warning(
                "the router %s does not open UDP port %d, so there is no TURN server for browsers: "
                "%s; choose another port with --turn-port",
                router.host,
                self._turn_port,
                error,
            )

    async def _grow(self, router: Router, wanted: int) -> None:
        """Open the ports of more channels, as long as the router plays along."""
        while len(self._blocks) < wanted and self._untried:
            first = self._untried.pop()
            ports = range(first, first + PORTS)
            try:
                for port in ports:
                    await self._map(router, port)
            except MappingLostError:
                raise
            except MappingError as error:
                self._refusal = str(error)
                if not isinstance(error, PortTakenError):
                    self._untried.clear()
                await self._unmap(router, [port for port in ports if port in self._leases])
            else:
                self._blocks.append(first)
                if len(self._blocks) == wanted > 1:
                    _log.info("%s has opened ports for %d channels", router.host, wanted)

    async def _renew(self, router: Router) -> None:
        now = trio.current_time()
        for port in [port for port, lease in self._leases.items() if lease.renew <= now]:
            try:
                await self._map(router, port)
            except PortTakenError as error:
                raise MappingLostError(str(error)) from error

    async def _map(self, router: Router, port: int) -> None:
        try:
            mapping = await router.map(port)
        except trio.Cancelled:
            self._leases[port] = _Lease(0.0, 0.0)  # it may be open all the same
            raise
        lifetime = max(mapping.lifetime, SHORTEST_LEASE)
        now = trio.current_time()
        self._leases[port] = _Lease(renew=now + lifetime / 2, expires=now + lifetime)
        if self._external is None:
            self._external = mapping.external[0]
        self._compare(mapping.external[0])

    def _compare(self, external: str) -> None:
        if external != self._external:
            raise MappingLostError("its public address has changed")

    async def _close(self) -> int:
        """Close what is open, for as long as that may take; the rest expires.

        Returns:
            How many ports that is.
        """
        if self._router is not None:
            with trio.move_on_after(CLOSE_TIMEOUT, shield=True):
                await self._unmap(self._router, list(self._leases))
        left = len(self._leases)
        self._leases.clear()
        return left

    async def _unmap(self, router: Router, ports: list[int]) -> None:
        waiting, misses = deque(ports), 0

        async def close_some() -> None:
            nonlocal misses
            while waiting and misses < CLOSE_MISSES:
                port = waiting.popleft()
                try:
                    await router.unmap(port)
                except MappingError:
                    misses += 1
                    waiting.append(port)
                else:
                    del self._leases[port]

        async with trio.open_nursery() as nursery:
            for _ in range(CLOSE_AT_ONCE):
                nursery.start_soon(close_some)

    def _fail(self, error: MappingError) -> None:
        self._state = "closed"
        self._error = str(error)
        self._hint = error.remedy or self._remedy
        self._troubles.begin("port mapping", self._error, f"{self._hint}; {self._consequence}")
        self.settled.set()


@asynccontextmanager
async def open_port_mapping(
    port: int,
    relay_ports: tuple[int, int],
    channels: int,
    secret: bytes,
    opened: Callable[[str], None],
    turn_port: int | None = None,
) -> AsyncIterator[PortMapping]:
    """Keep ports open on the router during the block; at its end they are closed.

    Nothing here fails for the caller: what goes wrong is logged once, and in the status.

    Args:
        port: UDP port of the overlay.
        relay_ports: First and last UDP port for channels.
        channels: Most channels that will be lent.
        secret: The same at each start of a node, known to nobody else.
        opened: Is told the public IP address each time that the ports have been opened.
        turn_port: UDP port of the TURN server, if there is one.
    """
    mapping = PortMapping(port, relay_ports, channels, secret, opened, turn_port)
    async with open_background_nursery() as nursery:
        nursery.start_soon(mapping.run)
        yield mapping
