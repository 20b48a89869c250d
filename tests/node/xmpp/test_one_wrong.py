"""Requests for what a node lends with one thing wrong: each is answered, an error lends nothing."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from xml.etree import ElementTree as ET

import pytest

from node.xmpp import ServiceEntry
from tests.node.xmpp.mutations import mutations
from tests.node.xmpp.relays import FakeRelay, Granted, Turn
from tests.node.xmpp.wire import NS, Wire, on_wire

EXTDISCO = "urn:xmpp:extdisco:2"
ROMEO = "romeo@example.org/orchard"
STUN = ServiceEntry("stun", "192.0.2.7", port=3478)

REQUESTS = {
    "channel": f"<channel xmlns='{NS}#channel' protocol='udp'/>",
    "services": f"<services xmlns='{NS}'/>",
    "channel event": f"<channel xmlns='{NS}#event' event='killed' id='Zm9vYmFy' time='60'/>",
    "TURN credentials": f"<turn xmlns='{NS}#turncredentials' protocol='udp'/>",
    "external services": f"<services xmlns='{EXTDISCO}' type='turn'/>",
    "external credentials": f"<credentials xmlns='{EXTDISCO}'>"
    "<service type='turn' host='192.0.2.7' port='3478'/></credentials>",
}

ERRORS = {
    ("bad-request", "modify"),
    ("item-not-found", "cancel"),
    ("feature-not-implemented", "cancel"),
    ("service-unavailable", "cancel"),
}


class Counting(FakeRelay):
    """Counts what it lends."""

    lent = 0

    async def request_channel(self, requester: str, protocol: str) -> Granted:
        self.lent += 1
        return await super().request_channel(requester, protocol)

    async def turn(self, requester: str) -> Sequence[Turn]:
        self.lent += 1
        return await super().turn(requester)


def verdict(answer: str) -> tuple[str, str] | None:
    iq = ET.fromstring(answer)
    assert (iq.get("id"), iq.get("to")) == ("r1", ROMEO)
    if iq.get("type") == "result":
        return None
    [error] = [child for child in iq if child.tag.endswith("error")]
    return error[0].tag.partition("}")[2], error.get("type", "")


@pytest.mark.parametrize("kind", ["get", "set"])
@pytest.mark.parametrize("what", REQUESTS)
def test_one_thing_is_wrong(what: str, kind: str) -> None:
    async def test(wire: Wire) -> None:
        relay = Counting(entries=[STUN], turns=[Turn()])
        wire.connection.jingle_nodes.serve(relay)
        verdicts: Counter[tuple[str, str] | None] = Counter()
        for xml in mutations(REQUESTS[what]):
            lent = relay.lent
            answer = await wire.ask(
                f"<iq type='{kind}' id='r1' from='{ROMEO}' to='relay@example.net/node'>{xml}</iq>"
            )
            error = verdict(answer)
            verdicts[error] += 1
            assert error is None or error in ERRORS, xml[:500]
            if error is not None and what != "external credentials":  # it looks for the host there
                assert relay.lent == lent, xml[:500]
            for _ in range(3):
                await asyncio.sleep(0)
            assert wire.sent == []
        assert sum(verdicts.values()) > 10
        assert verdicts.keys() - {None}

    on_wire(test)
