"""A network of hosts: datagrams take time, get lost, and meet filters.

Everything happens on one `EventHeap`. With the same seed and the same calls the same datagrams
are delivered at the same times, byte for byte: `Trace` is a hash over them all.
"""

import hashlib
import random
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from overlay.core.addresses import Address
from simulations.errors import SimulationError
from simulations.events import EventHeap
from simulations.latency import Latency

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
    """What stands between a host and the network: a firewall, or the filter of a NAT."""

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
    """

    __slots__ = ("gate", "name", "next_port", "site")

    def __init__(self, name: str, site: int, gate: Filter | None = None) -> None:
        self.name = name
        self.site = site
        self.gate = gate
        self.next_port = _FIRST_EPHEMERAL


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
        self.counters: Counter[str] = Counter()
        self._rng = rng
        self._sockets: dict[Address, Socket] = {}

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

    def is_open(self, address: Address) -> bool:
        """Whether a socket is bound to an address."""
        return address in self._sockets

    def send(self, socket: Socket, data: bytes, to: Address) -> None:
        """Send a datagram."""
        heap = self.heap
        socket.sent_bytes += len(data)
        gate = socket.host.gate
        if gate is not None:
            gate.sent(socket.address, to, heap.now)
        target = self._sockets.get(to)
        if target is None:
            self.counters["unreachable"] += 1
            return
        conditions = self.conditions
        if conditions.loss and self._rng.random() < conditions.loss:
            self.counters["lost"] += 1
            return
        delay = self.latency.one_way(socket.host.site, target.host.site)
        if conditions.jitter:
            delay *= 1.0 + conditions.jitter * (2.0 * self._rng.random() - 1.0)
        heap.at(heap.now + delay, self._deliver, data, socket.address, target)

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
