"""A peer on real sockets: Trio tasks and callers around the pure core, in one nursery."""

import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import trio

from overlay.bootstrap import check_bootstrap, resolve
from overlay.core.addresses import Address, is_ipv6, normalise
from overlay.core.contact import Contact
from overlay.core.coordinates import Coordinate
from overlay.core.events import (
    Advertised,
    BootstrapFailed,
    Connected,
    Event,
    Joined,
    LookupEnded,
    RelaysFound,
    VerifyEndpoint,
)
from overlay.core.peer import Peer, PeerConfig
from overlay.core.records import Offer
from overlay.errors import OverlayError
from overlay.nursery import open_background_nursery
from overlay.probing import Answer, measure
from overlay.sockets import DatagramSocket, OpenSocket, open_udp, source_host
from overlay.state import load_identity, read_cache, sole_use, write_cache
from overlay.troubles import Troubles

CACHE_INTERVAL: Final = 600.0  # seconds between two writes of the peer cache
MAX_CHECKS: Final = 32  # sockets open at once to verify the endpoints of relays
_BUFFER: Final = 2048
_OVERLAY: Final = "the overlay"
_CACHE: Final = "the peer cache"
_NO_OFFER: Final = Offer("-", (), "public", None, 0, 0.0)  # what a withdrawal offers

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PeerSettings:
    """How a peer runs.

    Attributes:
        host: Local address of its socket; "::" for all, IPv4 and IPv6.
        port: Local UDP port; 0 for any.
        bootstrap: Peers to join by, as host or DNS name and port; none for a first peer.
        entered_later: There is somebody to join by, and `RunningPeer.enter` is told whom.
        key_file: Where its key is kept; None for a new key each time.
        cache_file: Where good peers are kept for the next start; None for nowhere.
        public_address: Its IP address as others see it; None to learn it from them.
        client: It asks, but serves nobody: for peers that strangers cannot reach.
    """

    host: str = "::"
    port: int = 0
    bootstrap: tuple[tuple[str, int], ...] = ()
    entered_later: bool = False
    key_file: Path | None = None
    cache_file: Path | None = None
    public_address: str | None = None
    client: bool = False


