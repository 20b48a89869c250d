"""The items that a server has, as it tells them."""

import asyncio
from contextlib import suppress
from xml.etree import ElementTree as ET

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from node.xmpp import Account, XmppRefused, open_session
from node.xmpp.disco import MAX_ITEMS, NS_ITEMS, parse_items_untrusted
from overlay.core.errors import RemoteProtocolError
from tests.node.prosody import COMPONENT, DOMAIN
from tests.node.xmpp.wire import Wire, on_wire, same_xml


def parsed(items: str) -> list[str]:
    return parse_items_untrusted(
        ET.fromstring(f"<iq type='result'><query xmlns='{NS_ITEMS}'>{items}</query></iq>")
    )


def test_the_example_of_xep_0030() -> None:
    items = """<item jid='people.shakespeare.lit' name='Directory of Characters'/>
    <item jid='plays.shakespeare.lit' name='Play-Specific Chatrooms'/>
    <item jid='plays.shakespeare.lit'/><item jid='catalog.shakespeare.lit' node='books'/>
    <item/><item jid=''/><other jid='a.example'/><item xmlns='urn:x' jid='b.example'/>"""
    assert parsed(items) == ["people.shakespeare.lit", "plays.shakespeare.lit"]


def test_items_are_bounded() -> None:
    assert len(parsed("".join(f"<item jid='i{n}.example'/>" for n in range(5000)))) == MAX_ITEMS
    assert parsed(f"<item jid='{'a' * 4000}'/>") == []


@pytest.mark.parametrize("payload", ["", "<query xmlns='urn:x'/>", "<item/>"])
def test_an_answer_without_items_is_an_error(payload: str) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_items_untrusted(ET.fromstring(f"<iq>{payload}</iq>"))


tags = st.sampled_from([f"{{{NS_ITEMS}}}query", f"{{{NS_ITEMS}}}item", "query", "item"])
attributes = st.dictionaries(st.sampled_from(["jid", "node", "name"]), st.text(max_size=20))


def element(tag: str, given: dict[str, str], children: list[ET.Element]) -> ET.Element:
    made = ET.Element(tag, given)
    made.extend(children)
    return made


trees = st.recursive(
    st.builds(element, tags, attributes, st.just([])),
    lambda inner: st.builds(element, tags, attributes, st.lists(inner, max_size=3)),
    max_leaves=8,
)


@given(trees)
def test_garbage_is_read_or_refused(answer: ET.Element) -> None:
    with suppress(RemoteProtocolError):
        assert all(parse_items_untrusted(answer))


ROSTER = """<query xmlns='jabber:iq:roster'><item jid='Friend@a.example' subscription='both'/>
<item jid='away@a.example' subscription='to'/><item jid='relay.b.example' subscription='none'/>
</query>"""


def test_contacts_that_can_be_asked() -> None:
    async def test(wire: Wire) -> None:
        roster = wire.connection.roster
        assert roster is not None
        following = asyncio.ensure_future(roster.follow())
        request = await wire.next_sent()
        sent = ET.fromstring(request)
        assert same_xml(
            request,
            f"<iq id='{sent.get('id')}' type='get'><query xmlns='jabber:iq:roster'/></iq>",
        )
        wire.feed(f"<iq type='result' id='{sent.get('id')}'>{ROSTER}</iq>")
        await following
        assert roster.addresses() == ["relay.b.example"]
        for sender in ("friend@a.example/jitsi", "mallory@c.example/x"):
            wire.feed(f"<presence from='{sender}' to='relay@example.net/node'/>")
        ping = "<iq type='get' id='{}' from='a@b'><ping xmlns='urn:xmpp:ping'/></iq>"
        await wire.ask(ping.format(1))
        assert roster.addresses() == ["friend@a.example/jitsi", "relay.b.example"]
        wire.feed(
            "<presence from='friend@a.example/jitsi' to='relay@example.net/node' "
            "type='unavailable'/>"
        )
        gone = "<item jid='relay.b.example' subscription='remove'/>"
        wire.feed(f"<iq type='set' id='2'><query xmlns='jabber:iq:roster'>{gone}</query></iq>")
        await wire.ask(ping.format(3))
        assert roster.addresses() == []

    on_wire(test)


async def test_a_real_server(romeo: Account) -> None:
    async with open_session(romeo) as session:
        with trio.fail_after(10):
            assert COMPONENT in await session.request_items(DOMAIN)
            assert await session.request_contacts() == []
            with pytest.raises(XmppRefused):
                await session.request_items(f"nobody@{DOMAIN}/gone")
