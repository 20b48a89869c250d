"""A network of hosts: datagrams take time, get lost, and meet filters and NATs.

Everything happens on one `EventHeap`. With the same seed and the same calls the same datagrams
are delivered at the same times, byte for byte: `Trace` is a hash over them all. What happens to a
datagram hangs on the host that sends it and on how many that has sent before.
"""

import hashlib
import random
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from overlay.core.addresses import Address
from simulations.draws import MASK, STEP, mix, start_of
from simulations.errors import SimulationError
from simulations.events import EventHeap
from simulations.latency import Latency
from simulations.memory import Departed
from simulations.nat import Nat

_FIRST_EPHEMERAL: Final = 49_152  # RFC 6335 section 6
_LAST_PORT: Final = 65_535
_TRACE_BYTES: Final = 20

# The order of arrivals at one time: by who sent them, and then as they were sent.
_COUNTED: Final = 48
_BEFORE_ALL: Final = 1 << 64 + _COUNTED

# Halves of a draw as numbers from 0 to below 1.
HALF: Final = 32
LOW: Final = 2**HALF - 1
UNIT: Final = 2.0**-HALF

# A datagram that comes from another shard: when, its order, content, source and destination.
Arrival = tuple[float, int, bytes, Address, Address]

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
    """A hash over all datagrams and when they are delivered.

    It is a sum, so that those of several networks add up to that of all.

    Attributes:
        total: The sum of the hashes of the datagrams.
    """

    def __init__(self) -> None:
        self.total = 0

    def add(self, now: float, data: bytes, source: Address, to: Address) -> None:
        """Take in a datagram that is delivered now."""
        head = f"{source[0]}|{source[1]}|{to[0]}|{to[1]}|{len(data)}|"
        text = struct.pack("!d", now) + head.encode() + data
        self.total += int.from_bytes(hashlib.blake2b(text, digest_size=_TRACE_BYTES).digest())

    def hexdigest(self) -> str:
        """Return the hash so far."""
        return trace_digest(self.total)


def trace_digest(total: int) -> str:
    """Return a sum of hashes as it is written."""
    return f"{total % (1 << 8 * _TRACE_BYTES):0{2 * _TRACE_BYTES}x}"


class Host:
    """A machine with one address.

    Args:
        name: Its IP address.
        site: Where it stands, in the latency model.
        gate: What filters its traffic; None for nothing.
        behind: The NAT that it is behind; None on the open network.

    Attributes:
        key: What the loss and jitter of its datagrams follow from; None before it has a socket.
        sent: Datagrams so far.
    """

    __slots__ = ("behind", "gate", "key", "name", "next_port", "sent", "site")

    def __init__(
        self, name: str, site: int, gate: Filter | None = None, behind: Nat | None = None
    ) -> None:
        self.name = name
        self.site = site
        self.gate = gate
        self.behind = behind
        self.next_port = _FIRST_EPHEMERAL
        self.key: int | None = None
        self.sent = 0


class Path(Protocol):
    """What else than delay, jitter and loss happens to datagrams; `simulations.path` has one."""

    def departures(
        self, source: Host, site: int, size: int, delay: float, draw: int
    ) -> Iterable[float]:
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
        rng: What the loss and jitter of all datagrams follow from.
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
        self._key = rng.getrandbits(64)
        self._departed = Departed()
        self._sockets: dict[Address, Socket] = {}
        self._nats: dict[str, Nat] = {}
        self._sites: dict[str, int] = {}  # of hosts on the open network, those gone with them
        self._leaving: Sequence[list[Arrival] | None] | None = None

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
        self.know(host)
        if host.key is None:
            host.key = start_of(self._key, *address)
        socket = self._sockets[address] = Socket(address, host, receive)
        return socket

    def divide(self, leaving: Sequence[list[Arrival] | None]) -> None:
        """Be one of several networks that are one together.

        Args:
            leaving: By site, where to put datagrams that go there; None where the site is here.
        """
        self._leaving = leaving

    def admit(self, arrivals: Iterable[Arrival]) -> None:
        """Let datagrams of other shards arrive."""
        for when, order, data, source, to in arrivals:
            self.heap.arrive(when, order, self._enter, data, source, to, None)

    def know(self, host: Host) -> None:
        """Have datagrams to a host travel to where it is, whether it is there or not."""
        if host.behind is None:
            self._sites.setdefault(host.name, host.site)

    def close(self, socket: Socket) -> None:
        """Close a socket; what is on its way to it is dropped."""
        self._sockets.pop(socket.address, None)

    def depart(self, socket: Socket) -> None:
        """Close the socket of a peer that leaves for good."""
        self.close(socket)
        self._departed.add(len(self._sockets))

    def site_of(self, name: str) -> int | None:
        """Return where a host on the open network stands, or stood; None if there never was one."""
        return self._sites.get(name)

    def next_order(self, host: Host) -> int:
        """Return the order of what a host sends next."""
        host.sent += 1
        return ((host.key or 0) << _COUNTED | 2 * host.sent) - _BEFORE_ALL

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
        site = self._site_of(to, realm)
        if site is None:
            self.counters["unreachable"] += 1
            return
        order, delays = self._delays(host, site, len(data))
        leaving = None if self._leaving is None else self._leaving[site]
        for delay in delays:
            if leaving is None:
                heap.arrive(heap.now + delay, order, self._enter, data, source, to, realm)
            else:  # it has passed all NATs: a carrier's site is that of all behind it
                leaving.append((heap.now + delay, order, data, source, to))
            order += 1

    def _delays(self, host: Host, site: int, size: int) -> tuple[int, Iterable[float]]:
        """Return the order of a datagram, and how long its copies take; none if it is lost."""
        conditions = self.conditions
        order = self.next_order(host)
        draw = mix((host.key or 0) + host.sent * STEP & MASK)
        if (draw >> HALF) * UNIT < conditions.loss:
            self.counters["lost"] += 1
            return order, ()
        delay = self.latency.one_way(host.site, site)
        delay *= 1.0 + conditions.jitter * (2.0 * UNIT * (draw & LOW) - 1.0)
        if self.path is not None:
            return order, self.path.departures(host, site, size, delay, draw)
        return order, (delay,)

    def _site_of(self, to: Address, realm: Nat | None) -> int | None:
        """Where a datagram that is within a NAT, or in the open, goes; None if nowhere."""
        door = self._nats.get(to[0])
        if door is not None:
            return door.site
        if realm is None:
            return self._sites.get(to[0])
        target = self._sockets.get(to)
        return None if target is None or target.host.behind is not realm else target.host.site

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
