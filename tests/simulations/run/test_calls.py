"""Calls through relays of a small overlay: good ones, bad ones, and ones that die."""

import math
import random
from collections.abc import Callable

import pytest

from node.relay.admission import RelayLimits
from simulations.events import EventHeap
from simulations.latency import SyntheticLatency
from simulations.network import Network
from simulations.population import Population
from simulations.post import Post
from simulations.relays import Relay
from simulations.run.calls import CallWorld, Established
from simulations.run.desk import Desk
from simulations.run.lending import Behaviour, Lender
from simulations.run.records import CallRecord
from simulations.scenario.life import ClientSettings

PEERS, RELAYS = 40, 6
LASTS = 20.0


class Studio:
    """A small overlay whose relays are all of one behaviour, but for the first few."""

    def __init__(self, behaviour: Behaviour = "honest", honest: int = 0, **settings: str) -> None:
        rng = random.Random(2)
        self.network = Network(EventHeap(), SyntheticLatency(rng), rng)
        self.population = Population(self.network, rng, PEERS)
        self.population.build(PEERS)
        self.lenders: list[Lender] = []
        self.desks: list[Desk] = []
        self.post = Post(self.network)
        for number, peer in enumerate(self.population.peers[:RELAYS]):
            kind: Behaviour = "honest" if number < honest else behaviour
            lender = Lender(self.network, peer, RelayLimits(channels=1), kind)
            relay = Relay(self.population, peer, lender.describe)
            lender.on_change = relay.changed
            relay.start()
            self.lenders.append(lender)
            self.desks.append(Desk(self.post, lender))
        self.network.heap.run(10.0)
        clients = ClientSettings(**settings)  # type: ignore[arg-type]
        self.world = CallWorld(self.population, self.post, clients)

    def call(self, meanwhile: Callable[[], None] = lambda: None) -> CallRecord:
        record = CallRecord(0.0)
        assert self.world.begin_call(1, LASTS, record)
        self.network.heap.run(8.0)
        meanwhile()
        self.network.heap.run(60.0)
        for call in self.world.established:
            record.best = min(record.path, self.best(call))
        return record

    def best(self, call: Established) -> float:
        sites = [one.host.site for one in self.lenders if one.had_room(call.at)]
        rtt = self.post.rtt
        paths = (rtt(call.caller, site) + rtt(site, call.callee) for site in sites)
        return min(paths, default=math.inf)

    def kill(self, *lenders: Lender) -> None:
        for lender in lenders:
            self.desks[self.lenders.index(lender)].close()
            lender.gone()
            self.population.kill(self.population.peer_at(lender.address))


def test_a_call_takes_the_relay_that_is_nearest_to_the_caller_and_gives_it_back() -> None:
    studio = Studio()
    record = studio.call()
    assert record.outcome == "done"
    assert (record.asked, record.refused, record.failovers) == (1, 0, 0)
    assert 0.1 < record.setup < 5.0
    assert record.best <= record.path
    assert record.direct > 0.0
    assert sum(lender.granted for lender in studio.lenders) == 1
    assert sum(lender.used for lender in studio.lenders) == 0


def test_both_ends_find_a_path_that_is_no_longer_than_the_best() -> None:
    record = Studio(choice="both-ends").call()
    assert record.path == pytest.approx(record.best)


def test_a_relay_that_lies_refuses_and_the_next_one_is_asked() -> None:
    record = Studio("lying", honest=1).call()
    assert record.outcome == "done"
    assert record.refused == record.asked - 1


def test_when_all_lie_there_is_no_call() -> None:
    record = Studio("lying").call()
    assert record.outcome == "refused"
    assert record.refused == record.asked >= RELAYS
    assert record.setup == math.inf


def test_a_relay_that_passes_nothing_on_is_given_up() -> None:
    studio = Studio("dropping", honest=1)
    assert studio.call().outcome == "done"
    assert Studio("dropping").call().outcome == "failed"


def test_a_call_goes_on_by_another_relay_when_its_own_dies() -> None:
    studio = Studio()

    def kill_busy() -> None:
        studio.kill(*[lender for lender in studio.lenders if lender.used])

    record = studio.call(kill_busy)
    assert record.outcome == "done"
    assert record.failovers == 1
    assert 3.0 < record.interrupted < 8.0


def test_a_call_is_lost_when_all_relays_die() -> None:
    studio = Studio()
    record = studio.call(lambda: studio.kill(*studio.lenders))
    assert record.outcome == "lost"
    assert record.interrupted > 3.0


def test_without_relays_there_is_no_call() -> None:
    studio = Studio()
    studio.kill(*studio.lenders)
    record = studio.call()
    assert record.outcome in ("no relay", "refused")
    assert record.setup == math.inf
