"""The plugin on a stream whose other end is the test, as XML."""

import asyncio
from xml.etree import ElementTree as ET

import pytest
from slixmpp.exceptions import IqError, IqTimeout

from node.xmpp.xep_0166 import Action, Content, Happened, Reason, Request
from node.xmpp.xep_0166.sessions import RING_TIMEOUT
from node.xmpp.xep_0167 import RtpInfo
from tests.node.xmpp.jingle.stanzas import (
    JULIET,
    TRANSPORT,
    VOICE,
    VOICE_XML,
    jingle,
    without_ids,
)
from tests.node.xmpp.wire import COMPONENT, Wire, on_wire

OWN = "relay@example.net/node"
STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"
SID = "a73sjjvkla37jfea"


def iq(inner: str, sender: str = JULIET, kind: str = "set", to: str = OWN) -> str:
    return f"<iq type='{kind}' id='j1' from='{sender}' to='{to}'>{inner}</iq>"


def initiate(inner: str = VOICE_XML, sid: str = SID) -> str:
    return iq(jingle("session-initiate", inner, sid, initiator=JULIET))


RESULT = f"<iq type='result' id='j1' to='{JULIET}'/>"


def error(condition: str, kind: str, extension: str = "") -> str:
    own = f"<{extension} xmlns='urn:xmpp:jingle:errors:1'/>" if extension else ""
    return (
        f"<iq type='error' id='j1' to='{JULIET}'><error type='{kind}'>"
        f"<{condition} xmlns='{STANZAS}'/>{own}</error></iq>"
    )


def without_text(xml: str) -> str:
    """An error without what it says to people."""
    iq = ET.fromstring(xml)
    for answer in iq:
        for text in answer.findall(f"{{{STANZAS}}}text"):
            answer.remove(text)
    return without_ids(ET.tostring(iq, encoding="unicode"))


def events(wire: Wire) -> list[Happened]:
    happened: list[Happened] = []
    wire.xmpp.add_event_handler("jingle", happened.append)
    return happened


def test_a_call_is_taken() -> None:
    async def test(wire: Wire) -> None:
        plugin, happened = wire.connection.jingle, events(wire)
        plugin.listen()
        assert without_ids(await wire.ask(initiate())) == without_ids(RESULT)
        assert [one.request for one in happened] == [Request(Action.SESSION_INITIATE, (VOICE,))]
        session = happened[0].session
        assert (session.peer, session.sid) == (JULIET, SID)

        sending = asyncio.ensure_future(
            plugin.send(session, Request(Action.SESSION_ACCEPT, (VOICE,)))
        )
        sent = await wire.next_sent()
        identity = ET.fromstring(sent).get("id")
        assert without_ids(sent) == without_ids(
            f"<iq type='set' id='{identity}' to='{JULIET}'>"
            f"<jingle xmlns='urn:xmpp:jingle:1' action='session-accept' initiator='{JULIET}' "
            f"responder='{OWN}' sid='{SID}'>{VOICE_XML}</jingle></iq>"
        )
        wire.feed(f"<iq type='result' id='{identity}' from='{JULIET}' to='{OWN}'/>")
        await sending

        hold = jingle("session-info", "<hold xmlns='urn:xmpp:jingle:apps:rtp:info:1'/>")
        assert without_ids(await wire.ask(iq(hold))) == without_ids(RESULT)
        end = jingle("session-terminate", "<reason><success/></reason>")
        assert without_ids(await wire.ask(iq(end))) == without_ids(RESULT)
        assert [one.request for one in happened[1:]] == [
            Request(Action.SESSION_INFO, payloads=(RtpInfo("hold"),)),
            Request(Action.SESSION_TERMINATE, reason=Reason("success")),
        ]
        assert len(plugin.sessions) == 0

    on_wire(test)


@pytest.mark.parametrize(
    ("request_xml", "answer"),
    [
        (iq(jingle("session-initiate")), error("bad-request", "modify")),
        (iq(jingle("session-begin")), error("bad-request", "modify")),
        (iq(jingle("session-info", sid="")), error("bad-request", "modify")),
        (iq(jingle("session-info", sid="x" * 257)), error("bad-request", "modify")),
        (
            iq(jingle("session-info", sid="other")),
            error("item-not-found", "cancel", "unknown-session"),
        ),
        (
            iq(jingle("session-initiate", VOICE_XML)),
            error("unexpected-request", "wait", "out-of-order"),
        ),
        (
            iq(jingle("transport-accept", VOICE_XML)),
            error("unexpected-request", "wait", "out-of-order"),
        ),
        (
            iq(jingle("session-info", "<x xmlns='urn:x'/>")),
            error("feature-not-implemented", "modify", "unsupported-info"),
        ),
        (
            iq(jingle("content-modify", "<content creator='initiator' name='other'/>")),
            error("item-not-found", "cancel"),
        ),
        (
            iq(jingle("content-add", VOICE_XML.replace("'initiator'", "'responder'"))),
            error("bad-request", "modify"),
        ),
        (iq(jingle("session-info") * 2), error("bad-request", "modify")),
    ],
)
def test_what_cannot_be_is_answered_with_an_error(request_xml: str, answer: str) -> None:
    async def test(wire: Wire) -> None:
        happened = events(wire)
        wire.connection.jingle.listen()
        await wire.ask(initiate())
        assert without_text(await wire.ask(request_xml)) == without_ids(answer)
        assert len(happened) == len(wire.connection.jingle.sessions) == 1

    on_wire(test)


