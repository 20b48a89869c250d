"""What runs one pure peer in Trio: its datagrams, its timer, and whoever waits for its events."""

import math
from collections.abc import Awaitable, Callable
from typing import Any, Final

import trio

from overlay.core.addresses import Address
from overlay.core.events import (
    Advertised,
    BootstrapFailed,
    Connected,
    Event,
    Joined,
    LookupEnded,
    ReachabilityChanged,
    RelaysFound,
    VerifyEndpoint,
)
from overlay.core.peer import Peer
from overlay.core.reachability.verdict import Verdict
from overlay.errors import OverlayError
from overlay.probing import Answer
from overlay.sockets import DatagramSocket
from overlay.troubles import Troubles

MAX_CHECKS: Final = 32  # sockets open at once to verify the endpoints of relays

# Measures round-trip times to endpoints from a fresh socket.
Measure = Callable[[list[Address]], Awaitable[dict[Address, Answer]]]


class Driver:
    """Runs a core.

    Args:
        core: The peer.
        sock: Where it sends. Whoever reads from it calls `receive`.
        measure: Tells whether an endpoint answers.
        wall_clock: Unix time in seconds.
        entrance: Where it is noted that nobody can be joined by.
        name: What the core is called there.

    Attributes:
        core: The peer.
        connected: Set when somebody has answered, or there is nobody to ask.
        joined: Set when the peer knows its neighbourhood.
    """

    def __init__(
        self,
        core: Peer,
        sock: DatagramSocket,
        measure: Measure,
        wall_clock: Callable[[], float],
        entrance: Troubles,
        name: str,
    ) -> None:
        self.core = core
        self.connected = trio.Event()
        self.joined = trio.Event()
        self._sock = sock
        self._measure = measure
        self._wall_clock = wall_clock
        self._entrance = entrance
        self._name = name
        self._reach = Troubles()
        self._wake = trio.Event()
        self._due = math.inf  # when `run` calls the core without being woken
        self._waiting: dict[int, trio.Event] = {}
        self._results: dict[int, Event] = {}
        self._checks: list[Address] = []
        self._check_limit = trio.CapacityLimiter(MAX_CHECKS)

    async def receive(self, data: bytes, source: Address) -> None:
        """Hand the core a datagram, and send what it answers.

        `run` is woken only for what it alone does: that would be half the cost of a datagram.
        """
        self.core.receive(data, source, trio.current_time())
        self._handle_events()
        await self._send()
        due = self.core.get_timer()
        if self._checks or (due is not None and due < self._due):
            self._wake.set()

    def bootstrap(self, addresses: list[Address]) -> None:
        """Have the core join by these addresses; without any it is the first peer."""
        self.core.bootstrap(addresses, trio.current_time())
        self._settle()

    def opened(self, endpoint: Address) -> None:
        """Tell the core of a public endpoint at which a NAT lets strangers in."""
        self.core.opened(endpoint, trio.current_time())
        self._settle()

    async def result(self, start: Callable[[float], int], timeout: float | None = None) -> Any:
        """Start something in the core and wait for the event that ends it.

        Args:
            start: Starts it, and returns its handle.
            timeout: Seconds after which a search is to end with what it has.
        """
        handle = start(trio.current_time())
        done = self._waiting[handle] = trio.Event()
        try:
            self._settle()
            if timeout is not None:
                with trio.move_on_after(timeout):
                    await done.wait()
                self.core.stop_search(handle, trio.current_time())
                self._settle()
            await done.wait()
            return self._results[handle]
        finally:
            del self._waiting[handle]
            self._results.pop(handle, None)

    async def run(self) -> None:
        """Send what the core wants sent, and call it when its timer is due, until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                self._wake = trio.Event()
                for endpoint in self._checks:
                    nursery.start_soon(self._verify, endpoint)
                self._checks.clear()
                await self._send()
                due = self.core.get_timer()
                self._due = math.inf if due is None else due
                with trio.move_on_at(self._due):
                    await self._wake.wait()
                # After a pause of the machine answers are waiting: they come before timeouts.
                await trio.lowlevel.checkpoint()
                now = trio.current_time()
                due = self.core.get_timer()
                if due is not None and now >= due:
                    self.core.clock_offset = self._wall_clock() - now
                    self.core.handle_timer(now)
                    self._settle()

    async def _send(self) -> None:
        for data, address in self.core.datagrams_to_send():
            try:
                await self._sock.sendto(data, address)
            except OSError:
                self.core.counters["send_errors"] += 1

    def _settle(self) -> None:
        """Hand on what the core has to say, and wake whoever sends."""
        self._handle_events()
        self._wake.set()

    def _handle_events(self) -> None:
        while (event := self.core.next_event()) is not None:
            self._handle(event)

    def _handle(self, event: Event) -> None:
        match event:
            case Connected():
                self.connected.set()
                self._entrance.end(self._name)
            case Joined():
                self.connected.set()
                self.joined.set()
            case BootstrapFailed(retry_in):
                what = f"no bootstrap peer answered {self._name}"
                self._entrance.begin(self._name, what, f"trying again in {retry_in:.0f} s")
            case ReachabilityChanged(Verdict.UNREACHABLE):
                what = f"strangers do not reach this peer {self._name}, so it serves nobody"
                self._reach.begin(self._name, what, "let its UDP port through the firewall or NAT")
            case ReachabilityChanged():
                self._reach.end(self._name)
            case VerifyEndpoint(endpoint):
                self._checks.append(endpoint)
            case LookupEnded() | RelaysFound() | Advertised():
                if (done := self._waiting.get(event.handle)) is not None:
                    self._results[event.handle] = event
                    done.set()

    async def _verify(self, endpoint: Address) -> None:
        async with self._check_limit:
            try:
                answer = (await self._measure([endpoint])).get(endpoint)
            except OverlayError:
                answer = None  # no socket to be had: the relay will register again
        name = answer.relay.name if answer is not None and answer.relay is not None else None
        self.core.endpoint_verified(endpoint, name, trio.current_time())
        self._settle()