class RunningPeer:
    """A peer that `open_peer` runs.

    Its methods may be called from any task. What they return is bounded in time by the budget
    of a look-up and the timeouts of its requests.
    """

    def __init__(
        self,
        core: Peer,
        settings: PeerSettings,
        sock: DatagramSocket,
        open_socket: OpenSocket,
        wall_clock: Callable[[], float],
        rng: random.Random,
    ) -> None:
        self.settings = settings
        self.rng = rng
        self._core = core
        self._sock = sock
        self._open_socket = open_socket
        self._wall_clock = wall_clock
        # Whoever waits for a client is told what is wrong with an error.
        self._entrance = Troubles(logging.INFO if settings.client else logging.WARNING)
        self._cache = Troubles()
        self._wake = trio.Event()
        self._connected = trio.Event()
        self._joined = trio.Event()
        self._ended = trio.Event()
        self._waiting: dict[int, trio.Event] = {}
        self._results: dict[int, Event] = {}
        self._checks: list[Address] = []
        self._check_limit = trio.CapacityLimiter(MAX_CHECKS)

    @property
    def peer_id(self) -> bytes:
        """Its 20-byte id; it changes when the peer learns its public address."""
        return self._core.peer_id

    @property
    def public_key(self) -> bytes:
        """Its Ed25519 public key."""
        return self._core.public_key

    @property
    def local_address(self) -> Address:
        """The address of its socket."""
        host, port = self._sock.getsockname()[:2]
        return normalise(host, port)

    @property
    def public_address(self) -> str | None:
        """Its IP address as others see it, IPv4 first; None as long as nobody has told."""
        if self.settings.public_address is not None:
            return self.settings.public_address
        return min((host for host, _ in self._core.endpoints), key=is_ipv6, default=None)

    @property
    def endpoints(self) -> tuple[Address, ...]:
        """Where others reach it: as configured, as they say, or else as the machine has it."""
        host, port = self.local_address
        if self.settings.public_address is not None:
            return (normalise(self.settings.public_address, port),)
        if self._core.endpoints:
            return self._core.endpoints
        return ((source_host() if host in ("::", "0.0.0.0") else host, port),)  # noqa: S104

    @property
    def trouble(self) -> str:
        """What keeps it from the overlay; empty as long as nothing is known to."""
        return str(self._entrance)

    @property
    def coordinate(self) -> Coordinate | None:
        """Its place in the network; None as long as nothing was measured."""
        return self._core.coordinate

    @property
    def unix_time(self) -> float:
        """Unix time, seconds."""
        return self._wall_clock()

    @property
    def counters(self) -> Mapping[str, int]:
        """What was sent, received, answered, dropped and refused since the start."""
        return self._core.counters

    @property
    def contacts(self) -> int:
        """Contacts in its routing table."""
        return len(self._core.contacts())

    async def enter(self, host: str, port: int) -> None:
        """Join the overlay through one more peer; a DNS name is looked up until it is found."""
        addresses = await resolve(host, port, self._entrance)
        self._core.bootstrap(addresses, trio.current_time())
        self._settle()

    async def wait_connected(self) -> None:
        """Wait until somebody has answered; a first peer, without anybody, is connected."""
        await self._connected.wait()

    async def wait_joined(self) -> None:
        """Wait until it knows its neighbourhood."""
        await self._joined.wait()

    async def find_node(self, target: bytes) -> tuple[Contact, ...]:
        """Find the peers closest to a 20-byte id, closest first."""
        ended: LookupEnded = await self._result(lambda now: self._core.find_node(target, now))
        return ended.contacts

    async def collect_adverts(self, wanted: int, timeout: float) -> RelaysFound:
        """Collect adverts of relays, at most `wanted`, for at most `timeout` seconds."""
        found: RelaysFound = await self._result(
            lambda now: self._core.find_relays(wanted, now, timeout), timeout
        )
        return found

    async def register(self, offer: Offer) -> Advertised:
        """Put this peer's advert into the directory.

        Raises:
            overlay.core.errors.LocalProtocolError: The offer does not fit into an advert.
        """
        return await self._advertise(offer, self.endpoints)

    async def withdraw(self) -> None:
        """Take this peer's advert out of the directory, as long as the peer runs."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._cancel_at_end, nursery.cancel_scope)
            await self._advertise(_NO_OFFER, ())
            nursery.cancel_scope.cancel()

    def set_free_share(self, free: float | None) -> None:
        """Tell those who probe this peer what share of its channels is free; None for no relay."""
        self._core.free_share = free

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
                nursery.start_soon(self._receive)
                nursery.start_soon(self._drive, nursery)
                nursery.start_soon(self._bootstrap)
                nursery.start_soon(self._save)
                task_status.started()
        finally:
            self._ended.set()
            self.save_cache()  # most peers end by being cancelled

    def save_cache(self) -> None:
        """Write the peer cache; a disk that refuses costs only that."""
        addresses = [contact.address for contact in self._core.contacts()]
        try:
            write_cache(self.settings.cache_file, addresses)
        except OverlayError as error:
            self._cache.begin(_CACHE, str(error), "going on without it")
        else:
            self._cache.end(_CACHE)

    async def _advertise(self, offer: Offer, endpoints: tuple[Address, ...]) -> Advertised:
        def start(now: float) -> int:
            advert = self._core.sign_advert(offer, endpoints, now)
            return self._core.advertise(advert, now)

        result: Advertised = await self._result(start)
        return result

    async def _cancel_at_end(self, scope: trio.CancelScope) -> None:
        await self._ended.wait()
        scope.cancel()

    async def _result(self, start: Callable[[float], int], timeout: float | None = None) -> Any:
        """Start something in the core and wait for the event that ends it."""
        handle = start(trio.current_time())
        done = self._waiting[handle] = trio.Event()
        try:
            self._settle()
            if timeout is not None:
                with trio.move_on_after(timeout):
                    await done.wait()
                self._core.stop_search(handle, trio.current_time())
                self._settle()
            await done.wait()
            return self._results[handle]
        finally:
            del self._waiting[handle]
            self._results.pop(handle, None)

    async def _receive(self) -> None:
        while True:
            try:
                data, source = await self._sock.recvfrom(_BUFFER)
            except OSError as error:
                # An ICMP error for an earlier datagram; the request it was will time out.
                self._core.counters["receive_errors"] += 1
                _log.debug("receiving failed: %s", error)
                await trio.sleep(0)
                continue
            self._core.receive(data, source, trio.current_time())
            self._settle()

    async def _drive(self, nursery: trio.Nursery) -> None:
        """Send what the core wants sent, and call it when its timer is due."""
        while True:
            self._wake = trio.Event()
            for endpoint in self._checks:
                nursery.start_soon(self._verify, endpoint)
            self._checks.clear()
            for data, address in self._core.datagrams_to_send():
                try:
                    await self._sock.sendto(data, address)
                except OSError:
                    self._core.counters["send_errors"] += 1
            due = self._core.get_timer()
            with trio.move_on_at(float("inf") if due is None else due):
                await self._wake.wait()
            now = trio.current_time()
            if due is not None and now >= due:
                self._core.clock_offset = self._wall_clock() - now
                self._core.handle_timer(now)
                self._settle()

    def _settle(self) -> None:
        """Hand on what the core has to say, and wake whoever sends."""
        while (event := self._core.next_event()) is not None:
            self._handle(event)
        self._wake.set()

    def _handle(self, event: Event) -> None:
        match event:
            case Connected():
                self._connected.set()
                self._entrance.end(_OVERLAY)
            case Joined():
                self._connected.set()
                self._joined.set()
            case BootstrapFailed(retry_in):
                hint = f"trying again in {retry_in:.0f} s"
                self._entrance.begin(_OVERLAY, "no bootstrap peer answered", hint)
            case VerifyEndpoint(endpoint):
                self._checks.append(endpoint)
            case LookupEnded() | RelaysFound() | Advertised():
                if (done := self._waiting.get(event.handle)) is not None:
                    self._results[event.handle] = event
                    done.set()

    async def _verify(self, endpoint: Address) -> None:
        async with self._check_limit:
            try:
                answered = bool(await self.measure([endpoint]))
            except OverlayError:
                answered = False  # no socket to be had: the relay will register again
        self._core.endpoint_verified(endpoint, answered, trio.current_time())
        self._settle()

    async def _bootstrap(self) -> None:
        cached: list[Address] = []
        try:
            cached = await trio.to_thread.run_sync(read_cache, self.settings.cache_file)
        except OverlayError as error:
            self._cache.begin(_CACHE, str(error), "going on without it")
        if cached or not (self.settings.bootstrap or self.settings.entered_later):
            self._core.bootstrap(cached, trio.current_time())
            self._settle()
        async with trio.open_nursery() as nursery:
            for host, port in self.settings.bootstrap:
                nursery.start_soon(self.enter, host, port)

    async def _save(self) -> None:
        while self.settings.cache_file is not None:
            await trio.sleep(CACHE_INTERVAL)
            await trio.to_thread.run_sync(self.save_cache)


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
            config = PeerConfig(
                client=settings.client,
                # A first peer has nobody to tell it; its machine may have a public address.
                host=settings.public_address or source_host(),
                use_ipv6=is_ipv6(sock.getsockname()[0]),
                clock_offset=wall_clock() - trio.current_time(),
            )
            core = Peer(identity, config, rng)
            peer = RunningPeer(core, settings, sock, open_socket, wall_clock, rng)
            async with open_background_nursery() as nursery:
                await nursery.start(peer.run)
                yield peer
