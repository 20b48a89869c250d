import random

import pytest

from overlay.core.addresses import Address
from overlay.core.kademlia.contact import Contact
from overlay.core.kademlia.lookup import MAX_PER_HOST, MAX_PER_NETWORK, Ending, Lookup

TARGET = bytes(20)


def contact(distance: int) -> Contact:
    return Contact(distance.to_bytes(20, "big"), ("127.0.0.1", distance + 1))


def test_alpha_requests_are_in_flight() -> None:
    lookup = Lookup(TARGET, k=5, alpha=3)
    lookup.hear(contact(d) for d in (9, 3, 7, 1, 5))
    assert [lookup.next_query() for _ in range(4)] == [contact(1), contact(3), contact(5), None]
    lookup.answered(contact(3))
    assert lookup.next_query() == contact(7)
    assert lookup.next_query() is None
    assert lookup.ending is None


def test_the_k_closest_are_asked_and_nobody_further() -> None:
    rng = random.Random(1)
    distances = rng.sample(range(1, 10_000), 300)
    lookup = Lookup(TARGET, k=20, alpha=3)
    lookup.hear([contact(max(distances))])
    asked = 0
    while lookup.ending is None:
        one = lookup.next_query()
        if one is not None:
            asked += 1
            nearer = [d for d in distances if d < one.long_id]
            lookup.answered(one, map(contact, rng.sample(nearer, min(20, len(nearer)))))
    assert lookup.ending is Ending.COMPLETED
    closest = [c.long_id for c in lookup.closest()]
    assert closest == sorted(closest)
    assert len(closest) == 20
    assert asked < 80


def test_a_slow_peer_holds_nobody_up_and_still_counts() -> None:
    lookup = Lookup(TARGET, k=2, alpha=1)
    lookup.hear([contact(1), contact(2), contact(3)])
    assert lookup.next_query() == contact(1)
    assert lookup.next_query() is None
    lookup.delayed(contact(1))
    assert lookup.next_query() == contact(2)
    lookup.answered(contact(1))
    lookup.answered(contact(2))
    assert lookup.next_query() is None
    assert lookup.ending is Ending.COMPLETED
    assert lookup.closest() == [contact(1), contact(2)]


def test_hops_lead_to_the_closest_and_every_request_counts() -> None:
    lookup = Lookup(TARGET, k=1, alpha=1)
    assert (lookup.hops, lookup.requests) == (0, 0)
    lookup.hear([contact(9)])
    for distance, named in ((9, (6, 3)), (3, (6, 1)), (1, (3,))):
        assert lookup.next_query() == contact(distance)
        lookup.answered(contact(distance), map(contact, named))
    assert (lookup.hops, lookup.requests) == (3, 3)
    assert lookup.next_query() is None
    assert lookup.ending is Ending.COMPLETED
    slow = Lookup(TARGET, k=2, alpha=1)
    slow.hear([contact(1), contact(2)])
    slow.next_query()
    slow.delayed(contact(1))
    slow.next_query()
    slow.answered(contact(2), [contact(1)])
    assert (slow.hops, slow.requests) == (1, 3)
    slow.answered(contact(1))
    assert slow.hops == 1  # though somebody else has named it since


def test_with_nobody_else_the_slow_one_is_waited_for() -> None:
    lookup = Lookup(TARGET)
    lookup.hear([contact(1)])
    lookup.next_query()
    lookup.delayed(contact(1))
    assert lookup.next_query() is None
    assert lookup.ending is None
    lookup.failed(contact(1))
    assert lookup.next_query() is None
    assert lookup.ending is Ending.STARVED


def test_the_end_waits_for_a_slow_peer_only_if_it_is_closer() -> None:
    lookup = Lookup(TARGET, k=2, alpha=2)
    lookup.hear(map(contact, (1, 2, 3)))
    assert [lookup.next_query() for _ in range(3)] == [contact(1), contact(2), None]
    lookup.delayed(contact(1))
    assert lookup.next_query() == contact(3)
    lookup.answered(contact(2))
    lookup.answered(contact(3))
    assert lookup.next_query() is None
    assert lookup.ending is None
    lookup.failed(contact(1))
    assert lookup.next_query() is None
    assert lookup.ending is Ending.COMPLETED
    assert lookup.closest() == [contact(2), contact(3)]


