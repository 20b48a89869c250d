"""Borrowing: which relay is asked, what happens when it does not lend, and the way back."""

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import pytest
import trio
import trio.testing

from node.client import NoTurnError
from node.client.channel import CHECK_INTERVAL, GONE_AFTER, take_up
from node.client.client import PATIENCE, Client, NoRelayError
from node.xmpp import ChannelOffer, ExternalService, Killed, XmppError, XmppRefused
from overlay.discovery import Relay


class FakePool:
    """A pool that knows these relays."""

    def __init__(self, *jids: str) -> None:
        self.lent: dict[str, bool] = {}
        self.relays = [
            Relay(
                *(jid, bytes(20), (("192.0.2.1", 9),), 0.01, 1.0, None, "public"),
                public_key=jid.encode(),
                services=(),
            )
            for jid in jids
        ]

    async def choose(
        self, theirs: bytes | None = None, *, avoided: Collection[str] = ()
    ) -> list[Relay]:
        await trio.lowlevel.checkpoint()
        return [relay for relay in self.relays if relay.jid not in avoided]

    def failed(self, relay: Relay) -> None:
        self.lent[relay.jid] = False

    def worked(self, relay: Relay) -> None:
        self.lent[relay.jid] = True


class FakeSession:
    """A session in which each relay behaves as ``behaviour`` says."""

    jid = "me@example.org/here"

    def __init__(self, **behaviour: str) -> None:
        self.behaviour = behaviour
        self.asked: list[str] = []
        self.released: list[tuple[str, str]] = []
        self.tell, self.killed = trio.open_memory_channel[Killed](8)
        self.connected = True
        self.check: XmppError | None = None

    async def request_channel(self, relay: str, *, timeout: float) -> ChannelOffer:
        self.asked.append(relay)
        match self.behaviour[relay]:
            case "refuses":
                raise XmppRefused(relay, "resource-constraint", "wait", "full")
            case "is silent":
                await trio.sleep(timeout)
                raise XmppError(f"{relay} does not answer")
            case "takes its time":
                await trio.sleep(3 * PATIENCE)
            case "hangs":
                await trio.sleep_forever()
        host = "a..b" if self.behaviour[relay] == "lies" else "127.0.0.1"
        return ChannelOffer(relay, "id1", host, 9, 11, None, 60)

    async def check_channel(self, relay: str, channel_id: str) -> None:
        await trio.lowlevel.checkpoint()
        if self.check is not None:
            raise self.check

    async def release_channel(self, relay: str, channel_id: str) -> None:
        self.released.append((relay, channel_id))
        if self.behaviour[relay] == "never heard of that":
            raise XmppRefused(relay, "bad-request", "modify", "")
        if self.behaviour[relay] == "dies":
            await trio.sleep_forever()


def client_of(session: FakeSession, *jids: str) -> Client:
    return Client(FakePool(*jids), session)  # type: ignore[arg-type]


async def test_the_nearest_relay_is_borrowed_and_given_back() -> None:
    session = FakeSession(near="lends", far="lends")
    async with client_of(session, "near", "far").borrow() as channel:
        assert channel.relay == "near"
        assert channel.requester_address == ("127.0.0.1", 9)
        assert channel.peer_address == ("127.0.0.1", 11)
        assert session.released == []
    assert session.asked == ["near"]
    assert session.released == [("near", "id1")]


async def test_the_next_one_is_asked_if_a_relay_refuses_or_is_silent(
    autojump_clock: trio.testing.MockClock,
) -> None:
    session = FakeSession(full="refuses", dead="is silent", good="lends")
    start = trio.current_time()
    async with client_of(session, "full", "dead", "good").borrow() as channel:
        assert channel.relay == "good"
        assert trio.current_time() - start == pytest.approx(PATIENCE)


async def test_a_channel_at_a_host_without_an_address_is_none() -> None:
    session = FakeSession(liar="lies", good="lends")
    async with client_of(session, "liar", "good").borrow() as channel:
        assert channel.relay == "good"
        assert channel.rtcp == ("127.0.0.1", 10)


async def test_who_refused_is_remembered() -> None:
    pool = FakePool("full", "good")
    session = FakeSession(full="refuses", good="lends")
    async with Client(pool, session).borrow():  # type: ignore[arg-type]
        assert pool.lent == {"full": False, "good": True}


