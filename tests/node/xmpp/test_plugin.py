"""XEP-0278 requests and answers, as XML."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from slixmpp.exceptions import IqError

from node.xmpp import Account, ComponentAccount, ServiceEntry, StanzaError
from node.xmpp.connection import Connection
from node.xmpp.xep_0278 import ChannelOffer, Killed, ServiceLike
from overlay.core.errors import RemoteProtocolError
from tests.node.xmpp.relays import FULL, FakeRelay, Granted

NS = "http://jabber.org/protocol/jinglenodes"
CLIENT = Account("relay@example.net/node", "secret")
COMPONENT = ComponentAccount("relay.example.net", "secret")


class Wire(asyncio.Transport):
    """The stream of a connection, with the test in the place of the server."""

    def __init__(self, account: Account | ComponentAccount) -> None:
        super().__init__()
        self.connection = Connection(account)
        self.xmpp = self.connection.client
        self.sent: list[str] = []
        self.xmpp.connection_made(self)
        self._sender = asyncio.ensure_future(self.xmpp.run_filters())
        ns = "jabber:client" if isinstance(account, Account) else "jabber:component:accept"
        self.feed(
            f"<stream:stream xmlns:stream='http://etherx.jabber.org/streams' xmlns='{ns}' id='1'>"
        )
        self.xmpp.event("session_bind", self.xmpp.boundjid)
        self.xmpp.session_bind_event.set()
        self.xmpp.event("session_start")
        self.sent.clear()

    def write(self, data: Any) -> None:
        self.sent.append(bytes(data).decode())

    def close(self) -> None:
        pass

    def abort(self) -> None:
        self._sender.cancel()

    def feed(self, xml: str) -> None:
        self.xmpp.data_received(xml.encode())

    async def next_sent(self) -> str:
        async with asyncio.timeout(2):
            while not self.sent:
                await asyncio.sleep(0)
        return self.sent.pop(0)

    async def ask(self, xml: str) -> str:
        self.feed(xml)
        return await self.next_sent()


def on_wire(
    test: Callable[[Wire], Awaitable[None]], account: Account | ComponentAccount = CLIENT
) -> None:
    async def run() -> None:
        wire = Wire(account)
        try:
            if isinstance(account, ComponentAccount):
                assert "<handshake" in await wire.next_sent()
            await test(wire)
        finally:
            wire.abort()

    asyncio.run(run())


def answer(
    request: str,
    relay: FakeRelay | None,
    *,
    kind: str = "get",
    account: Account | ComponentAccount = CLIENT,
    to: str = "relay@example.net/node",
) -> str:
    """The answer to a request, as it goes out."""
    answers: list[str] = []

    async def test(wire: Wire) -> None:
        if relay is not None:
            wire.connection.jingle_nodes.serve(relay)
        answers.append(
            await wire.ask(
                f"<iq type='{kind}' id='romeo@example.org/orchard' to='{to}' "
                f"from='romeo@example.org/orchard'>{request}</iq>"
            )
        )

    on_wire(test, account)
    return answers[0]


def same_xml(one: str, other: str) -> bool:
    return ET.canonicalize(one, strip_text=True) == ET.canonicalize(other, strip_text=True)


def error_of(reply: str) -> tuple[str, str]:
    """Condition and type of an error answer."""
    iq = ET.fromstring(reply)
    assert iq.get("type") == "error"
    assert iq.get("id") == "romeo@example.org/orchard"
    assert iq.get("to") == "romeo@example.org/orchard"
    error = next(child for child in iq if child.tag.endswith("error"))
    condition = next(
        child.tag
        for child in error
        if child.tag.startswith("{urn:ietf:params:xml:ns:xmpp-stanzas}")
    )
    return condition.partition("}")[2], error.get("type", "")


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
        ("get", f"<channel xmlns='{NS}#event' event='killed' id='a'/>", "bad-request/modify"),
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


# As a requester


async def exchange(wire: Wire, request: Awaitable[Any], reply: str) -> tuple[Any, str]:
    """Make a request and answer it; the result and what was sent, without its id."""
    task = asyncio.ensure_future(request)
    sent = await wire.next_sent()
    iq = ET.fromstring(sent)
    wire.feed(f"<iq type='result' id='{iq.get('id')}' from='{iq.get('to')}'>{reply}</iq>")
    return await task, sent.replace(f'id="{iq.get("id")}" ', "")


CHANNEL_REPLIES = {
    # As the XEP's example, the Erlang component, the Openfire plugin and jnsapi write them.
    "<channel id='HJJKL123' host='200.111.111.111' localport='10002' remoteport='10004'"
    " protocol='udp' maxkbps='120' expire='60'/>": ("HJJKL123", 10002, 10004, 120, 60),
    f"<channel xmlns='{NS}#channel' host='200.111.111.111' localport='10002' remoteport='10004'"
    " id='8 &lt;a@b/c&gt;' expire='120'/>": ("8 <a@b/c>", 10002, 10004, None, 120),
    f"<channel xmlns='{NS}#channel' protocol='udp' host='200.111.111.111' localport='10002'"
    " remoteport='10004'></channel>": (None, 10002, 10004, None, 60),
    f"<x xmlns='y'/><channel xmlns='{NS}#channel' protocol='udp' host='200.111.111.111' maxkbps=''"
    " localport=' 10002 ' remoteport='10004' future='1'><a/></channel>": (
        None,
        10002,
        10004,
        None,
        60,
    ),
}


@pytest.mark.parametrize("reply", CHANNEL_REPLIES)
def test_channels_of_deployed_relays_are_read(reply: str) -> None:
    channel_id, localport, remoteport, maxkbps, expire = CHANNEL_REPLIES[reply]

    async def test(wire: Wire) -> None:
        request = wire.connection.jingle_nodes.request_channel("relay.example.org", timeout=5)
        offer, sent = await exchange(wire, request, reply)
        assert same_xml(
            sent,
            f"<iq to='relay.example.org' type='get'>"
            f"<channel xmlns='{NS}#channel' protocol='udp'/></iq>",
        )
        assert offer == ChannelOffer(
            "relay.example.org",
            channel_id,
            "200.111.111.111",
            localport,
            remoteport,
            maxkbps,
            expire,
        )

    on_wire(test)


def test_an_answer_without_a_channel_is_an_error() -> None:
    async def test(wire: Wire) -> None:
        request = wire.connection.jingle_nodes.request_channel("relay.example.org", timeout=5)
        with pytest.raises(RemoteProtocolError, match="without <channel/>"):
            await exchange(wire, request, "")

    on_wire(test)


def test_services_of_deployed_trackers_are_read() -> None:
    async def test(wire: Wire) -> None:
        request = wire.connection.jingle_nodes.request_services("relay.example.org", timeout=5)
        entries, sent = await exchange(
            wire,
            request,
            f"""<services xmlns='{NS}'>
            <relay policy='public' address='relay.example.org' protocol='udp' verified='true'/>
            <tracker policy='public' address='relay.example.org' protocol='udp'/>
            <relay policy='roster' address='friend@example.org' protocol='udp'/>
            <relay address='bare.example.org'/>
            <relay policy='public'/>
            <relay policy='public' address='tcp.example.org' protocol='tcp'/>
            <stun policy='public' address='192.0.2.7' port='3478' protocol='udp'/>
            <stun policy='public' address='192.0.2.8' port='99999' protocol='udp'/>
            <semaphore address='hill.example.org'/></services>""",
        )
        assert same_xml(
            sent, f"<iq to='relay.example.org' type='get'><services xmlns='{NS}'/></iq>"
        )
        listed: list[ServiceLike] = entries
        assert listed == [
            ServiceEntry("relay", "relay.example.org"),
            ServiceEntry("tracker", "relay.example.org"),
            ServiceEntry("relay", "friend@example.org", "roster"),
            ServiceEntry("relay", "bare.example.org", "roster"),
            ServiceEntry("stun", "192.0.2.7", port=3478),
        ]

    on_wire(test)
