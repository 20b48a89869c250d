"""A network of hosts: datagrams take time, get lost, and meet filters and NATs.

Everything happens on one `EventHeap`. With the same seed and the same calls the same datagrams
are delivered at the same times, byte for byte: `Trace` is a hash over them all.
"""

import hashlib
import random
import struct
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from overlay.core.addresses import Address
from simulations.errors import SimulationError
from simulations.events import EventHeap
from simulations.latency import Latency
from simulations.memory import Departed
from simulations.nat import Nat

_FIRST_EPHEMERAL: Final = 49_152  # RFC 6335 section 6
_LAST_PORT: Final = 65_535

# Takes in a datagram and its source.
Receive = Callable[[bytes, Address], None]


@dataclass(frozen=True, slots=True)
class Conditions:
    """What happens to datagrams on their way.

    Attributes:
        loss: Share of them that is lost, 0 to 1.
        jitter: Largest deviation of a delay from the latency model, as a share of it.
    """

    loss: float = 0.0
    jitter: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.loss <= 1.0:
            raise SimulationError(f"a loss of {self.loss:g} is no share; choose 0 to 1")
        if not 0.0 <= self.jitter < 1.0:
            raise SimulationError(f"a jitter of {self.jitter:g} is no share; choose 0 to below 1")


class Filter(Protocol):
    """What stands between a host and the network and translates nothing."""

    def sent(self, source: Address, to: Address, now: float) -> None:
        """Note that the host sends a datagram."""

    def admits(self, source: Address, to: Address, now: float) -> bool:
        """Whether a datagram from `source` to the host's address `to` is let in."""


