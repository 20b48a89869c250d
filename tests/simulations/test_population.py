"""A small overlay in motion: built, asked, churned, and the same again for the same seed."""

import os
import random
import subprocess
import sys

import pytest

from overlay.core.addresses import network_of
from overlay.core.events import LookupEnded
from overlay.core.kademlia.contact import K
from overlay.core.kademlia.lookup import LOOKUP_K
from simulations.churn import Churn
from simulations.errors import SimulationError
from simulations.events import EventHeap
from simulations.latency import SyntheticLatency
from simulations.network import Conditions, Network, Trace
from simulations.population import Population
from simulations.relays import Outcome, Relay, Visitor

PEERS = 50

RUN_AND_PRINT = (
    "from tests.simulations.test_population import run_for_a_while; print(run_for_a_while(4))"
)


def build(seed: int, *, trace: Trace | None = None) -> Population:
    rng = random.Random(seed)
    latency = SyntheticLatency(rng)
    network = Network(EventHeap(), latency, rng, Conditions(0.02, 0.05), trace)
    population = Population(network, rng, PEERS)
    population.build(PEERS)
    return population


def run_for_a_while(seed: int) -> str:
    """Have peers come, go and search; return the hash over all datagrams."""
    trace = Trace()
    population = build(seed, trace=trace)
    for peer in population.peers[:10]:
        Relay(population, peer).start()
    Churn(population, 20.0).start()
    Visitor(population, population.some_addresses(), lambda _: None)
    population.network.heap.run(10.0)
    return trace.hexdigest()


def test_the_same_seed_is_the_same_trace() -> None:
    assert run_for_a_while(4) == run_for_a_while(4) != run_for_a_while(5)


def test_the_trace_does_not_hang_on_the_order_of_hashes() -> None:
    traces = [
        subprocess.run(
            [sys.executable, "-c", RUN_AND_PRINT],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert traces[0] == traces[1] != ""


def test_everybody_joins_from_many_networks() -> None:
    population = build(1)
    assert all(peer.core.joined for peer in population.peers)
    assert len({network_of(peer.address) for peer in population.peers}) > PEERS / 4
    assert min(len(peer.core.contacts()) for peer in population.peers) >= K


def test_who_is_closest_is_what_a_sort_says() -> None:
    population = build(2)
    for _ in range(50):
        target = population.rng.randbytes(20)
        value = int.from_bytes(target, "big")
        expected = sorted(
            population.peers, key=lambda peer: int.from_bytes(peer.core.peer_id, "big") ^ value
        )
        assert population.closest(target) == [peer.address for peer in expected[:K]]


def test_a_lookup_finds_nearly_all_of_the_closest() -> None:
    population = build(3)
    found = wanted = 0
    results: list[LookupEnded] = []
    for _ in range(20):
        target = population.rng.randbytes(20)
        asker = population.rng.choice(population.peers)
        asker.find_node(target, results.append)
        population.network.heap.run(10.0)
        closest = set(population.closest(target, LOOKUP_K)) - {asker.address}
        found += len(closest & {contact.address for contact in results[-1].contacts})
        wanted += len(closest)
    assert len(results) == 20
    assert found >= 0.95 * wanted


def test_churn_keeps_the_number_of_peers() -> None:
    population = build(6)
    before = {peer.address for peer in population.peers}
    churn = Churn(population, 12.0)
    churn.start()
    population.network.heap.run(300.0)
    assert len(population.peers) == PEERS
    stayed = sum(peer.address in before for peer in population.peers)
    assert PEERS * 0.7 < churn.replaced < PEERS * 1.3
    # Each replacement takes any of all, those who came lately too.
    assert abs(stayed - PEERS * (1 - 1 / PEERS) ** churn.replaced) < PEERS * 0.15
    assert sum(peer.core.joined for peer in population.peers) >= PEERS - 3
    churn.stop()
    replaced = churn.replaced
    population.network.heap.run(60.0)
    assert churn.replaced == replaced
    assert all(peer.core.joined for peer in population.peers)


def test_negative_churn_is_refused() -> None:
    with pytest.raises(SimulationError, match="churn of -1 per hour is no rate"):
        Churn(build(1), -1.0)


def test_a_visitor_finds_relays_that_answer() -> None:
    population = build(7)
    for peer in population.peers[:20]:
        Relay(population, peer).start()
    population.network.heap.run(20.0)
    relays = {peer.address for peer in population.peers[:20]}
    outcomes: list[Outcome] = []
    Visitor(population, population.some_addresses(), outcomes.append)
    population.network.heap.run(10.0)
    (outcome,) = outcomes
    assert outcome.succeeded
    assert set(outcome.answered) <= relays
    assert 0.0 < outcome.first < 5.0


def test_a_visitor_that_knows_nobody_alive_gives_up_in_time() -> None:
    population = build(8)
    dead = population.peers[0]
    population.kill(dead)
    outcomes: list[Outcome] = []
    Visitor(population, [dead.address], outcomes.append)
    population.network.heap.run(10.0)
    (outcome,) = outcomes
    assert not outcome.succeeded
    assert outcome.answered == {}


def test_peers_that_need_not_settle_have_joined_without_a_datagram() -> None:
    rng = random.Random(9)
    latency = SyntheticLatency(rng)
    network = Network(EventHeap(), latency, rng)
    population = Population(network, rng, PEERS)
    population.build(PEERS, settled=False)
    assert all(peer.core.joined for peer in population.peers)
    assert min(len(peer.core.contacts()) for peer in population.peers) >= K
    assert network.counters["delivered"] == 0
    results: list[LookupEnded] = []
    population.peers[0].find_node(rng.randbytes(20), results.append)
    network.heap.run(10.0)
    assert len(results[0].contacts) > 0
