"""Searches and registrations among peers that hold a lot, nothing, or lies."""

import random
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from overlay.core.addresses import Address
from overlay.core.directory.hunt import ENOUGH
from overlay.core.directory.records import Advert, sign_advert
from overlay.core.directory.sample import MAX_PER_SOURCE, AdvertSample
from overlay.core.directory.store import Entry
from overlay.core.directory.tree import SAMPLE_SIZE, directory_key
from overlay.core.events import BootstrapFailed, Connected, RelaysFound
from overlay.core.identity import Identity, derive_id
from overlay.core.kademlia.contact import Contact
from overlay.core.peer import Peer, PeerConfig
from overlay.core.protocol.messages import (
    MAX_HELD,
    FindNode,
    FindRelays,
    Nodes,
    Proof,
    Relays,
    Reply,
    Request,
    proof_message,
)
from overlay.core.protocol.wire import pack_reply, pack_request, parse_message_untrusted
from overlay.core.rpc import UNKNOWN_ID
from tests.overlay.core.network import UNIX_TIME, Network, offer

CLIENT: Address = ("127.0.0.1", 4000)
LIAR: Address = ("127.0.0.1", 4001)
HONEST: Address = ("127.0.0.1", 4002)
ROOT = directory_key(0, bytes(20))
NOW = 1000.0

Answer = Callable[[bytes, float], Iterator[bytes]]


def relay(number: int, host: str) -> Advert:
    return sign_advert(
        Identity(number.to_bytes(32, "big")),
        offer(f"r{number}"),
        seq=1,
        expires=int(UNIX_TIME + NOW) + 3600,
        endpoints=((host, 4000),),
    )


def fill(peer: Peer, count: int) -> None:
    for number in range(count):
        advert = relay(number, f"11.{number}.1.1")
        entry = Entry(advert, NOW + 3600, 0, bytes(20))
        peer.store.put(entry, UNIX_TIME + NOW)


def honest(peer: Peer) -> Answer:
    def answer(data: bytes, now: float) -> Iterator[bytes]:
        peer.receive(data, CLIENT, now)
        yield from (reply for reply, to in peer.datagrams_to_send() if to == CLIENT)

    return answer


def liar(adverts: tuple[bytes, ...] = ()) -> Answer:
    """Names dead peers, the closer the better."""
    identity = Identity(b"\1" * 32)
    own_id = derive_id(identity.public_key, None)
    ports = iter(range(10_000, 60_000))

    def answer(data: bytes, now: float) -> Iterator[bytes]:
        request = parse_message_untrusted(data)
        assert isinstance(request, Request)
        body = request.body
        assert isinstance(body, FindNode | FindRelays)
        target = own_id if body.target == UNKNOWN_ID else body.target
        closest = int.from_bytes(target, "big")
        contacts = tuple(
            Contact((closest ^ n).to_bytes(20, "big"), ("127.0.0.1", next(ports)))
            for n in range(1, 21)
        )
        message = proof_message(request.transaction_id, own_id, request.sender, CLIENT)
        proof = Proof(identity.public_key, identity.sign(message))
        answer = Nodes(contacts, MAX_HELD)
        if isinstance(body, FindRelays):
            answer = Relays(contacts, bytes(8), 255, body.start, adverts)  # type: ignore[assignment]
        reply = pack_reply(Reply(request.transaction_id, own_id, CLIENT, proof, None, answer), 1200)
        assert reply is not None
        yield reply

    return answer


def drive(client: Peer, others: dict[Address, Answer], now: float, until: float) -> float:
    """Have the client talk to the others, who answer at once. Returns the time."""
    while True:
        sent = client.datagrams_to_send()
        for data, to in sent:
            for reply in others[to](data, now) if to in others else ():
                client.receive(reply, to, now)
        if not sent:
            due = client.get_timer()
            if due is None or due > until:
                return until
            now = due
            client.handle_timer(now)


def found(client: Peer) -> set[str]:
    while (event := client.next_event()) is not None:
        if isinstance(event, RelaysFound):
            return {advert.offer.jid.partition("@")[0] for advert in event.adverts}
    pytest.fail("the search has not ended")


def make_peer(seed: int, *, client: bool = False) -> Peer:
    config = PeerConfig(client=client, host="127.0.0.1", clock_offset=UNIX_TIME)
    return Peer(Identity(bytes([seed]) * 32), config, random.Random(seed))


def test_one_storing_peer_is_read_to_the_end() -> None:
    network = Network(21)
    fill(network.join(HONEST), SAMPLE_SIZE)
    searcher = network.join(CLIENT, HONEST, client=True)
    network.run(1)
    searcher.find_relays(SAMPLE_SIZE, network.now, limit=10.0)
    network.flush(CLIENT)
    network.run(10)
    (event,) = network.take(CLIENT, RelaysFound)
    assert len(event.adverts) == SAMPLE_SIZE


