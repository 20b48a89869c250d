"""XEP-0278 requests that a relay node answers, as XML."""

import asyncio
import logging
from xml.etree import ElementTree as ET

import pytest
from slixmpp.exceptions import IqError

from node.xmpp import Account, ComponentAccount, ServiceEntry, StanzaError
from node.xmpp.xep_0278 import Killed
from tests.node.xmpp.relays import FULL, FakeRelay, Granted
from tests.node.xmpp.wire import (
    CLIENT,
    COMPONENT,
    NS,
    Wire,
    answer,
    error_of,
    on_wire,
    same_xml,
)


@pytest.mark.parametrize("kind", ["get", "set"])
@pytest.mark.parametrize(
    "request_xml",
    [
        f"<channel xmlns='{NS}#channel' protocol='udp'/>",
        f"<channel xmlns='{NS}#channel' protocol='udp'></channel>",
        f"<channel xmlns='{NS}#channel'/>",
    ],
)
def test_channel_answer_is_one_empty_element_with_its_namespace(
    kind: str, request_xml: str
) -> None:
    assert answer(request_xml, FakeRelay(Granted(maxkbps=120)), kind=kind) == (
        '<iq type="result" id="romeo@example.org/orchard" to="romeo@example.org/orchard">'
        '<channel xmlns="http://jabber.org/protocol/jinglenodes#channel" id="Zm9vYmFy" '
        'host="192.0.2.7" localport="20000" remoteport="20002" protocol="udp" maxkbps="120" '
        'expire="60" /></iq>'
    )


def test_channel_without_limit_says_nothing_of_maxkbps() -> None:
    assert "maxkbps" not in answer(f"<channel xmlns='{NS}#channel'/>", FakeRelay())


def test_component_answers_from_the_address_that_was_asked() -> None:
    reply = answer(
        f"<channel xmlns='{NS}#channel' protocol='udp'/>",
        FakeRelay(),
        account=COMPONENT,
        to="romeo@relay.example.net",
    )
    assert same_xml(
        reply,
        f"""<iq id="romeo@example.org/orchard" to="romeo@example.org/orchard" type="result"
        from="romeo@relay.example.net"><channel xmlns="{NS}#channel" id="Zm9vYmFy"
        host="192.0.2.7" localport="20000" remoteport="20002" protocol="udp" expire="60"/></iq>""",
    )


def test_a_grant_of_both_address_families() -> None:
    relay = FakeRelay(Granted(host6="2001:db8::7"))
    reply = answer(f"<channel xmlns='{NS}#channel' protocol='udp'/>", relay)
    assert same_xml(
        reply,
        f"""<iq id="romeo@example.org/orchard" to="romeo@example.org/orchard" type="result">
        <channel xmlns="{NS}#channel" id="Zm9vYmFy" host="192.0.2.7" host6="2001:db8::7"
        localport="20000" remoteport="20002" protocol="udp" expire="60"/></iq>""",
    ), reply


def test_component_errors_are_in_the_namespace_of_the_stream() -> None:
    reply = answer(f"<channel xmlns='{NS}#channel'/>", FakeRelay(error=FULL), account=COMPONENT)
    assert same_xml(
        reply,
        """<iq id="romeo@example.org/orchard" to="romeo@example.org/orchard" type="error"
        from="relay@example.net/node"><error type="wait"><resource-constraint
        xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/><text
        xmlns="urn:ietf:params:xml:ns:xmpp-stanzas">this relay is full</text></error></iq>""",
    ), reply


@pytest.mark.parametrize(
    ("kind", "request_xml", "expected"),
    [
        (
            "get",
            f"<channel xmlns='{NS}#channel' protocol='tcp'/>",
            "feature-not-implemented/cancel",
        ),
        ("get", f"<channel xmlns='{NS}#channel' protocol='ipx'/>", "bad-request/modify"),
        ("get", f"<tunnel xmlns='{NS}#channel'/>", "bad-request/modify"),
        ("set", f"<channel xmlns='{NS}'/>", "bad-request/modify"),
        ("get", f"<x xmlns='{NS}#future'/>", "bad-request/modify"),
        ("get", f"<services xmlns='{NS}'/><services xmlns='{NS}'/>", "bad-request/modify"),
        ("get", f"<a xmlns='b'/><services xmlns='{NS}'/>", "bad-request/modify"),
        ("get", f"<channel xmlns='{NS}#event' id='a'/>", "item-not-found/cancel"),
        ("get", f"<channel xmlns='{NS}#event'/>", "bad-request/modify"),
        ("set", f"<channel xmlns='{NS}#event' event='born' id='a'/>", "bad-request/modify"),
        ("set", f"<channel xmlns='{NS}#event' event='killed'/>", "bad-request/modify"),
        ("set", f"<channel xmlns='{NS}#event' event='killed' id='a'/>", "item-not-found/cancel"),
        (
            "set",
            f"<channel xmlns='{NS}#channelredirect' id='a' host='192.0.2.1' port='1'/>",
            "feature-not-implemented/cancel",
        ),
        ("get", f"<turn xmlns='{NS}#turncredentials'/>", "bad-request/modify"),
        ("get", f"<turn xmlns='{NS}#turncredentials' protocol='udp'/>", "item-not-found/cancel"),
    ],
)
def test_requests_that_cannot_be_granted(kind: str, request_xml: str, expected: str) -> None:
    relay = FakeRelay()
    assert "/".join(error_of(answer(request_xml, relay, kind=kind))) == expected
    assert relay.owner is None


