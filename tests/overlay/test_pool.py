"""Pools of relays on loopback sockets."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from overlay.core.choice.tables import MAX_ENTRIES, parse_table_untrusted, relay_name
from overlay.core.errors import RemoteProtocolError
from overlay.core.events import RelaysFound
from overlay.dht import RunningPeer
from overlay.discovery import SAMPLE, Relay, advertise, find_relays
from overlay.pool import RelayPool
from tests.overlay.core.directory.test_sample import NOW, advert
from tests.overlay.test_discovery import describe, jids, peer_of

pytestmark = pytest.mark.trio


@asynccontextmanager
async def pool_of(*others: RunningPeer) -> AsyncIterator[RelayPool]:
    """A running pool that knows of a relay."""
    async with peer_of(*others, client=True) as peer, trio.open_nursery() as nursery:
        pool = RelayPool(peer)
        while not await find_relays(peer):
            await trio.sleep(0.02)  # the storing peers verify the relay first
        await nursery.start(pool.run)
        while not pool.measured:
            await trio.sleep(0.01)
        yield pool
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def relay_of(name: str) -> AsyncIterator[RunningPeer]:
    async with peer_of() as relay, trio.open_nursery() as nursery:
        await nursery.start(advertise, relay, describe(name))
        yield relay
        nursery.cancel_scope.cancel()


async def test_both_ends_of_a_call_choose_by_their_tables() -> None:
    with trio.fail_after(20):
        async with relay_of("r") as relay, pool_of(relay) as ours, pool_of(relay) as theirs:
            answer = await theirs.table(await ours.table())
            assert list(parse_table_untrusted(answer).rtts) == [relay_name(relay.public_key)]
            (chosen,) = await ours.choose(answer)
            assert chosen.jid == "r@example.org"
            assert chosen.free == 1.0
            assert chosen.rtt is not None
            assert jids(await ours.choose()) == {"r@example.org"}


async def test_a_relay_that_refused_is_still_there_if_it_is_the_only_one() -> None:
    with trio.fail_after(20):
        async with relay_of("r") as relay, pool_of(relay) as pool:
            (chosen,) = await pool.choose()
            pool.failed(chosen)
            assert jids(await pool.choose()) == {"r@example.org"}
            pool.worked(chosen)
            assert jids(await pool.choose()) == {"r@example.org"}


async def test_before_anything_is_measured_the_overlay_is_searched() -> None:
    with trio.fail_after(20):
        async with relay_of("r") as relay, peer_of(relay, client=True) as peer:
            pool = RelayPool(peer)
            found: set[str] = set()
            while not found:
                found = jids(await pool.choose())
                await trio.sleep(0.02)
            assert found == {"r@example.org"}
            assert parse_table_untrusted(await pool.table()).rtts == {}


async def test_what_a_relay_has_free_is_known_at_once() -> None:
    offers = [describe("r")()]
    with trio.fail_after(20):
        async with peer_of() as relay, trio.open_nursery() as nursery:
            await nursery.start(advertise, relay, lambda: offers[-1])
            async with pool_of(relay) as pool:
                offers.append(describe("r", free=0.0)())
                relay.set_free_share(0.0)  # as `advertise` does within a second
                (full,) = await pool.choose()
                assert full.free == 0.0
            nursery.cancel_scope.cancel()


async def test_a_table_of_garbage_is_refused() -> None:
    with trio.fail_after(20):
        async with peer_of() as peer:
            pool = RelayPool(peer)
            with pytest.raises(RemoteProtocolError):
                await pool.choose(b"garbage")
            with pytest.raises(RemoteProtocolError):
                await pool.table(b"garbage")


class Silent:
    """A peer that has nothing to measure."""

    coordinate = None
    rng = random.Random(1)


def found(name: str) -> Relay:
    return Relay(
        *(name, bytes(20), (("192.0.2.1", 9),), 0.01, 1.0, None, "public"),
        public_key=name.encode(),
        services=(),
    )


async def test_a_search_is_shared_and_remembered(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    searches = 0

    async def find_relays(peer: object, **_: object) -> list[Relay]:
        nonlocal searches
        searches += 1
        await trio.sleep(1)
        return [found("near")]

    monkeypatch.setattr("overlay.pool.find_relays", find_relays)
    pool = RelayPool(Silent())  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(pool.choose)
    assert searches == 1
    await trio.sleep(60)
    assert [relay.jid for relay in await pool.choose()] == ["near"]
    assert searches == 2


async def test_a_relay_that_refused_is_asked_last_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    near, far = found("near"), found("far")

    async def find_relays(peer: object, **_: object) -> list[Relay]:
        await trio.lowlevel.checkpoint()
        return [near, far]

    monkeypatch.setattr("overlay.pool.find_relays", find_relays)
    pool = RelayPool(Silent())  # type: ignore[arg-type]
    await pool.choose()
    pool.failed(near)
    assert await pool.choose() == [far, near]
    pool.worked(near)
    assert await pool.choose() == [near, far]


async def test_when_no_measured_relay_is_of_use_others_are_searched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    searches = 0
    gone, back = found("gone"), found("back")

    async def find_relays(peer: object, **_: object) -> list[Relay]:
        nonlocal searches
        searches += 1
        await trio.lowlevel.checkpoint()
        return [gone] if searches == 1 else [gone, back]

    async def probe_best(pool: RelayPool, theirs: object) -> dict[bytes, Relay]:
        await trio.lowlevel.checkpoint()
        return {b"carrier": found("carrier")}

    monkeypatch.setattr("overlay.pool.find_relays", find_relays)
    monkeypatch.setattr(RelayPool, "_probe_best", probe_best)
    pool = RelayPool(Silent())  # type: ignore[arg-type]
    assert await pool.choose() == [found("carrier")]
    assert searches == 0
    # What carries a call is no standby for it, though it answers and the others failed lately.
    pool.failed(gone)
    assert await pool.choose(avoided=["carrier"]) == [gone]
    assert await pool.choose(avoided=["carrier"]) == [gone]
    assert searches == 1
    assert await pool.choose(avoided=["carrier", "gone"]) == [back]
    assert searches == 2


async def test_the_first_search_wants_as_many_as_are_kept_measured(
    autojump_clock: trio.testing.MockClock,
) -> None:
    wanted: list[int] = []

    class Searcher(Silent):
        public_key = b""
        unix_time = NOW

        async def wait_connected(self) -> None: ...

        async def collect_adverts(self, count: int, _: float) -> RelaysFound:
            wanted.append(count)
            await trio.sleep(1)
            adverts = [advert(number) for number in range(100)] if len(wanted) == 1 else []
            return RelaysFound(0, 1, tuple(adverts))

        async def measure(self, *_: object) -> dict[object, object]:
            await trio.lowlevel.checkpoint()
            return {}

    with trio.move_on_after(60):
        await RelayPool(Searcher()).run()  # type: ignore[arg-type]
    assert wanted[0] == MAX_ENTRIES
    assert wanted[1] == SAMPLE
