"""The roster of a node's account, with the test as its server."""

import asyncio
from xml.etree import ElementTree as ET

import pytest

from node.xmpp.errors import XmppError
from node.xmpp.roster import Roster
from tests.node.xmpp.wire import Wire, on_wire

QUERY = "<query xmlns='jabber:iq:roster'>{}</query>"
ROSTER = QUERY.format(
    "<item jid='both@a.example' subscription='both'/>"
    "<item jid='From@A.example' subscription='from'/>"
    "<item jid='to@a.example' subscription='to'/>"
    "<item jid='none@a.example' subscription='none' ask='subscribe'/>"
)
PING = "<iq type='get' id='{}' from='a@b'><ping xmlns='urn:xmpp:ping'/></iq>"


async def answered(wire: Wire, payload: str, kind: str = "result") -> Roster:
    """The roster, once the server has answered with this."""
    roster = wire.connection.roster
    assert roster is not None
    following = asyncio.ensure_future(roster.follow())
    request = ET.fromstring(await wire.next_sent())
    wire.feed(f"<iq type='{kind}' id='{request.get('id')}'>{payload}</iq>")
    await following
    return roster


def test_who_is_subscribed_is_known() -> None:
    async def test(wire: Wire) -> None:
        roster = await answered(wire, ROSTER)
        assert roster.subscribers == {"both@a.example", "from@a.example"}

    on_wire(test)


def test_changes_are_followed_if_they_are_the_servers() -> None:
    async def test(wire: Wire) -> None:
        roster = await answered(wire, ROSTER)
        new = QUERY.format("<item jid='new@a.example' subscription='from'/>")
        gone = QUERY.format("<item jid='both@a.example' subscription='remove'/>")
        foreign = QUERY.format("<item jid='mallory@b.example' subscription='both'/>")
        await wire.ask(f"<iq type='set' id='1'>{new}</iq>")
        assert roster.subscribers == {"both@a.example", "from@a.example", "new@a.example"}
        await wire.ask(f"<iq type='set' id='2' from='relay@example.net'>{gone}</iq>")
        wire.feed(f"<iq type='set' id='3' from='mallory@b.example'>{foreign}</iq>")
        assert "pong-4" in await wire.ask(PING.format("pong-4"))
        assert roster.subscribers == {"from@a.example", "new@a.example"}

    on_wire(test)


def test_asking_to_subscribe_makes_nobody_a_contact() -> None:
    async def test(wire: Wire) -> None:
        roster = await answered(wire, ROSTER)
        before = roster.subscribers
        for kind in ("subscribe", "subscribed"):
            wire.feed(f"<presence type='{kind}' from='mallory@b.example'/>")
        assert "pong-9" in await wire.ask(PING.format("pong-9"))
        assert roster.subscribers == before

    on_wire(test)


def test_after_a_new_login_what_was_missed_is_known() -> None:
    async def test(wire: Wire) -> None:
        roster = await answered(wire, ROSTER)
        resuming = asyncio.ensure_future(roster.resume())
        request = ET.fromstring(await wire.next_sent())
        now = QUERY.format("<item jid='from@a.example' subscription='from'/>")
        wire.feed(f"<iq type='result' id='{request.get('id')}'>{now}</iq>")
        await resuming
        assert roster.subscribers == {"from@a.example"}

    on_wire(test)


def test_a_server_without_rosters_is_one_line() -> None:
    async def test(wire: Wire) -> None:
        error = (
            "<error type='cancel'>"
            "<feature-not-implemented xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
        )
        with pytest.raises(XmppError, match=r"example.net .*\(feature-not-implemented\)"):
            await answered(wire, error, "error")

    on_wire(test)
