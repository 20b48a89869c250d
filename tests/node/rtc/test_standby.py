"""Which channels a call holds while it goes on; in a simulated clock."""

import math
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio
from aioice.candidate import Candidate
from trio.testing import MockClock

from node.client import BorrowedChannel, NoRelayError
from node.errors import UserError
from node.rtc.loss import PAUSE
from node.rtc.standby import FIRST_RETRY, MAX_RESCUES, MAX_RETRY, keep_relayed
from tests.node.rtc.test_candidates import channel, told

READY = 5.0  # seconds for a standby that never answers


def at(relay: str) -> BorrowedChannel:
    base = channel()
    return replace(base, offer=replace(base.offer, relay=relay), lost=trio.Event())


class FakeReplacement:
    """Moves a peer of another make if it lets itself be moved."""

    def __init__(self, works: bool = True) -> None:
        self.works = works
        self.wanted = trio.Event()
        self.given: list[str] = []

    async def wait_wanted(self) -> None:
        await self.wanted.wait()

    async def move(self, channel: BorrowedChannel) -> bool:
        await trio.lowlevel.checkpoint()
        self.wanted = trio.Event()
        self.given.append(channel.relay)
        return self.works


class World:
    """Relays that lend in turn, and an agent that moves when it is told to."""

    def __init__(self, *relays: str) -> None:
        self.first: BorrowedChannel | None = at("first")
        self.replacement: FakeReplacement | None = None
        self.relays = list(relays)
        self.held: list[BorrowedChannel] = []
        self.avoided: list[list[str]] = []
        self.asked_at: list[float] = []
        self.moves: list[tuple[str, str]] = []
        self.failed: list[str] = []
        self.told: list[tuple[int, str, int, str]] = []
        self.works = True
        self.refuses_to_hear = False
        self.failing = trio.Event()
        self.calm: list[float] = []
        self._over = trio.Event()
        self._moved = False

    @asynccontextmanager
    async def borrow(self, avoided: Collection[str]) -> AsyncIterator[BorrowedChannel]:
        await trio.lowlevel.checkpoint()
        self.avoided.append(list(avoided))
        self.asked_at.append(trio.current_time())
        if not self.relays:
            raise NoRelayError("no relay lent a channel: none was found; try again later")
        lent = at(self.relays.pop(0))
        self.held.append(lent)
        try:
            yield lent
        finally:
            self.held.remove(lent)

    async def tell(self, candidates: list[Candidate]) -> None:
        await trio.lowlevel.checkpoint()
        if self.refuses_to_hear:
            raise UserError("the call with bob cannot go on: it is over")
        self.told = told(candidates)

    def note(self, old: BorrowedChannel | None, new: BorrowedChannel) -> None:
        self.moves.append(("direct" if old is None else old.relay, new.relay))

    async def stand_by(self, candidates: Sequence[Candidate]) -> bool:
        self._over, self._moved = trio.Event(), False
        with trio.move_on_after(math.inf if self.works else READY):
            await self._over.wait()
        return self._moved

    async def leave(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.works:
            self._moved = True
            self._over.set()

    async def drop_standby(self) -> None:
        await trio.lowlevel.checkpoint()
        self._over.set()

    async def wait_failing(self, calm: float) -> None:
        self.calm.append(calm)
        await self.failing.wait()

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await keep_relayed(
            self,
            self.first,
            self.borrow,
            self.tell,
            self.note,
            lambda standby: self.failed.append(standby.relay),
            self.replacement,
        )

    @property
    def names(self) -> list[str]:
        return [held.relay for held in self.held]


def lose(world: World) -> None:
    """The first relay says that it ends."""
    assert world.first is not None
    world.first.lost.set()


async def settled() -> None:
    await trio.sleep(0.01)


async def test_it_moves_on_and_on(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    world = World("second", "third", "fourth")
    await nursery.start(world.run)
    await settled()
    assert world.names == ["second"]
    assert world.told == [(1, "192.0.2.7", 20002, "relay")]
    lose(world)
    await settled()
    assert (world.names, world.moves) == (["second", "third"], [("first", "second")])
    await world.leave()  # as it does by itself when the path is silent
    await settled()
    assert world.names == ["third", "fourth"]  # what the call has left is given back
    assert world.avoided == [["first"], ["second", "first"], ["third", "second"]]
    nursery.cancel_scope.cancel()


async def test_a_standby_that_goes_is_replaced(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    world = World("second", "third", "fourth")
    await nursery.start(world.run)
    await settled()
    await trio.sleep(MAX_RETRY)
    world.held[0].lost.set()
    await trio.sleep(FIRST_RETRY + 0.01)
    assert (world.names, world.moves, world.failed) == (["third"], [], ["second"])
    assert world.avoided == [["first"], ["first", "second"]]
    world.refuses_to_hear = True
    world.held[0].lost.set()
    await trio.sleep(2 * FIRST_RETRY + 0.01)
    assert (world.names, world.failed) == ([], ["second", "third", "fourth"])
    nursery.cancel_scope.cancel()


async def test_it_does_not_ask_all_the_time_for_an_end_that_takes_no_more_candidates(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    world = World(*map(str, range(1000)))
    world.works = False
    await nursery.start(world.run)
    await trio.sleep(3600)
    assert 50 < len(world.asked_at) < 70
    nursery.cancel_scope.cancel()


async def test_if_nobody_lends_it_asks_again_and_at_once_when_the_relay_is_gone(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    world = World()
    start = trio.current_time()
    await nursery.start(world.run)
    await trio.sleep(4 * FIRST_RETRY)
    assert [at - start for at in world.asked_at] == pytest.approx([0, FIRST_RETRY, 3 * FIRST_RETRY])
    world.relays.append("second")
    lose(world)
    await settled()
    assert world.moves == [("first", "second")]
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("relays", [[], ["second", "third", "fourth", "fifth"]])
async def test_it_has_an_end(autojump_clock: MockClock, relays: list[str]) -> None:
    world = World(*relays)
    world.works = False
    lose(world)
    with trio.fail_after(MAX_RESCUES * READY + 1):
        async with trio.open_nursery() as nursery:
            await nursery.start(world.run)
    assert (len(world.avoided), world.held, world.moves) == (MAX_RESCUES, [], [])


async def foreign(nursery: trio.Nursery, *relays: str, works: bool = True) -> World:
    """A call with a peer that takes no standby, when that is known."""
    world = World(*relays)
    world.works = False
    world.replacement = FakeReplacement(works)
    await nursery.start(world.run)
    await trio.sleep(READY + 0.1)
    assert world.names == [relays[0]]  # it is held all the same
    assert world.replacement.given == []
    return world


@pytest.mark.parametrize("why", ["path", "relay", "peer"])
async def test_a_peer_that_takes_no_standby_is_moved_when_that_is_needed(
    autojump_clock: MockClock, nursery: trio.Nursery, why: str
) -> None:
    world = await foreign(nursery, "second", "third")
    assert world.replacement is not None
    await trio.sleep(3600)
    match why:
        case "path":
            world.failing.set()
            world.failing = trio.Event()
        case "relay":
            lose(world)
        case "peer":
            world.replacement.wanted.set()
    await settled()
    assert world.moves == [("first", "second")]
    assert world.names == ["second", "third"]
    assert world.replacement.given == ["second"]
    await trio.sleep(3600)
    # For what may be its line's loss it is not moved again soon.
    assert world.calm[-1] == PAUSE
    nursery.cancel_scope.cancel()


async def test_a_peer_that_cannot_be_moved_or_whose_standby_is_gone(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    world = await foreign(nursery, "second", "third", "fourth", works=False)
    assert world.replacement is not None
    world.held[0].lost.set()
    await trio.sleep(READY + 2 * FIRST_RETRY)
    assert (world.failed, world.replacement.given) == (["second"], [])
    world.replacement.wanted.set()
    await trio.sleep(READY + 4 * FIRST_RETRY)
    assert (world.failed, world.replacement.given) == (["second", "third"], ["third"])
    assert world.names == ["fourth"]
    nursery.cancel_scope.cancel()


async def test_a_direct_path_borrows_nothing_until_it_fails(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    world = World("second", "third", "fourth")
    world.first = None
    world.works = False
    await nursery.start(world.run)
    await trio.sleep(3600)
    assert world.asked_at == []
    world.failing.set()
    await settled()
    assert world.names == ["second"]
    world.failing = trio.Event()
    await trio.sleep(60)
    assert (world.names, world.failed, world.moves) == ([], ["second"], [])  # it works again
    world.works = True
    world.failing.set()
    await settled()
    await world.leave()  # as it does by itself
    await settled()
    assert world.moves == [("direct", "third")]
    assert world.names == ["third", "fourth"]
    assert world.avoided == [[], ["second"], ["third"]]
    nursery.cancel_scope.cancel()
