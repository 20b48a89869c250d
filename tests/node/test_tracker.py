"""What a node tells as a tracker."""

import random
from dataclasses import replace

import pytest
import trio
import trio.testing

from node import tracker
from node.tracker import FIRST_REFRESH, MAX_LISTED, REFRESH, VALID, Tracker
from node.xmpp import ServiceEntry
from overlay.discovery import Relay
from overlay.errors import OverlayError

OWN = "relay@example.org/node"


class Joined:
    """A peer whose searches the test answers."""

    rng = random.Random(1)

    async def wait_joined(self) -> None:
        await trio.lowlevel.checkpoint()


def relay(jid: str) -> Relay:
    return Relay(
        *(jid, bytes(20), (("192.0.2.1", 9),), 0.01, 1.0, None, "public"),
        public_key=jid.encode(),
        services=("channel", "stun"),
    )


class Overlay:
    """Stands in for find_relays."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery) -> None:
        self.found: list[Relay] = []
        self.fails = False
        self.searches = 0
        self.delay = 0.0
        monkeypatch.setattr(tracker, "find_relays", self._find_relays)
        self.tracker = Tracker(Joined())  # type: ignore[arg-type]
        nursery.start_soon(self.tracker.run)

    async def _find_relays(self, peer: object, *, count: int) -> list[Relay]:
        self.searches += 1
        await trio.sleep(self.delay)
        if self.fails:
            raise OverlayError("nobody")
        return self.found[:count]

    @property
    def listed(self) -> list[str]:
        return [entry.address for entry in self.tracker.entries(OWN)]


@pytest.fixture
def overlay(monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery) -> Overlay:
    return Overlay(monkeypatch, nursery)


async def test_public_relays_are_told_in_their_order(
    overlay: Overlay, autojump_clock: trio.testing.MockClock
) -> None:
    overlay.found = [
        relay("near@example.org/a"),
        replace(relay("friends@example.org/a"), policy="roster"),
        replace(relay("stun.example.org"), services=("stun",)),
        relay("@"),
        relay(OWN),
        relay("far.example.org"),
        relay("near@example.org/a"),
    ]
    await trio.sleep(1)
    assert overlay.tracker.entries(OWN) == [
        ServiceEntry("relay", "near@example.org/a"),
        ServiceEntry("relay", "far.example.org"),
    ]


async def test_the_list_is_bounded(
    overlay: Overlay, autojump_clock: trio.testing.MockClock
) -> None:
    overlay.found = [relay(f"r{number}.example.org") for number in range(100)]
    await trio.sleep(1)
    assert len(overlay.listed) == MAX_LISTED


async def test_an_answer_does_not_wait_for_a_search(
    overlay: Overlay, autojump_clock: trio.testing.MockClock
) -> None:
    overlay.found, overlay.delay = [relay("r.example.org")], 5
    await trio.sleep(1)
    assert overlay.listed == []
    await trio.sleep(5)
    assert overlay.listed == ["r.example.org"]


async def test_what_is_listed_is_verified_again_at_a_modest_rate(
    overlay: Overlay, autojump_clock: trio.testing.MockClock
) -> None:
    overlay.found = [relay("old.example.org")]
    await trio.sleep(1)
    overlay.found = [relay("new.example.org")]
    await trio.sleep(1.2 * FIRST_REFRESH)
    assert overlay.listed == ["new.example.org"]
    await trio.sleep(3600)
    before = overlay.searches
    await trio.sleep(10 * REFRESH)
    assert 9 <= overlay.searches - before <= 12


@pytest.mark.parametrize("fails", [True, False])
async def test_when_nobody_answers_any_more_the_list_is_good_for_a_while(
    overlay: Overlay, autojump_clock: trio.testing.MockClock, fails: bool
) -> None:
    overlay.found = [relay("r.example.org")]
    await trio.sleep(1)
    overlay.found, overlay.fails = [], fails
    await trio.sleep(VALID - 2)
    assert overlay.listed == ["r.example.org"]
    await trio.sleep(2)
    assert overlay.listed == []
