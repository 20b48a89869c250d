"""What other nodes send must not be able to break anything."""

import random
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.xmpp.xep_0278.replies import (
    MAX_SERVICES,
    parse_channel_untrusted,
    parse_killed_untrusted,
    parse_services_untrusted,
)
from overlay.core.errors import RemoteProtocolError

GOOD = {
    "id": "x",
    "host": "192.0.2.7",
    "localport": "20000",
    "remoteport": "20002",
    "protocol": "udp",
    "maxkbps": "120",
    "expire": "60",
}
IPV6 = "2001:db8::7"

values = st.one_of(
    st.text(max_size=30),
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(["", "0", "65535", "-1", "1e3", "٣", "1_000", "9" * 50, "::1", "[::1]", "a b"]),
)
names = st.sampled_from([*GOOD, "host6", "policy", "address", "port", "event", "time", "future"])
tags = st.sampled_from(
    ["channel", "services", "relay", "tracker", "stun", "turn", "query", "{urn:x}channel", "a"]
)


def element(tag: str, attributes: dict[str, str], children: list[ET.Element]) -> ET.Element:
    made = ET.Element(tag, attributes)
    made.extend(children)
    return made


attributes = st.dictionaries(names, values, max_size=5)
leaves = st.builds(element, tags, attributes, st.just([]))
branches = st.builds(element, tags, attributes, st.lists(leaves, max_size=3))
answers = st.builds(element, st.just("iq"), st.just({}), st.lists(branches, max_size=2))


def iq(**attributes: str | None) -> ET.Element:
    """An answer with a good channel, but for these attributes; None leaves one out."""
    merged = {**GOOD, **attributes}
    channel = {name: value for name, value in merged.items() if value is not None}
    return element("iq", {}, [ET.Element("channel", channel)])


@given(answers)
def test_garbage_is_read_or_refused(answer: ET.Element) -> None:
    for parse in (
        lambda: parse_channel_untrusted(answer, "relay"),
        lambda: parse_services_untrusted(answer),
        lambda: parse_killed_untrusted(answer, "relay"),
    ):
        try:
            parse()
        except RemoteProtocolError as error:
            assert "\n" not in str(error)
            assert len(str(error)) < 300


@given(st.dictionaries(st.sampled_from(list(GOOD)), values, min_size=1, max_size=2))
def test_an_offer_that_is_read_can_be_used(changes: dict[str, str]) -> None:
    try:
        offer = parse_channel_untrusted(iq(**changes), "relay")
    except RemoteProtocolError:
        return
    assert 1 <= offer.localport < 65535
    assert 1 <= offer.remoteport < 65535
    assert offer.expire >= 1
    assert offer.maxkbps is None or offer.maxkbps >= 1
    assert offer.host
    assert offer.id is None or offer.id == changes.get("id", "x")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("localport", None, "no ports"),
        ("remoteport", "", "no ports"),
        ("localport", "0", "localport '0' not in"),
        ("localport", "65535", "localport '65535' not in"),
        ("remoteport", "70000", "remoteport '70000' not in"),
        ("remoteport", "-5", "remoteport '-5' not in"),
        ("localport", "1_000", "localport '1_000' not in"),
        ("expire", "-1", "expire '-1' not in"),
        ("expire", "9" * 5000, "expire '999"),
        ("maxkbps", "much", "maxkbps 'much' not in"),
        ("host6", "192.0.2.7", "host6 '192.0.2.7'"),
        ("host6", "relay.example", "host6 'relay.example'"),
        ("host6", "::", "host '::'"),
        ("host", None, "host ''"),
        ("host", "a b", "host 'a b'"),
        ("host", "999.1.1.1", "host '999.1.1.1'"),
        ("host", "0.0.0.0", "host '0.0.0.0'"),
        ("host", "224.0.0.1", "host '224.0.0.1'"),
        ("host", "-x.example", "host '-x.example'"),
        ("host", "a" * 64 + ".example", "host 'aaa"),
        ("host", "x\n\x1b[2J", "host 'x [2J'"),
        ("protocol", "tcp", "protocol 'tcp'"),
        ("id", "x" * 2000, "an id of 2000 characters"),
    ],
)
def test_absurd_channels_are_refused(name: str, value: str | None, said: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        parse_channel_untrusted(iq(**{name: value}), "relay")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("host", "read"),
    [
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("relay.example.org", "relay.example.org"),
        ("1and1.example", "1and1.example"),
        (" 192.0.2.7 ", "192.0.2.7"),
    ],
)
def test_hosts_that_are_read(host: str, read: str) -> None:
    assert parse_channel_untrusted(iq(host=host), "relay").host == read


def test_the_list_of_a_tracker_is_bounded() -> None:
    addresses = [f"relay{number}.example.org" for number in range(2 * MAX_SERVICES)]
    random.Random(1).shuffle(addresses)
    relays = [ET.Element("relay", {"address": address}) for address in addresses]
    entries = parse_services_untrusted(element("iq", {}, [element("services", {}, relays)]))
    assert [entry.address for entry in entries] == addresses[:MAX_SERVICES]


@pytest.mark.parametrize(
    ("text", "expected"), [(None, None), ("", None), (IPV6, IPV6), (f"[{IPV6}]", IPV6)]
)
def test_an_ipv6_address_besides(text: str | None, expected: str | None) -> None:
    offer = parse_channel_untrusted(iq(host6=text), "relay")
    assert (offer.host, offer.host6) == ("192.0.2.7", expected)
