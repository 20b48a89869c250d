"""The shell of a peer in a simulation: the pure core, driven from the event heap.

It does what `overlay.dht` does over real sockets: datagrams in and out, the timer, events to
those who asked, Binding requests to endpoints that the core wants verified.
"""

import math
import random
from collections.abc import Callable, Iterable
from typing import Any, Final

from overlay.core.addresses import Address
from overlay.core.directory.records import Offer
from overlay.core.events import Advertised, Event, LookupEnded, RelaysFound, VerifyEndpoint
from overlay.core.identity import SEED_LENGTH, Identity, KeyPair
from overlay.core.kademlia.contact import Contact
from overlay.core.peer import Peer, PeerConfig
from simulations.network import Host, Network
from simulations.probe import Probe

UNIX_TIME: Final = 1_800_000_000.0  # that of a simulated clock at zero
PORT: Final = 4000

# What the receipt of a datagram made a peer send at once: the datagram, its source, the others.
Observer = Callable[[bytes, Address, list[tuple[bytes, Address]]], None]


class SimulatedPeer:
    """A peer on a host of a simulated network.

    Args:
        network: Carries its datagrams.
        host: Its machine.
        port: Of its socket.
        config: How it takes part.
        rng: Everything random about it; one generator may serve all peers.
        make_identity: Makes its key from a seed.

    Attributes:
        core: The peer itself.
        alive: False once it has left.
        rng: Everything random about it.
        on_event: Is called with the events that nobody waits for.
        observers: Are told of each datagram received and what it set off.
    """

    __slots__ = (
        "_network",
        "_socket",
        "_timer",
        "_waiting",
        "alive",
        "core",
        "host",
        "observers",
        "on_event",
        "rng",
    )

    is_here = True  # and not in another shard, as a `DistantPeer` is

    def __init__(
        self,
        network: Network,
        host: Host,
        port: int,
        config: PeerConfig,
        rng: random.Random,
        make_identity: Callable[[bytes], KeyPair] = Identity,
    ) -> None:
        self.core = Peer(make_identity(rng.randbytes(SEED_LENGTH)), config, rng)
        self.host = host
        self.alive = True
        self.on_event: Callable[[Event], None] | None = None
        self.observers: tuple[Observer, ...] = ()
        self._network = network
        self.rng = rng
        self._socket = network.bind(host, port, self._receive)
        self._timer = math.inf
        self._waiting: dict[int, Callable[[Any], None]] = {}

    @property
    def address(self) -> Address:
        """Where its socket is bound."""
        return self._socket.address

    @property
    def traffic(self) -> int:
        """Bytes of UDP payload that its socket has sent and received."""
        return self._socket.sent_bytes + self._socket.received_bytes

    @property
    def peer_id(self) -> bytes:
        """Its id, 20 bytes."""
        return self.core.peer_id

    def resume(self, contacts: Iterable[Contact]) -> None:
        """Have it know contacts of old."""
        self.core.past.joined(contacts, self._network.heap.now)
        self.settle()

    def bootstrap(self, addresses: Iterable[Address]) -> None:
        """Join by way of some addresses."""
        self.core.bootstrap(addresses, self._network.heap.now)
        self.settle()

    def find_node(self, target: bytes, done: Callable[[LookupEnded], None]) -> None:
        """Look for the peers closest to an id."""
        self._ask(lambda now: self.core.find_node(target, now), done)

    def find_relays(
        self,
        wanted: int,
        timeout: float,
        done: Callable[[RelaysFound], None],
        *,
        hurried: bool = False,
    ) -> None:
        """Collect adverts, for `timeout` seconds at most."""
        core = self.core
        self._ask(
            lambda now: core.find_relays(wanted, now, timeout, hurried=hurried), done, timeout
        )

    def advertise(self, offer: Offer, done: Callable[[Advertised], None]) -> None:
        """Register as a relay, once."""
        core = self.core

        def start(now: float) -> int:
            return core.advertise(core.sign_advert(offer, (self.address,), now), now)

        self._ask(start, done)

    def leave(self) -> None:
        """Be gone, without a word."""
        self.alive = False
        self._network.depart(self._socket)
        self._waiting.clear()

    def settle(self) -> list[tuple[bytes, Address]]:
        """Send and hand on what the core has to say, and plan its timer.

        Returns:
            What was sent.
        """
        core = self.core
        datagrams = core.datagrams_to_send()
        for data, to in datagrams:
            self._network.send(self._socket, data, to)
        while (event := core.next_event()) is not None:
            self._handle(event)
        due = core.get_timer()
        if due is not None and due < self._timer:
            self._timer = due
            self._network.heap.at(due, self._tick, due)
        return datagrams

    def _receive(self, data: bytes, source: Address) -> None:
        self.core.receive(data, source, self._network.heap.now)
        sent = self.settle()
        for observe in self.observers:
            observe(data, source, sent)

    def _tick(self, due: float) -> None:
        if not self.alive or due != self._timer:
            return  # an earlier timer took its place
        self._timer = math.inf
        self.core.handle_timer(self._network.heap.now)
        self.settle()

    def _stop_search(self, handle: int) -> None:
        if handle in self._waiting:
            self.core.stop_search(handle, self._network.heap.now)
            self.settle()

    def _ask(
        self,
        start: Callable[[float], int],
        done: Callable[[Any], None],
        timeout: float | None = None,
    ) -> None:
        """Have the core start something, and hand on what comes of it, in `timeout` seconds."""
        handle = start(self._network.heap.now)
        self._waiting[handle] = done
        self.settle()
        if timeout is not None:
            self._network.heap.after(timeout, self._stop_search, handle)

    def _handle(self, event: Event) -> None:
        match event:
            case VerifyEndpoint(endpoint):
                Probe(self._network, self.host, (endpoint,), self.rng, self._verified(endpoint))
            case LookupEnded() | RelaysFound() | Advertised() if event.handle in self._waiting:
                done = self._waiting.pop(event.handle)
                if not self._waiting:
                    self._waiting.clear()  # gives back the room that an emptied table keeps
                done(event)
            case _ if self.on_event is not None:
                self.on_event(event)

    def _verified(self, endpoint: Address) -> Callable[[Probe], None]:
        def verified(probe: Probe) -> None:
            if self.alive:
                now = self._network.heap.now
                self.core.endpoint_verified(endpoint, probe.names.get(endpoint), now)
                self.settle()

        return verified
