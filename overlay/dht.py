"""A peer on a real socket: one key, and a pure core for each address family that it serves.

The families are networks of their own (BEP 32): who has both has an id in each, bound to its
address there (BEP 42), and knows the peers and serves the directories of both.
"""

import logging
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, closing
from itertools import chain, zip_longest
from typing import Final

import trio

from overlay.bootstrap import check_bootstrap, resolve
from overlay.core.addresses import Address, is_ipv6, is_private, normalise
from overlay.core.choice.coordinates import Coordinate
from overlay.core.directory.records import Offer
from overlay.core.events import Advertised, LookupEnded, RelaysFound
from overlay.core.kademlia.contact import Contact
from overlay.core.peer import Peer, PeerConfig
from overlay.core.reachability.verdict import FEWEST_NETWORKS, Reachability, Verdict
from overlay.driver import Driver
from overlay.nursery import lone_errors, open_background_nursery
from overlay.peer_cache import SAVE_INTERVAL, PeerCache
from overlay.port import Port
from overlay.probing import Answer, measure
from overlay.settings import PeerSettings
from overlay.sockets import DatagramSocket, OpenSocket, families, open_udp, source_host
from overlay.state import load_identity, sole_use
from overlay.troubles import Troubles

_NAMES: Final = {False: "over IPv4", True: "over IPv6"}
_POLL: Final = 0.2  # seconds
_NO_OFFER: Final = Offer("-", (), "public", None, 0, 0.0)  # what a withdrawal offers
_NOWHERE: Final = Advertised(0, stored=0, pending=0, levels=0)

_log = logging.getLogger(__name__)


