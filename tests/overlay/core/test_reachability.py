"""Verdicts of peers on a simulated network, and single peers in the hands of a liar."""

import random

import pytest

from overlay.core.addresses import Address
from overlay.core.contact import Contact
from overlay.core.contacted import FILTER_LENGTH, Contacted, is_contacted
from overlay.core.events import ReachabilityChanged
from overlay.core.identity import Identity, derive_id
from overlay.core.messages import (
    Agreed,
    FindNode,
    Knock,
    Knocking,
    Ping,
    Pong,
    Reply,
    Request,
    RequestBody,
    Summon,
)
from overlay.core.peer import Peer, PeerConfig
from overlay.core.reachability import ENOUGH_MISSED, INTERVAL, PATIENCE, ROUND, WINDOW, Verdict
from overlay.core.wire import (
    CHECK_LENGTH,
    pack_knocking,
    pack_reply,
    pack_request,
    parse_message_untrusted,
)
from simulations.firewall import Filtering, Firewall

from .network import Network

OWN_HOST = "8.8.8.8"
HERE: Address = (OWN_HOST, 4000)
NONCE = bytes(range(8))
NOBODY = bytes(FILTER_LENGTH)
NOW = 1000.0


def host(number: int) -> str:
    return f"{number + 20}.1.7.9"


class Rig:
    """One peer; the test answers for all others, its contacts."""

    def __init__(self, contacts: int = 12, *, client: bool = False) -> None:
        config = PeerConfig(client=client, host=OWN_HOST)
        self.peer = Peer(Identity(bytes(32)), config, random.Random(1))
        self.now = NOW
        self.contacts = [self.contact(number) for number in range(contacts)]
        self.peer.resume(self.contacts, NOW)
        self.summons: list[tuple[Address, bytes, bytes]] = []
        # The first replies tell the peer where it is.
        for contact in self.contacts[:3]:
            self.peer.find_node(contact.id, NOW)
        self.take()

    @staticmethod
    def contact(number: int) -> Contact:
        key = Identity(number.to_bytes(32, "big")).public_key
        return Contact(derive_id(key, host(number)), (host(number), 4000))

    def take(self) -> list[tuple[object, bytes, Address]]:
        """Take what the peer sends; plain requests are answered, summons are kept."""
        taken: list[tuple[object, bytes, Address]] = []
        while datagrams := self.peer.datagrams_to_send():
            for data, to in datagrams:
                message = parse_message_untrusted(data)
                taken.append((message, data, to))
                if isinstance(message, Request) and isinstance(message.body, Summon):
                    self.summons.append((to, message.transaction_id, message.body.nonce))
                elif isinstance(message, Request) and isinstance(message.body, Ping | FindNode):
                    self.reply(to, message.transaction_id, Pong())
        return taken

    def reply(self, source: Address, tid: bytes, body: Pong | Agreed) -> None:
        known = {contact.address: contact.id for contact in self.contacts}
        packed = pack_reply(Reply(tid, known[source], HERE, None, None, body), 1200)
        assert packed is not None
        self.peer.receive(packed, source, self.now)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while (due := self.peer.get_timer()) is not None and due <= end:
            self.now = max(self.now, due)
            self.peer.handle_timer(self.now)
            self.take()
            if self.summons:
                return
        self.now = end

    def next_round(self) -> list[tuple[Address, bytes, bytes]]:
        """Wait for the next summons."""
        self.summons.clear()
        self.run(4 * INTERVAL)
        assert self.summons
        return list(self.summons)

    def agree(self, *, agreed: bool = True) -> None:
        """Have all contacts that were summoned answer, and nobody knock."""
        for to, tid, _ in self.summons:
            self.reply(to, tid, Agreed(agreed))
        self.summons.clear()
        self.run(PATIENCE)

    def knock(self, nonce: bytes, source: str) -> None:
        data = pack_knocking(Knocking(nonce, bytes(20)))
        self.peer.receive(data, (source, 99), self.now)

    def ask(
        self, body: RequestBody, source: Address, *, client: bool = True
    ) -> tuple[bytes, list[tuple[object, bytes, Address]]]:
        """Send a request to the peer; returns it and what it sets off at once."""
        data = pack_request(Request(b"transact", bytes(20), client, False, body))
        self.peer.receive(data, source, self.now)
        sent = self.peer.datagrams_to_send()
        return data, [(parse_message_untrusted(reply), reply, to) for reply, to in sent]

    @property
    def verdict(self) -> Verdict:
        return self.peer.reachability.verdict


