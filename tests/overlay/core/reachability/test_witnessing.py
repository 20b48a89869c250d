"""A peer that is asked to send strangers, and that is sent as one."""

import pytest

from overlay.core.protocol.messages import (
    Agreed,
    Knock,
    Knocking,
    Reply,
    Request,
    RequestBody,
    Summon,
)
from overlay.core.protocol.wire import (
    pack_request,
)
from overlay.core.reachability.contacted import Contacted
from tests.overlay.core.rig import NOBODY, NONCE, Rig


def test_two_strangers_are_sent_to_where_the_request_came_from() -> None:
    rig = Rig()
    data, sent = rig.ask(Summon(NONCE, NOBODY), ("99.1.1.1", 5000))
    *knocks, (reply, _, back) = sent
    for knock, _, _ in knocks:
        assert isinstance(knock, Request)
        assert knock.body == Knock(("99.1.1.1", 5000), NONCE)
    told = {to for _, _, to in knocks}
    assert len(told) == 2
    assert told < {contact.address for contact in rig.contacts}
    assert isinstance(reply, Reply)
    assert reply.body == Agreed(True)
    assert back == ("99.1.1.1", 5000)
    assert sum(len(packed) for _, packed, _ in sent) <= len(data)


def test_nobody_is_sent_whom_the_requester_knows_or_is_near() -> None:
    rig = Rig(contacts=8)
    contacted = Contacted()
    for contact in rig.contacts[:2]:
        contacted.add(contact.address[0])
    told = set()
    for number in range(20):
        rig.now += 60.0
        _, sent = rig.ask(Summon(NONCE, contacted.pack()), (f"99.{number}.1.1", 5000))
        told |= {to for message, _, to in sent if isinstance(message, Request)}
    assert told == {contact.address for contact in rig.contacts[2:]}
    neighbour = (rig.contacts[7].address[0][:-1] + "8", 5000)
    _, sent = rig.ask(Summon(NONCE, contacted.pack()), neighbour)
    assert [one.body for one, _, _ in sent if isinstance(one, Reply)] == [Agreed(False)]
    assert rig.peer.counters["summon_nobody"] == 1


def test_summons_are_limited_and_not_for_private_addresses() -> None:
    rig = Rig()
    _, ((reply, _, _),) = rig.ask(Summon(NONCE, NOBODY), ("10.0.0.1", 5000))
    assert isinstance(reply, Reply)
    assert reply.body == Agreed(False)
    for _ in range(20):
        rig.ask(Summon(NONCE, NOBODY), ("99.1.1.1", 5000))
    assert rig.peer.counters["summon_private"] == 1
    assert rig.peer.counters["summoned"] < 10
    assert rig.peer.counters["summon_rate_limited"] > 10


def test_a_peer_knocks_where_it_is_sent_for_less_than_it_was_told() -> None:
    rig = Rig()
    data, sent = rig.ask(Knock(("99.1.1.1", 5000), NONCE), ("77.1.1.1", 4000))
    (knocking, _, to), (reply, _, back) = sent
    assert knocking == Knocking(NONCE, rig.peer.peer_id)
    assert to == ("99.1.1.1", 5000)
    assert isinstance(reply, Reply)
    assert reply.body == Agreed(True)
    assert back == ("77.1.1.1", 4000)
    assert sum(len(packed) for _, packed, _ in sent) <= len(data)


def test_nobody_is_knocked_up_all_the_time_or_in_private() -> None:
    rig = Rig()
    for number in range(30):
        rig.ask(Knock(("99.1.1.1", 5000 + number), NONCE), (f"77.{number}.1.1", 4000))
    assert rig.peer.counters["knocked"] < 10
    assert rig.peer.counters["knock_rate_limited"] > 20
    rig.ask(Knock(("192.168.1.1", 53), NONCE), ("77.1.1.1", 4000))
    assert rig.peer.counters["knock_out_of_reach"] == 1


@pytest.mark.parametrize("body", [Summon(NONCE, NOBODY), Knock(("99.1.1.1", 5000), NONCE)])
@pytest.mark.parametrize("client", [False, True])
def test_a_request_without_its_padding_sets_off_no_more_than_it_has(
    body: RequestBody, client: bool
) -> None:
    rig = Rig()
    whole = pack_request(Request(b"transact", rig.contact(50).id, client, True, body))
    for length in range(0, len(whole), 8):
        # The padding comes last: a shorter one needs another length before it.
        padding = whole.rindex(b"\xc4" if len(whole) - length < 256 else b"\xc5")
        data = whole[:padding] + b"\xc5" + length.to_bytes(2, "big") + bytes(length)
        rig.now += 3600.0
        rig.peer.receive(data, rig.contact(50).address, rig.now)
        sent = sum(len(reply) for reply, _ in rig.peer.datagrams_to_send())
        assert sent <= len(data)
