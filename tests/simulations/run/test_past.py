"""The first nodes know and hold what they would after a long time."""

import itertools
import statistics
from collections import Counter

import pytest

from overlay.core.addresses import network_of
from overlay.core.choice.coordinates import estimate_rtt
from overlay.core.directory.store import MAX_PER_NETWORK_AND_KEY
from overlay.core.directory.tree import SAMPLE_SIZE, SPREAD, deepest_level, directory_key
from overlay.core.kademlia.contact import K
from overlay.discovery import REFRESH
from simulations.peers import UNIX_TIME
from simulations.run.past import sampled_levels
from simulations.run.world import World
from simulations.scenario.life import ClientSettings, RelaySettings
from simulations.scenario.settings import MeasureSettings, Scenario

NODES = 150
QUIET = Scenario(
    nodes=NODES,
    duration=REFRESH,
    warmup=1.0,
    relays=RelaySettings(share=0.2),
    clients=ClientSettings(searches_per_minute=0.0, calls_per_minute=0.0),
    measure=MeasureSettings(lookups_per_minute=0.0),
)


@pytest.fixture(scope="module")
def world() -> World:
    world = World(QUIET)
    world.create()
    world.warm_up()
    world.heap.run(QUIET.warmup)
    return world


def test_a_key_holds_a_sample_and_who_is_rejected_climbs_no_higher() -> None:
    hosts = [f"20.{at // 3 % 250}.{at // 750}.{at % 3 + 1}" for at in range(900)]
    relays = {(host, 4000): bytes([at % 256, at // 256]) * 10 for at, host in enumerate(hosts)}
    levels = sampled_levels(relays, 1000)
    deepest = deepest_level(SPREAD * 1000)
    for level in range(deepest + 1):
        listed = [address for address in relays if level in levels[address]]
        keys = Counter(directory_key(level, relays[address]) for address in listed)
        assert max(keys.values()) <= SAMPLE_SIZE
        places = ((directory_key(level, relays[at]), network_of(at)) for at in listed)
        assert max(Counter(places).values()) == MAX_PER_NETWORK_AND_KEY
        assert level == deepest or all(level + 1 in levels[address] for address in listed)
    assert sum(0 in held for held in levels.values()) == SAMPLE_SIZE


def test_coordinates_tell_how_far_others_are(world: World) -> None:
    peers = world.population.peers
    wrong = []
    for one, other in itertools.pairwise(peers):
        rtt = world.post.rtt(one.host.site, other.host.site)
        here, there = one.core.coordinate, other.core.coordinate
        assert here is not None
        assert there is not None
        wrong.append(abs(estimate_rtt(here, there) - rtt) / rtt)
    assert statistics.median(wrong) < 0.15
    assert all(peer.core.endpoint == peer.address for peer in peers)


def test_those_closest_to_its_keys_hold_the_advert_of_a_relay(world: World) -> None:
    relays = {address: peer.peer_id for address, peer in world.residents.relays.items()}
    assert len(relays) == NODES // 5
    for address, levels in sampled_levels(relays, NODES).items():
        for level in levels:
            key = directory_key(level, relays[address])
            for holder in world.population.closest(key):
                held = world.population.peer_at(holder).core.store.entries(key)
                assert address in [entry.address for entry in held]


def test_relays_renew_what_others_hold(world: World) -> None:
    before = world.heap.now + UNIX_TIME
    world.heap.run(REFRESH)
    counters = [peer.core.counters for peer in world.population.peers]
    assert not sum(each["refusing_bad_token"] + each["refusing_too_far"] for each in counters)
    key = directory_key(0, bytes(20))
    stores = [world.population.peer_at(at).core.store for at in world.population.closest(key)]
    entries = [entry for store in stores for entry in store.entries(key)]
    assert len(entries) == K * len(world.residents.relays)
    renewed = [entry for entry in entries if entry.advert.seq > 1000 * before]
    # A look-up for a key may miss one of those that hold it.
    assert len(renewed) >= 0.95 * len(entries)


def test_a_node_behind_a_nat_that_is_reached_early_holds_nothing_yet() -> None:
    world = World(QUIET)
    world.create()
    root = directory_key(0, bytes(20))
    world.population.reached["10.0.0.1", 1] = ("192.0.2.1", 1), root  # nobody is closer
    world.warm_up()
    world.heap.run(QUIET.warmup)
    closest = world.population.closest(root)
    assert closest[0] == ("192.0.2.1", 1)
    stores = [world.population.peer_at(at).core.store for at in closest[1:]]
    assert all(len(store.entries(root)) == len(world.residents.relays) for store in stores)
