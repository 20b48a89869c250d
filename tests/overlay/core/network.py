"""A few peers on a simulated network, seeded, whose events the tests take one by one."""

import random
from typing import TypeVar

from overlay.core.addresses import Address
from overlay.core.directory.records import Offer
from overlay.core.events import Event
from overlay.core.peer import Peer, PeerConfig
from simulations.audit import Audit
from simulations.events import EventHeap
from simulations.latency import FlatLatency
from simulations.network import Conditions, Filter, Host, Trace
from simulations.network import Network as Wire
from simulations.peers import UNIX_TIME, SimulatedPeer

SomeEvent = TypeVar("SomeEvent")

__all__ = ["UNIX_TIME", "Network", "offer"]


def offer(name: str) -> Offer:
    return Offer(f"{name}@example.org", ("channel",), "public", 512, 16, 1.0)


class Network:
    """Peers that are `delay` seconds apart."""

    def __init__(self, seed: int, *, delay: float = 0.02, loss: float = 0.0) -> None:
        self.rng = random.Random(seed)
        self.trace = Trace()
        self.audit = Audit()
        self.peers: dict[Address, Peer] = {}
        self.events: dict[Address, list[Event]] = {}
        self._heap = EventHeap(1000.0)
        conditions = Conditions(loss=loss)
        self._wire = Wire(self._heap, FlatLatency(delay), self.rng, conditions, self.trace)
        self._shells: dict[Address, SimulatedPeer] = {}

    @property
    def now(self) -> float:
        return self._heap.now

    @property
    def traffic(self) -> int:
        """Bytes that all peers together have sent and received."""
        return sum(shell.traffic for shell in self._shells.values())

    def living(self) -> list[Address]:
        return [address for address, shell in self._shells.items() if shell.alive]

    def join(self, address: Address, *bootstrap: Address, client: bool = False) -> Peer:
        config = PeerConfig(client=client, clock_offset=UNIX_TIME)
        host = Host(address[0], site=0)
        shell = SimulatedPeer(self._wire, host, address[1], config, self.rng)
        events: list[Event] = []
        shell.on_event = events.append
        shell.observers = (self.audit.observe,)
        self.events[address] = events
        self._shells[address] = shell
        self.peers[address] = shell.core
        shell.bootstrap(bootstrap)
        return shell.core

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

    def kill(self, *addresses: Address) -> None:
        """Have peers leave without a word."""
        for address in addresses:
            self._shells[address].leave()

    def hide(self, address: Address, gate: Filter | None) -> None:
        """Put something before a peer, or nothing."""
        self._shells[address].host.gate = gate

    def flush(self, address: Address) -> None:
        """Take what a peer has to say after a call to it."""
        self._shells[address].settle()

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self._heap.run(seconds)

    def take(self, address: Address, kind: type[SomeEvent]) -> list[SomeEvent]:
        """Take the events of one kind that a peer has had."""
        events = self.events[address]
        taken: list[SomeEvent] = [event for event in events if isinstance(event, kind)]
        events[:] = [event for event in events if not isinstance(event, kind)]
        return taken