async def test_a_standby_is_borrowed_elsewhere_and_who_fails_later_is_remembered_too() -> None:
    pool = FakePool("near", "far")
    client = Client(pool, FakeSession(near="lends", far="lends"))  # type: ignore[arg-type]
    async with client.borrow(avoided=["near"]) as channel:
        assert channel.relay == "far"
        assert pool.lent == {"far": True}
        client.note_failed(channel)
        assert pool.lent == {"far": False}
    async with client.borrow("near") as channel:
        client.note_failed(channel)  # it was named, not found
    client.note_failed(channel)
    assert pool.lent == {"far": False}


async def test_the_reasons_are_told_if_nobody_lends() -> None:
    session = FakeSession(one="refuses", two="refuses")
    with pytest.raises(NoRelayError, match=r"one refused: .*full.*two refused") as caught:
        async with client_of(session, "one", "two").borrow():
            pass
    assert "bootstrap" not in str(caught.value)  # relays were found
    many = [f"relay{number}" for number in range(9)]
    session = FakeSession(**dict.fromkeys(many, "refuses"))
    with pytest.raises(NoRelayError, match=r"relay2 refused.*later; nor did 6 more$"):
        async with client_of(session, *many).borrow():
            pass


async def test_a_slow_relay_is_taken_if_the_others_refuse(
    autojump_clock: trio.testing.MockClock,
) -> None:
    session = FakeSession(slow="takes its time", full="refuses")
    async with client_of(session, "slow", "full").borrow() as channel:
        assert channel.relay == "slow"


async def test_an_empty_overlay() -> None:
    with pytest.raises(NoRelayError, match="none was found; check the bootstrap addresses"):
        async with client_of(FakeSession()).borrow():
            pass


async def test_the_attempt_is_bounded_in_time(autojump_clock: trio.testing.MockClock) -> None:
    start = trio.current_time()
    with pytest.raises(NoRelayError, match=r"none answered within 7 s .*\(stuck\)") as caught:
        async with client_of(FakeSession(stuck="hangs"), "stuck").borrow(timeout=7):
            pass
    assert "bootstrap" not in str(caught.value)
    assert trio.current_time() - start == pytest.approx(7)


async def test_a_named_relay_is_the_only_one_asked() -> None:
    session = FakeSession(mine="refuses", other="lends")
    with pytest.raises(NoRelayError, match="mine"):
        async with client_of(session, "other").borrow("mine"):
            pass
    assert session.asked == ["mine"]


@pytest.mark.parametrize("behaviour", ["never heard of that", "dies"])
async def test_a_relay_that_takes_nothing_back_costs_a_second_at_most(
    autojump_clock: trio.testing.MockClock, behaviour: str
) -> None:
    start = trio.current_time()
    async with client_of(FakeSession(old=behaviour), "old").borrow():
        pass
    assert trio.current_time() - start <= 1


async def test_an_error_of_the_borrower_comes_through_and_the_channel_goes_back() -> None:
    session = FakeSession(near="lends")
    with pytest.raises(ZeroDivisionError):
        async with client_of(session, "near").borrow():
            raise ZeroDivisionError
    assert session.released == [("near", "id1")]


async def test_only_the_relay_that_lent_a_channel_can_end_it(nursery: trio.Nursery) -> None:
    session = FakeSession(near="lends")
    client = client_of(session, "near")
    nursery.start_soon(client.follow_events)
    async with client.borrow() as channel:
        session.tell.send_nowait(Killed("stranger", "id1", 3))
        session.tell.send_nowait(Killed("near", "id2", 3))
        await trio.testing.wait_all_tasks_blocked()
        assert not channel.lost.is_set()
        session.tell.send_nowait(Killed("near", "id1", 3))
        await trio.testing.wait_all_tasks_blocked()
        assert channel.lost.is_set()
    assert session.released == []


UNKNOWN = XmppRefused("near", "item-not-found", "cancel", "")
OFFLINE = XmppRefused("near", "service-unavailable", "cancel", "")
SILENT = XmppError("near does not answer")


