"""Hostile peers do what they are there for, and honest clients are measured among them."""

import random

import pytest

from overlay.core.addresses import network_of
from overlay.core.events import RelaysFound
from overlay.core.ids import distance, id_fits_host
from simulations.errors import SimulationError
from simulations.peers import UNIX_TIME
from simulations.sybils import experiments
from simulations.sybils.attackers import Eclipser, Lurer
from simulations.sybils.ring import attacker_hosts, mask_near
from simulations.sybils.world import Settings, World

PEERS = 60


def build(attack: str, *, share: float = 0.2, seed: int = 1) -> World:
    return World(Settings(attack=attack, share=share, peers=PEERS, seed=seed))


def captured_client(world: World) -> tuple[set[bytes], list[RelaysFound]]:
    """Have a client enter by a hostile peer; return whom it knows then, and what it finds."""
    found: list[RelaysFound] = []
    client = world.population.add_client()
    client.bootstrap([world.ring.members[0].address])
    world.heap.run(1.0)
    client.find_relays(8, 3.0, found.append)
    world.heap.run(5.0)
    return {contact.id for contact in client.core.contacts()}, found


def test_addresses_spread_over_as_many_networks_as_asked_for() -> None:
    hosts = attacker_hosts(random.Random(1), 50, 4)
    assert len(set(hosts)) == 50
    assert len({network_of((host, 1)) for host in hosts}) == 4


def test_a_made_up_id_is_the_best_that_its_host_may_have() -> None:
    rng = random.Random(2)
    host, target = "8.8.4.4", rng.randbytes(20)
    mask = mask_near(target, host)
    assert id_fits_host(mask, host)
    for _ in range(100):
        other = mask_near(rng.randbytes(20), host)
        assert distance(mask, target) <= distance(other, target)


def test_whoever_enters_by_a_liar_meets_only_liars() -> None:
    world = build("lie")
    known, (found,) = captured_client(world)
    assert known <= {member.id for member in world.ring.members}
    assert len(known) > 1
    assert found.adverts == ()


def test_whoever_enters_by_a_dropper_meets_nobody() -> None:
    known, (found,) = captured_client(build("drop"))
    assert known == set()
    assert found.asked == 0


def test_forgeries_pass_for_adverts_of_relays_that_are_not_there() -> None:
    world = build("flood")
    _, (found,) = captured_client(world)
    assert len(found.adverts) >= 8
    assert not any(world.network.is_open(advert.endpoints[0]) for advert in found.adverts)


def test_the_ring_takes_the_places_near_its_victim_and_drops_its_advert() -> None:
    world = build("eclipse")
    keys = world.ring.victim_keys[:6]
    victim = world.relays[0].core.public_key

    def misses(*, hostile: bool) -> list[int]:
        peers = (peer for peer in world.population.peers if isinstance(peer, Eclipser) is hostile)
        return sorted(min(distance(peer.core.peer_id, key) for key in keys) for peer in peers)

    def holders(*, hostile: bool) -> int:
        unix_time = world.heap.now + UNIX_TIME
        return sum(
            entry.advert.public_key == victim
            for peer in world.population.peers
            if isinstance(peer, Eclipser) is hostile
            for key in keys
            for entry in peer.core.store.get(key, unix_time)
        )

    hostile, honest = misses(hostile=True), misses(hostile=False)
    assert hostile[len(hostile) // 2] < honest[len(honest) // 2] / 2
    assert holders(hostile=True) == 0 < holders(hostile=False)


def test_lures_answer_and_are_counted_as_hostile() -> None:
    world = build("lure", share=0.5)
    assert len(world.lures) == PEERS // 2
    assert all(isinstance(relay, Lurer) for relay in world.lures)
    visits = experiments.visits(world, 10)
    assert visits.searches == 10
    assert 0 < visits.hostile <= visits.returned


def test_without_attackers_everything_is_found() -> None:
    world = build("drop", share=0.0)
    visits = experiments.visits(world, 10)
    assert visits.found == visits.first == visits.searches == 10
    assert visits.hostile == 0
    residents = experiments.Residents(world)
    aimed = residents.aim(world.relays)
    assert aimed.found == aimed.searches == len(world.relays)
    samples = residents.sample(10)
    assert samples.searches == 10
    assert set(samples.seen) <= {relay.core.public_key for relay in world.relays}
    assert samples.others == 0
    lookups = experiments.look_up(world, 10)
    assert lookups.lookups == 10
    assert lookups.found >= 0.9 * lookups.closest


def test_the_same_seed_is_the_same_attack() -> None:
    first, second, other = (experiments.visits(build("all", seed=seed), 5) for seed in (1, 1, 2))
    assert first == second != other


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"attack": "smile"}, "no attack 'smile'"),
        ({"share": 1.0}, "1 is no share"),
        ({"peers": 20}, "too few"),
        ({"networks": 0}, "no network"),
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(SimulationError, match=message):
        Settings(**wrong)  # type: ignore[arg-type]
