"""Stanzas of the clients and relays that are deployed, both ways, as XML.

Jitsi and aTalk ask by the library jnsapi; Openfire's plugin uses it too. The Erlang relay is
jn_component.
"""

import asyncio
from collections.abc import Awaitable
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from node.xmpp import ServiceEntry
from node.xmpp.xep_0278 import ChannelOffer, Killed
from tests.node.xmpp.relays import FakeRelay, Granted
from tests.node.xmpp.wire import COMPONENT, NS, Wire, on_wire, same_xml

JITSI = "romeo@example.org/jitsi-2v6k"
RELAY = "relay.example.net"
TRACKER = FakeRelay(
    Granted(maxkbps=120),
    entries=[
        ServiceEntry("stun", "192.0.2.7", port=4278),
        ServiceEntry("relay", RELAY),
        ServiceEntry("relay", "far@example.com/node"),
    ],
)


def answered(request: str) -> str:
    """What a relay node, as a component, answers a stanza with."""
    answers: list[str] = []

    async def test(wire: Wire) -> None:
        wire.connection.jingle_nodes.serve(TRACKER)
        answers.append(await wire.ask(request))

    on_wire(test, COMPONENT)
    return answers[0]


def test_jitsi_searches_a_tracker() -> None:
    reply = answered(
        f"<iq id='k9TQ7-12' to='{RELAY}' from='{JITSI}' type='get'><services xmlns='{NS}'>"
        "</services></iq>"
    )
    assert same_xml(
        reply,
        f"""<iq id='k9TQ7-12' to='{JITSI}' from='{RELAY}' type='result'><services xmlns='{NS}'>
        <relay policy='public' address='{RELAY}' protocol='udp'/>
        <relay policy='public' address='far@example.com/node' protocol='udp'/>
        <stun policy='public' address='192.0.2.7' protocol='udp' port='4278'/></services></iq>""",
    )


@pytest.mark.parametrize(
    "request_xml",
    [
        f"<channel xmlns='{NS}#channel' protocol='udp' localport='0' remoteport='0' maxkbps='0'/>",
        f"<channel xmlns='{NS}#channel' protocol='udp'></channel>",  # jnsapi
        f"<channel xmlns='{NS}#channel' protocol='udp'/>",  # aTalk
    ],
)
@pytest.mark.parametrize("to", [RELAY, f"relay@{RELAY}"])
def test_jitsi_and_atalk_ask_for_a_channel(request_xml: str, to: str) -> None:
    # jnsapi uses a JID as the id now and then.
    reply = answered(f"<iq id='{JITSI}' to='{to}' from='{JITSI}' type='get'>{request_xml}</iq>")
    assert same_xml(
        reply,
        f"""<iq id='{JITSI}' to='{JITSI}' from='{to}' type='result'>
        <channel xmlns='{NS}#channel' id='Zm9vYmFy' host='192.0.2.7' localport='20000'
        remoteport='20002' protocol='udp' maxkbps='120' expire='60'/></iq>""",
    )


async def exchange(wire: Wire, request: Awaitable[Any], reply: str) -> Any:
    """Ask as a client of ours, and answer as a deployed relay."""
    task = asyncio.ensure_future(request)
    iq = ET.fromstring(await wire.next_sent())
    wire.feed(reply.format(id=iq.get("id"), NS=NS, me=wire.connection.jid))
    return await task


OPENFIRE = "jinglenodes.openfire.example"
ERLANG = "jn.erlang.example"

CHANNELS = {
    OPENFIRE: (
        f"<iq type='result' id='{{id}}' from='{OPENFIRE}' to='{{me}}'>"
        "<channel xmlns='{NS}#channel' protocol='udp' host='198.51.100.2' localport='30000'"
        " remoteport='30002'/></iq>",
        ChannelOffer(OPENFIRE, None, "198.51.100.2", 30000, 30002, None, 60),
    ),
    ERLANG: (
        f"<iq id='{{id}}' type='result' from='{ERLANG}' to='{{me}}'>"
        "<channel xmlns='{NS}#channel' id='&lt;0.123.0&gt;' host='203.0.113.5' localport='10002'"
        " remoteport='10004' expire='60'/></iq>",
        ChannelOffer(ERLANG, "<0.123.0>", "203.0.113.5", 10002, 10004, None, 60),
    ),
}


@pytest.mark.parametrize("relay", CHANNELS)
def test_channels_of_openfire_and_the_erlang_relay(relay: str) -> None:
    reply, expected = CHANNELS[relay]

    async def test(wire: Wire) -> None:
        request = wire.connection.jingle_nodes.request_channel(relay, timeout=5)
        assert await exchange(wire, request, reply) == expected

    on_wire(test)


SERVICES = {
    OPENFIRE: (
        f"<iq type='result' id='{{id}}' from='{OPENFIRE}' to='{{me}}'><services xmlns='{{NS}}'>"
        f"<relay policy='public' address='{OPENFIRE}' protocol='udp' verified='true'/>"
        f"<tracker policy='public' address='{OPENFIRE}' protocol='udp' verified='true'/>"
        "</services></iq>",
        [ServiceEntry("relay", OPENFIRE), ServiceEntry("tracker", OPENFIRE)],
    ),
    ERLANG: (
        f"<iq id='{{id}}' type='result' from='{ERLANG}' to='{{me}}'><services xmlns='{{NS}}'>"
        f"<relay policy='public' address='{ERLANG}' protocol='udp'/>"
        "<tracker policy='public' address='jn.other.example' protocol='udp'/>"
        "<stun policy='public' address='203.0.113.5' port='3478' protocol='udp'/></services></iq>",
        [
            ServiceEntry("relay", ERLANG),
            ServiceEntry("tracker", "jn.other.example"),
            ServiceEntry("stun", "203.0.113.5", port=3478),
        ],
    ),
}


@pytest.mark.parametrize("tracker", SERVICES)
def test_lists_of_openfire_and_the_erlang_relay(tracker: str) -> None:
    reply, expected = SERVICES[tracker]

    async def test(wire: Wire) -> None:
        request = wire.connection.jingle_nodes.request_services(tracker, timeout=5)
        assert await exchange(wire, request, reply) == expected

    on_wire(test)


def test_the_erlang_relay_tells_that_a_channel_has_ended() -> None:
    async def test(wire: Wire) -> None:
        heard: list[Killed] = []
        wire.xmpp.add_event_handler("jingle_nodes_killed", heard.append)
        reply = await wire.ask(
            f"<iq type='set' id='jn1' from='{ERLANG}' to='{wire.connection.jid}'>"
            f"<channel xmlns='{NS}#event' event='killed' id='&lt;0.123.0&gt;' time='61.25'/></iq>"
        )
        assert same_xml(reply, f"<iq type='result' id='jn1' to='{ERLANG}'/>")
        assert heard == [Killed(ERLANG, "<0.123.0>", None)]

    on_wire(test)


def test_atalk_is_told_that_a_channel_has_ended() -> None:
    async def test(wire: Wire) -> None:
        wire.connection.jingle_nodes.send_killed(JITSI, "Zm9vYmFy", 61)
        sent = await wire.next_sent()
        id_ = ET.fromstring(sent).get("id")
        assert same_xml(
            sent,
            f"<iq type='set' id='{id_}' from='{RELAY}' to='{JITSI}'><channel xmlns='{NS}#event' "
            "event='killed' id='Zm9vYmFy' time='61'/></iq>",
        )

    on_wire(test, COMPONENT)
