"""When a relay is borrowed, and when it is given back; in a simulated clock."""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio
import trio.testing
from aioice.candidate import Candidate
from trio.testing import MockClock

from node.client import BorrowedChannel, NoRelayError
from node.rtc.relaying import (
    CONNECT_TIMEOUT,
    DIRECT_TIME,
    HEAD_START,
    MAX_TRIED,
    NoPathError,
    connected,
)
from tests.node.rtc.test_candidates import channel, told

LOCAL, REMOTE = ("192.0.2.7", 20000), ("192.0.2.7", 20002)
CHECKS = 0.1
DIRECT = ("198.51.100.1", 4000)


class FakeAgent:
    """An agent that has a path after a while, or once it has a relay that works."""

    def __init__(self, direct_after: float, relayed_after: float = 0.1, works: int = 1) -> None:
        self.direct_at = trio.current_time() + direct_after
        self.relayed_after = relayed_after
        self.works = works
        self.checked: list[tuple[int, str, int, str]] = []
        self.relay = trio.Event()
        self.path: tuple[str, int] | None = None

    async def wait_path(self) -> bool:
        with trio.move_on_at(self.direct_at):
            await self.relay.wait()
            await trio.sleep(self.relayed_after)
            self.path = self.checked[self.works - 1][1:3]
            return True
        self.path = DIRECT
        return True

    async def checks_take(self) -> float:
        return CHECKS

    async def check(self, candidates: Sequence[Candidate]) -> None:
        self.checked += told(list(candidates))
        if len(self.checked) == self.works:
            self.relay.set()

    async def sends_to(self) -> tuple[str, int] | None:
        return self.path


class FakeRelays:
    """Lends channels at several relays."""

    def __init__(self, error: bool = False, takes: float = 0.1, relays: int = 9) -> None:
        self.error = error
        self.takes = takes
        self.relays = relays
        self.avoided: list[list[str]] = []
        self.held: list[str] = []
        self.failed: list[str] = []
        self.told: list[tuple[int, str, int, str]] = []

    @property
    def lent(self) -> int:
        return len(self.avoided)

    @asynccontextmanager
    async def borrow(self, avoided: Collection[str]) -> AsyncIterator[BorrowedChannel]:
        await trio.sleep(self.takes)
        if self.error or len(avoided) == self.relays:
            raise NoRelayError("no relay lent a channel: none was found; try again later")
        lent = channel()
        port = lent.offer.localport + 10 * self.lent
        offer = replace(lent.offer, relay=f"relay{self.lent}", localport=port)
        self.avoided.append(list(avoided))
        self.held.append(offer.relay)
        try:
            yield replace(lent, offer=offer)
        finally:
            self.held.remove(offer.relay)

    async def tell(self, candidates: list[Candidate]) -> None:
        self.told = told(candidates)

    def note_failed(self, channel: BorrowedChannel) -> None:
        self.failed.append(channel.relay)


async def test_a_direct_path_borrows_nothing(autojump_clock: MockClock) -> None:
    agent, relays = FakeAgent(DIRECT_TIME), FakeRelays()
    async with connected(agent, relays.borrow, relays.tell) as held:
        assert held is None
    assert (relays.lent, relays.told, agent.checked) == (0, [], [])
    assert trio.current_time() == pytest.approx(DIRECT_TIME)


async def test_without_one_a_relay_is_held(autojump_clock: MockClock) -> None:
    agent, relays = FakeAgent(1e9), FakeRelays()
    async with connected(agent, relays.borrow, relays.tell) as held:
        assert held is not None
        assert held.relay == "relay0"
        assert relays.held == ["relay0"]
    assert relays.told == [(1, *REMOTE, "relay")]
    assert agent.checked == [(1, *LOCAL, "relay")]
    assert relays.held == []
    assert trio.current_time() == pytest.approx(CHECKS + DIRECT_TIME + 0.2)


async def test_a_relay_that_is_not_needed_after_all_is_given_back(
    autojump_clock: MockClock,
) -> None:
    agent, relays = FakeAgent(DIRECT_TIME + CHECKS + 0.2, relayed_after=60), FakeRelays()
    async with connected(agent, relays.borrow, relays.tell) as held:
        assert held is None
        await trio.testing.wait_all_tasks_blocked()
        assert (relays.lent, relays.held) == (1, [])


