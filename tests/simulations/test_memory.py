import gc
import random
import weakref

from simulations.events import EventHeap
from simulations.latency import FlatLatency
from simulations.memory import settle
from simulations.network import Network
from simulations.population import Population


def test_peers_that_have_left_are_freed_although_the_collector_leaves_them_alone() -> None:
    thresholds = gc.get_threshold()
    try:
        rng = random.Random(1)
        population = Population(Network(EventHeap(), FlatLatency(0.05), rng), rng, 1)
        own = random.Random(2)
        held = weakref.ref(own)
        client = population.add_client(rng=own)
        settle()
        client.leave()
        del client, own
        assert held() is not None
        for _ in range(1000):
            population.add_client().leave()
        assert held() is None
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)
