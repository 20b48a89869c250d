"""In which order the levels of the directory get an advert, and when that is over."""

from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from overlay.core.directory import registration
from overlay.core.directory.holders import Holders
from overlay.core.directory.registration import Registration
from overlay.core.directory.tree import SPREAD, deepest_level
from overlay.core.rpc import Rpc

PEERS = 10_000.0
DEEPEST = deepest_level(SPREAD * PEERS)


class Level:
    """The registration of one level, that ends when the test says so."""

    def __init__(self, _: object, level: int, *rest: Any) -> None:
        self.level = level
        self.stored, self.pending = 100 + level, level
        self.accepted = True
        self.stopped = False
        self._on_end = rest[-1]

    def start(self, now: float) -> None:
        LEVELS.append(self)

    def end(self, *, accepted: bool = True) -> None:
        self.accepted = accepted
        self._on_end(self, 0.0)

    def stop(self) -> None:
        self.stopped = True


LEVELS: list[Level] = []

Start = Callable[[float], tuple[Registration, list[Registration]]]


class Peer:
    """What a registration asks about the network."""

    def __init__(self, relays: float) -> None:
        self._relays = relays

    def network_size(self) -> float:
        return PEERS

    def relays(self) -> float:
        return self._relays


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Begin a registration where so many relays are believed to be."""
    monkeypatch.setattr(registration, "LevelRegistration", Level)

    def begin(relays: float) -> tuple[Registration, list[Registration]]:
        ended: list[Registration] = []
        rpc = cast("Rpc", Peer(relays))
        begun = Registration(rpc, cast("Any", None), cast("Any", None), Holders(), ended.append)
        begun.start(0.0)
        return begun, ended

    yield begin
    LEVELS.clear()


def begun() -> list[int]:
    return [level.level for level in LEVELS]


def test_all_deeper_levels_get_it_at_once_however_wrong_the_first_guess(start: Start) -> None:
    start(100.0)
    assert set(begun()) >= set(range(6, DEEPEST + 1))
    assert min(begun()) == 3


def test_upwards_it_goes_on_until_a_level_rejects_it(start: Start) -> None:
    registered, ended = start(PEERS)
    assert begun() == [DEEPEST, DEEPEST - 1, DEEPEST - 2]
    LEVELS[0].end()
    LEVELS[1].end()
    assert begun()[3:] == [DEEPEST - 3, DEEPEST - 4]
    LEVELS[2].end(accepted=False)
    LEVELS[3].end(accepted=False)
    assert not ended
    LEVELS[4].end(accepted=False)
    assert ended == [registered]
    assert (registered.levels, registered.stored) == (2, 100 + DEEPEST)
    assert registered.pending == DEEPEST


def test_a_deeper_level_that_ends_begins_no_other_one(start: Start) -> None:
    _, ended = start(100.0)
    count = len(LEVELS)
    for level in tuple(LEVELS):
        if level.level > 5:
            level.end()
    assert len(LEVELS) == count
    for level in LEVELS:  # those that begin meanwhile, too
        if level.level <= 5:
            level.end()
    assert sorted(begun()) == list(range(DEEPEST + 1))
    assert len(ended) == 1


def test_what_a_deeper_level_says_does_not_end_the_way_upwards(start: Start) -> None:
    _, ended = start(100.0)
    for level in LEVELS:
        level.end(accepted=level.level != DEEPEST)
    assert sorted(begun()) == list(range(DEEPEST + 1))
    assert len(ended) == 1


def test_what_is_stopped_begins_nothing_more(start: Start) -> None:
    registered, ended = start(PEERS)
    registered.stop()
    for level in tuple(LEVELS):
        assert level.stopped
        level.end()
    assert len(LEVELS) == 3
    assert ended == [registered]