class RunningPeer:
    """A peer that `open_peer` runs.

    Its methods may be called from any task. What they return is bounded in time by the budget
    of a look-up and the timeouts of its requests.

    Attributes:
        settings: How it runs.
        rng: Source of all that is random.
        port: Its UDP port.
    """

    def __init__(
        self,
        cores: Mapping[bool, Peer],
        settings: PeerSettings,
        sock: DatagramSocket,
        open_socket: OpenSocket,
        wall_clock: Callable[[], float],
        rng: random.Random,
    ) -> None:
        self.settings = settings
        self.rng = rng
        self._sock = sock
        self._open_socket = open_socket
        self._wall_clock = wall_clock
        # Whoever waits for a client is told what is wrong with an error.
        self._entrance = Troubles(logging.INFO if settings.client else logging.WARNING)
        self._cache = PeerCache(settings.cache_file)
        self._ended = trio.Event()
        self._connected = trio.Event()
        self._joined = trio.Event()
        # IPv4 first: most peers have it.
        self._drivers = {
            is_v6: Driver(
                cores[is_v6], sock, self.measure, wall_clock, self._entrance, _NAMES[is_v6]
            )
            for is_v6 in sorted(cores)
        }
        self.port = Port(sock, self._drivers)

    @property
    def peer_id(self) -> bytes:
        """Its 20-byte id; it changes when the peer learns its public address."""
        return self._main.core.peer_id

    @property
    def public_key(self) -> bytes:
        """Its Ed25519 public key."""
        return self._main.core.public_key

    @property
    def local_address(self) -> Address:
        """The address of its socket."""
        return normalise(*self._sock.getsockname()[:2])

    @property
    def public_address(self) -> str | None:
        """Its IP address as others see it, IPv4 first; None as long as nobody has told."""
        if self.settings.public_address is not None:
            return self.settings.public_address
        return next((host for host, _ in self._endpoints()), None)

    @property
    def endpoints(self) -> tuple[Address, ...]:
        """Where others reach it: as configured, as they say, or else as the machine has it.

        At most one of each address family, IPv4 first.
        """
        host, port = self.local_address
        return self._endpoints() or ((source_host() if host in ("::", "0.0.0.0") else host, port),)  # noqa: S104

    @property
    def trouble(self) -> str:
        """What keeps it from the overlay; empty as long as nothing is known to."""
        return str(self._entrance)

    @property
    def reachability(self) -> Mapping[bool, Reachability]:
        """Whether strangers reach it over IPv4 (False) and IPv6 (True), and how it knows."""
        return {is_v6: driver.core.reachability for is_v6, driver in self._drivers.items()}

    @property
    def coordinate(self) -> Coordinate | None:
        """Its place in the network; None as long as nothing was measured."""
        return self._main.core.coordinate

    @property
    def unix_time(self) -> float:
        """Unix time, seconds."""
        return self._wall_clock()

    @property
    def counters(self) -> Mapping[str, int]:
        """What was sent, received, answered, dropped and refused since the start."""
        return sum((driver.core.counters for driver in self._drivers.values()), Counter())

    @property
    def contacts(self) -> int:
        """Contacts in its routing tables."""
        return sum(len(driver.core.contacts()) for driver in self._drivers.values())

    def neighbours(self, is_v6: bool) -> tuple[Address, ...]:
        """Where its contacts over IPv4 or IPv6 are."""
        return tuple(contact.address for contact in self._drivers[is_v6].core.contacts())

    async def enter(self, host: str, port: int) -> None:
        """Join the overlay through one more peer; a DNS name is looked up until it is found."""
        self._bootstrap_by(await resolve(host, port, self._entrance))

    async def wait_connected(self) -> None:
        """Wait until somebody has answered; a first peer, without anybody, is connected."""
        await self._connected.wait()

    async def wait_joined(self) -> None:
        """Wait until it knows its neighbourhood."""
        await self._joined.wait()

    async def wait_decided(self, timeout: float) -> None:
        """Wait until it knows whether strangers reach it, `timeout` seconds at most.

        Whoever searches meets many peers, and who has been met is no stranger: in a small overlay
        nobody would be left to tell. Where there are no witnesses it returns at once, and so it
        does for a client, which asks none.
        """
        if self.settings.client:
            return
        with trio.move_on_after(timeout):
            while any(
                driver.core.reachability.verdict is Verdict.UNKNOWN
                and len(driver.core.contacts()) >= FEWEST_NETWORKS
                and not all(is_private(host) for host, _ in self.endpoints)
                for driver in self._connected_drivers()
            ):
                await trio.sleep(_POLL)

    async def find_node(self, target: bytes) -> tuple[Contact, ...]:
        """Find the peers closest to a 20-byte id, closest first."""
        driver = self._main
        ended: LookupEnded = await driver.result(lambda now: driver.core.find_node(target, now))
        return ended.contacts

    async def collect_adverts(
        self, wanted: int, timeout: float, *, hurried: bool = False
    ) -> RelaysFound:
        """Collect adverts of relays for at most `timeout` seconds.

        Args:
            wanted: Adverts that are enough.
            timeout: Seconds.
            hurried: Somebody waits: after a short time fewer are enough.
        """
        found: list[RelaysFound] = []

        async def collect(driver: Driver) -> None:
            core = driver.core

            def start(now: float) -> int:
                return core.find_relays(wanted, now, timeout, hurried=hurried)

            found.append(await driver.result(start, timeout))

        async with trio.open_nursery() as nursery:
            for driver in self._connected_drivers():
                nursery.start_soon(collect, driver)
        asked = sum(one.asked for one in found)
        return RelaysFound(0, asked, tuple(advert for one in found for advert in one.adverts))

    async def register(self, offer: Offer) -> Advertised:
        """Put this peer's adverts into the directory: one for each address family.

        Returns:
            What came of it, in the family where fewest hold it.

        Raises:
            overlay.core.errors.LocalProtocolError: The offer does not fit into an advert.
        """
        return await self._advertise(offer, self.endpoints)

    async def withdraw(self) -> None:
        """Take this peer's adverts out of the directory, as long as the peer runs."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._cancel_at_end, nursery.cancel_scope)
            await self._advertise(_NO_OFFER, ())
            nursery.cancel_scope.cancel()

    def opened(self, host: str) -> None:
        """Take in that a NAT has let strangers in at the peer's port of a public IPv4 address."""
        if (driver := self._drivers.get(False)) is not None:
            driver.opened((host, self.local_address[1]))

    def set_free_share(self, free: float | None) -> None:
        """Tell those who probe this peer what share of its channels is free; None for no relay."""
        for driver in self._drivers.values():
            driver.core.binding.free_share = free

    async def measure(
        self, endpoints: list[Address], enough: int | None = None
    ) -> dict[Address, Answer]:
        """Measure round-trip times from a fresh socket; see `probing.measure`."""
        return await measure(
            endpoints,
            open_socket=self._open_socket,
            host=self.settings.host,
            rng=self.rng,
            enough=enough,
        )

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the peer until it is cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                for driver in self._drivers.values():
                    nursery.start_soon(driver.run)
                    nursery.start_soon(_pass_on, driver.connected, self._connected)
                    nursery.start_soon(_pass_on, driver.joined, self._joined)
                nursery.start_soon(self.port.receive)
                nursery.start_soon(self._bootstrap)
                nursery.start_soon(self._save)
                task_status.started()
        finally:
            self._ended.set()
            self.save_cache()  # most peers end by being cancelled

    def save_cache(self) -> None:
        """Write the peer cache: of each family the good peers nearest to us."""
        families = [driver.core.contacts() for driver in self._drivers.values()]
        turns = chain.from_iterable(zip_longest(*families))
        self._cache.save(contact.address for contact in turns if contact is not None)

    @property
    def _main(self) -> Driver:
        """The core of the family in which it knows somebody, IPv4 first."""
        drivers = list(self._drivers.values())
        return next((driver for driver in drivers if driver.core.contacts()), drivers[0])

    def _connected_drivers(self) -> list[Driver]:
        """Those that know somebody; of a first peer, which has nobody to know, all."""
        drivers = [driver for driver in self._drivers.values() if driver.connected.is_set()]
        return [driver for driver in drivers if driver.core.contacts()] or drivers

    def _endpoints(self) -> tuple[Address, ...]:
        """What was configured, and for a family for which nothing was, what others say."""
        seen = {
            is_v6: endpoint
            for is_v6, driver in self._drivers.items()
            if (endpoint := driver.core.endpoint) is not None
        }
        if self.settings.public_address is not None:
            own = normalise(self.settings.public_address, self.local_address[1])
            seen[is_ipv6(own[0])] = own
        return tuple(seen[is_v6] for is_v6 in sorted(seen))

    async def _advertise(self, offer: Offer, endpoints: tuple[Address, ...]) -> Advertised:
        """Register in every family for which there is an endpoint; without any, withdraw.

        Withdraw where strangers do not reach us, too.
        """
        results: list[Advertised] = []

        async def advertise(driver: Driver, ends: tuple[Address, ...]) -> None:
            core = driver.core

            def start(now: float) -> int:
                return core.advertise(core.sign_advert(offer, ends, now), now)

            results.append(await driver.result(start))

        with lone_errors():
            async with trio.open_nursery() as nursery:
                for is_v6, driver in self._drivers.items():
                    ends = tuple(end for end in endpoints if is_ipv6(end[0]) == is_v6)
                    if not driver.core.serves:
                        nursery.start_soon(advertise, driver, ())
                    elif driver.joined.is_set() and (ends or not endpoints):
                        nursery.start_soon(advertise, driver, ends)
        return min(results, key=lambda result: result.stored, default=_NOWHERE)

    async def _cancel_at_end(self, scope: trio.CancelScope) -> None:
        await self._ended.wait()
        scope.cancel()

    async def _bootstrap(self) -> None:
        if cached := await trio.to_thread.run_sync(self._cache.load):
            self._bootstrap_by(cached)
        elif not (self.settings.bootstrap or self.settings.entered_later):
            for driver in self._drivers.values():
                driver.bootstrap([])
        async with trio.open_nursery() as nursery:
            for host, port in self.settings.bootstrap:
                nursery.start_soon(self.enter, host, port)

    def _bootstrap_by(self, addresses: list[Address]) -> None:
        for is_v6, driver in self._drivers.items():
            if family := [address for address in addresses if is_ipv6(address[0]) == is_v6]:
                driver.bootstrap(family)

    async def _save(self) -> None:
        while self._cache.path is not None:
            await trio.sleep(SAVE_INTERVAL)
            await trio.to_thread.run_sync(self.save_cache)


