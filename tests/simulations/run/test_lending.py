"""A relay that lends channels over a simulated network, with the node's own rules."""

import random

import pytest

from node.relay.admission import Refused, RelayLimits
from node.relay.quota import MIN_SLICE, Quota
from overlay.core.addresses import Address
from overlay.core.peer import PeerConfig
from simulations.events import EventHeap
from simulations.identity import SimulatedIdentity
from simulations.latency import FlatLatency
from simulations.network import Host, Network, Socket
from simulations.peers import PORT, SimulatedPeer
from simulations.run.lending import Behaviour, Lender, LentChannel

ONE = "one@a.example"


class Studio:
    """A relay, two ends, and what they hear."""

    def __init__(self, behaviour: Behaviour = "honest", **limits: object) -> None:
        self.heap = EventHeap()
        rng = random.Random(1)
        self.network = Network(self.heap, FlatLatency(0.01), rng)
        host = Host("11.0.0.1", 0)
        peer = SimulatedPeer(self.network, host, PORT, PeerConfig(), rng, SimulatedIdentity)
        self.lender = Lender(self.network, peer, RelayLimits(**limits), behaviour)  # type: ignore[arg-type]
        self.heard: list[tuple[str, bytes]] = []
        self.caller = self.end("12.0.0.1")
        self.callee = self.end("13.0.0.1")

    def end(self, name: str) -> Socket:
        def hear(data: bytes, _: Address) -> None:
            self.heard.append((name, data))

        return self.network.bind(Host(name, 0), 9, hear)

    def spend(self, slices: int) -> None:
        """Have other channels pass on nearly all of so many slices of the quota."""
        for _ in range(slices):
            self.lender._budget.take(MIN_SLICE - 2000, self.heap.now)
            self.heap.run(0.0)

    def talk(self, lent: LentChannel, size: int = 100) -> None:
        """Have both ends say something, the caller first."""
        self.network.send(self.caller, b"a" * size, lent.localport)
        self.heap.run(0.1)
        self.network.send(self.callee, b"b" * size, lent.remoteport)
        self.heap.run(0.1)


def test_a_channel_latches_and_passes_on() -> None:
    studio = Studio()
    lent = studio.lender.request(ONE)
    studio.talk(lent)
    assert sorted(studio.heard) == [("12.0.0.1", b"b" * 100), ("13.0.0.1", b"a" * 100)]
    thief = studio.end("14.0.0.1")
    studio.network.send(thief, b"mine", lent.localport)
    studio.talk(lent)
    assert "14.0.0.1" not in dict(studio.heard)
    studio.lender.release(lent)
    assert studio.lender.dropped == {"locked": 1}
    assert studio.lender.used == 0
    studio.talk(lent)
    assert len(studio.heard) == 4


def test_a_channel_without_packets_expires_and_one_with_them_does_not() -> None:
    studio = Studio(expire=10.0)
    quiet, busy = studio.lender.request(ONE), studio.lender.request("two@b.example")
    for _ in range(4):
        studio.heap.run(4.0)
        studio.talk(busy)
    assert not quiet.open
    assert busy.open
    assert (studio.lender.expired, studio.lender.used, studio.lender.most) == (1, 1, 2)
    studio.heap.run(20.0)
    assert studio.lender.expired == 2


def test_a_full_relay_refuses_and_says_that_it_is_full() -> None:
    studio = Studio(channels=1)
    told: list[float] = []
    studio.lender.on_change = lambda: told.append(studio.lender.free)
    lent = studio.lender.request(ONE)
    with pytest.raises(Refused):
        studio.lender.request("two@b.example")
    assert not studio.lender.has_room
    studio.lender.release(lent)
    assert told == [0.0, 1.0]
    assert (studio.lender.granted, studio.lender.refused) == (1, 1)
    assert studio.lender.describe().free == 1.0


def test_nothing_is_passed_on_beyond_the_quota_and_channels_end() -> None:
    studio = Studio(quota=Quota.parse("100MB/day"))
    lent = studio.lender.request(ONE)
    while lent.open and studio.heap.now < 86_400.0:
        studio.spend(100)
        studio.talk(lent)
    assert not lent.open
    with pytest.raises(Refused):
        studio.lender.request(ONE)
    assert studio.lender.free == 0.0


def test_a_new_day_has_a_quota_of_its_own() -> None:
    studio = Studio(quota=Quota.parse("100MB/day"), expire=1.0)
    studio.spend(2000)
    assert studio.lender.free == 0.0
    studio.heap.run(86_400.0)
    studio.lender.request(ONE)


@pytest.mark.parametrize("behaviour", ["lying", "dropping"])
def test_a_bad_relay_says_that_all_is_free_and_is_of_no_use(behaviour: Behaviour) -> None:
    studio = Studio(behaviour, channels=1)
    if behaviour == "lying":
        with pytest.raises(Refused):
            studio.lender.request(ONE)
        assert studio.lender.describe().free == 1.0
        assert not studio.lender.has_room
    else:
        studio.talk(studio.lender.request(ONE))
    assert studio.heard == []


def test_a_relay_that_is_gone_passes_nothing_on() -> None:
    studio = Studio()
    lent = studio.lender.request(ONE)
    studio.lender.gone()
    studio.talk(lent)
    assert studio.heard == []
    assert not lent.open


def test_it_is_remembered_when_there_was_room() -> None:
    studio = Studio(channels=1)
    studio.heap.run(1.0)
    lent = studio.lender.request(ONE)
    studio.heap.run(1.0)
    studio.lender.release(lent)
    studio.heap.run(1.0)
    studio.lender.gone()
    times = (-1.0, 0.0, 0.9, 1.0, 1.9, 2.0, 2.9, 3.0, 9.0)
    had_room = [studio.lender.had_room(when) for when in times]
    assert had_room == [False, True, True, False, False, True, True, False, False]
    assert not any(Studio("lying").lender.had_room(when) for when in times)