@pytest.mark.parametrize(
    ("condition", "kind"),
    [
        ("resource-constraint", "wait"),
        ("forbidden", "auth"),
        ("service-unavailable", "cancel"),
    ],
)
def test_refusals_of_the_relay_become_stanza_errors(condition: str, kind: str) -> None:
    relay = FakeRelay(error=StanzaError(condition, kind, "because"))
    reply = answer(f"<channel xmlns='{NS}#channel'/>", relay)
    assert error_of(reply) == (condition, kind)
    assert "because" in reply


@pytest.mark.parametrize("error", [ZeroDivisionError("/0"), StanzaError("no-such", "wait", "")])
def test_a_relay_that_fails_is_not_silent(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.CRITICAL):
        reply = answer(f"<channel xmlns='{NS}#channel'/>", FakeRelay(error=error))
    assert error_of(reply) in [
        ("internal-server-error", "cancel"),
        ("undefined-condition", "cancel"),
    ]
    assert "/0" not in reply


@pytest.mark.parametrize(
    "request_xml", ["<channel xmlns='{NS}#channel'/>", "<services xmlns='{NS}'/>"]
)
def test_who_serves_nothing_says_so(request_xml: str) -> None:
    assert error_of(answer(request_xml.format(NS=NS), None)) == ("service-unavailable", "cancel")


def test_services_have_no_traps_for_deployed_clients() -> None:
    relay = FakeRelay(
        entries=[
            ServiceEntry("tracker", "relay.example.net"),
            ServiceEntry("stun", "192.0.2.7", port=3478),
            ServiceEntry("relay", "relay.example.net"),
            ServiceEntry("relay", "relay.example.net", "roster"),
            ServiceEntry("relay", "private.example.net", "friends"),  # type: ignore[arg-type]
            ServiceEntry("relay", "home.example.org", "roster"),
        ]
    )
    assert same_xml(
        answer(f"<services xmlns='{NS}'/>", relay),
        f"""<iq id="romeo@example.org/orchard" to="romeo@example.org/orchard" type="result">
        <services xmlns="{NS}"><relay policy="public" address="relay.example.net" protocol="udp"/>
        <relay policy="roster" address="home.example.org" protocol="udp"/><stun policy="public"
        address="192.0.2.7" protocol="udp" port="3478"/></services></iq>""",
    )


def test_services_may_be_empty() -> None:
    assert answer(f"<services xmlns='{NS}'/>", FakeRelay()).endswith(
        f'<services xmlns="{NS}" /></iq>'
    )


def test_the_owner_gives_its_channel_back() -> None:
    relay = FakeRelay(owner="romeo@example.org/orchard")
    reply = answer(f"<channel xmlns='{NS}#event' event='killed' id='Zm9vYmFy'/>", relay, kind="set")
    assert same_xml(
        reply,
        '<iq id="romeo@example.org/orchard" to="romeo@example.org/orchard" type="result"/>',
    )


@pytest.mark.parametrize("time", ["", "time='14'", "time='14.5'", "time='-1'", "time='soon'"])
def test_killed_is_heard_and_acknowledged(time: str) -> None:
    async def test(wire: Wire) -> None:
        heard: list[Killed] = []
        wire.xmpp.add_event_handler("jingle_nodes_killed", heard.append)
        reply = await wire.ask(
            f"<iq type='set' id='7' from='relay.example.org'><channel xmlns='{NS}#event' "
            f"event='killed' id='a b' {time}/></iq>"
        )
        assert same_xml(reply, '<iq id="7" to="relay.example.org" type="result"/>')
        assert heard == [Killed("relay.example.org", "a b", 14 if "'14'" in time else None)]

    on_wire(test)


@pytest.mark.parametrize(
    "reply", ["type='result'/>", "type='error'><error type='cancel'/></iq>", None]
)
def test_killed_is_sent_and_the_answer_ignored(reply: str | None) -> None:
    async def test(wire: Wire) -> None:
        wire.connection.jingle_nodes.send_killed("romeo@example.org/orchard", "Zm9v", 14)
        sent = await wire.next_sent()
        iq = ET.fromstring(sent)
        assert same_xml(
            sent,
            f"""<iq id="{iq.get("id")}" type="set" to="romeo@example.org/orchard"
            from="relay.example.net"><channel xmlns="{NS}#event" event="killed" id="Zm9v"
            time="14"/></iq>""",
        )
        if reply is not None:
            wire.feed(
                f"<iq id='{iq.get('id')}' from='romeo@example.org/orchard' "
                f"to='relay.example.net' {reply}"
            )
        await asyncio.sleep(0)
        assert not wire.sent

    on_wire(test, COMPONENT)


