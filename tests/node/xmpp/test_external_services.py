"""XEP-0215, and the TURN credentials of XEP-0278, as XML: asked and answered."""

from collections.abc import Sequence
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.xmpp import Account, ComponentAccount, ServiceEntry, StanzaError, open_session
from node.xmpp.errors import XmppError, XmppRefused
from node.xmpp.xep_0215 import ExternalService
from node.xmpp.xep_0215.replies import MAX_CREDENTIAL, MAX_SERVICES, parse_services_untrusted
from overlay.core.errors import RemoteProtocolError
from overlay.nursery import open_background_nursery
from tests.node.prosody import COMPONENT as COMPONENT_JID
from tests.node.xmpp.relays import FULL, FakeRelay, Turn
from tests.node.xmpp.wire import COMPONENT, NS, Wire, answer, error_of, on_wire, same_xml

EXTDISCO = "urn:xmpp:extdisco:2"
STUN = ServiceEntry("stun", "192.0.2.7", port=4278)
RELAY = ServiceEntry("relay", "relay@example.net/node")
TURNING = FakeRelay(entries=[STUN, RELAY], turns=[Turn(), Turn(host="2001:db8::7")])
TURN_XML = (
    "<service type='turn' host='{host}' port='3478' transport='udp' "
    "username='2000000000:romeo@example.org' password='c2VjcmV0' "
    "expires='2033-05-18T03:33:20Z' restricted='1'/>"
)
STUN_XML = "<service type='stun' host='192.0.2.7' port='4278' transport='udp'/>"
ONE = "<service type='turn' host='192.0.2.7'/>"
BOTH_XML = TURN_XML.format(host="192.0.2.7") + TURN_XML.format(host="2001:db8::7")


def result(payload: str) -> str:
    return (
        "<iq type='result' id='romeo@example.org/orchard' to='romeo@example.org/orchard'>"
        f"{payload}</iq>"
    )


@pytest.mark.parametrize(
    ("asked", "listed"),
    [
        ("", STUN_XML + BOTH_XML),
        (" type='turn'", BOTH_XML),
        (" type='stun'", STUN_XML),
        (" type='ftp'", ""),
    ],
)
def test_services(asked: str, listed: str) -> None:
    reply = answer(f"<services xmlns='{EXTDISCO}'{asked}/>", TURNING)
    assert same_xml(reply, result(f"<services xmlns='{EXTDISCO}'{asked}>{listed}</services>"))


def test_a_component_answers_from_the_address_that_was_asked() -> None:
    reply = answer(
        f"<services xmlns='{EXTDISCO}' type='stun'/>",
        TURNING,
        account=COMPONENT,
        to="romeo@relay.example.net",
    )
    assert ET.fromstring(reply).get("from") == "romeo@relay.example.net"


def test_credentials_for_a_service() -> None:
    for port in ("", " port='3478'"):
        asked = f"<service type='turn' host='2001:db8::7'{port}/>"
        reply = answer(f"<credentials xmlns='{EXTDISCO}'>{asked}</credentials>", TURNING)
        listed = TURN_XML.format(host="2001:db8::7")
        expected = f"<credentials xmlns='{EXTDISCO}'>{listed}</credentials>"
        assert same_xml(reply, result(expected))


def test_without_turn_there_is_stun() -> None:
    relay = FakeRelay(entries=[STUN])
    reply = answer(f"<services xmlns='{EXTDISCO}'/>", relay)
    assert same_xml(reply, result(f"<services xmlns='{EXTDISCO}'>{STUN_XML}</services>"))
    reply = answer(f"<services xmlns='{EXTDISCO}' type='turn'/>", relay)
    assert error_of(reply) == ("item-not-found", "cancel")


def test_who_may_have_no_turn_has_stun_even_so() -> None:
    relay = FakeRelay(entries=[STUN], turns=[Turn()], error=FULL)
    reply = answer(f"<services xmlns='{EXTDISCO}'/>", relay)
    assert same_xml(reply, result(f"<services xmlns='{EXTDISCO}'>{STUN_XML}</services>"))
    reply = answer(f"<services xmlns='{EXTDISCO}' type='turn'/>", relay)
    assert error_of(reply) == ("resource-constraint", "wait")


