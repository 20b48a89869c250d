"""The server with two addresses, in memory and on loopback."""

from collections import Counter
from collections.abc import Mapping

import pytest
import trio
from aioice.stun import Class, Message, Method
from hypothesis import given
from hypothesis import strategies as st

from node.errors import UserError
from node.nat.behaviour import Behaviour
from node.nat.discover import discover
from node.nat.server import BURST, Addresses, StunResponder, open_stun_server
from overlay import OverlayError
from overlay.core.addresses import Address
from overlay.core.protocol import stun
from overlay.core.protocol.behaviour import (
    SAME,
    Change,
    Discovered,
    discovered,
    discovery_request,
)
from overlay.core.reachability.verdict import Reachability, Verdict
from overlay.dht import RunningPeer, open_peer
from overlay.settings import PeerSettings
from overlay.sockets import open_udp
from tests.node.nat.worlds import PLACES

TID = bytes(range(12))
THERE: Address = ("9.9.9.9", 4000)
IPV4 = Addresses(("8.8.8.8", 4278), ("8.8.4.4", 4279))
IPV6 = Addresses(("2a00::8", 4278), ("2a00:1::4", 4279))
NOW = 1000.0


def test_four_addresses() -> None:
    assert [IPV4.at(place) for place in PLACES] == [
        ("8.8.8.8", 4278),
        ("8.8.8.8", 4279),
        ("8.8.4.4", 4278),
        ("8.8.4.4", 4279),
    ]


@pytest.mark.parametrize("change", PLACES)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("addresses", "source"), [(IPV4, THERE), (IPV6, ("2a00:9::9", 4000))])
def test_it_answers_from_where_it_is_asked_to(
    place: Change, change: Change, addresses: Addresses, source: Address
) -> None:
    request = discovery_request(TID, change)
    answer = StunResponder().answer(request, source, place, addresses, NOW)
    assert answer is not None
    there, response = answer
    assert there == Change(place.host != change.host, place.port != change.port)
    assert len(response) <= len(request)
    message = stun.parse_stun_untrusted(response)
    opposite = addresses.at(Change(not place.host, not place.port))
    assert discovered(message, addresses.at(place)) == Discovered(source, opposite)
    assert message.attributes["RESPONSE-ORIGIN"] == addresses.at(there)
    assert message.attributes["MAPPED-ADDRESS"] == source
    assert message.transaction_id == TID


def request_of(size: int, **attributes: object) -> bytes:
    """A request padded to some bytes."""
    names = {name.replace("_", "-"): value for name, value in attributes.items()}
    data = bytes(Message(Method.BINDING, Class.REQUEST, TID, names))
    padding = size - len(data) - 4
    if padding >= 0:
        names["SOFTWARE"] = "x" * padding
    return bytes(Message(Method.BINDING, Class.REQUEST, TID, names))


@pytest.mark.parametrize("change", [0, 2, 4, 6])
@pytest.mark.parametrize("size", range(28, 120, 4))
def test_nothing_that_is_sent_elsewhere_is_larger_than_its_request(size: int, change: int) -> None:
    responder = StunResponder()
    request = request_of(size, CHANGE_REQUEST=change)
    answer = responder.answer(request, THERE, SAME, IPV4, NOW)
    if answer is None:
        assert change
        assert len(request) < 32
        assert responder.counters["too_small"] == 1
    else:
        _, response = answer
        assert len(response) <= max(len(request), 0 if change else 32)
        told = stun.parse_stun_untrusted(response).attributes
        assert ("OTHER-ADDRESS" in told) == (len(request) >= 68)
        assert told["XOR-MAPPED-ADDRESS"] == THERE


def test_a_plain_request_gets_a_plain_answer() -> None:
    request = bytes(Message(Method.BINDING, Class.REQUEST, TID))
    answer = StunResponder().answer(request, THERE, PLACES[3], IPV4, NOW)
    assert answer is not None
    assert answer[0] == PLACES[3]
    assert stun.parse_stun_untrusted(answer[1]).attributes == {"XOR-MAPPED-ADDRESS": THERE}


