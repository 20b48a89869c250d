"""Delays, loss, filters and sockets of the simulated network."""

import random
import statistics

import pytest

from overlay.core.addresses import Address
from simulations.errors import SimulationError
from simulations.events import EventHeap
from simulations.latency import FlatLatency, MatrixLatency, SyntheticLatency
from simulations.nat import Firewall
from simulations.network import Conditions, Host, Network
from simulations.rtt_matrix import SAME_SITE

HERE, THERE = "11.0.0.1", "12.0.0.1"


class Wire:
    """Two hosts, and what the second one received."""

    def __init__(self, conditions: Conditions, delay: float = 0.1) -> None:
        self.heap = EventHeap()
        self.network = Network(self.heap, FlatLatency(delay), random.Random(3), conditions)
        self.received: list[tuple[float, bytes, Address]] = []
        self.here, self.there = Host(HERE, 0), Host(THERE, 0)
        self.sender = self.network.bind(self.here, 1, self.note)
        self.receiver = self.network.bind(self.there, 2, self.note)

    def note(self, data: bytes, source: Address) -> None:
        self.received.append((self.heap.now, data, source))


def test_events_of_one_time_keep_their_order_and_the_clock_never_turns_back() -> None:
    heap = EventHeap(5.0)
    done: list[tuple[str, float]] = []

    def note(name: str) -> None:
        done.append((name, heap.now))

    heap.after(1.0, note, "late")
    heap.at(2.0, note, "overdue")
    heap.after(1.0, note, "later")
    heap.after(9.0, note, "never")
    heap.run(2.0)
    assert done == [("overdue", 5.0), ("late", 6.0), ("later", 6.0)]
    assert heap.now == 7.0


def test_the_synthetic_model_has_the_published_figures() -> None:
    medians, tails = [], []
    for seed in range(5):
        model = SyntheticLatency(random.Random(seed), 400)
        pairs = [(a, b) for a in range(model.sites) for b in range(a)]
        rtts = sorted(model.one_way(a, b) + model.one_way(b, a) for a, b in pairs)
        medians.append(rtts[len(rtts) // 2])
        tails.append(rtts[len(rtts) * 95 // 100])
    assert statistics.mean(medians) == pytest.approx(0.135, rel=0.1)
    assert statistics.mean(tails) == pytest.approx(0.330, rel=0.1)
    assert model.one_way(7, 7) == SAME_SITE / 2


def test_a_matrix_gives_half_a_round_trip_in_either_direction() -> None:
    model = MatrixLatency([[0.001, 0.2], [0.3, 0.001]])
    assert (model.one_way(0, 1), model.one_way(1, 0)) == (0.1, 0.15)


def test_loss_and_jitter_are_as_configured() -> None:
    wire = Wire(Conditions(loss=0.2, jitter=0.5))
    count = 5000
    for _ in range(count):
        wire.network.send(wire.sender, b"x", wire.receiver.address)
    wire.heap.run(1.0)
    delays = [now for now, _, _ in wire.received]
    assert len(delays) == wire.network.counters["delivered"]
    assert len(delays) / count == pytest.approx(0.8, abs=0.02)
    assert wire.network.counters["lost"] == count - len(delays)
    assert statistics.mean(delays) == pytest.approx(0.1, rel=0.02)
    assert 0.05 <= min(delays) < 0.052
    assert 0.148 < max(delays) <= 0.15


def test_a_closed_socket_receives_nothing_not_even_what_is_on_its_way() -> None:
    wire = Wire(Conditions())
    wire.network.send(wire.sender, b"x", wire.receiver.address)
    wire.network.close(wire.receiver)
    wire.network.send(wire.sender, b"y", wire.receiver.address)
    wire.heap.run(1.0)
    assert wire.received == []
    assert wire.network.counters["unreachable"] == 2


def test_a_firewall_lets_in_those_who_were_asked_for_as_long_as_that_is_fresh() -> None:
    wire = Wire(Conditions())
    wire.there.gate = Firewall()
    wire.network.send(wire.sender, b"stranger", wire.receiver.address)
    wire.heap.run(1.0)
    wire.network.send(wire.receiver, b"hello", wire.sender.address)
    wire.heap.run(1.0)
    wire.network.send(wire.sender, b"answer", wire.receiver.address)
    wire.heap.run(200.0)
    wire.network.send(wire.sender, b"too late", wire.receiver.address)
    wire.heap.run(1.0)
    assert [data for _, data, _ in wire.received] == [b"hello", b"answer"]
    assert wire.network.counters["filtered"] == 2


def test_ports_are_fresh_or_taken() -> None:
    wire = Wire(Conditions())
    fresh = {wire.network.bind(wire.here, 0, wire.note).address for _ in range(3)}
    assert len(fresh) == 3
    with pytest.raises(SimulationError, match=r"port 1 of 11\.0\.0\.1 is taken"):
        wire.network.bind(wire.here, 1, wire.note)


@pytest.mark.parametrize(("loss", "jitter"), [(-0.1, 0.0), (1.1, 0.0), (0.0, -1.0), (0.0, 1.0)])
def test_shares_that_are_none_are_refused(loss: float, jitter: float) -> None:
    with pytest.raises(SimulationError, match="is no share; choose"):
        Conditions(loss, jitter)