@pytest.mark.parametrize(
    ("kind", "request_xml", "error"),
    [
        ("set", f"<services xmlns='{EXTDISCO}'/>", "bad-request/modify"),
        ("get", f"<service xmlns='{EXTDISCO}'/>", "bad-request/modify"),
        ("get", f"<credentials xmlns='{EXTDISCO}'/>", "bad-request/modify"),
        (
            "get",
            f"<credentials xmlns='{EXTDISCO}'><service type='turn'/></credentials>",
            "bad-request/modify",
        ),
        (
            "get",
            f"<credentials xmlns='{EXTDISCO}'>{2 * ONE}</credentials>",
            "bad-request/modify",
        ),
        (
            "get",
            f"<credentials xmlns='{EXTDISCO}'><service type='turn' host='a'/></credentials>",
            "item-not-found/cancel",
        ),
        (
            "get",
            f"<credentials xmlns='{EXTDISCO}'><service type='ftp' host='192.0.2.7'/></credentials>",
            "item-not-found/cancel",
        ),
        ("get", f"<services xmlns='{EXTDISCO}'/><x xmlns='a'/>", "bad-request/modify"),
    ],
)
def test_requests_that_are_refused(kind: str, request_xml: str, error: str) -> None:
    assert "/".join(error_of(answer(request_xml, TURNING, kind=kind))) == error


def test_nobody_serves() -> None:
    reply = answer(f"<services xmlns='{EXTDISCO}'/>", None)
    assert error_of(reply) == ("service-unavailable", "cancel")


def test_a_handler_that_fails_is_answered_for() -> None:
    relay = FakeRelay(turns=[Turn()], error=ZeroDivisionError())
    reply = answer(f"<services xmlns='{EXTDISCO}'/>", relay)
    assert error_of(reply) == ("internal-server-error", "cancel")


# XEP-0278


@pytest.mark.parametrize("host", ["192.0.2.7", "2001:db8::7"])
def test_turn_credentials(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_999_913_600.5)
    relay = FakeRelay(turns=[Turn(host=host)])
    reply = answer(f"<turn xmlns='{NS}#turncredentials' protocol='udp'/>", relay)
    written = f"[{host}]" if ":" in host else host
    assert same_xml(
        reply,
        result(
            f"<turn xmlns='{NS}#turncredentials' ttl='86400' "
            f"uri='turn:{written}:3478?transport=udp' "
            "username='2000000000:romeo@example.org' password='c2VjcmV0'/>"
        ),
    )


@pytest.mark.parametrize(
    ("protocol", "error"),
    [
        ("", ("bad-request", "modify")),
        (" protocol='sctp'", ("bad-request", "modify")),
        (" protocol='tcp'", ("feature-not-implemented", "cancel")),
    ],
)
def test_turn_credentials_for_other_protocols(protocol: str, error: tuple[str, str]) -> None:
    reply = answer(f"<turn xmlns='{NS}#turncredentials'{protocol}/>", TURNING)
    assert error_of(reply) == error


def test_refused_turn_credentials() -> None:
    refused = FakeRelay(turns=[Turn()], error=StanzaError("forbidden", "auth", "not to you"))
    reply = answer(f"<turn xmlns='{NS}#turncredentials' protocol='udp'/>", refused)
    assert error_of(reply) == ("forbidden", "auth")


def test_disco_tells_what_is_offered() -> None:
    question = "<query xmlns='http://jabber.org/protocol/disco#info'/>"
    features = {
        bool(turns): {
            element.get("var")
            for element in ET.fromstring(answer(question, FakeRelay(turns=turns))).iter()
        }
        for turns in ([], [Turn()])
    }
    assert EXTDISCO in features[False]
    assert features[True] - features[False] == {f"{NS}#turncredentials"}