class Trace:
    """A hash over all datagrams in the order of their delivery."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=20)

    def add(self, now: float, data: bytes, source: Address, to: Address) -> None:
        """Take in a datagram that is delivered now."""
        head = f"{source[0]}|{source[1]}|{to[0]}|{to[1]}|{len(data)}|"
        self._hash.update(struct.pack("!d", now) + head.encode() + data)

    def hexdigest(self) -> str:
        """Return the hash so far."""
        return self._hash.hexdigest()


class Host:
    """A machine with one address.

    Args:
        name: Its IP address.
        site: Where it stands, in the latency model.
        gate: What filters its traffic; None for nothing.
        behind: The NAT that it is behind; None on the open network.
    """

    __slots__ = ("behind", "gate", "name", "next_port", "site")

    def __init__(
        self, name: str, site: int, gate: Filter | None = None, behind: Nat | None = None
    ) -> None:
        self.name = name
        self.site = site
        self.gate = gate
        self.behind = behind
        self.next_port = _FIRST_EPHEMERAL


class Path(Protocol):
    """What else than delay, jitter and loss happens to datagrams; `simulations.path` has one."""

    def departures(self, source: Host, site: int, size: int, delay: float) -> Iterable[float]:
        """Return how long copies of a datagram to a site take; none if it gets nowhere."""

    def arrival(self, host: Host, size: int) -> float | None:
        """Return how long a datagram waits for the line of its destination; None if too long."""


class Socket:
    """A UDP socket of a host; `Network.bind` makes them.

    Attributes:
        address: Where it is bound.
        host: Its machine.
        receive: Is called with each datagram and its source.
        sent_bytes: Payload it has sent.
        received_bytes: Payload that has reached it.
    """

    __slots__ = ("address", "host", "receive", "received_bytes", "sent_bytes")

    def __init__(self, address: Address, host: Host, receive: Receive) -> None:
        self.address = address
        self.host = host
        self.receive = receive
        self.sent_bytes = 0
        self.received_bytes = 0


class Network:
    """Carries datagrams between sockets.

    Args:
        heap: Clock and order of everything.
        latency: Delays between sites.
        rng: Loss and jitter.
        conditions: How much of them.
        trace: Hashes what is delivered; None to save the time.

    Attributes:
        path: What else happens to datagrams; None for nothing.
        counters: Datagrams `delivered`, `lost`, `filtered`, and `unreachable`.
    """

    def __init__(
        self,
        heap: EventHeap,
        latency: Latency,
        rng: random.Random,
        conditions: Conditions = Conditions(),
        trace: Trace | None = None,
    ) -> None:
        self.heap = heap
        self.latency = latency
        self.conditions = conditions
        self.trace = trace
        self.path: Path | None = None
        self.counters: Counter[str] = Counter()
        self._rng = rng
        self._departed = Departed()
        self._sockets: dict[Address, Socket] = {}
        self._nats: dict[str, Nat] = {}

    def add_nat(self, nat: Nat) -> Nat:
        """Put a NAT on the network, for hosts to be behind.

        Raises:
            SimulationError: Another one has its outer address.
        """
        if self._nats.setdefault(nat.name, nat) is not nat:
            raise SimulationError(f"there is a NAT at {nat.name} already")
        return nat

    def bind(self, host: Host, port: int, receive: Receive) -> Socket:
        """Open a socket.

        Args:
            host: Its machine.
            port: Its port; 0 for a fresh one.
            receive: Is called with each datagram and its source.

        Raises:
            SimulationError: The port is taken.
        """
        address = (host.name, port or self._fresh_port(host))
        if address in self._sockets:
            raise SimulationError(f"port {port} of {host.name} is taken")
        socket = self._sockets[address] = Socket(address, host, receive)
        return socket

    def close(self, socket: Socket) -> None:
        """Close a socket; what is on its way to it is dropped."""
        self._sockets.pop(socket.address, None)

    def depart(self, socket: Socket) -> None:
        """Close the socket of a peer that leaves for good."""
        self.close(socket)
        self._departed.add(len(self._sockets))

    def is_open(self, address: Address) -> bool:
        """Whether a socket is bound to an address."""
        return address in self._sockets

    def send(self, socket: Socket, data: bytes, to: Address) -> None:
        """Send a datagram."""
        heap = self.heap
        host = socket.host
        socket.sent_bytes += len(data)
        if host.gate is not None:
            host.gate.sent(socket.address, to, heap.now)
        source, realm = socket.address, host.behind
        if realm is not None:
            way_out = self._translate(source, realm, to)
            if way_out is None:
                self.counters["filtered"] += 1
                return
            source, realm = way_out
        door = self._nats.get(to[0])
        target = self._sockets.get(to)
        if door is not None:
            site = door.site
        elif target is not None and target.host.behind is realm:
            site = target.host.site
        else:
            self.counters["unreachable"] += 1
            return
        for delay in self._delays(host, site, len(data)):
            if door is None:
                heap.at(heap.now + delay, self._arrive, data, source, target)
            else:
                heap.at(heap.now + delay, self._enter, data, source, to, realm)

    def _delays(self, host: Host, site: int, size: int) -> Iterable[float]:
        """Return how long copies of a datagram to a site take; none if it is lost."""
        conditions = self.conditions
        if conditions.loss and self._rng.random() < conditions.loss:
            self.counters["lost"] += 1
            return ()
        delay = self.latency.one_way(host.site, site)
        if conditions.jitter:
            delay *= 1.0 + conditions.jitter * (2.0 * self._rng.random() - 1.0)
        if self.path is not None:
            return self.path.departures(host, site, size, delay)
        return (delay,)

    def _translate(
        self, source: Address, realm: Nat | None, to: Address
    ) -> tuple[Address, Nat | None] | None:
        """Take a datagram out of NATs, as far as its destination is outside of them.

        Returns:
            Its source there, and the NAT that it is still behind; None if one does not hairpin.
        """
        while realm is not None and not self._is_within(realm, to):
            source = realm.outbound(source, to, self.heap.now)
            if to[0] == realm.name and not realm.hairpinning:
                return None
            realm = realm.behind
        return source, realm

    def _is_within(self, realm: Nat, to: Address) -> bool:
        """Whether an address is one of those directly behind a NAT."""
        if (nat := self._nats.get(to[0])) is not None:
            return nat.behind is realm
        return to in self._sockets and self._sockets[to].host.behind is realm

    def _enter(self, data: bytes, source: Address, to: Address, realm: Nat | None) -> None:
        """Take a datagram through the NATs that its destination is behind."""
        while (nat := self._nats.get(to[0])) is not None and nat.behind is realm:
            inner = nat.inbound(source, to, self.heap.now)
            if inner is None:
                self.counters["filtered"] += 1
                return
            to, realm = inner, nat
        target = self._sockets.get(to)
        if target is None or target.host.behind is not realm:
            self.counters["unreachable"] += 1
        else:
            self._arrive(data, source, target)

    def _arrive(self, data: bytes, source: Address, target: Socket) -> None:
        """Take a datagram over the line of its destination."""
        if self.path is None:
            self._deliver(data, source, target)
            return
        wait = self.path.arrival(target.host, len(data))
        if wait is not None:
            self.heap.after(wait, self._deliver, data, source, target)

    def _deliver(self, data: bytes, source: Address, target: Socket) -> None:
        to = target.address
        now = self.heap.now
        if self._sockets.get(to) is not target:
            self.counters["unreachable"] += 1
            return
        gate = target.host.gate
        if gate is not None and not gate.admits(source, to, now):
            self.counters["filtered"] += 1
            return
        self.counters["delivered"] += 1
        if self.trace is not None:
            self.trace.add(now, data, source, to)
        target.received_bytes += len(data)
        target.receive(data, source)

    def _fresh_port(self, host: Host) -> int:
        while (host.name, host.next_port) in self._sockets:
            host.next_port += 1
        port = host.next_port
        host.next_port = port + 1 if port < _LAST_PORT else _FIRST_EPHEMERAL
        return port