@pytest.mark.parametrize("direct_after", [2.0, 1e9])
async def test_the_direct_checks_go_on_if_nobody_lends(
    autojump_clock: MockClock, direct_after: float
) -> None:
    agent, relays = FakeAgent(direct_after), FakeRelays(error=True)
    if direct_after < CONNECT_TIMEOUT:
        async with connected(agent, relays.borrow, relays.tell) as held:
            assert held is None
    else:
        with pytest.raises(NoPathError, match="do not reach each other, and no relay lent"):
            async with connected(agent, relays.borrow, relays.tell):
                pass


async def test_a_relay_that_leads_nowhere_is_left_for_the_next(autojump_clock: MockClock) -> None:
    agent, relays = FakeAgent(1e9, works=3), FakeRelays()
    async with connected(agent, relays.borrow, relays.tell, failed=relays.note_failed) as held:
        assert held is not None
        assert held.relay == "relay2"
        took = DIRECT_TIME + CHECKS + 2 * (HEAD_START + relays.takes) + 0.2
        assert trio.current_time() == pytest.approx(took)
        await trio.testing.wait_all_tasks_blocked()
        assert relays.held == ["relay2"]
        assert relays.failed == ["relay0", "relay1"]
        await trio.sleep(60)
    assert relays.avoided == [[], ["relay0"], ["relay0", "relay1"]]


async def test_a_relay_that_is_slow_still_wins_and_the_other_did_not_fail(
    autojump_clock: MockClock,
) -> None:
    agent, relays = FakeAgent(1e9, relayed_after=HEAD_START + 0.3), FakeRelays()
    async with connected(agent, relays.borrow, relays.tell, failed=relays.note_failed) as held:
        assert held is not None
        assert held.relay == "relay0"
        await trio.testing.wait_all_tasks_blocked()
        assert relays.held == ["relay0"]
    assert (relays.lent, relays.failed) == (2, [])


async def test_there_is_a_path_while_another_relay_is_asked(autojump_clock: MockClock) -> None:
    agent, relays = FakeAgent(1e9, relayed_after=HEAD_START + 0.3), FakeRelays()
    started = trio.current_time()

    @asynccontextmanager
    async def borrow(avoided: Collection[str]) -> AsyncIterator[BorrowedChannel]:
        await trio.sleep(60 if avoided else 0)
        async with relays.borrow(avoided) as lent:
            yield lent

    async with connected(agent, borrow, relays.tell) as held:
        assert held is not None
        assert trio.current_time() - started < 3
    assert relays.lent == 1


async def test_an_error_of_the_block_goes_through(autojump_clock: MockClock) -> None:
    agent, relays = FakeAgent(1e9), FakeRelays()
    with pytest.raises(KeyError):
        async with connected(agent, relays.borrow, relays.tell):
            raise KeyError
    assert relays.held == []


@pytest.mark.parametrize("relays", [1, 2, 9])
async def test_not_through_any_relay_either(autojump_clock: MockClock, relays: int) -> None:
    agent, lenders = FakeAgent(1e9, works=99), FakeRelays(relays=relays)
    tried = min(relays, MAX_TRIED)
    names = ", ".join(f"relay{n}" for n in range(tried))
    with pytest.raises(NoPathError, match=f"not through {names} either"):
        async with connected(agent, lenders.borrow, lenders.tell, failed=lenders.note_failed):
            pass
    # Perhaps it was the other end: nothing is held against the relays.
    assert (lenders.lent, lenders.held, lenders.failed) == (tried, [], [])
    assert trio.current_time() == pytest.approx(CHECKS + DIRECT_TIME + 0.1 + CONNECT_TIMEOUT)


async def test_whoever_is_called_waits_for_the_callers_relay(autojump_clock: MockClock) -> None:
    agent = FakeAgent(5.0)
    async with connected(agent, None, FakeRelays().tell) as held:
        assert held is None
    with pytest.raises(NoPathError, match="no relay of the other end helps"):
        async with connected(FakeAgent(1e9), None, FakeRelays().tell):
            pass
