import random

import pytest

from overlay.core.addresses import Address
from overlay.core.contact import Contact
from overlay.core.lookup import MAX_PER_HOST, MAX_PER_NETWORK, Ending, Lookup

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
