"""Lines, queues, copies, stragglers and partitions of the simulated network."""

import random

import pytest

from overlay.core.addresses import Address
from simulations.events import EventHeap
from simulations.latency import FlatLatency
from simulations.nat import Nat
from simulations.network import Host, Network
from simulations.path import Line, Route

HERE, THERE = ("11.0.0.1", 1), ("12.0.0.1", 2)
DELAY = 0.1


class Wire:
    """Two hosts with a route between them, and when the second one received what."""

    def __init__(self, line: Line | None = None, **happens: float) -> None:
        self.heap = EventHeap()
        self.network = Network(self.heap, FlatLatency(DELAY), random.Random(1))
        self.route = Route(self.heap, self.network.counters, line, **happens)
        self.network.path = self.route
        self.received: list[tuple[float, bytes]] = []
        self.here = self.network.bind(Host(HERE[0], 0), HERE[1], self.note)
        self.there = self.network.bind(Host(THERE[0], 1), THERE[1], self.note)

    def note(self, data: bytes, _: Address) -> None:
        self.received.append((round(self.heap.now, 6), data))

    def send(self, *payloads: bytes) -> list[tuple[float, bytes]]:
        """Send at once; return what arrives within a second."""
        for payload in payloads:
            self.network.send(self.here, payload, THERE)
        self.heap.run(1.0)
        return self.received


def test_datagrams_queue_for_the_slower_line_and_what_would_wait_too_long_is_dropped() -> None:
    wire = Wire(Line(up=1000.0, down=100_000.0, queue=0.25))
    received = wire.send(b"a" * 100, b"b" * 100, b"c" * 100, b"d" * 100)
    assert [at for at, _ in received] == [0.201, 0.301, 0.401]
    assert wire.network.counters["queued_out"] == 1
    wire = Wire(Line(up=100_000.0, down=1000.0, queue=0.15))
    assert [at for at, _ in wire.send(b"a" * 100, b"b" * 100, b"c" * 100)] == [0.201, 0.301]
    assert wire.network.counters["queued_out"] == 1


def test_hosts_behind_one_nat_share_a_line() -> None:
    wire = Wire(Line(up=1000.0, down=1000.0, queue=9.0))
    home = wire.network.add_nat(Nat("13.0.0.1"))
    for name in ("10.0.0.1", "10.0.0.2"):
        socket = wire.network.bind(Host(name, 0, behind=home), 5, wire.note)
        wire.network.send(socket, b"x" * 100, THERE)
    wire.heap.run(1.0)
    assert [at for at, _ in wire.received] == [0.3, 0.4]


def test_some_datagrams_come_twice_and_some_are_overtaken() -> None:
    wire = Wire(duplication=1.0)
    assert wire.send(b"a") == [(DELAY, b"a"), (DELAY, b"a")]
    wire = Wire(reordering=0.5, reordering_delay=0.05)
    payloads = [bytes([at]) for at in range(40)]
    received = [payload for _, payload in wire.send(*payloads)]
    assert received != payloads
    assert sorted(received) == payloads
    assert wire.network.counters["reordered"] == pytest.approx(20, abs=10)


def test_a_partition_lets_nothing_through_until_it_ends() -> None:
    wire = Wire()
    heal = wire.route.cut_off({1, 7})
    assert wire.send(b"lost") == []
    assert wire.network.counters["cut_off"] == 1
    heal()
    assert wire.send(b"there")[0][1] == b"there"


def test_sites_that_are_cut_off_together_reach_each_other() -> None:
    wire = Wire()
    wire.route.cut_off({0, 1})
    assert len(wire.send(b"there")) == 1