def test_what_is_not_understood_is_refused_where_that_is_no_larger() -> None:
    responder = StunResponder()
    padding = b"\0\x26\0\x04abcd"  # PADDING, which we do not serve
    head = discovery_request(TID)
    long = head[:2] + (len(head) - 20 + 8).to_bytes(2, "big") + head[4:] + padding
    answer = responder.answer(long, THERE, PLACES[1], IPV4, NOW)
    assert answer is not None
    assert answer[0] == PLACES[1]
    assert stun.parse_stun_untrusted(answer[1]).error_code == 420
    short = head[:2] + b"\0\x08" + head[4:20] + padding
    assert responder.answer(short, THERE, SAME, IPV4, NOW) is None
    assert responder.counters == Counter(not_understood=2)


def test_requests_are_limited_and_other_messages_are_not_answered() -> None:
    responder = StunResponder()
    request = discovery_request(TID, PLACES[3])
    answers = [responder.answer(request, THERE, SAME, IPV4, NOW) for _ in range(100)]
    assert sum(answer is not None for answer in answers) == BURST
    assert responder.counters["rate_limited"] == 100 - BURST
    response = bytes(Message(Method.BINDING, Class.RESPONSE, TID))
    assert responder.answer(response, THERE, SAME, IPV4, NOW) is None
    assert responder.answer(b"\0" * 30, THERE, SAME, IPV4, NOW) is None
    assert responder.counters["unexpected"] == responder.counters["malformed"] == 1


@given(st.sampled_from(PLACES), st.data())
def test_mutated_requests_get_no_larger_answer(place: Change, data: st.DataObject) -> None:
    request = bytearray(discovery_request(TID, data.draw(st.sampled_from(PLACES))))
    for _ in range(data.draw(st.integers(1, 4))):
        request[data.draw(st.integers(0, len(request) - 1))] = data.draw(st.integers(0, 255))
    answer = StunResponder().answer(bytes(request), THERE, place, IPV4, NOW)
    assert answer is None or len(answer[1]) <= len(request)


async def test_a_node_on_loopback_serves_at_two_addresses() -> None:
    with trio.fail_after(20):
        async with (
            open_peer(PeerSettings(host="127.0.0.1")) as peer,
            open_stun_server(peer, "127.0.0.2") as server,
        ):
            port = peer.local_address[1]
            first = ("127.0.0.1", port)
            sock = await open_udp("127.0.0.1", 0)
            assert server.addresses is not None
            other = server.addresses.other
            assert other[0] == "127.0.0.2"
            assert other[1] != port
            for change in PLACES:
                await sock.sendto(discovery_request(TID, change), first)
                data, source = await sock.recvfrom(2048)
                assert source == server.addresses.at(change)
                told = discovered(stun.parse_stun_untrusted(data), first)
                assert told == Discovered(sock.getsockname(), other)
            # A small request is the overlay's own business, at the first address alone.
            answered = peer.counters["stun_answered"]
            await sock.sendto(stun.binding_request(TID), first)
            data, source = await sock.recvfrom(2048)
            assert source == first
            assert peer.counters["stun_answered"] == answered + 1
            sock.close()

            behaviour = await discover([first], host="127.0.0.1")
            assert behaviour.mapping is Behaviour.NONE
            assert behaviour.filtering is Behaviour.ENDPOINT_INDEPENDENT


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_one_address_is_not_enough(host: str) -> None:
    async with open_peer(PeerSettings(host="127.0.0.1")) as peer:
        with pytest.raises(UserError, match="another IP address") as caught:
            async with open_stun_server(peer, host):
                pass
        assert "\n" not in str(caught.value)
        with pytest.raises(UserError, match="another port"):
            async with open_stun_server(peer, "127.0.0.2", peer.local_address[1]):
                pass
        with pytest.raises(OverlayError, match=r"192\.0\.2\.77"):
            async with open_stun_server(peer, "192.0.2.77"):
                pass
        assert peer.port.take_stun is None


async def test_while_strangers_do_not_reach_it_nobody_is_told_of_two_addresses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unreachable: Mapping[bool, Reachability] = {False: Reachability(Verdict.UNREACHABLE, 0, 16, 0)}
    settings = PeerSettings(host="127.0.0.1")
    async with open_peer(settings) as peer, open_stun_server(peer, "127.0.0.2") as server:
        assert server.addresses is not None
        monkeypatch.setattr(RunningPeer, "reachability", unreachable)
        assert server.addresses is None
        assert not await server.take(discovery_request(TID), ("127.0.0.1", 4000))
