"""STUN on the overlay's port."""

import random

import pytest
from aioice.stun import Class, Message, Method

from overlay.core.addresses import Address
from overlay.core.identity import Identity
from overlay.core.peer import Peer, PeerConfig
from overlay.core.protocol import stun

THERE: Address = ("9.9.9.9", 4000)
NOW = 1000.0


def make_peer() -> Peer:
    return Peer(Identity(bytes(32)), PeerConfig(host="8.8.8.8"), random.Random(1))


def test_a_binding_request_is_answered_a_bounded_number_of_times() -> None:
    peer = make_peer()
    plain = stun.binding_request(bytes(12))[:2] + bytes(2) + stun.binding_request(bytes(12))[4:20]
    for _ in range(100):
        peer.receive(plain, THERE, NOW)
    sent = peer.datagrams_to_send()
    assert len(sent) == peer.counters["stun_answered"] == 40
    assert stun.reflexive_address(stun.parse_stun_untrusted(sent[0][0])) == THERE
    peer.receive(sent[0][0], THERE, NOW)
    assert peer.counters["stun_unexpected"] == 1


def test_many_sources_do_not_reset_the_limit_of_binding_requests() -> None:
    peer = make_peer()
    request = stun.binding_request(bytes(12))
    for _ in range(40):
        peer.receive(request, THERE, NOW)
    for n in range(5000):
        peer.receive(request, (f"11.{n >> 8}.{n & 255}.1", 4000), NOW)
    assert peer.counters["stun_rate_limited"] == 0
    peer.receive(request, THERE, NOW)
    assert peer.counters["stun_rate_limited"] == 1


@pytest.mark.parametrize(("padding", "answered"), [(0, False), (12, True)])
def test_what_is_not_understood_is_said_where_that_is_no_larger(
    padding: int, answered: bool
) -> None:
    peer = make_peer()
    attributes = {"CHANGE-REQUEST": 6, "SOFTWARE": "x" * padding}
    request = bytes(Message(Method.BINDING, Class.REQUEST, bytes(12), attributes))
    peer.receive(request, THERE, NOW)
    sent = peer.datagrams_to_send()
    assert peer.counters["stun_not_understood"] == 1
    assert len(sent) == answered
    for data, to in sent:
        assert to == THERE
        assert len(data) <= len(request)
        assert stun.parse_stun_untrusted(data).error_code == 420
