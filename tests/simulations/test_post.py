"""Letters: when they arrive, where, and in which order."""

import random
from typing import Any

from simulations.events import EventHeap
from simulations.latency import MatrixLatency
from simulations.network import Host, Network
from simulations.post import Letter, Post


class Office:
    """Two sites, and what a box got."""

    def __init__(self, leaving: list[list[Letter] | None] | None = None) -> None:
        self.heap = EventHeap()
        latency = MatrixLatency([[0.001, 0.3], [0.1, 0.001]])
        self.network = Network(self.heap, latency, random.Random(1))
        self.post = Post(self.network, leaving)
        self.host = Host("11.0.0.1", 0)
        self.network.bind(self.host, 1, lambda *_: None)
        self.got: list[tuple[float, Any]] = []
        self.post.open("box", lambda what: self.got.append((self.heap.now, what)))


def test_a_letter_takes_half_a_round_trip_and_keeps_its_turn() -> None:
    office = Office()
    for number in range(5):
        office.post.send(office.host, 1, "box", number)
    office.post.send(office.host, 1, "nobody's", 9)
    office.heap.run(1.0)
    assert office.post.rtt(0, 1) == 0.2
    assert office.got == [(0.1, number) for number in range(5)]


def test_whose_box_is_closed_gets_nothing() -> None:
    office = Office()
    office.post.send(office.host, 1, "box", 1)
    office.post.close("box")
    office.heap.run(1.0)
    assert office.got == []


def test_letters_to_other_shards_leave_and_arrive_there_in_time() -> None:
    leaving: list[Letter] = []
    here, there = Office([None, leaving]), Office([leaving, None])
    here.post.send(here.host, 1, "box", "there")
    here.post.send(here.host, 0, "box", "here")
    there.post.admit(leaving)
    for office, told in ((here, [(0.0005, "here")]), (there, [(0.1, "there")])):
        office.heap.run(1.0)
        assert office.got == told


def test_what_is_announced_is_known_everywhere_at_once() -> None:
    leaving: list[Letter] = []
    here, there = Office([None, leaving]), Office([leaving, None])
    here.post.announce(here.host, 0.5, "box", "news")
    there.post.admit(leaving)
    for office in (here, there):
        office.heap.run(1.0)
        assert office.got == [(0.5, "news")]