def test_a_peer_that_claims_to_hold_more_than_it_has_is_let_go() -> None:
    client = make_peer(2, client=True)
    client.bootstrap([LIAR], NOW)
    others = {LIAR: liar((relay(1, "11.1.1.1").encoded,))}
    now = drive(client, others, NOW, NOW + 5)
    client.find_relays(SAMPLE_SIZE, now)
    drive(client, others, now, now + 60)
    assert found(client) == {"r1"}
    assert client.counters["sent"] < 1000


def test_few_adverts_of_one_network_are_taken() -> None:
    client = make_peer(2, client=True)
    client.bootstrap([LIAR], NOW)
    adverts = tuple(relay(n, f"11.1.1.{n}").encoded for n in range(1, 4))
    now = drive(client, {LIAR: liar(adverts)}, NOW, NOW + 5)
    client.find_relays(SAMPLE_SIZE, now)
    drive(client, {LIAR: liar(adverts)}, now, now + 60)
    assert found(client) == {"r1", "r2"}


@pytest.mark.parametrize("seed", range(10, 20))
def test_a_liar_who_answers_first_does_not_keep_the_search_in_the_depths(seed: int) -> None:
    storing = make_peer(3)
    storing.bootstrap([], NOW)
    fill(storing, 40)
    others = {LIAR: liar(), HONEST: honest(storing)}
    client = make_peer(seed, client=True)
    client.bootstrap([LIAR], NOW)
    now = drive(client, others, NOW, NOW)
    assert client.network_size > 1e9
    handle = client.find_relays(SAMPLE_SIZE, now, 3.0)
    now = drive(client, others, now, now + 0.2)
    client.bootstrap([HONEST], now)
    now = drive(client, others, now, NOW + 3.0)
    client.stop_search(handle, now)
    assert len(found(client) & {f"r{n}" for n in range(40)}) >= ENOUGH
    assert client.network_size < 1e3


def test_a_flood_of_adverts_does_not_take_the_place_of_those_that_others_name() -> None:
    sample = AdvertSample(make_peer(2)._rpc, SAMPLE_SIZE, UNIX_TIME)
    for number in range(100):
        sample.take(relay(number, f"12.{number}.1.1").encoded, b"flooder", NOW)
    assert not sample.is_enough
    assert len(sample) == SAMPLE_SIZE
    honest = {number: f"network {number // 3}".encode() for number in range(100, 160)}
    for number, source in honest.items():
        sample.take(relay(number, f"12.{number}.1.1").encoded, source, NOW)
    assert sample.is_enough
    names = [advert.offer.jid for advert in sample.adverts(random.Random(1))]
    flood = 4 * MAX_PER_SOURCE
    assert {f"r{number}@example.org" for number in honest} <= set(names[:-MAX_PER_SOURCE])
    assert len(names) == len(honest) + flood


def test_adverts_lie_on_a_ring_so_that_whoever_begins_beyond_the_last_gets_others() -> None:
    storing = make_peer(3)
    storing.bootstrap([], NOW)
    fill(storing, 3)
    request = Request(bytes(8), b"\7" * 20, True, False, FindRelays(ROOT, 202))
    storing.receive(pack_request(request), CLIENT, NOW)
    ((data, _),) = storing.datagrams_to_send()
    reply = parse_message_untrusted(data)
    assert isinstance(reply, Reply)
    assert isinstance(reply.body, Relays)
    assert reply.body.total == 3
    assert len(reply.body.adverts) == 3


def test_a_client_waits_a_moment_for_further_entrances() -> None:
    network = Network(22)
    network.join(LIAR)
    network.join(HONEST)
    network.join(CLIENT, LIAR, HONEST, ("127.0.0.1", 6000), client=True)
    network.run(0.1)
    assert not network.take(CLIENT, Connected)
    network.run(0.2)
    assert network.take(CLIENT, Connected)


def test_a_peer_that_does_not_prove_itself_as_asked_has_not_answered() -> None:
    def unproven(data: bytes, now: float) -> Iterator[bytes]:
        for packed in liar()(data, now):
            reply = parse_message_untrusted(packed)
            assert isinstance(reply, Reply)
            bare = pack_reply(replace(reply, proof=None), len(packed))
            assert bare is not None
            yield bare

    client = make_peer(2, client=True)
    client.bootstrap([LIAR], NOW)
    drive(client, {LIAR: unproven}, NOW, NOW + 0.5)
    assert client.counters["reply_unproven"] == 1
    assert client.next_event() == BootstrapFailed(1.0)
