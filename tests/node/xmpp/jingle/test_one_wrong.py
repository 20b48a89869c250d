"""Jingle requests with one thing wrong, on the wire: all are answered, an error changes nothing."""

import asyncio
from collections import Counter
from copy import deepcopy
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from node.xmpp.xep_0166 import Action, Content, JingleSession, Request
from tests.node.xmpp.jingle.stanzas import (
    CANDIDATE_XML,
    ICE,
    INFO,
    JULIET,
    RAW,
    TRANSPORT,
    TRANSPORT_XML,
    VOICE,
    VOICE_XML,
    jingle,
)
from tests.node.xmpp.mutations import mutations
from tests.node.xmpp.wire import Wire, on_wire

OWN = "relay@example.net/node"
SID = "a73sjjvkla37jfea"
RAW_XML = f"""<transport xmlns='{RAW}'><candidate component='1' generation='0' id='a'
    ip='192.0.2.7' port='20002' type='relay'/></transport>"""
VIDEO_XML = VOICE_XML.replace("name='voice'", "name='video'")


def with_content(inner: str) -> str:
    return f"<content creator='initiator' name='voice'>{inner}</content>"


REQUESTS = {
    "session-initiate": VOICE_XML,
    "session-accept": VOICE_XML,
    "session-info": f"<mute xmlns='{INFO}' creator='initiator' name='voice'/>",
    "session-terminate": "<reason><decline/><text>Sorry</text></reason>",
    "transport-info": with_content(f"<transport xmlns='{ICE}'>{CANDIDATE_XML}</transport>"),
    "transport-replace": with_content(RAW_XML),
    "content-add": VIDEO_XML,
    "content-modify": "<content creator='initiator' name='voice' senders='initiator'/>",
    "content-remove": "<content creator='initiator' name='voice'/>",
    "description-info": VOICE_XML.replace(TRANSPORT_XML, ""),
    "transport-accept": with_content(TRANSPORT_XML),
    "transport-reject": with_content(""),
    "content-accept": VIDEO_XML.replace("'initiator'", "'responder'"),
    "content-reject": "<content creator='responder' name='video'/>",
}

OFFERS = {
    "transport": Request(Action.TRANSPORT_REPLACE, (Content("voice", transport=TRANSPORT),)),
    "content": Request(Action.CONTENT_ADD, (replace(VOICE, name="video", creator="responder"),)),
}
"""What accept and reject are answers to."""

ERRORS = {
    ("bad-request", "modify"),
    ("item-not-found", "cancel"),
    ("unexpected-request", "wait"),
    ("feature-not-implemented", "modify"),
    ("feature-not-implemented", "cancel"),
    ("service-unavailable", "cancel"),
    ("conflict", "cancel"),
}
"""Of XEP-0166 section 10, and of RFC 6120 section 8.4 for what is no Jingle any more."""


def verdict(answer: str) -> tuple[str, str] | None:
    """The error that an answer is; None for a result."""
    iq = ET.fromstring(answer)
    assert (iq.get("id"), iq.get("to")) == ("j1", JULIET)
    if iq.get("type") == "result":
        return None
    assert iq.get("type") == "error"
    [error] = [child for child in iq if child.tag.endswith("error")]
    return error[0].tag.partition("}")[2], error.get("type", "")


def state(session: JingleSession) -> dict[str, object]:
    return deepcopy(vars(session))


async def begin(wire: Wire, action: str) -> JingleSession | None:
    """A session in which an action may be taken."""
    plugin = wire.connection.jingle
    plugin.sessions.end_all()
    if action == "session-initiate":
        return None
    if action == "session-accept":
        return plugin.sessions.initiate(
            JULIET, SID, Request(Action.SESSION_INITIATE, (VOICE,)), 0.0
        )
    answer = await wire.ask(
        f"<iq type='set' id='j1' from='{JULIET}' to='{OWN}'>"
        f"{jingle('session-initiate', VOICE_XML, SID, JULIET)}</iq>"
    )
    assert verdict(answer) is None
    session = plugin.sessions.get(JULIET, SID)
    if session is not None and action.endswith(("accept", "reject")):
        offer = OFFERS[action.partition("-")[0]]
        plugin.sessions.send(session, offer, 0.0)
    return session


@pytest.mark.parametrize("action", REQUESTS)
def test_one_thing_is_wrong(action: str) -> None:
    async def test(wire: Wire) -> None:
        plugin = wire.connection.jingle
        plugin.listen()
        verdicts: Counter[tuple[str, str] | None] = Counter()
        for xml in mutations(jingle(action, REQUESTS[action], SID, JULIET)):
            session = await begin(wire, action)
            before = session and state(session)
            answer = await wire.ask(f"<iq type='set' id='j1' from='{JULIET}' to='{OWN}'>{xml}</iq>")
            error = verdict(answer)
            verdicts[error] += 1
            if error is not None:
                assert error in ERRORS, xml[:500]
                assert plugin.sessions.get(JULIET, SID) is session
                assert before == (session and vars(session)), xml[:500]
            for _ in range(3):  # what follows from it is sent by tasks
                await asyncio.sleep(0)
            assert all('id="j1"' not in sent for sent in wire.sent)
            wire.sent.clear()
        plugin.sessions.end_all()
        assert len(plugin.sessions) == 0
        assert verdicts[None]
        assert verdicts["bad-request", "modify"]

    on_wire(test)
