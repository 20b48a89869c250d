"""XEP-0278 requests of a borrower, and the answers of deployed relays, as XML."""

import asyncio
from collections.abc import Awaitable
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from node.xmpp import ServiceEntry
from node.xmpp.xep_0278 import ChannelOffer, ServiceLike
from overlay.core.errors import RemoteProtocolError
from tests.node.xmpp.wire import (
    NS,
    Wire,
    on_wire,
    same_xml,
)


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
