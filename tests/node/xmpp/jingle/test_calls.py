"""Calls between two Trio programs, with a real server: Prosody."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from node.xmpp import Account, Session, XmppError, XmppRefused, open_session
from node.xmpp.calls import MAX_REQUESTS, Call
from node.xmpp.xep_0166 import Action, Content, Reason, Request
from node.xmpp.xep_0167 import RtpInfo
from node.xmpp.xep_0278.tables import RelayTable
from tests.node.xmpp.jingle.stanzas import TRANSPORT, VOICE

TABLE = RelayTable(b"\x93\x01\xc0\xc0")


@asynccontextmanager
async def ringing(romeo: Account, relay_account: Account) -> AsyncIterator[tuple[Call, Call]]:
    """A call that rings: the caller's side and the callee's."""
    async with open_session(romeo) as caller, open_session(relay_account) as callee:
        async with (
            callee.calls.taking() as invitations,
            caller.calls.call(callee.jid, (VOICE,), payloads=(TABLE,)) as call,
        ):
            with trio.fail_after(5):
                taken = await invitations.receive()
            assert (taken.peer, taken.sid) == (caller.jid, call.sid)
            yield call, taken
        assert left(caller) == left(callee) == (0, 0)


def left(session: Session) -> tuple[int, int]:
    return len(session.calls._open), len(session._connection.jingle.sessions)


async def test_a_call(romeo: Account, relay_account: Account) -> None:
    async with ringing(romeo, relay_account) as (call, taken):
        assert taken.invitation == Request(Action.SESSION_INITIATE, (VOICE,), payloads=(TABLE,))
        await taken.send(Action.SESSION_INFO, payloads=(RtpInfo("ringing"),))
        await taken.send(Action.SESSION_ACCEPT, (VOICE,), payloads=(TABLE,))
        await call.send(Action.TRANSPORT_INFO, (Content("voice", transport=TRANSPORT),))
        await taken.end("success", "bye")
        with trio.fail_after(5):
            got = [request async for request in call.requests]
            assert [one.action.value async for one in taken.requests] == ["transport-info"]
        assert [one.action.value for one in got] == [
            "session-info",
            "session-accept",
            "session-terminate",
        ]
        assert call.accepted
        assert call.ended == taken.ended == Reason("success", "bye")
        with pytest.raises(XmppError, match="it is over"):
            await call.send(Action.SESSION_INFO)


@pytest.mark.parametrize("accepted", [False, True])
async def test_the_end_of_the_block_ends_the_call(
    romeo: Account, relay_account: Account, accepted: bool
) -> None:
    async with open_session(romeo) as caller, open_session(relay_account) as callee:
        async with callee.calls.taking() as invitations:
            async with caller.calls.call(callee.jid, (VOICE,)):
                taken = await invitations.receive()
                if accepted:
                    await taken.send(Action.SESSION_ACCEPT, (VOICE,))
                    await trio.testing.wait_all_tasks_blocked(0.05)
            with trio.fail_after(5):
                (end,) = [request async for request in taken.requests]
            assert end.reason == Reason("success" if accepted else "cancel")
        assert left(caller) == left(callee) == (0, 0)


async def test_nobody_takes_it(romeo: Account, relay_account: Account) -> None:
    async with open_session(romeo) as caller, open_session(relay_account) as callee:
        for peer in (callee.jid, "nobody@xmpp.test/x"):
            with pytest.raises(XmppRefused) as caught:
                async with caller.calls.call(peer, (VOICE,)):
                    pass
            assert caught.value.condition == "service-unavailable"
            assert "\n" not in str(caught.value)
        assert left(caller) == left(callee) == (0, 0)


async def test_who_stops_taking_calls_ends_those_that_ring(
    romeo: Account, relay_account: Account
) -> None:
    async with open_session(romeo) as caller, open_session(relay_account) as callee:
        async with trio.open_nursery() as nursery, callee.calls.taking() as invitations:
            taking = trio.Event()

            async def call() -> None:
                async with caller.calls.call(callee.jid, (VOICE,)) as call:
                    taking.set()
                    with trio.fail_after(5):
                        (end,) = [request async for request in call.requests]
                assert end.reason == Reason("decline")

            nursery.start_soon(call)
            await taking.wait()
            await invitations.receive()
        assert left(caller) == left(callee) == (0, 0)


async def test_whoever_floods_is_hung_up_on(romeo: Account, relay_account: Account) -> None:
    async with ringing(romeo, relay_account) as (call, taken):
        for _ in range(MAX_REQUESTS + 1):
            await call.send(Action.SESSION_INFO, payloads=(RtpInfo("hold"),))
        with trio.fail_after(5):
            assert len([request async for request in taken.requests]) == MAX_REQUESTS
        assert taken.ended is None
        await taken.end("general-error")
        with trio.fail_after(5):
            (end,) = [request async for request in call.requests]
        assert end.reason == Reason("general-error")
