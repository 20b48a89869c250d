"""Quotas: what people write, what is handed out, and that no crash lets more pass."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.relay.budget import Budget
from node.relay.drop import Drop
from node.relay.quota import LEAD, MIN_SLICE, SLICES, Ledger, Quota

NOON = datetime(2026, 11, 16, 12, tzinfo=UTC)  # half of November and of a day
MB = 10**6


@pytest.mark.parametrize(
    ("text", "size", "period"),
    [
        ("50GB/month", 50 * 10**9, "month"),
        (" 2.5GB/day ", 25 * 10**8, "day"),
        ("100 MB/day", 10**8, "day"),
        ("1000TB/month", 10**15, "month"),
    ],
)
def test_quota_as_people_write_it(text: str, size: int, period: str) -> None:
    quota = Quota.parse(text)
    assert (quota.size, quota.period, quota.name) == (size, period, text.strip())


@pytest.mark.parametrize(
    "text",
    [
        *("", "50", "50GB", "50GB/week", "GB/day", "-1GB/day", "1e3GB/day", "50GiB/day", "٥GB/day"),
        *("50gb/day", "99MB/day", "1001TB/month", "9" * 400 + "GB/day", "1GB/day\0", "nanGB/day"),
    ],
)
def test_what_is_no_quota(text: str) -> None:
    with pytest.raises(ValueError, match=r"quota such as|between 100MB and 1000TB") as raised:
        Quota.parse(text)
    assert len(str(raised.value)) < 120


@given(st.text(max_size=30))
def test_any_text_is_a_quota_or_is_refused(text: str) -> None:
    with suppress(ValueError):
        assert Quota.parse(text).size >= 100 * MB


def month(size: int) -> Quota:
    return Quota(size, "month", "test")


def day(size: int) -> Quota:
    return Quota(size, "day", "test")


@given(st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)))
def test_periods_follow_each_other(now: datetime) -> None:
    for quota, longest in ((day(MB), 1), (month(MB), 31)):
        begin, end = quota.begin(now), quota.end(now)
        assert begin <= now < end
        assert end - begin <= timedelta(days=longest)
        assert quota.begin(end) == end
        assert quota.end(end - timedelta(microseconds=1)) == end


def test_december_ends_with_the_year() -> None:
    assert month(MB).end(datetime(2026, 12, 31, tzinfo=UTC)) == datetime(2027, 1, 1, tzinfo=UTC)


def test_a_period_begins_once_and_never_because_a_clock_is_set_back() -> None:
    ledger = Ledger(day(MB), NOON, used=7)
    for hours, used in ((1, 7), (-24 * 365, 7), (11.9, 7), (12, 0)):
        ledger.turn(NOON + timedelta(hours=hours))
        assert ledger.reserved == used


def test_what_is_handed_out_counts_as_used_only_once_it_is_told_to_be() -> None:
    ledger = Ledger(day(1000 * MB), NOON, used=7)
    size = 1000 * MB // SLICES
    assert ledger.hand_out(1) == size
    assert (ledger.used, ledger.reserved) == (7, 7 + size)
    ledger.note(1, size // 2, ended=False)
    assert (ledger.used, ledger.reserved) == (7 + size // 2, 7 + size)
    ledger.hand_out(2)
    ledger.note(1, size - 9, ended=True)
    assert (ledger.used, ledger.reserved) == (7 + size - 9, 7 + 2 * size - 9)
    ledger.hand_out(3)
    ledger.note(3, 0, ended=True)  # whoever had the one before has crashed with it
    assert ledger.used == ledger.reserved == 7 + 2 * size - 9


def test_what_was_used_counts_when_the_period_changes_its_length() -> None:
    ledger = Ledger(day(MB), NOON, used=7)
    ledger.quota = month(MB)
    ledger.turn(NOON + timedelta(days=3))
    assert ledger.reserved == 7
    ledger.quota = day(MB)
    ledger.turn(NOON + timedelta(days=3))
    assert ledger.reserved == 0


def test_less_is_offered_the_further_the_use_is_ahead_of_time() -> None:
    def headroom(used: float, passed: float) -> float:
        ledger = Ledger(day(1000 * MB), NOON, round(used * 1000 * MB))
        return ledger.headroom(day(MB).begin(NOON) + timedelta(days=passed))

    for used, passed, expected in [
        *((0, 0, 1), (0.3, 0.3, 1), (0, 0.9, 1)),
        *((LEAD / 2, 0, 0.5), (0.3 + LEAD / 2, 0.3, 0.5)),
        *((LEAD, 0, 0), (0.9, 0.3, 0), (1, 0.99, 0), (0.99995, 0.99, 0)),
        (1 - LEAD / 2, 0.99, 0.5),  # before it runs out
    ]:
        assert headroom(used, passed) == pytest.approx(expected)


class Forwarder:
    """A budget and a ledger, and between them a disk and the two crashes that there are."""

    def __init__(self, quota: Quota) -> None:
        self.quota = quota
        self.now = NOON
        self.kept = (NOON, 0)
        self.serial = 0
        self.passed = 0
        self.start()

    def start(self) -> None:
        """Start the relay, which reads what is kept."""
        self.ledger = Ledger(self.quota, *self.kept)
        self.crash()

    def crash(self) -> None:
        """Start the forwarder; what it had is lost."""
        self.ledger.note(self.serial + 1, 0, ended=True)
        self.budget = Budget(lambda *spent: self.reports.append(spent))
        self.budget.allow(-1, 0)
        self.reports: list[tuple[int, int, bool]] = []
        self.supply()

    def supply(self) -> None:
        self.ledger.turn(self.now)
        self.serial += 1
        if size := self.ledger.hand_out(self.serial):
            self.kept = (self.ledger.since, self.ledger.reserved)
            self.budget.allow(self.serial, size)

    def send(self, size: int) -> bool:
        if self.budget.take(size, 0) is Drop.QUOTA:
            return False
        self.passed += size
        return True

    def answer(self) -> None:
        """The relay has time for what the forwarder has said."""
        while self.reports:
            serial, spent, ended = self.reports.pop(0)
            self.ledger.note(serial, spent, ended=ended)
            self.supply()


SIZES = st.integers(1, 65_507)
QUOTAS = st.integers(MIN_SLICE, 3 * MB)


@given(QUOTAS, st.lists(SIZES | st.sampled_from(["crash", "start", "answer"]), max_size=200))
def test_never_more_than_the_quota_whatever_crashes(size: int, steps: list[int | str]) -> None:
    forwarder = Forwarder(month(size))
    for step in steps:
        if isinstance(step, int):
            forwarder.send(step)
        else:
            getattr(forwarder, step)()
        assert forwarder.passed <= forwarder.kept[1] <= size


@given(QUOTAS, st.lists(st.integers(1000, 65_507), min_size=1, max_size=20))
def test_the_whole_quota_can_be_used(size: int, sizes: list[int]) -> None:
    forwarder = Forwarder(month(size))
    while not forwarder.ledger.used_up:
        for packet in sizes:
            forwarder.send(packet)
            forwarder.answer()
    assert size - MIN_SLICE < forwarder.passed <= size
    assert forwarder.ledger.reserved == forwarder.passed


def test_a_relay_that_answers_in_time_drops_nothing_before_the_end() -> None:
    forwarder = Forwarder(month(500 * MB))
    while forwarder.passed < 499 * MB:
        assert forwarder.send(1472)
        forwarder.answer()
    assert forwarder.ledger.reserved - forwarder.passed <= 500 * MB / SLICES


def test_a_new_period_has_a_quota_of_its_own() -> None:
    forwarder = Forwarder(day(MB))
    while forwarder.send(1000):
        forwarder.answer()
    forwarder.answer()
    assert forwarder.ledger.used_up
    forwarder.now += timedelta(days=1)
    forwarder.supply()
    assert not forwarder.ledger.used_up
    assert forwarder.send(1000)


def test_a_slice_of_before_midnight_counts_in_the_new_period() -> None:
    forwarder = Forwarder(day(MB))
    forwarder.send(1000)
    before = forwarder.passed
    forwarder.now += timedelta(days=1)
    while not forwarder.ledger.used_up:
        forwarder.supply()
        forwarder.send(1000)
        forwarder.answer()
    assert forwarder.passed - before <= MB