async def _pass_on(event: trio.Event, to: trio.Event) -> None:
    await event.wait()
    to.set()


@asynccontextmanager
async def open_peer(
    settings: PeerSettings,
    *,
    rng: random.Random | None = None,
    wall_clock: Callable[[], float] = time.time,
    open_socket: OpenSocket = open_udp,
) -> AsyncIterator[RunningPeer]:
    """Run a peer for as long as the block lasts.

    Args:
        settings: How it runs.
        rng: Source of ids, tokens and choices; None for the operating system's.
        wall_clock: Unix time in seconds.
        open_socket: Opens its sockets.

    Raises:
        OverlayError: Its key file, address, port or a bootstrap address is no good, or another
            process runs with the same key.
    """
    rng = random.SystemRandom() if rng is None else rng
    check_bootstrap(settings.bootstrap)
    with sole_use(settings.key_file):
        identity = await trio.to_thread.run_sync(load_identity, settings.key_file)
        with closing(await open_socket(settings.host, settings.port)) as sock:
            cores = {
                is_v6: Peer(identity, _config(settings, is_v6, wall_clock), rng)
                for is_v6 in families(sock)
            }
            peer = RunningPeer(cores, settings, sock, open_socket, wall_clock, rng)
            async with open_background_nursery() as nursery:
                await nursery.start(peer.run)
                yield peer


def _config(settings: PeerSettings, is_v6: bool, wall_clock: Callable[[], float]) -> PeerConfig:
    public = settings.public_address
    configured = public is not None and is_ipv6(normalise(public, 0)[0]) == is_v6
    return PeerConfig(
        client=settings.client,
        # A first peer has nobody to tell it; its machine may have a public address.
        host=public if configured else source_host(is_v6=is_v6),
        is_ipv6=is_v6,
        clock_offset=wall_clock() - trio.current_time(),
    )