def test_nobody_further_than_the_k_closest_is_waited_for() -> None:
    lookup = Lookup(TARGET, k=2, alpha=2)
    lookup.hear(map(contact, (1, 2, 3)))
    assert [lookup.next_query() for _ in range(3)] == [contact(1), contact(2), None]
    lookup.delayed(contact(2))
    assert lookup.next_query() == contact(3)
    lookup.answered(contact(1))
    lookup.answered(contact(2))
    assert lookup.next_query() is None
    assert lookup.ending is Ending.COMPLETED


def test_once_the_closest_has_answered_the_rest_is_asked_at_once() -> None:
    lookup = Lookup(TARGET, k=8, alpha=2)
    lookup.hear(map(contact, range(1, 20)))
    asked = [lookup.next_query() for _ in range(3)]
    assert asked == [contact(1), contact(2), None]
    lookup.answered(contact(1))
    asked = [one for _ in range(9) if (one := lookup.next_query()) is not None]
    assert asked == [contact(number) for number in range(3, 9)]


def test_replicas_are_asked_in_random_order() -> None:
    first = set()
    for seed in range(100):
        lookup = Lookup(TARGET, radius=10.0, rng=random.Random(seed))
        lookup.hear(map(contact, range(1, 30)))
        first.add(lookup.next_query())
    assert first == {contact(number) for number in range(1, 10)}


HONEST = [contact(number) for number in range(1000, 1040)]
LIAR, *ACCOMPLICES = (
    Contact(number.to_bytes(20, "big"), ("127.0.0.2", number)) for number in range(80, 0, -1)
)


def asked_among_liars(paths: int) -> set[Contact]:
    """One of three entrances names its accomplices, who are ever so close and name each other."""
    lookup = Lookup(TARGET, k=20, alpha=2, paths=paths, budget=90)
    for path, entrance in enumerate((LIAR, *HONEST[-2:])):
        lookup.enter([entrance], path)
    asked = set()
    while (one := lookup.next_query()) is not None:
        asked.add(one)
        lookup.answered(one, HONEST if one in HONEST else ACCOMPLICES)
    return asked


def test_a_liar_leads_one_path_astray() -> None:
    assert asked_among_liars(paths=1).isdisjoint(HONEST)
    assert len(asked_among_liars(paths=3) & set(HONEST)) >= 7


def test_a_liar_who_names_dead_peers_is_soon_believed_no_more() -> None:
    lookup = Lookup(TARGET, k=20, alpha=2, budget=60)
    lookup.hear([LIAR, *HONEST[-2:]])
    dead = 0
    while (one := lookup.next_query()) is not None:
        if one in ACCOMPLICES:
            dead += 1
            lookup.failed(one)
        else:
            lookup.answered(one, HONEST if one in HONEST else ACCOMPLICES)
    assert dead < 10
    assert sum(one in HONEST for one in lookup.closest()) == 19


def test_whoever_is_named_by_an_honest_peer_too_is_asked() -> None:
    lookup = Lookup(TARGET, k=20, alpha=20)
    lookup.enter([LIAR], 0)
    assert lookup.next_query() == LIAR
    lookup.answered(LIAR, HONEST[:20])
    asked = []
    while (one := lookup.next_query()) is not None:
        asked.append(one)
    assert 1 < len(asked) < 10
    lookup.answered(asked[0], HONEST[:20])
    assert lookup.next_query() in HONEST


def test_no_peer_is_asked_on_two_paths() -> None:
    rng = random.Random(3)
    distances = rng.sample(range(1, 10_000), 300)
    lookup = Lookup(TARGET, k=20, alpha=2, paths=3)
    lookup.hear(map(contact, sorted(distances)[-20:]))
    asked = []
    while lookup.ending is None:
        one = lookup.next_query()
        if one is not None:
            asked.append(one)
            nearer = [d for d in distances if d < one.long_id]
            lookup.answered(one, map(contact, rng.sample(nearer, min(20, len(nearer)))))
    assert lookup.ending is Ending.COMPLETED
    assert lookup.closest() == list(map(contact, sorted(distances)[:20]))
    assert len(asked) == len(set(asked)) < 100


def test_an_empty_table_starves() -> None:
    lookup = Lookup(TARGET)
    assert lookup.next_query() is None
    assert lookup.ending is Ending.STARVED