@pytest.mark.parametrize(
    ("check", "seconds"), [(UNKNOWN, CHECK_INTERVAL), (OFFLINE, GONE_AFTER), (SILENT, GONE_AFTER)]
)
async def test_a_channel_is_lost_when_its_relay_is_gone(
    autojump_clock: trio.testing.MockClock, check: XmppError, seconds: float
) -> None:
    session = FakeSession(near="lends")
    async with client_of(session, "near").borrow() as channel:
        await trio.sleep(25)
        session.check = check
        start = trio.current_time()
        with trio.fail_after(60):
            await channel.lost.wait()
        assert trio.current_time() - start <= seconds


async def test_no_channel_is_lost_by_a_hitch_or_by_ones_own_disconnection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    session = FakeSession(near="lends")
    async with client_of(session, "near").borrow() as channel:
        await trio.sleep(1)
        for connected, check in ((True, SILENT), (True, None), (False, OFFLINE), (True, None)):
            session.connected, session.check = connected, check
            await trio.sleep(20 if connected else 200)
        assert not channel.lost.is_set()


async def test_a_relay_of_another_make_is_not_asked_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    session = FakeSession(near="lends")
    session.check = OFFLINE
    async with client_of(session).borrow("near") as channel:
        await trio.sleep(100)
        assert not channel.lost.is_set()
    async with client_of(session, "near").borrow() as channel:  # it is in the overlay: ours
        with trio.fail_after(GONE_AFTER + CHECK_INTERVAL):
            await channel.lost.wait()


@pytest.mark.parametrize(
    ("host", "has", "expected"),
    [
        ("127.0.0.1", "both", "127.0.0.1"),
        ("127.0.0.1", "IPv6", "::1"),
        ("127.0.0.1", "neither", "127.0.0.1"),
    ],
)
async def test_the_borrower_sends_to_the_host_that_it_has_a_way_to(
    host: str, has: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if has != "both":
        monkeypatch.setattr(
            "node.client.channel._has_way_to", lambda ip: has == "IPv6" and ":" in ip
        )
    offer = ChannelOffer("relay", "id1", host, 9, 11, None, 60, host6="::1")
    taken = await take_up(offer)
    assert taken.rtcp == (expected, 10)
    assert taken.requester_address == (expected, 9)
    assert taken.peer_address == (host, 11)
    assert taken.peer_address6 == ("::1", 11)


SERVER = ExternalService("turn", "192.0.2.1", 3478, "user", "password")


class TurnSession(FakeSession):
    """A session in which some relays have a TURN server."""

    async def request_turn(self, relay: str, *, timeout: float) -> list[ExternalService]:
        self.asked.append(relay)
        match self.behaviour[relay]:
            case "refuses":
                raise XmppRefused(relay, "resource-constraint", "wait", "full")
            case "is silent":
                await trio.sleep(timeout)
                raise XmppError(f"{relay} does not answer")
            case "has none":
                return []
        return [SERVER]


def offering(session: FakeSession, *jids: str) -> Client:
    client = client_of(session, *jids)
    pool: Any = client._pool
    pool.relays = [replace(relay, services=("channel", "turn")) for relay in pool.relays]
    return client


async def test_the_nearest_relay_with_turn_is_asked(
    autojump_clock: trio.testing.MockClock,
) -> None:
    session = TurnSession(full="refuses", dead="is silent", empty="has none", good="gives")
    assert await offering(session, "full", "dead", "empty", "good").turn() == [SERVER]
    assert session.asked == ["full", "dead", "empty", "good"]


async def test_relays_without_turn_are_not_asked() -> None:
    session = TurnSession(plain="gives")
    with pytest.raises(NoTurnError, match="no relay was found that offers TURN"):
        await client_of(session, "plain").turn()
    assert session.asked == []
    assert await client_of(session, "plain").turn("plain") == [SERVER]


async def test_every_reason_is_told_if_nobody_has_turn(
    autojump_clock: trio.testing.MockClock,
) -> None:
    session = TurnSession(full="refuses", dead="is silent", empty="has none")
    with pytest.raises(NoTurnError, match=r"full refused.*; empty has no TURN server"):
        await offering(session, "full", "empty").turn()
    start = trio.current_time()
    with pytest.raises(NoTurnError):
        await offering(session, "dead", "full").turn(timeout=1)
    assert trio.current_time() - start == pytest.approx(1)