def test_what_is_no_longer_served_is_no_longer_shown() -> None:
    async def test(wire: Wire) -> None:
        jingle_nodes = wire.connection.jingle_nodes
        jingle_nodes.serve(TURNING)
        jingle_nodes.stop_serving()
        sender = "from='romeo@example.org/orchard'"
        reply = await wire.ask(
            f"<iq type='get' id='1' {sender} to='relay@example.net/node'>"
            "<query xmlns='http://jabber.org/protocol/disco#info'/></iq>"
        )
        assert EXTDISCO not in reply
        assert "turncredentials" not in reply

    on_wire(test)


# As a requester


async def test_a_session_gets_credentials(romeo: Account, component: ComponentAccount) -> None:
    async with (
        open_session(component) as node,
        open_session(romeo) as session,
        open_background_nursery() as nursery,
    ):
        await nursery.start(node.serve, TURNING)
        assert await session.request_turn(COMPONENT_JID) == [
            ExternalService(
                "turn", host, 3478, "2000000000:romeo@example.org", "c2VjcmV0", 2_000_000_000
            )
            for host in ("192.0.2.7", "2001:db8::7")
        ]
        with pytest.raises(XmppRefused):
            await session.request_turn(romeo.jid)
        with pytest.raises(XmppError, match="not an XMPP address"):
            await session.request_turn("@@")


def parsed(services: str) -> Sequence[ExternalService]:
    iq = ET.fromstring(f"<iq><services xmlns='{EXTDISCO}'>{services}</services></iq>")
    return parse_services_untrusted(iq, "turn")


def test_uris() -> None:
    assert ExternalService("turn", "2001:db8::7", 1).uri == "turn:[2001:db8::7]:1?transport=udp"
    assert ExternalService("stun", "a.example").uri == "stun:a.example:3478"


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ("host='a.example'", ExternalService("turn", "a.example")),
        ("host='[2001:db8::7]' port=''", ExternalService("turn", "2001:db8::7")),
        ("host='a' transport='UDP' port='1'", ExternalService("turn", "a", 1)),
        (
            "host='a' username='u' password='p' expires='never'",
            ExternalService("turn", "a", 3478, "u", "p"),
        ),
        (
            "host='a' expires='2033-05-18T03:33:20Z'",
            ExternalService("turn", "a", expires=2_000_000_000),
        ),
        ("host='a' expires='2033-05-18T03:33:20'", ExternalService("turn", "a")),
        ("", None),
        ("host=''", None),
        ("host='a b'", None),
        ("host='0.0.0.0'", None),
        ("host='224.0.0.1'", None),
        ("host='a' port='0'", None),
        ("host='a' port='65536'", None),
        ("host='a' transport='tcp'", None),
        (f"host='a' password='{'x' * (MAX_CREDENTIAL + 1)}'", None),
    ],
)
def test_what_relays_say(attributes: str, expected: ExternalService | None) -> None:
    found = parsed(f"<service type='stun' host='b'/><service type='turn' {attributes}/><x/>")
    assert found == ([] if expected is None else [expected])


def test_lists_are_bounded_and_without_doubles() -> None:
    many = "".join(f"<service type='turn' host='h{n}'/>" for n in range(10 * MAX_SERVICES))
    assert len(parsed(many)) == MAX_SERVICES
    assert len(parsed("<service type='turn' host='a'/>" * 3)) == 1
    with pytest.raises(RemoteProtocolError):
        parse_services_untrusted(ET.fromstring("<iq/>"), "turn")


NAMES = st.sampled_from(
    ["type", "host", "port", "transport", "username", "password", "expires", "x"]
)
VALUES = st.text(max_size=20) | st.sampled_from(["turn", "udp", "3478", "a.example", "::1"])


@given(st.lists(st.dictionaries(NAMES, VALUES, max_size=8), max_size=4))
def test_garbage(services: list[dict[str, str]]) -> None:
    iq = ET.Element("iq")
    container = ET.SubElement(iq, f"{{{EXTDISCO}}}services")
    for attributes in services:
        ET.SubElement(container, f"{{{EXTDISCO}}}service", attributes)
    for service in parse_services_untrusted(iq, "turn"):
        assert 0 < service.port < 65536
        assert service.host