@pytest.mark.parametrize("account", [CLIENT, COMPONENT])
def test_disco_shows_a_relay_only_while_it_serves(account: Account | ComponentAccount) -> None:
    query = "<iq type='get' id='{}' from='a@b/c' to='{}'><query xmlns='{}'/></iq>"
    info = "http://jabber.org/protocol/disco#info"

    async def test(wire: Wire) -> None:
        async def ask_disco(to: str) -> str:
            return await wire.ask(query.format(1, to, info))

        shown = [
            'category="proxy"',
            'type="relay"',
            'name="Jingle Nodes Relay"',
            f'var="{NS}"',
            f'var="{NS}#channel"',
        ]
        me = account.jid
        reply = await ask_disco(me)
        assert not any(text in reply for text in shown)
        wire.connection.jingle_nodes.serve(FakeRelay())
        reply = await ask_disco(me)
        assert all(text in reply for text in shown)
        assert 'var="urn:xmpp:ping"' in reply
        wire.connection.jingle_nodes.stop_serving()
        reply = await ask_disco(me)
        assert not any(text in reply for text in shown)

        items = await wire.ask(query.format(2, me, "http://jabber.org/protocol/disco#items"))
        assert items.endswith('<query xmlns="http://jabber.org/protocol/disco#items" /></iq>')
        pong = await wire.ask(
            f"<iq type='get' id='3' from='a@b/c' to='{me}'><ping xmlns='urn:xmpp:ping'/></iq>"
        )
        assert 'type="result"' in pong

    on_wire(test, account)


def test_presence_of_a_serving_account_carries_its_capabilities() -> None:
    async def test(wire: Wire) -> None:
        wire.connection.connected = True
        await wire.connection.serve(FakeRelay())
        presence = await wire.next_sent()
        caps = ET.fromstring(presence).find("{http://jabber.org/protocol/caps}c")
        assert caps is not None
        node = f"{caps.get('node')}#{caps.get('ver')}"
        info = await wire.ask(
            "<iq type='get' id='1' from='a@b/c'>"
            f"<query xmlns='http://jabber.org/protocol/disco#info' node='{node}'/></iq>"
        )
        assert f'var="{NS}#channel"' in info
        await wire.connection.stop_serving()
        assert 'type="unavailable"' in await wire.next_sent()

    on_wire(test)


@pytest.mark.parametrize(
    "stanza",
    [
        "<iq type='get' id='1' from='@@'><ping xmlns='urn:xmpp:ping'/></iq>",
        f"<iq type='get' id='1' from='a@@b'><channel xmlns='{NS}#channel'/></iq>",
        "<presence from='@'><c xmlns='http://jabber.org/protocol/caps' hash='sha-1'/></presence>",
        "<iq type='error' id='1' from='@'/>",
        "<iq type='error' id='1'/>",
        "<iq type='other' id='1' from='a@b'/>",
        "<iq/>",
    ],
)
def test_stanzas_that_make_no_sense_do_not_end_the_stream(stanza: str) -> None:
    async def test(wire: Wire) -> None:
        wire.feed(stanza)
        ping = "<iq type='get' id='9' from='a@b/c'><ping xmlns='urn:xmpp:ping'/></iq>"
        assert same_xml(await wire.ask(ping), "<iq type='result' id='9' to='a@b/c'/>")

    on_wire(test)


@pytest.mark.parametrize(
    "error",
    [
        "",
        "<error/>",
        "<error type='never'><odd xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>",
    ],
)
def test_errors_without_a_condition_are_errors(error: str) -> None:
    async def test(wire: Wire) -> None:
        request = asyncio.ensure_future(
            wire.connection.jingle_nodes.request_channel("relay.example.org", timeout=5)
        )
        iq = ET.fromstring(await wire.next_sent())
        wire.feed(f"<iq type='error' id='{iq.get('id')}' from='relay.example.org'>{error}</iq>")
        with pytest.raises(IqError) as caught:
            await request
        assert caught.value.condition in {"undefined-condition", "feature-not-implemented"}

    on_wire(test)


def test_nobody_becomes_a_contact_by_asking() -> None:
    async def test(wire: Wire) -> None:
        wire.feed("<presence type='subscribe' from='stranger@example.org'/>")
        reply = await wire.ask(
            "<iq type='get' id='1' from='a@b/c'><ping xmlns='urn:xmpp:ping'/></iq>"
        )
        assert 'id="1"' in reply
        assert not wire.sent

    on_wire(test)