def test_nobody_takes_calls() -> None:
    async def test(wire: Wire) -> None:
        assert "service-unavailable" in await wire.ask(initiate())
        wire.connection.jingle.listen()
        wire.connection.jingle.stop_listening()
        assert "service-unavailable" in await wire.ask(initiate())
        assert len(wire.connection.jingle.sessions) == 0

    on_wire(test)


def test_discovery_shows_what_is_taken() -> None:
    question = iq("<query xmlns='http://jabber.org/protocol/disco#info'/>", kind="get")
    shown = [
        "urn:xmpp:jingle:1",
        "urn:xmpp:jingle:apps:rtp:1",
        "urn:xmpp:jingle:apps:rtp:audio",
        "urn:xmpp:jingle:apps:dtls:0",
        "urn:xmpp:jingle:transports:ice-udp:1",
    ]

    async def test(wire: Wire) -> None:
        assert "urn:xmpp:jingle" not in await wire.ask(question)
        wire.connection.jingle.listen()
        answer = await wire.ask(question)
        assert [feature for feature in shown if f'"{feature}"' not in answer] == []
        wire.connection.jingle.stop_listening()
        assert "urn:xmpp:jingle" not in await wire.ask(question)

    on_wire(test)


def test_a_call_that_nobody_can_take_ends_after_its_acknowledgement() -> None:
    files = VOICE_XML.replace("urn:xmpp:jingle:apps:rtp:1", "urn:example:files")

    async def test(wire: Wire) -> None:
        happened = events(wire)
        wire.connection.jingle.listen()
        assert without_ids(await wire.ask(initiate(files))) == without_ids(RESULT)
        sent = await wire.next_sent()
        identity = ET.fromstring(sent).get("id")
        assert without_ids(sent) == without_ids(
            f"<iq type='set' id='{identity}' to='{JULIET}'>"
            + jingle(
                "session-terminate",
                "<reason><unsupported-applications/></reason>",
                initiator=JULIET,
            )
            + "</iq>"
        )
        wire.feed(f"<iq type='result' id='{identity}' from='{JULIET}' to='{OWN}'/>")
        assert happened == []
        assert len(wire.connection.jingle.sessions) == 0

    on_wire(test)


@pytest.mark.parametrize("answer", ["result", "error", "nothing"])
def test_a_call_is_made(answer: str) -> None:
    async def test(wire: Wire) -> None:
        plugin = wire.connection.jingle
        timeout = 0.01 if answer == "nothing" else 5
        calling = asyncio.ensure_future(
            plugin.initiate(
                JULIET, SID, Request(Action.SESSION_INITIATE, (VOICE,)), timeout=timeout
            )
        )
        sent = await wire.next_sent()
        identity = ET.fromstring(sent).get("id")
        assert without_ids(sent) == without_ids(
            f"<iq type='set' id='{identity}' to='{JULIET}'>"
            + jingle("session-initiate", VOICE_XML, initiator=OWN)
            + "</iq>"
        )
        if answer == "result":
            wire.feed(f"<iq type='result' id='{identity}' from='{JULIET}' to='{OWN}'/>")
            session = await calling
            assert plugin.sessions.get(JULIET, SID) is session
            wire.feed(f"<presence type='unavailable' from='{JULIET}' to='{OWN}'/>")
            while len(plugin.sessions):
                await asyncio.sleep(0)
        elif answer == "error":
            refusal = error("conflict", "cancel", "tie-break").replace("'j1'", f"'{identity}'")
            wire.feed(refusal.replace(" to=", " from="))
            with pytest.raises(IqError):
                await calling
        else:
            with pytest.raises(IqTimeout):
                await calling
            # It may have arrived, so its end is to be told.
            kept = plugin.sessions.get(JULIET, SID)
            assert kept is not None
            end = Request(Action.SESSION_TERMINATE, reason=Reason("cancel"))
            with pytest.raises(IqTimeout):
                await plugin.send(kept, end, timeout=timeout)
            assert "<cancel />" in await wire.next_sent()
        assert len(plugin.sessions) == 0

    on_wire(test)


