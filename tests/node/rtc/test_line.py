"""Calls that are signalled through a real server, Prosody, up to where media would flow."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import aioice.ice
import pytest
import trio
from slixmpp.exceptions import IqError

from node.client import Client
from node.errors import UserError
from node.rtc.audio import Silence, Tone
from node.rtc.line import Line
from node.rtc.relaying import NoPathError
from node.rtc.talk import CallFailedError
from node.xmpp import (
    Account,
    Action,
    Call,
    Content,
    RawTransport,
    Reason,
    RelayTable,
    RtpDescription,
    Session,
    XmppRefused,
    open_session,
)
from node.xmpp.bridge import open_bridge
from overlay.core.choice.tables import RttTable, pack_table
from overlay.discovery import Relay
from tests.node.xmpp.jingle.stanzas import CANDIDATE, TRANSPORT, VOICE

TABLES = {
    "romeo": pack_table(RttTable(None, {bytes(6): 0.1})),
    "relay": pack_table(RttTable(None, {bytes(6): 0.2})),
}
TIMEOUTS = {"romeo": 0.3, "relay": 5.0}
"""Seconds in which there must be a path: who calls gives up first."""


class FakePool:
    """A pool without relays, which notes what it is asked."""

    def __init__(self, name: str) -> None:
        self.own = TABLES[name]
        self.asked: list[bytes | None] = []
        self.tabled: list[bytes | None] = []

    async def choose(
        self, theirs: bytes | None = None, *, avoided: Collection[str] = ()
    ) -> list[Relay]:
        await trio.lowlevel.checkpoint()
        self.asked.append(theirs)
        return []

    async def table(self, theirs: bytes | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        self.tabled.append(theirs)
        return self.own


class Side:
    """One of the two."""

    def __init__(self, session: Session, line: Line, pool: FakePool) -> None:
        self.session = session
        self.line = line
        self.pool = pool


@asynccontextmanager
async def side(account: Account, name: str) -> AsyncIterator[Side]:
    async with open_bridge() as bridge, open_session(account) as session:
        pool = FakePool(name)
        client = Client(pool, session)  # type: ignore[arg-type]
        line = Line(client, bridge, lambda: Tone(440), Silence, (), nullcontext, TIMEOUTS[name])
        yield Side(session, line, pool)
        assert session.calls._open == {}
        assert len(session._connection.jingle.sessions) == 0


@asynccontextmanager
async def both(romeo: Account, relay_account: Account) -> AsyncIterator[tuple[Side, Side]]:
    async with side(romeo, "romeo") as caller, side(relay_account, "relay") as callee:
        yield caller, callee


async def answering(
    session: Session, answer: Callable[[Call], Awaitable[None]], task_status: trio.TaskStatus[None]
) -> None:
    """Take calls by hand."""
    async with session.calls.taking() as invitations:
        task_status.started()
        async for call in invitations:
            await answer(call)


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Candidates at an address that leads nowhere, so that no media flows."""
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda **_: ["127.0.0.1"])


async def fails(line: Line, peer: str, timeout: float = 5.0) -> str:
    with pytest.raises(CallFailedError) as caught:
        await line.call(peer, None, timeout)
    assert "\n" not in str(caught.value)
    return str(caught.value)


async def test_nobody_is_there(romeo: Account, relay_account: Account) -> None:
    async with both(romeo, relay_account) as (caller, callee):
        said = await fails(caller.line, callee.session.jid)
        assert said.startswith(f"nobody takes calls at {callee.session.jid} (service-unavailable);")


