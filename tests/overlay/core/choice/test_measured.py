import random

import pytest

from overlay.core.choice.measured import INTERVAL, MAX_KNOWN, MeasuredRelays
from overlay.core.choice.selection import FIRST_BACKOFF, FailedRelays
from overlay.core.choice.tables import MAX_ENTRIES, RttTable, relay_name
from overlay.core.directory.records import Advert
from tests.overlay.core.relays import UNIX_TIME, advert_of, at

HERE = at(0.0)


def key_of(number: int) -> bytes:
    return number.to_bytes(32, "big")


class Pool:
    """Relays on a line, and somebody at its beginning who measures them."""

    def __init__(self, size: int = MAX_ENTRIES) -> None:
        self.failed = FailedRelays()
        self.relays = MeasuredRelays(self.failed, random.Random(1), size)

    def take(self, *adverts: Advert, now: float = 0.0) -> None:
        self.relays.take(adverts, HERE, now, UNIX_TIME + now)

    def probe(self, now: float, free: float | None = None) -> list[int]:
        """Answer all probes that are due; returns whom they were for."""
        adverts = self.relays.due(now)
        for advert in adverts:
            assert advert.coordinate is not None
            rtt = 0.001 + advert.coordinate.vector[0]
            self.relays.answered(advert.public_key, rtt, free, now)
        return [int.from_bytes(advert.public_key, "big") for advert in adverts]

    def best(self, theirs: RttTable | None = None, now: float = 0.0) -> list[int]:
        relays = self.relays.promising(8, HERE, theirs, now)
        return [int.from_bytes(relay.advert.public_key, "big") for relay in relays]


def line(count: int) -> list[Advert]:
    return [advert_of(number, at(0.01 * number)) for number in range(count)]


def test_the_nearest_are_measured_each_every_ten_minutes() -> None:
    pool = Pool(size=4)
    pool.take(*line(9))
    assert pool.relays.next_due() == 0.0
    assert sorted(pool.probe(1.0)) == [0, 1, 2, 3]
    assert pool.relays.measured == 4
    assert pool.probe(1.0 + 0.89 * INTERVAL) == []
    assert sorted(pool.probe(1.0 + 1.11 * INTERVAL)) == [0, 1, 2, 3]


def test_first_probes_are_spread_out() -> None:
    pool = Pool()
    pool.take(*line(100))
    assert 0 < len(pool.probe(1.0)) < 30
    pool.probe(10.0)
    assert pool.relays.measured == 100


def test_what_is_measured_counts_more_than_what_is_estimated() -> None:
    pool = Pool()
    pool.take(*line(3))
    pool.relays.answered(key_of(0), 0.5, None, 0.0)
    assert pool.best() == [1, 2, 0]


def test_one_late_answer_does_not_change_the_choice() -> None:
    pool = Pool()
    pool.take(*line(3))
    for rtt in (0.001, 0.9, 0.001):
        pool.relays.answered(key_of(0), rtt, None, 0.0)
    assert pool.best() == [0, 1, 2]


def test_the_smallest_sum_of_both_ends_wins() -> None:
    pool = Pool()
    pool.take(*line(3))
    pool.probe(1.0)
    theirs = RttTable(None, {relay_name(key_of(n)): 0.3 - 0.1 * n for n in range(3)})
    assert pool.best(theirs) == [2, 1, 0]


def test_a_leg_that_the_other_end_did_not_measure_is_told_from_its_place() -> None:
    pool = Pool()
    pool.take(*line(3))
    pool.probe(1.0)
    theirs = RttTable(at(0.02), {relay_name(key_of(2)): 5.0})
    assert pool.best(theirs) == [1, 0, 2]


def test_a_full_relay_is_the_last_choice_until_it_may_have_room_again() -> None:
    pool = Pool()
    pool.take(*line(3))
    pool.relays.answered(key_of(0), 0.001, 0.0, 100.0)
    assert pool.best(now=101.0) == [1, 2, 0]
    assert pool.best(now=140.0) == [0, 1, 2]
    pool.relays.answered(key_of(0), 0.001, 0.5, 102.0)
    assert pool.best(now=102.0) == [0, 1, 2]


def test_a_relay_that_refused_is_the_last_choice() -> None:
    pool = Pool()
    pool.take(*line(2))
    pool.failed.add(key_of(0), 0.0)
    assert pool.best(now=1.0) == [1, 0]


def test_a_relay_that_is_silent_is_probed_again_then_given_up_and_replaced() -> None:
    pool = Pool(size=1)
    pool.take(*line(2))
    now = 0.0
    for _ in range(3):
        (advert,) = pool.relays.due(now)
        assert advert.public_key == key_of(0)
        pool.relays.lost(advert.public_key, now)
        now += 11.0
    pool.take(*line(2), now=now)  # the directory still has it
    assert pool.probe(now) == [1]
    assert len(pool.relays) == 1
    pool.take(*line(2), now=now + FIRST_BACKOFF)
    assert len(pool.relays) == 2


def test_a_relay_that_is_started_again_is_not_gone_however_often_calls_probe_it() -> None:
    pool = Pool()
    pool.take(*line(1))
    for tenth in range(90):
        pool.relays.lost(key_of(0), 1.0 + 0.1 * tenth)
    assert pool.best(now=10.0) == [0]
    assert not pool.failed.avoids(key_of(0), 10.0)
    pool.relays.answered(key_of(0), 0.01, None, 10.5)
    pool.relays.lost(key_of(0), 11.0)
    pool.relays.lost(key_of(0), 21.0)
    assert pool.best(now=21.0) == [0]
    pool.relays.lost(key_of(0), 31.0)
    assert pool.best(now=31.0) == []


def test_answers_about_relays_that_are_gone_are_ignored() -> None:
    pool = Pool()
    pool.relays.answered(key_of(1), 0.1, None, 0.0)
    pool.relays.lost(key_of(1), 0.0)
    assert len(pool.relays) == 0


def test_an_advert_that_expires_is_forgotten_unless_the_relay_says_that_it_serves() -> None:
    pool = Pool()
    pool.take(*line(2))
    pool.relays.answered(key_of(0), 0.001, 1.0, 3000.0)
    pool.relays.answered(key_of(1), 0.001, None, 3000.0)
    pool.take(now=5000.0)
    assert pool.best(now=5000.0) == [0]


def test_a_later_advert_replaces_an_earlier_one() -> None:
    pool = Pool()
    pool.take(advert_of(0, at(0.1), seq=2), advert_of(1, at(0.2)))
    pool.take(advert_of(0, at(0.1), seq=1, free=0.0))
    assert pool.best() == [0, 1]
    pool.take(advert_of(0, at(0.1), seq=3, free=0.0))
    assert pool.best() == [1, 0]


@pytest.mark.parametrize("size", [0, 5])
def test_what_is_known_is_bounded_and_the_nearest_are_kept(size: int) -> None:
    pool = Pool(size)
    pool.take(*line(20))
    pool.take(*(advert_of(number, at(5.0)) for number in range(20, 3 * MAX_KNOWN)))
    assert len(pool.relays) == MAX_KNOWN
    assert pool.best()[:size] == list(range(size))


def test_the_table_has_the_promising_ones_first_and_128_at_most() -> None:
    pool = Pool(size=200)
    pool.take(*line(200))
    pool.probe(100.0)
    far = pool.relays.get(key_of(199))
    assert far is not None
    table = pool.relays.table(HERE, [far])
    assert len(table.rtts) == MAX_ENTRIES
    assert next(iter(table.rtts)) == far.name
    assert table.coordinate == HERE