def closed_rig() -> Rig:
    """A peer that has found out that strangers do not reach it."""
    rig = Rig()
    for _ in range(WINDOW):
        if rig.verdict is Verdict.UNREACHABLE:
            break
        rig.next_round()
        rig.agree()
    assert rig.verdict is Verdict.UNREACHABLE
    return rig


# On a network.


@pytest.mark.parametrize("filtering", [Filtering.ADDRESS_DEPENDENT, Filtering.PORT_DEPENDENT])
def test_a_peer_behind_a_nat_changes_its_role_and_changes_back(filtering: Filtering) -> None:
    network = Network(21, loss=0.1)
    addresses = network.build(60, public=True)
    newcomer = ("66.1.1.1", 4000)
    peer = network.join(newcomer, *addresses[:3])
    network.run(30)
    assert peer.serves
    network.hide(newcomer, Firewall(filtering))
    network.run(600)
    assert not peer.serves
    network.hide(newcomer, None)
    network.run(600)
    assert peer.serves
    changes = [event.verdict for event in network.take(newcomer, ReachabilityChanged)]
    assert changes == [Verdict.REACHABLE, Verdict.UNREACHABLE, Verdict.REACHABLE]
    assert network.audit.larger == 0


def test_the_neighbours_of_a_peer_that_became_a_client_drop_it() -> None:
    network = Network(22)
    addresses = network.build(60, public=True)
    newcomer = ("66.1.1.1", 4000)
    peer = network.join(newcomer, *addresses[:3])
    network.run(30)
    neighbours = [network.peers[contact.address] for contact in peer.contacts()[:10]]
    network.hide(newcomer, Firewall())
    network.run(600)
    assert all(contact.address != newcomer for other in neighbours for contact in other.contacts())


def test_a_nat_that_filters_nobody_does_not_matter() -> None:
    network = Network(23)
    addresses = network.build(40, public=True)
    newcomer = ("66.1.1.1", 4000)
    peer = network.join(newcomer, *addresses[:3])
    network.hide(newcomer, Firewall(Filtering.ENDPOINT_INDEPENDENT))
    network.run(3600)
    assert peer.reachability.verdict is Verdict.REACHABLE
    assert len(network.take(newcomer, ReachabilityChanged)) == 1


def test_on_private_addresses_there_is_no_verdict() -> None:
    network = Network(24)
    addresses = network.build(12)
    network.run(600)
    for address in addresses:
        assert network.peers[address].reachability.verdict is Verdict.UNKNOWN
        assert network.peers[address].serves


def test_three_peers_have_no_stranger_among_them() -> None:
    network = Network(25)
    addresses = network.build(3, public=True)
    network.run(3600)
    for address in addresses:
        assert network.peers[address].reachability.verdict is Verdict.UNKNOWN
        assert network.peers[address].serves


def test_a_peer_without_a_network_keeps_its_verdict() -> None:
    network = Network(26)
    addresses = network.build(40, public=True)
    newcomer = ("66.1.1.1", 4000)
    peer = network.join(newcomer, *addresses[:3])
    network.run(30)
    assert peer.reachability.verdict is Verdict.REACHABLE
    network.kill(*addresses)
    network.run(3600)
    assert peer.reachability.verdict is Verdict.REACHABLE


# The peer that wants to know.


def test_a_round_asks_contacts_in_different_networks_and_says_whom_it_knows() -> None:
    rig = closed_rig()
    rig.peer.bootstrap([], rig.now)  # changes nothing
    (first, *_) = rig.next_round()
    rig.reply(first[0], first[1], Agreed(True))
    rig.knock(first[2], "77.1.1.1")
    rig.run(PATIENCE)
    asked = rig.next_round()  # in doubt
    assert len(asked) == len({to for to, _, _ in asked}) == ROUND


def test_three_knocks_from_different_networks_are_enough() -> None:
    rig = closed_rig()
    heard = 0
    while rig.verdict is Verdict.UNREACHABLE:
        for _, _, nonce in rig.next_round():
            rig.knock(nonce, f"77.{heard}.1.1")
            heard += 1
    assert rig.verdict is Verdict.REACHABLE
    assert rig.peer.counters["knock_heard"] in (3, 4)
    assert rig.peer.serves


@pytest.mark.parametrize(
    ("source", "counter"),
    [
        (None, "knock_not_strange"),  # the contact that was asked
        ("127.0.0.1", "knock_not_strange"),
        ("8.8.8.9", "knock_same_network"),
    ],
)
def test_a_knock_from_somebody_who_is_no_stranger_does_not_count(
    source: str | None, counter: str
) -> None:
    rig = closed_rig()
    for _ in range(3 * WINDOW):
        for to, tid, nonce in rig.next_round():
            rig.knock(nonce, source or to[0])
            rig.reply(to, tid, Agreed(True))
        rig.summons.clear()
        rig.run(PATIENCE)
    assert rig.verdict is Verdict.UNREACHABLE
    assert rig.peer.reachability.heard == 0
    assert rig.peer.reachability.unclear == WINDOW
    assert rig.peer.counters[counter] >= 3 * WINDOW


