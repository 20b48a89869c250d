from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.relay.hours import Hours


@pytest.mark.parametrize(
    ("text", "within", "outside"),
    [
        ("22:00-07:00", ["22:00", "23:59", "00:00", "06:59"], ["07:00", "12:00", "21:59"]),
        (" 9:00-17:30 ", ["09:00", "17:29"], ["17:30", "08:59", "00:00"]),
        ("18:00-24:00", ["18:00", "23:59"], ["00:00", "17:59"]),
        ("00:00-06:00", ["00:00", "05:59"], ["06:00", "23:59"]),
    ],
)
def test_hours_of_the_day(text: str, within: list[str], outside: list[str]) -> None:
    hours = Hours.parse(text)
    for clock in within + outside:
        assert hours.contain(datetime.fromisoformat(f"2026-11-16T{clock}")) is (clock in within)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "22-7",
        "22:00",
        "22:00-22:00",
        "00:00-24:00",
        "25:00-07:00",
        "22:60-07:00",
        "24:00-07:00",
    ],
)
def test_what_is_no_part_of_a_day(text: str) -> None:
    with pytest.raises(ValueError, match="no part of a day such as 22:00-07:00"):
        Hours.parse(text)


@given(st.times(), st.times())
def test_a_part_of_the_day_and_the_rest_of_it_are_the_whole(begin: object, end: object) -> None:
    first, rest = Hours(begin, end), Hours(end, begin)  # type: ignore[arg-type]
    midnight = datetime(2026, 11, 16, tzinfo=UTC)
    if begin != end:
        for minute in range(0, 24 * 60, 7):
            now = midnight + timedelta(minutes=minute)
            assert first.contain(now) != rest.contain(now)
