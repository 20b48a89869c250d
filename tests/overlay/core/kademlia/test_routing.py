import random

import pytest

from overlay.core.kademlia.bucket import REPLACEMENTS
from overlay.core.kademlia.contact import Contact, K
from overlay.core.kademlia.routing import (
    MAX_PER_BUCKET,
    MAX_PER_TABLE,
    RoutingTable,
    estimate_size,
)

OWN = bytes(20)


def contact(number: int, rng: random.Random, own: bytes = OWN) -> Contact:
    """A contact at any distance from `own`: each bucket is as likely as the next."""
    shared = rng.randrange(0, 40)
    value = int.from_bytes(own, "big") ^ (1 << (159 - shared)) ^ rng.getrandbits(159 - shared)
    return Contact(value.to_bytes(20, "big"), ("127.0.0.1", 1 + number))


def in_bucket(index: int, low: int, host: str = "127.0.0.1") -> Contact:
    return Contact((1 << (159 - index) | low).to_bytes(20, "big"), (host, 1 + low))


@pytest.mark.parametrize("seed", range(5))
def test_closest_is_what_a_sort_says(seed: int) -> None:
    rng = random.Random(seed)
    own = rng.randbytes(20)
    table = RoutingTable(own)
    for number in range(600):
        table.add(contact(number, rng, own))
    everyone = table.contacts()
    assert len(everyone) == len(table) > 100
    for _ in range(400):
        near_own = contact(0, rng, own).long_id
        target = rng.choice([near_own, rng.getrandbits(160), rng.choice(everyone).long_id])
        expected = sorted(everyone, key=lambda c: c.long_id ^ target)
        assert table.closest(target) == expected[:K], f"seed {seed}"
        nearer = sum(one.long_id ^ target < table.own ^ target for one in everyone)
        assert table.count_nearer(target) == nearer, f"seed {seed}"
    assert table.closest(table.own) == sorted(everyone, key=lambda c: c.long_id ^ table.own)[:K]


def test_own_id_is_never_a_contact() -> None:
    table = RoutingTable(OWN)
    table.add(Contact(OWN, ("127.0.0.1", 1)))
    assert len(table) == 0
    assert not table.wants(Contact(OWN, ("127.0.0.1", 1)))


def test_two_failures_in_a_row_evict() -> None:
    table = RoutingTable(OWN)
    one = in_bucket(3, 1)
    table.add(one)
    assert not table.fail(one)
    table.add(one)
    assert not table.fail(one)
    assert table.fail(one)
    assert one not in table
    assert not table.fail(one)


def test_a_full_bucket_keeps_the_old_and_names_the_least_recently_seen() -> None:
    table = RoutingTable(OWN)
    members = [in_bucket(2, low) for low in range(K)]
    for member in members:
        assert table.add(member) is None
    table.add(members[0])
    newcomer = in_bucket(2, 99)
    assert table.wants(newcomer)
    assert table.add(newcomer) == members[1]
    assert newcomer not in table
    table.fail(members[1])
    table.fail(members[1])
    assert newcomer in table
    assert len(table) == K


def test_replacements_are_bounded() -> None:
    table = RoutingTable(OWN)
    for low in range(200):
        table.add(in_bucket(2, low))
    assert len(table.buckets[2].replacements) == REPLACEMENTS
    assert not table.wants(in_bucket(2, 500))


def test_one_network_fills_neither_bucket_nor_table() -> None:
    table = RoutingTable(OWN)
    for index in range(30):
        for low in range(4):
            table.add(in_bucket(index, low, f"8.8.8.{index + 1}"))
    per_bucket = [len(bucket.contacts) for bucket in table.buckets]
    assert max(per_bucket) == MAX_PER_BUCKET
    assert len(table) == MAX_PER_TABLE
    gone = table.contacts()[0]
    table.fail(gone)
    table.fail(gone)
    assert table.wants(in_bucket(50, 1, "8.8.8.77"))


def test_loopback_peers_are_exempt_from_caps() -> None:
    table = RoutingTable(OWN)
    for low in range(K):
        table.add(in_bucket(1, low))
    assert len(table) == K


def test_another_endpoint_does_not_take_over_an_id() -> None:
    table = RoutingTable(OWN)
    table.add(in_bucket(1, 5))
    table.add(Contact(in_bucket(1, 5).id, ("127.0.0.9", 9)))
    assert table.get(in_bucket(1, 5).id) == in_bucket(1, 5)


def test_the_size_of_the_network_is_estimated() -> None:
    rng = random.Random(7)
    table = RoutingTable(rng.randbytes(20))
    for number in range(5000):
        table.add(Contact(rng.randbytes(20), ("127.0.0.1", number + 1)))
    assert 2500 < table.estimated_size() < 10_000
    assert RoutingTable(OWN).estimated_size() == 1


def test_lies_about_a_neighbourhood_are_survived() -> None:
    own = in_bucket(0, 1)
    neighbours = [in_bucket(20, low) for low in range(K)]
    assert estimate_size(own.id, [own] * K) == 1
    assert estimate_size(own.id, [neighbours[0]] * K) == 2
    assert estimate_size(own.id, neighbours[::-1]) == estimate_size(own.id, neighbours)