def test_one_network_counts_once_in_a_window() -> None:
    rig = closed_rig()
    for _ in range(6):
        for _, _, nonce in rig.next_round():
            rig.knock(nonce, "77.1.1.1")
    assert rig.verdict is Verdict.UNREACHABLE


def test_a_knock_without_its_nonce_or_again_is_dropped() -> None:
    rig = closed_rig()
    (first, *_) = rig.next_round()
    rig.knock(bytes(8), "77.1.1.1")
    rig.knock(first[2], "77.1.1.1")
    rig.knock(first[2], "78.1.1.1")
    assert rig.peer.counters["knock_heard"] == 1
    assert rig.peer.counters["knock_unexpected"] == 2


def test_silent_contacts_and_those_who_know_nobody_are_no_evidence() -> None:
    rig = Rig()
    for _ in range(WINDOW):
        rig.next_round()
        rig.run(PATIENCE)
    assert rig.peer.reachability.missed == rig.peer.reachability.unclear == 0
    rig = Rig()
    for _ in range(WINDOW):
        rig.next_round()
        rig.agree(agreed=False)
    assert rig.peer.reachability.unclear == WINDOW
    assert rig.verdict is Verdict.REACHABLE


def test_a_few_liars_and_lost_knocks_do_not_make_a_peer_unreachable() -> None:
    rig = Rig()
    rng = random.Random(5)
    for number in range(400):
        for to, tid, nonce in rig.next_round():
            rig.reply(to, tid, Agreed(True))
            if rng.random() < 0.5:
                rig.knock(nonce, f"77.{number % 250}.1.1")
        rig.summons.clear()
        rig.run(PATIENCE)
    assert rig.verdict is Verdict.REACHABLE
    assert rig.peer.counters["found_unreachable"] == 0


def test_an_unreachable_peer_is_a_client() -> None:
    rig = closed_rig()
    assert rig.peer.reachability.missed >= ENOUGH_MISSED
    assert not rig.peer.serves
    _, sent = rig.ask(Ping(), ("99.1.1.1", 5000))
    assert sent == []
    assert rig.peer.counters["request_to_client"] == 1
    rig.peer.find_node(bytes(20), rig.now)
    asked = [message for message, _, _ in rig.take() if isinstance(message, Request)]
    assert asked
    assert all(request.client for request in asked)


def test_a_peer_that_is_to_be_a_client_does_not_ask() -> None:
    rig = Rig(client=True)
    rig.run(4 * INTERVAL)
    assert rig.summons == []
    assert rig.verdict is Verdict.UNKNOWN


# The peer that is asked.


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


# Who says that it serves no more.


def test_who_says_that_it_serves_no_more_is_asked_and_then_dropped() -> None:
    rig = Rig()
    leaving = rig.contacts[0]
    told = pack_request(Request(b"transact", leaving.id, True, False, FindNode(bytes(20))))
    assert len(told) >= 2 * CHECK_LENGTH
    rig.peer.receive(told, leaving.address, rig.now)
    rig.take()  # somebody else said so in its name: it answers
    assert leaving in rig.peer.contacts()
    rig.peer.receive(told, leaving.address, rig.now)
    for _ in range(20):
        rig.peer.datagrams_to_send()
        rig.now += 0.5
        rig.peer.handle_timer(rig.now)
    assert leaving not in rig.peer.contacts()


# The filter.


def test_a_filter_knows_its_hosts_until_the_second_rotation() -> None:
    rng = random.Random(7)
    contacted = Contacted()
    hosts = [
        f"{rng.randint(1, 223)}.{rng.randrange(256)}.{rng.randrange(256)}.1" for _ in range(300)
    ]
    for one in (*hosts, "2001:db8::1"):
        contacted.add(one)
    contacted.rotate()
    packed = contacted.pack()
    assert len(packed) == FILTER_LENGTH
    assert all(is_contacted(packed, one) for one in (*hosts, "2001:db8::1"))
    others = [
        f"{rng.randint(1, 223)}.{rng.randrange(256)}.{rng.randrange(256)}.2" for _ in range(999)
    ]
    assert sum(is_contacted(packed, one) for one in others) < 60
    contacted.rotate()
    assert contacted.pack() == NOBODY
