"""When a relay is borrowed, and when it is given back; in a simulated clock."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
import trio
from aioice.candidate import Candidate
from trio.testing import MockClock

from node.client import BorrowedChannel, NoRelayError
from node.rtc.relaying import CONNECT_TIMEOUT, DIRECT_TIME, NoPathError, connected
from tests.node.rtc.test_candidates import channel, told

LOCAL, REMOTE = ("192.0.2.7", 20000), ("192.0.2.7", 20002)
CHECKS = 0.1
DIRECT = ("198.51.100.1", 4000)


class FakeAgent:
    """An agent that has a path after a while, or once it has a relay."""

    def __init__(self, direct_after: float, relayed_after: float = 0.1) -> None:
        self.direct_at = trio.current_time() + direct_after
        self.relayed_after = relayed_after
        self.checked: list[tuple[int, str, int, str]] = []
        self.relay = trio.Event()
        self.path: tuple[str, int] | None = None

    async def wait_path(self) -> bool:
        with trio.move_on_at(self.direct_at):
            await self.relay.wait()
            await trio.sleep(self.relayed_after)
            self.path = LOCAL
            return True
        self.path = DIRECT
        return True

    async def checks_take(self) -> float:
        return CHECKS

    async def check(self, candidates: Sequence[Candidate]) -> None:
        self.checked = told(list(candidates))
        self.relay.set()

    async def sends_to(self) -> tuple[str, int] | None:
        return self.path


class FakeRelays:
    """Counts channels."""

    def __init__(self, error: bool = False, takes: float = 0.1) -> None:
        self.error = error
        self.takes = takes
        self.lent = self.held = 0
        self.told: list[tuple[int, str, int, str]] = []

    @asynccontextmanager
    async def borrow(self) -> AsyncIterator[BorrowedChannel]:
        await trio.sleep(self.takes)
        if self.error:
            raise NoRelayError("no relay lent a channel: none was found; try again later")
        self.lent += 1
        self.held += 1
        try:
            yield channel()
        finally:
            self.held -= 1

    async def tell(self, candidates: list[Candidate]) -> None:
        self.told = told(candidates)


async def test_a_direct_path_borrows_nothing(autojump_clock: MockClock) -> None:
    agent, relays = FakeAgent(DIRECT_TIME), FakeRelays()
    async with connected(agent, relays.borrow, relays.tell) as held:
        assert held is None
    assert (relays.lent, relays.told, agent.checked) == (0, [], [])
    assert trio.current_time() == pytest.approx(DIRECT_TIME)


async def test_without_one_a_relay_is_held(autojump_clock: MockClock) -> None:
    agent, relays = FakeAgent(1e9), FakeRelays()
    async with connected(agent, relays.borrow, relays.tell) as held:
        assert held == channel()
        assert relays.held == 1
    assert relays.told == [(1, *REMOTE, "relay")]
    assert agent.checked == [(1, *LOCAL, "relay")]
    assert relays.held == 0
    assert trio.current_time() == pytest.approx(CHECKS + DIRECT_TIME + 0.2)


async def test_a_relay_that_is_not_needed_after_all_is_given_back(
    autojump_clock: MockClock,
) -> None:
    agent, relays = FakeAgent(DIRECT_TIME + CHECKS + 0.2, relayed_after=60), FakeRelays()
    async with connected(agent, relays.borrow, relays.tell) as held:
        assert held is None
        assert (relays.lent, relays.held) == (1, 0)


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


async def test_not_through_the_relay_either(autojump_clock: MockClock) -> None:
    agent, relays = FakeAgent(1e9, relayed_after=1e9), FakeRelays()
    with pytest.raises(NoPathError, match=r"not through relay@example\.org/x either"):
        async with connected(agent, relays.borrow, relays.tell):
            pass
    assert relays.held == 0


async def test_whoever_is_called_waits_for_the_callers_relay(autojump_clock: MockClock) -> None:
    agent = FakeAgent(5.0)
    async with connected(agent, None, FakeRelays().tell) as held:
        assert held is None
    with pytest.raises(NoPathError, match="no relay of the other end helps"):
        async with connected(FakeAgent(1e9), None, FakeRelays().tell):
            pass
