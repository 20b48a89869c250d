"""Relays that were found over XMPP: how they are kept, and what calls make of them."""

import random
from collections.abc import Collection

import pytest
import trio
import trio.testing

from node.client import Client, NoRelayError, TrackedRelay
from node.client.client import FIRST_SEARCH, PATIENCE
from node.client.tracked import FIRST_RETRY, REFRESH, TrackedRelays
from node.entrance import STUN_PORT
from node.xmpp import ServiceEntry, XmppError
from overlay.discovery import Relay
from overlay.errors import OverlayError
from tests.node.client.test_client import FakePool, FakeSession


class Server(FakeSession):
    """A session whose own server, the only tracker, knows these services."""

    def __init__(self, *services: ServiceEntry, **behaviour: str) -> None:
        super().__init__(**{name.replace("_", "."): what for name, what in behaviour.items()})
        self.services: list[ServiceEntry] | None = list(services)
        self.delay = 0.0
        self.searches = 0

    async def request_items(self, jid: str) -> list[str]:
        await trio.lowlevel.checkpoint()
        return []

    async def request_contacts(self) -> list[str]:
        await trio.lowlevel.checkpoint()
        return []

    async def request_services(self, jid: str) -> list[ServiceEntry]:
        self.searches += 1
        await trio.sleep(self.delay)
        if self.services is None:
            raise XmppError("no answer")
        return self.services


class Peer:
    """The overlay's side of a client."""

    rng = random.Random(1)

    def __init__(self) -> None:
        self.contacts = 0
        self.entered: list[tuple[str, int]] = []

    async def enter(self, host: str, port: int) -> None:
        await trio.lowlevel.checkpoint()
        self.entered.append((host, port))


class SlowPool(FakePool):
    """An overlay that takes this long, or in which nobody answers."""

    seconds = 0.0
    fails = False

    async def choose(
        self, theirs: bytes | None = None, *, avoided: Collection[str] = ()
    ) -> list[Relay]:
        await trio.sleep(self.seconds)
        if self.fails:
            raise OverlayError("nobody answered")
        return self.relays


def started(session: Server, nursery: trio.Nursery, peer: Peer | None = None) -> TrackedRelays:
    tracked = TrackedRelays(session)  # type: ignore[arg-type]
    nursery.start_soon(tracked.run, peer or Peer())  # type: ignore[arg-type]
    return tracked


def client_of(pool: FakePool, session: Server, tracked: TrackedRelays) -> Client:
    return Client(pool, session, tracked)  # type: ignore[arg-type]


def relay(jid: str) -> ServiceEntry:
    return ServiceEntry("relay", jid)


async def test_both_sources_are_one_list_with_the_unmeasured_last(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    session = Server(relay("near"), relay("old.example"))
    tracked = started(session, nursery)
    await trio.sleep(1)
    found = await client_of(FakePool("near", "far"), session, tracked).find()
    assert [one.jid for one in found] == ["near", "far", "old.example"]
    assert found[-1] == TrackedRelay("old.example")


async def test_an_old_relay_is_borrowed_when_the_overlay_has_none(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    session = Server(relay("full.example"), relay("old.example"))
    session.behaviour = {"full.example": "refuses", "old.example": "lends"}
    tracked = started(session, nursery)
    pool = SlowPool()
    pool.fails = True
    async with client_of(
        pool, session, tracked
    ).borrow() as channel:  # a first search is waited for
        assert channel.relay == "old.example"
    assert [one.jid for one in tracked.relays] == ["old.example", "full.example"]
    async with client_of(pool, session, tracked).borrow():
        assert session.asked == ["full.example", "old.example", "old.example"]


async def test_no_call_waits_for_a_search(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    session = Server(relay("old.example"), near="lends")
    session.delay = 1000
    tracked = started(session, nursery)
    start = trio.current_time()
    async with client_of(FakePool("near"), session, tracked).borrow() as channel:
        assert channel.relay == "near"
    assert trio.current_time() == start
    await trio.sleep(1001)
    session.delay = 1e6  # the next search does not end
    await trio.sleep(2 * REFRESH)
    start = trio.current_time()
    found = await client_of(FakePool(), session, tracked).find()
    assert [one.jid for one in found] == ["old.example"]
    assert trio.current_time() == start


async def test_a_slow_overlay_is_not_waited_for_if_there_are_relays(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    session = Server(relay("old.example"))
    tracked = started(session, nursery)
    pool = SlowPool("near")
    pool.seconds = 4
    start = trio.current_time()
    assert [one.jid for one in await client_of(pool, session, tracked).find()] == ["old.example"]
    assert trio.current_time() - start == pytest.approx(PATIENCE)


async def test_nothing_anywhere(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    session = Server()
    session.delay = 1000
    tracked = started(session, nursery)
    pool = SlowPool()
    start = trio.current_time()
    assert await client_of(pool, session, tracked).find() == []
    assert trio.current_time() - start == pytest.approx(FIRST_SEARCH)
    pool.fails = True
    with pytest.raises(OverlayError):
        await client_of(pool, session, tracked).find()
    with pytest.raises(NoRelayError, match="nobody answered"):  # which ends no call
        async with client_of(pool, session, tracked).borrow():
            pytest.fail("nobody lends")
    with pytest.raises(NoRelayError):
        async with client_of(SlowPool(), session, tracked).borrow():
            pass


async def test_the_cache_is_refreshed_in_the_background(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    session = Server()
    tracked = started(session, nursery)
    await trio.sleep(1)
    session.services = [relay("one.example")]
    await trio.sleep(1.2 * FIRST_RETRY)
    assert [one.jid for one in tracked.relays] == ["one.example"]
    session.services = [relay("two.example")]
    await trio.sleep(1.2 * REFRESH)
    assert [one.jid for one in tracked.relays] == ["two.example"]
    session.services = None  # the server is down: what is known stays
    before = session.searches
    await trio.sleep(20 * REFRESH)
    assert [one.jid for one in tracked.relays] == ["two.example"]
    assert session.searches - before < 40


@pytest.mark.parametrize("contacts", [0, 5])
async def test_relays_that_are_found_are_the_way_into_the_overlay_if_there_is_no_other(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock, contacts: int
) -> None:
    peer = Peer()
    peer.contacts = contacts
    many = [ServiceEntry("stun", f"192.0.2.{n}") for n in range(9, 99)]
    session = Server(ServiceEntry("stun", "192.0.2.1", port=4278), *many, relay("r.example"))
    started(session, nursery, peer)
    await trio.sleep(1)
    if contacts:
        assert peer.entered == []
    else:
        assert ("192.0.2.1", 4278) in peer.entered
        assert ("192.0.2.9", STUN_PORT) in peer.entered
        assert len(peer.entered) == 4