@pytest.mark.parametrize(
    ("condition", "meaning", "remedy"),
    [
        (
            "remote-server-not-found",
            "your server finds no server of b.example (remote-server-not-found)",
            "check the domain and its DNS",
        ),
        (
            "remote-server-timeout",
            "the server of b.example does not answer yours (remote-server-timeout)",
            "let TCP port 5269 through",
        ),
    ],
)
async def test_the_domain_cannot_be_reached(
    romeo: Account, monkeypatch: pytest.MonkeyPatch, condition: Any, meaning: str, remedy: str
) -> None:
    async with side(romeo, "romeo") as caller:
        connection = caller.session._connection

        async def initiate(*_: object) -> None:
            client: Any = connection.client
            error = client.make_iq_error("1", condition=condition)
            error["error"]["text"] = ""
            raise IqError(error)

        monkeypatch.setattr(connection.jingle, "initiate", initiate)
        with pytest.raises(XmppRefused) as caught:
            await caller.line.call("a@b.example/c", None, 5.0)
        assert str(caught.value).startswith(f"{meaning}, so a@b.example/c cannot be reached; ")
        assert remedy in str(caught.value)
        assert "later" not in str(caught.value)


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("decline", "declined the call"),
        ("busy", "is in another call"),
        ("gone", "has gone"),
        ("cancel", "the call was cancelled before it began by relay@"),
        ("success", "the call was cancelled before it began by relay@"),
        ("unsupported-applications", "did not take the call (unsupported-applications: why)"),
    ],
)
async def test_the_call_is_not_taken(
    romeo: Account, relay_account: Account, condition: str, said: str
) -> None:
    async def end(call: Call) -> None:
        await call.end(condition, "why")

    async with both(romeo, relay_account) as (caller, callee), trio.open_nursery() as nursery:
        await nursery.start(answering, callee.session, end)
        assert said in await fails(caller.line, callee.session.jid)
        nursery.cancel_scope.cancel()


async def test_nobody_calls(romeo: Account, relay_account: Account) -> None:
    async with both(romeo, relay_account) as (caller, callee):
        for only, said in ((None, "nobody has called"), ("a@b.example", "a@b.example has not")):
            with pytest.raises(CallFailedError, match=rf"{said}.* within 0\.1 s; agree on when"):
                await callee.line.answer(only, None, lambda: None, 0.1)
        async with trio.open_nursery() as nursery:  # who is declined does not make it any longer
            ready = trio.Event()

            async def answer() -> None:
                with pytest.raises(CallFailedError, match=r"a@b\.example has not called"):
                    await callee.line.answer("a@b.example", None, ready.set, 0.5)

            nursery.start_soon(answer)
            await ready.wait()
            assert "declined" in await fails(caller.line, callee.session.jid)


async def test_a_call_that_is_broken_off_before_there_is_sound_was_cancelled(
    romeo: Account, relay_account: Account
) -> None:
    @contextmanager
    def interrupted() -> Iterator[None]:
        with trio.CancelScope() as scope:
            scope.cancel()
            yield

    async with both(romeo, relay_account) as (caller, callee), trio.open_nursery() as nursery:
        caller.line._until = interrupted
        ready = trio.Event()

        async def answer() -> None:
            with pytest.raises(CallFailedError, match=r"^the call was cancelled .* by romeo@"):
                await callee.line.answer(None, None, ready.set)

        nursery.start_soon(answer)
        await ready.wait()
        said = await fails(caller.line, callee.session.jid)
        assert said == f"the call with {callee.session.jid} was cancelled before it began"


async def test_it_rings_in_vain(romeo: Account, relay_account: Account) -> None:
    ended: list[Reason | None] = []

    async def ring(call: Call) -> None:
        async for _ in call.requests:
            pass
        ended.append(call.ended)

    async with both(romeo, relay_account) as (caller, callee), trio.open_nursery() as nursery:
        await nursery.start(answering, callee.session, ring)
        said = await fails(caller.line, callee.session.jid, timeout=0.2)
        assert "does not answer within 0.2 s" in said
        with trio.fail_after(5):
            while not ended:
                await trio.sleep(0.01)
        assert ended == [Reason("cancel")]
        nursery.cancel_scope.cancel()


async def test_an_answer_that_cannot_be(romeo: Account, relay_account: Account) -> None:
    async def accept(call: Call) -> None:
        answer = replace(VOICE, transport=RawTransport())
        await call.send(Action.SESSION_ACCEPT, (answer,))

    async with both(romeo, relay_account) as (caller, callee), trio.open_nursery() as nursery:
        await nursery.start(answering, callee.session, accept)
        said = await fails(caller.line, callee.session.jid)
        assert "answers with a call that cannot be: its media does not go over ICE" in said
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("only", [None, "romeo@xmpp.test"])
async def test_the_tables_of_both_travel_and_a_call_without_a_path_fails(
    romeo: Account, relay_account: Account, only: str | None
) -> None:
    async with both(romeo, relay_account) as (caller, callee), trio.open_nursery() as nursery:
        ready = trio.Event()

        async def answer() -> None:
            with pytest.raises(CallFailedError, match=r"before it began \(connectivity-error\)"):
                await callee.line.answer(only, None, ready.set)

        nursery.start_soon(answer)
        await ready.wait()
        with pytest.raises(NoPathError, match="do not reach each other, and no relay lent"):
            await caller.line.call(callee.session.jid, None, 5)
        assert callee.pool.tabled == [TABLES["romeo"]]
        assert caller.pool.tabled == [None]
        assert caller.pool.asked == [TABLES["relay"]]
        assert callee.pool.asked == []  # the caller's relay is enough


