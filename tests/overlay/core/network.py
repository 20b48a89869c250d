"""Peers paired in memory: one heap of datagrams, one clock, one seed."""

import heapq
import math
import random
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from overlay.core.addresses import Address
from overlay.core.events import Event, VerifyEndpoint
from overlay.core.identity import Identity
from overlay.core.messages import Request
from overlay.core.peer import Peer, PeerConfig
from overlay.core.records import Offer
from overlay.core.wire import parse_message_untrusted

SomeEvent = TypeVar("SomeEvent")

UNIX_TIME = 1_800_000_000.0


def offer(name: str) -> Offer:
    return Offer(f"{name}@example.org", ("channel",), "public", 512, 16, 1.0)


class Network:
    """Delivers datagrams between peer cores after `delay` seconds, losing some.

    `caused` has, for each request, its length and the bytes that its receipt set off at once.
    """

    def __init__(self, seed: int, *, delay: float = 0.02, loss: float = 0.0) -> None:
        self.rng = random.Random(seed)
        self.delay = delay
        self.loss = loss
        self.now = 1000.0
        self.peers: dict[Address, Peer] = {}
        self.events: dict[Address, list[Event]] = {}
        self.dead: set[Address] = set()
        self.unverifiable: set[Address] = set()
        self.caused: list[tuple[int, int]] = []
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = 0
        self._timers: dict[Address, float] = {}

    def add(self, address: Address, *, client: bool = False, seed: bytes | None = None) -> Peer:
        config = PeerConfig(client=client, clock_offset=UNIX_TIME)
        identity = Identity(seed or self.rng.randbytes(32))
        peer = Peer(identity, config, random.Random(self.rng.getrandbits(64)))
        self.peers[address] = peer
        self.events[address] = []
        return peer

    def join(self, address: Address, *bootstrap: Address, client: bool = False) -> Peer:
        peer = self.add(address, client=client)
        peer.bootstrap(bootstrap, self.now)
        self.flush(address)
        return peer

    def build(self, count: int, *, public: bool = False) -> list[Address]:
        """Join `count` peers, each by way of one that is there already."""
        addresses: list[Address] = []
        for number in range(count):
            host = f"{number % 200 + 11}.{number // 200 + 1}.7.9" if public else "127.0.0.1"
            address = (host, 4000 + number)
            bootstrap = [self.rng.choice(addresses)] if addresses else []
            self.join(address, *bootstrap)
            addresses.append(address)
            self.run(0.5)
        return addresses

    def flush(self, address: Address) -> int:
        """Take what a peer has to say. Returns the bytes that it sends."""
        peer = self.peers[address]
        sent = 0
        for data, to in peer.datagrams_to_send():
            sent += len(data)
            if self.rng.random() >= self.loss:
                self._at(self.now + self.delay, partial(self._deliver, data, address, to))
        while (event := peer.next_event()) is not None:
            self.events[address].append(event)
            if isinstance(event, VerifyEndpoint):
                verify = partial(self._verify, address, event.endpoint)
                self._at(self.now + 2 * self.delay, verify)
        self._set_timer(address)
        return sent

    def run(self, seconds: float) -> None:
        """Let time pass."""
        until = self.now + seconds
        while self._heap and self._heap[0][0] <= until:
            self.now, _, action = heapq.heappop(self._heap)
            action()
        self.now = until

    def take(self, address: Address, kind: type[SomeEvent]) -> list[SomeEvent]:
        """Take the events of one kind that a peer has had."""
        taken: list[SomeEvent] = []
        left: list[Event] = []
        for event in self.events[address]:
            if isinstance(event, kind):
                taken.append(event)
            else:
                left.append(event)
        self.events[address] = left
        return taken

    def _tick(self, address: Address, due: float) -> None:
        if self._timers.get(address) != due:
            return  # an earlier timer took its place
        del self._timers[address]
        if address not in self.dead:
            self.peers[address].handle_timer(self.now)
            self.flush(address)

    def _set_timer(self, address: Address) -> None:
        due = self.peers[address].get_timer()
        if due is not None and due < self._timers.get(address, math.inf):
            self._timers[address] = due = max(due, self.now)
            self._at(due, partial(self._tick, address, due))

    def _deliver(self, data: bytes, source: Address, to: Address) -> None:
        if to in self.peers and to not in self.dead:
            self.peers[to].receive(data, source, self.now)
            sent = self.flush(to)
            if isinstance(parse_message_untrusted(data), Request):
                self.caused.append((len(data), sent))

    def _verify(self, address: Address, endpoint: Address) -> None:
        answered = (
            endpoint in self.peers
            and endpoint not in self.dead
            and endpoint not in self.unverifiable
        )
        self.peers[address].endpoint_verified(endpoint, answered, self.now)
        self.flush(address)

    def _at(self, when: float, action: Callable[[], None]) -> None:
        self._serial += 1
        heapq.heappush(self._heap, (when, self._serial, action))