def test_the_budget_bounds_it() -> None:
    lookup = Lookup(TARGET, k=20, alpha=1, budget=3)
    lookup.hear(contact(d) for d in range(1, 30))
    for _ in range(3):
        one = lookup.next_query()
        assert one is not None
        lookup.failed(one)
    assert lookup.next_query() is None
    assert lookup.ending is Ending.STOPPED


def test_an_ending_is_final() -> None:
    lookup = Lookup(TARGET)
    lookup.stop(Ending.CANCELLED)
    lookup.stop(Ending.STOPPED)
    lookup.hear([contact(1)])
    assert lookup.next_query() is None
    assert lookup.ending is Ending.CANCELLED


def test_candidates_are_bounded_and_the_closest_stay() -> None:
    lookup = Lookup(TARGET)
    lookup.hear(contact(d) for d in range(5000, 1, -1))
    assert lookup.next_query() == contact(2)
    assert len(lookup._candidates) <= 256


@pytest.mark.parametrize(
    ("places", "asked"),
    [
        ([("8.8.8.8", 4000)] * 40, 1),
        ([("127.0.0.1", 4000)] * 40, 1),
        ([("8.8.8.8", 4000 + n) for n in range(40)], MAX_PER_HOST),
        ([(f"8.8.8.{n}", 4000) for n in range(40)], MAX_PER_NETWORK),
        ([(f"2a00:1:2:{n}::1", 4000) for n in range(40)], MAX_PER_NETWORK),
        ([("127.0.0.1", 4000 + n) for n in range(40)], 40),
    ],
)
def test_one_look_up_asks_few_at_one_place(places: list[Address], asked: int) -> None:
    lookup = Lookup(TARGET, k=100, alpha=100)
    lookup.hear(Contact(n.to_bytes(20, "big"), place) for n, place in enumerate(places))
    elsewhere = Contact(b"\xff" * 20, ("9.9.9.9", 1))
    lookup.hear([elsewhere])
    queries = [one for _ in range(100) if (one := lookup.next_query()) is not None]
    assert len(queries) == asked + 1
    assert elsewhere in queries


# Of 2**10 peers: the k closest lie within k * 2**150 of a target.
FAR = 1 << 156


def far(number: int) -> Contact:
    return Contact((FAR + number).to_bytes(20, "big"), ("127.0.0.2", number + 1))


def completed(contacts: list[Contact], k: int = 4) -> Lookup:
    lookup = Lookup(TARGET, k=k)
    lookup.hear(contacts)
    while lookup.ending is None:
        while (one := lookup.next_query()) is not None:
            lookup.answered(one)
    return lookup


def test_a_lookup_that_found_nobody_near_its_target_is_suspect() -> None:
    near = completed([contact(d) for d in range(1, 9)])
    assert not near.is_sparse(1024.0)
    assert completed([far(d) for d in range(8)]).is_sparse(1024.0)
    assert completed([contact(1)]).is_sparse(1024.0)
    assert not completed([contact(1)]).is_sparse(40.0), "all of a small network are known anyhow"


def test_a_wider_lookup_asks_those_who_are_far_away_and_whom_they_name() -> None:
    lookup = completed([contact(d) for d in (500, 501, 502, 503)])
    assert lookup.ending is Ending.COMPLETED
    lookup.widen([far(1), far(2), contact(501)])
    asked = [lookup.next_query(), lookup.next_query()]
    assert asked == [far(1), far(2)], "whoever has answered is not asked again"
    assert lookup.next_query() is None
    assert lookup.ending is None, "it waits for them, though the closest have answered"
    lookup.answered(far(1), [contact(d) for d in (1, 2, 3, 4)])
    lookup.failed(far(2))
    while (one := lookup.next_query()) is not None:
        lookup.answered(one)
    assert lookup.ending is Ending.COMPLETED
    assert lookup.closest() == [contact(d) for d in (1, 2, 3, 4)]


def test_a_wider_lookup_does_not_wait_for_the_slow() -> None:
    lookup = completed([contact(d) for d in (500, 501, 502, 503)])
    lookup.widen([far(1)])
    assert lookup.next_query() == far(1)
    lookup.delayed(far(1))
    assert lookup.next_query() is None
    assert lookup.ending is Ending.COMPLETED


def test_nobody_to_widen_with_leaves_a_lookup_ended() -> None:
    lookup = completed([contact(d) for d in (500, 501, 502, 503)])
    lookup.widen([])
    assert lookup.ending is Ending.COMPLETED