async def test_who_else_calls_is_told_that_we_are_busy_and_others_are_declined(
    romeo: Account, relay_account: Account
) -> None:
    async with both(romeo, relay_account) as (caller, callee):
        async with trio.open_nursery() as nursery:
            ready = trio.Event()
            nursery.start_soon(_quietly, callee.line.answer, romeo.jid, None, ready.set)
            await ready.wait()
            async with side(romeo, "relay") as first, trio.open_nursery() as calling:
                calling.start_soon(_quietly, first.line.call, callee.session.jid, None, 5.0)
                with trio.fail_after(5):
                    while not callee.session.calls._open:
                        await trio.sleep(0.01)
                assert "is in another call" in await fails(caller.line, callee.session.jid)
                calling.cancel_scope.cancel()
            nursery.cancel_scope.cancel()
        async with trio.open_nursery() as nursery:
            ready = trio.Event()
            nursery.start_soon(_quietly, callee.line.answer, "carol@xmpp.test", None, ready.set)
            await ready.wait()
            assert "declined" in await fails(caller.line, callee.session.jid)
            nursery.cancel_scope.cancel()


async def _quietly(function: Callable[..., Awaitable[object]], *args: object) -> None:
    try:
        await function(*args)
    except* UserError:
        pass  # it was cancelled, or the other end was


def of(media: str) -> Content:
    return replace(VOICE, description=RtpDescription(media, ()))


@pytest.mark.parametrize(
    ("content", "payloads", "condition"),
    [
        (replace(VOICE, transport=RawTransport()), (), "unsupported-transports"),
        (replace(VOICE, transport=replace(TRANSPORT, fingerprint=None)), (), "security-error"),
        (of("video"), (), "unsupported-applications"),
        (of("audio"), (RelayTable(b"none"),), "failed-application"),
    ],
)
async def test_offers_that_cannot_be_are_refused_and_the_next_one_is_awaited(
    romeo: Account,
    relay_account: Account,
    content: Content,
    payloads: tuple[RelayTable, ...],
    condition: str,
) -> None:
    async with both(romeo, relay_account) as (caller, callee), trio.open_nursery() as nursery:
        ready = trio.Event()
        nursery.start_soon(_quietly, callee.line.answer, None, None, ready.set)
        await ready.wait()
        for _ in range(2):
            async with caller.session.calls.call(
                callee.session.jid, (content,), payloads=payloads
            ) as call:
                with trio.fail_after(5):
                    got = [request async for request in call.requests]
            assert call.ended is not None
            assert call.ended.condition == condition
            assert got[-1].action is Action.SESSION_TERMINATE
        nursery.cancel_scope.cancel()


async def test_for_a_caller_of_another_make_the_callee_borrows(
    romeo: Account, relay_account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.rtc.line.FOREIGN_DIRECT_TIME", -1.0)
    relay = replace(TRANSPORT, candidates=(replace(CANDIDATE, type="relay"),))
    async with both(romeo, relay_account) as (caller, callee):
        for content, asked in ((VOICE, [None]), (replace(VOICE, transport=relay), [])):
            callee.pool.asked.clear()
            async with trio.open_nursery() as nursery:
                ready = trio.Event()
                nursery.start_soon(_quietly, callee.line.answer, None, None, ready.set)
                await ready.wait()
                async with caller.session.calls.call(callee.session.jid, (content,)) as call:
                    with trio.fail_after(5):
                        actions = [(await call.requests.receive()).action for _ in range(2)]
                    assert actions == [Action.SESSION_INFO, Action.SESSION_ACCEPT]
                    # What it is asked for meanwhile it answers.
                    other = Content("voice", transport=RawTransport())
                    await call.send(Action.TRANSPORT_REPLACE, (other,))
                    await call.send(Action.TRANSPORT_INFO, (replace(other, transport=relay),))
                    with trio.fail_after(5):
                        assert (await call.requests.receive()).action is Action.TRANSPORT_REJECT
            assert callee.pool.asked == asked
