"""Verdicts of peers on a simulated network, and single peers in the hands of a liar."""

import random

import pytest

from overlay.core.events import ReachabilityChanged
from overlay.core.protocol.messages import (
    Agreed,
    FindNode,
    Ping,
    Request,
)
from overlay.core.protocol.wire import (
    CHECK_LENGTH,
    pack_request,
)
from overlay.core.reachability.contacted import is_contacted
from overlay.core.reachability.verdict import (
    ENOUGH_MISSED,
    INTERVAL,
    KEEPALIVE,
    MEMORY,
    PATIENCE,
    ROUND,
    WINDOW,
    Verdict,
)
from simulations.nat import Dependence, Firewall
from tests.overlay.core.network import Network
from tests.overlay.core.rig import Rig, closed_rig

# On a network.


@pytest.mark.parametrize("filtering", [Dependence.ADDRESS_DEPENDENT, Dependence.PORT_DEPENDENT])
def test_a_peer_behind_a_nat_changes_its_role_and_changes_back(filtering: Dependence) -> None:
    network = Network(21, loss=0.1)
    addresses = network.build(50, public=True)
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


def test_a_peer_whose_nat_was_opened_need_not_wait_for_the_next_round() -> None:
    network = Network(23)
    addresses = network.build(40, public=True)
    newcomer = ("66.1.1.1", 4000)
    peer = network.join(newcomer, *addresses[:3])
    network.hide(newcomer, Firewall())
    network.run(600)
    assert not peer.serves
    network.hide(newcomer, None)
    peer.opened(newcomer, network.now)
    network.flush(newcomer)
    network.run(10)
    assert peer.serves
    assert peer.endpoint == newcomer


def test_a_peer_whose_nat_was_opened_serves_even_if_it_has_met_all_who_could_tell() -> None:
    network = Network(23)
    addresses = network.build(30, public=True)
    newcomer = ("66.1.1.1", 4000)
    peer = network.join(newcomer, *addresses[:3])
    network.hide(newcomer, Firewall())
    network.run(1800)
    assert not peer.serves
    network.hide(newcomer, None)
    peer.opened(newcomer, network.now)
    network.flush(newcomer)
    network.run(1)
    assert peer.reachability.verdict is Verdict.UNKNOWN
    assert peer.serves


def test_a_peer_takes_the_id_of_the_address_at_which_it_was_let_in() -> None:
    network = Network(24)
    addresses = network.build(40, public=True)
    peer = network.join(("66.1.1.1", 4000), *addresses[:3])
    network.run(10)
    before = peer.peer_id
    peer.opened(("67.1.1.1", 4000), network.now)
    assert peer.endpoint == ("67.1.1.1", 4000)
    assert peer.peer_id != before


def test_the_neighbours_of_a_peer_that_became_a_client_drop_it() -> None:
    network = Network(22)
    addresses = network.build(40, public=True)
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
    network.hide(newcomer, Firewall(Dependence.ENDPOINT_INDEPENDENT))
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


@pytest.mark.parametrize("busy", [False, True])
def test_a_mapping_is_kept_and_a_busy_peer_asks_seldom(busy: bool) -> None:
    rig = Rig()
    begun = last = rig.now
    longest = 0.0
    rounds = 0
    while rig.now < begun + 3600:
        if busy:
            rig.ask(Ping(), ("99.1.1.1", 5000), client=False)
        rig.now += 10
        rig.peer.handle_timer(rig.now)
        sent = rig.take()
        if rig.summons:
            rounds += 1
            rig.knock(rig.summons[0][2], f"{99 + rounds}.1.1.1")
            rig.agree()
        if sent or busy:
            longest, last = max(longest, rig.now - last), rig.now
    assert rig.verdict is Verdict.REACHABLE
    assert longest <= 2 * KEEPALIVE + 2 * PATIENCE + 10
    expected = 3600 / INTERVAL if busy else 3600 / (3 * KEEPALIVE)
    assert (rounds <= 2 * expected) if busy else (rounds >= expected)


def test_whom_it_has_sent_to_is_a_stranger_again_however_seldom_rounds_are() -> None:
    rig = Rig()
    contacted = rig.peer._rpc.contacted
    rounds = 0

    def wait(seconds: float) -> None:
        nonlocal rounds
        end = rig.now + seconds
        while rig.now < end:
            rig.ask(Ping(), ("98.1.1.1", 5000), client=False)
            rig.now += 10
            rig.peer.handle_timer(rig.now)
            rig.take()
            if rig.summons:
                rounds += 1
                rig.knock(rig.summons[0][2], f"{99 + rounds}.1.1.1")
                rig.agree()

    while not rounds:
        wait(10)
    contacted.add("97.1.1.1")
    wait(MEMORY - 20)
    assert is_contacted(contacted.pack(), "97.1.1.1")
    wait(MEMORY + 2 * KEEPALIVE)
    assert rounds <= 2, "a round is no reason to forget anybody"
    assert not is_contacted(contacted.pack(), "97.1.1.1")


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