def test_requests_are_no_more_than_a_session_allows() -> None:
    async def test(wire: Wire) -> None:
        happened = events(wire)
        plugin = wire.connection.jingle
        plugin.listen()
        for number in range(4):
            await wire.ask(initiate(sid=str(number)))
        assert "resource-constraint" in await wire.ask(initiate(sid="more"))
        assert len(happened) == len(plugin.sessions) == 4

    on_wire(test)


def test_what_rings_for_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(wire: Wire) -> None:
        plugin, happened = wire.connection.jingle, events(wire)
        plugin.listen()
        await wire.ask(initiate())
        loop = asyncio.get_running_loop()
        assert plugin._timer is not None
        assert 0 < plugin._timer.when() - loop.time() <= RING_TIMEOUT
        later = loop.time() + RING_TIMEOUT
        monkeypatch.setattr(plugin, "_now", lambda: later)
        plugin._handle_timer()
        sent = await wire.next_sent()
        assert "<timeout />" in sent
        wire.feed(f"<iq type='result' id='{ET.fromstring(sent).get('id')}' from='{JULIET}'/>")
        assert happened[-1].request.reason == Reason("timeout")
        assert len(plugin.sessions) == 0
        assert plugin._timer is None

    on_wire(test)


def test_sessions_end_when_another_jid_is_bound() -> None:
    async def test(wire: Wire) -> None:
        plugin, happened = wire.connection.jingle, events(wire)
        plugin.listen()
        await wire.ask(initiate())
        wire.xmpp.event("session_bind", wire.xmpp.boundjid)
        assert len(plugin.sessions) == 1
        plugin.sessions.jid = "relay@example.net/before"
        plugin.session_bind(wire.xmpp.boundjid)
        assert len(plugin.sessions) == 0
        assert happened[-1].request.reason == Reason("gone")

    on_wire(test)


def test_a_component_says_who_it_is() -> None:
    async def test(wire: Wire) -> None:
        info = Request(Action.TRANSPORT_INFO, (Content("voice", transport=TRANSPORT),))
        plugin = wire.connection.jingle
        calling = asyncio.ensure_future(
            plugin.initiate(JULIET, SID, Request(Action.SESSION_INITIATE, (VOICE,)))
        )
        first = ET.fromstring(await wire.next_sent())
        assert first.get("from") == "relay.example.net"
        wire.feed(
            f"<iq type='result' id='{first.get('id')}' from='{JULIET}' to='relay.example.net'/>"
        )
        session = await calling
        sending = asyncio.ensure_future(plugin.send(session, info))
        assert 'from="relay.example.net"' in await wire.next_sent()
        sending.cancel()

    on_wire(test, COMPONENT)


def test_refusals_that_nobody_acknowledges_are_no_more_than_so_many() -> None:
    async def test(wire: Wire) -> None:
        plugin = wire.connection.jingle
        plugin.listen()
        await wire.ask(initiate())
        more = VOICE_XML.replace("name='voice'", "name='more'")
        for _ in range(3):
            assert "result" in await wire.ask(iq(jingle("content-add", more)))
            assert "content-reject" in await wire.next_sent()
        (session,) = plugin.sessions._sessions.values()
        while len(session._in_flight) < 64:
            session._in_flight.append(Action.CONTENT_REJECT)
        assert "result" in await wire.ask(iq(jingle("content-add", more)))
        await asyncio.sleep(0)
        assert wire.sent == []
        assert "conflict" in await wire.ask(iq(jingle("content-add", more)))
        # What matters goes out all the same.
        sending = asyncio.ensure_future(
            plugin.send(session, Request(Action.SESSION_TERMINATE, reason=Reason("success")))
        )
        assert "session-terminate" in await wire.next_sent()
        sending.cancel()
        assert len(plugin.sessions) == 0

    on_wire(test)


def test_what_comes_with_the_answer_comes_after_it() -> None:
    async def test(wire: Wire) -> None:
        plugin, happened = wire.connection.jingle, events(wire)
        plugin.listen()
        invitation = Request(Action.SESSION_INITIATE, (VOICE,))
        calling = asyncio.ensure_future(plugin.initiate(JULIET, SID, invitation))
        identity = ET.fromstring(await wire.next_sent()).get("id")
        # Two calls, and not two that cross: this one began when the other was there.
        wire.feed(
            f"<iq type='result' id='{identity}' from='{JULIET}' to='{OWN}'/>" + initiate(sid="z")
        )
        await calling
        assert without_ids(await wire.next_sent()) == without_ids(RESULT)
        assert [one.session.sid for one in happened] == ["z"]
        assert len(plugin.sessions) == 2

    on_wire(test)
