import math
import random

import pytest

from overlay.core.choice.coordinates import Coordinate
from overlay.core.choice.selection import (
    FIRST_BACKOFF,
    MAX_BACKOFF,
    MAX_FAILED,
    FailedRelays,
    capped,
    detour,
    is_last_choice,
    near_and_any,
    shortlist,
)
from overlay.core.directory.records import Advert
from tests.overlay.core.relays import advert_of, at

KEY = bytes(32)


def numbers(adverts: list[Advert]) -> list[int]:
    return [int.from_bytes(advert.public_key, "big") for advert in adverts]


def choose(
    adverts: list[Advert], here: Coordinate | None, there: Coordinate | None, count: int = 8
) -> list[int]:
    return numbers(shortlist(adverts, count, here, there, FailedRelays(), 0.0))


def test_the_nearest_come_first() -> None:
    adverts = [advert_of(number, at(place)) for number, place in enumerate((0.3, 0.1, 0.2))]
    assert choose(adverts, at(0.0), None) == [1, 2, 0]


def test_both_legs_count_if_the_other_end_is_known() -> None:
    behind_us, between, behind_them = (advert_of(n, at(x)) for n, x in enumerate((-0.1, 0.1, 0.5)))
    assert choose([behind_us, between, behind_them], at(0.0), at(0.2), 2) == [1, 0]


def test_without_a_place_of_ours_the_order_of_the_sample_stays() -> None:
    adverts = [advert_of(number, at(0.1 * number)) for number in (3, 1, 2)]
    assert choose(adverts, None, None) == [3, 1, 2]


def test_a_relay_without_a_place_comes_after_those_with_one() -> None:
    assert choose([advert_of(1), advert_of(2, at(9.0))], at(0.0), None) == [2, 1]


def test_full_and_failed_relays_come_last_and_load_is_nothing_else() -> None:
    failed = FailedRelays()
    adverts = [
        advert_of(0, at(0.01), free=0.0),
        advert_of(1, at(0.02)),
        advert_of(2, at(0.03), free=0.1),
        advert_of(3, at(0.04), free=1.0),
    ]
    failed.add(adverts[1].public_key, 0.0)
    assert numbers(shortlist(adverts, 8, at(0.0), None, failed, 1.0)) == [2, 3, 0, 1]


def test_a_quarter_of_the_probes_are_any_so_that_nobody_takes_all_by_saying_to_be_near() -> None:
    adverts = [advert_of(n, at(0.3)) for n in range(10)] + [
        advert_of(n, at(0.0)) for n in range(10, 40)
    ]
    probed = numbers(near_and_any(adverts, 8, at(0.0), None, FailedRelays(), 0.0))
    assert probed == [*range(10, 22), *range(4)]


def test_at_most_two_of_a_network() -> None:
    public = [advert_of(number, host=f"8.8.8.{number + 1}") for number in range(9)]
    assert numbers(capped([*public, advert_of(99)])) == [0, 1, 99]


def test_a_measured_leg_is_taken_as_it_is() -> None:
    assert detour(at(0.1), at(0.0), None, near=0.2) == 0.2
    assert detour(None, at(0.0), at(0.3), near=0.2, far=0.3) == 0.5
    assert detour(None, at(0.0), None) == math.inf
    assert detour(at(0.1), at(0.0), None) > 0.1  # an estimate is not quite believed


def test_failures_back_off_and_are_forgiven() -> None:
    failed = FailedRelays()
    now, pause = 0.0, FIRST_BACKOFF
    for _ in range(10):
        failed.add(KEY, now)
        failed.add(KEY, now)  # of the same moment: counts once
        assert failed.avoids(KEY, now + pause - 1)
        assert not failed.avoids(KEY, now + pause)
        now, pause = now + pause, min(MAX_BACKOFF, 2 * pause)
    assert pause == MAX_BACKOFF
    assert is_last_choice(KEY, 1.0, failed, now - 1)
    failed.forgive(KEY)
    assert not is_last_choice(KEY, 1.0, failed, now - 1)
    failed.add(KEY, now)
    assert not failed.avoids(KEY, now + FIRST_BACKOFF)


def test_the_memory_of_failures_is_bounded() -> None:
    failed = FailedRelays()
    for number in range(2 * MAX_FAILED):
        failed.add(number.to_bytes(32, "big"), 0.0)
    assert len(failed) == MAX_FAILED
    assert not failed.avoids(KEY, 1.0)
    assert failed.avoids((2 * MAX_FAILED - 1).to_bytes(32, "big"), 1.0)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_fastest_of_a_shortlist_is_nearly_always_nearly_the_best(seed: int) -> None:
    """Sites on a line; coordinates off by a tenth, as Vivaldi's are."""
    rng = random.Random(seed)
    good = lucky = 0
    for _ in range(200):
        places = [rng.uniform(0.0, 0.3) for _ in range(64)]
        adverts = [advert_of(n, at(x * rng.uniform(0.9, 1.1))) for n, x in enumerate(places)]
        here, there = rng.uniform(0.0, 0.3), rng.uniform(0.0, 0.3)
        paths = [abs(x - here) + abs(x - there) + 0.01 for x in places]
        probed = choose(adverts, at(here), at(there))
        good += min(paths[number] for number in probed) <= 1.1 * min(paths)
        lucky += rng.choice(paths) <= 1.1 * min(paths)
    assert good >= 180  # 193 to 199 were measured
    assert good > 1.5 * lucky
