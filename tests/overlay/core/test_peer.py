"""Two peers in memory, one of them sometimes a liar."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overlay.core.addresses import Address
from overlay.core.choice.tables import relay_name
from overlay.core.directory.records import Advert, sign_advert
from overlay.core.directory.tree import directory_key
from overlay.core.events import (
    Advertised,
    BootstrapFailed,
    EndpointLearnt,
    Joined,
    RelaysFound,
)
from overlay.core.identity import Identity, derive_id
from overlay.core.kademlia.contact import Contact
from overlay.core.peer import Peer, PeerConfig
from overlay.core.protocol.messages import (
    ErrorCode,
    ErrorReply,
    FindNode,
    FindRelays,
    Message,
    Nodes,
    Ping,
    Pong,
    Proof,
    Relays,
    Reply,
    Request,
    RequestBody,
    Store,
    Stored,
    StoreResult,
    proof_message,
)
from overlay.core.protocol.wire import pack_reply, pack_request, parse_message_untrusted

from .network import UNIX_TIME, Network, offer

HERE: Address = ("8.8.8.8", 4000)
THERE: Address = ("9.9.9.9", 4000)
STRANGER = Identity(bytes(31) + b"\1")
STRANGER_ID = derive_id(STRANGER.public_key, THERE[0])
STRANGER_NAME = relay_name(STRANGER.public_key)
ROOT = directory_key(0, bytes(20))
NOW = 1000.0


def make_peer(*, client: bool = False, host: str | None = HERE[0]) -> Peer:
    config = PeerConfig(client=client, host=host, clock_offset=UNIX_TIME)
    return Peer(Identity(bytes(32)), config, random.Random(1))


def send(
    peer: Peer,
    body: RequestBody,
    *,
    sender: bytes = STRANGER_ID,
    source: Address = THERE,
    prove: bool = False,
    client: bool = True,
    now: float = NOW,
) -> Message | None:
    """Send a request to a peer; returns its reply."""
    request = Request(b"transact", sender, client, prove, body)
    peer.receive(pack_request(request), source, now)
    for data, address in peer.datagrams_to_send():
        message = parse_message_untrusted(data)
        if not isinstance(message, Request):
            assert address == source
            return message
    return None


def token_for(peer: Peer, source: Address = THERE, now: float = NOW) -> bytes:
    reply = send(peer, FindRelays(ROOT, 0), source=source, now=now)
    assert isinstance(reply, Reply)
    assert isinstance(reply.body, Relays)
    return reply.body.token


def advert(
    *,
    identity: Identity = STRANGER,
    seq: int = 1,
    expires: float = NOW + UNIX_TIME + 3600,
    endpoints: tuple[Address, ...] = (THERE,),
) -> Advert:
    return sign_advert(identity, offer("r"), seq=seq, expires=int(expires), endpoints=endpoints)


def store(peer: Peer, it: Advert, *, token: bytes | None = None, source: Address = THERE) -> object:
    """Store an advert; returns the result or the error code."""
    body = Store(0, token_for(peer, source) if token is None else token, it.encoded)
    reply = send(peer, body, source=source)
    if isinstance(reply, ErrorReply):
        return reply.code
    assert isinstance(reply, Reply)
    assert isinstance(reply.body, Stored)
    return reply.body.result


def listed(peer: Peer) -> int:
    return len(peer.store.get(ROOT, NOW + UNIX_TIME))


def test_a_reply_tells_where_the_request_came_from_and_proves_its_key() -> None:
    peer = make_peer()
    reply = send(peer, Ping(), prove=True)
    assert isinstance(reply, Reply)
    assert reply.body == Pong()
    assert reply.seen == THERE
    assert reply.sender == peer.peer_id == derive_id(peer.public_key, HERE[0])
    assert reply.proof is not None
    assert reply.proof.public_key == peer.public_key


def test_a_client_answers_nobody() -> None:
    peer = make_peer(client=True)
    assert send(peer, Ping()) is None
    assert peer.counters["request_to_client"] == 1


def test_a_relay_is_listed_once_its_endpoint_has_answered() -> None:
    peer = make_peer()
    assert store(peer, advert()) is StoreResult.PENDING
    assert listed(peer) == 0
    peer.endpoint_verified(THERE, STRANGER_NAME, NOW)
    assert listed(peer) == 1
    assert store(peer, advert(seq=2)) is StoreResult.LISTED
    assert listed(peer) == 1


def test_somebody_else_who_answers_there_is_not_the_relay() -> None:
    peer = make_peer()
    store(peer, advert())
    peer.endpoint_verified(THERE, b"others", NOW)
    assert listed(peer) == 0
    assert peer.counters["advert_unreachable"] == 1


def test_an_endpoint_that_does_not_answer_is_not_listed() -> None:
    peer = make_peer()
    store(peer, advert())
    peer.endpoint_verified(THERE, None, NOW)
    assert listed(peer) == 0
    assert peer.counters["advert_unreachable"] == 1


THERE_IPV6: Address = ("2a00:1:2:3::1", 4000)


def test_an_advert_names_where_it_comes_from_and_nobody_else() -> None:
    peer = make_peer()
    for endpoints in ((THERE, THERE_IPV6), (THERE_IPV6,), (("9.9.9.9", 4001),)):
        assert store(peer, advert(endpoints=endpoints)) is ErrorCode.BAD_ADVERT
    assert peer.next_event() is None


def test_forged_and_stale_writes_are_refused() -> None:
    peer = make_peer()
    assert store(peer, advert(), token=bytes(8)) is ErrorCode.BAD_TOKEN
    elsewhere = token_for(peer, ("9.9.9.9", 4001))
    assert store(peer, advert(), token=elsewhere) is ErrorCode.BAD_TOKEN
    other_key = advert(identity=Identity(bytes(31) + b"\2"))
    assert store(peer, other_key) is ErrorCode.BAD_ADVERT
    assert store(peer, advert(endpoints=(HERE,))) is ErrorCode.BAD_ADVERT
    assert store(peer, advert(expires=NOW + UNIX_TIME - 601)) is ErrorCode.BAD_ADVERT
    assert store(peer, advert(expires=NOW + UNIX_TIME + 9000)) is ErrorCode.BAD_ADVERT
    assert listed(peer) == 0
    store(peer, advert(seq=5))
    peer.endpoint_verified(THERE, STRANGER_NAME, NOW)
    assert store(peer, advert(seq=4)) is ErrorCode.BAD_ADVERT
    assert store(peer, advert(seq=6)) is StoreResult.LISTED


def test_a_broken_signature_is_refused() -> None:
    peer = make_peer()
    encoded = bytearray(advert().encoded)
    encoded[5] ^= 1
    reply = send(peer, Store(0, token_for(peer), bytes(encoded)))
    assert reply == ErrorReply(b"transact", ErrorCode.BAD_ADVERT)


def test_a_withdrawal_takes_the_relay_out() -> None:
    peer = make_peer()
    store(peer, advert())
    peer.endpoint_verified(THERE, STRANGER_NAME, NOW)
    assert store(peer, advert(seq=2, endpoints=())) is StoreResult.LISTED
    assert listed(peer) == 0
    assert store(peer, advert(seq=1)) is ErrorCode.BAD_ADVERT


def test_adverts_expire_by_timer() -> None:
    peer = make_peer()
    store(peer, advert())
    peer.endpoint_verified(THERE, STRANGER_NAME, NOW)
    for _ in range(200):
        due = peer.get_timer()
        assert due is not None
        peer.handle_timer(due)
        if not len(peer.store):
            break
    assert due is not None
    assert NOW + 3600 <= due <= NOW + 3660
    assert peer.get_timer() is None


def prove(request: Request, identity: Identity, peer_id: bytes, seen: Address) -> Proof:
    message = proof_message(request.transaction_id, peer_id, request.sender, seen)
    return Proof(identity.public_key, identity.sign(message))


@pytest.mark.parametrize(
    ("lie", "enters"),
    [
        (None, True),
        ("no proof", False),
        ("key", False),
        ("signature", False),
        ("id", False),
        ("source", False),
    ],
)
def test_only_proven_contacts_enter_the_table(lie: str | None, enters: bool) -> None:
    peer = make_peer()
    peer.bootstrap([THERE], NOW)
    ((data, to),) = peer.datagrams_to_send()
    assert to == THERE
    request = parse_message_untrusted(data)
    assert isinstance(request, Request)
    assert request.prove
    identity = Identity(bytes(31) + b"\3") if lie == "key" else STRANGER
    peer_id = derive_id(STRANGER.public_key, "7.7.7.7") if lie == "id" else STRANGER_ID
    proof: Proof | None = prove(request, identity, peer_id, HERE)
    if lie == "no proof":
        proof = None
    elif lie == "signature":
        proof = Proof(identity.public_key, bytes(64))
    reply = Reply(request.transaction_id, peer_id, HERE, proof, None, Nodes((), 0))
    packed = pack_reply(reply, len(data))
    assert packed is not None
    peer.receive(packed, ("9.9.9.9", 4001) if lie == "source" else THERE, NOW)
    assert [c.id for c in peer.contacts()] == ([STRANGER_ID] if enters else [])


def test_a_stranger_is_checked_within_the_size_of_its_request() -> None:
    peer = make_peer()
    request = Request(b"transact", STRANGER_ID, False, True, FindNode(bytes(20)))
    data = pack_request(request)
    peer.receive(data, THERE, NOW)
    sent = peer.datagrams_to_send()
    assert len(sent) == 2
    assert sum(len(packed) for packed, _ in sent) <= len(data)
    check = parse_message_untrusted(sent[1][0])
    assert isinstance(check, Request)
    assert check.prove
    due = peer.get_timer()
    assert due is not None
    peer.handle_timer(due)
    assert peer.datagrams_to_send() == []


bodies = st.one_of(
    st.just(Ping()),
    st.builds(FindNode, st.binary(min_size=20, max_size=20)),
    st.builds(FindRelays, st.just(ROOT), st.integers(0, 255)),
    st.builds(Store, st.integers(0, 32), st.binary(min_size=8, max_size=8), st.just(bytes(90))),
)


@pytest.fixture(scope="module")
def knowing_peer() -> Peer:
    """A peer with something to say: contacts, and adverts in its store."""
    network = Network(1)
    addresses = network.build(40)
    for address in addresses[:20]:
        one = network.peers[address]
        one.advertise(one.sign_advert(offer("r" * 60), (address,), network.now), network.now)
        network.flush(address)
    network.run(5)
    peer = max(network.peers.values(), key=lambda one: len(one.store))
    assert len(peer.contacts()) > 20
    assert len(peer.store) > 10
    return peer


def test_an_answer_of_another_kind_counts_as_none() -> None:
    peer = make_peer()
    peer.bootstrap([THERE], NOW)
    answer_all(peer)
    peer.advertise(peer.sign_advert(offer("r"), (HERE,), NOW), NOW)
    answer_all(peer)
    assert peer.counters["reply_other_kind"] == 1


def test_a_public_peer_cannot_send_us_into_our_own_network() -> None:
    peer = make_peer()
    peer.bootstrap([THERE], NOW)
    hosts = ("192.168.1.1", "10.0.0.1", "127.0.0.1", "169.254.1.1")
    answer_all(peer, *(Contact(bytes([n]) * 20, (host, 53)) for n, host in enumerate(hosts)))
    assert peer.counters["contact_private"] >= len(hosts)


def answer_all(peer: Peer, *contacts: Contact) -> None:
    """Answer whatever the peer asks as if it had asked for nodes."""
    while sent := peer.datagrams_to_send():
        for data, address in sent:
            assert address == THERE
            request = parse_message_untrusted(data)
            assert isinstance(request, Request)
            proof = prove(request, STRANGER, STRANGER_ID, HERE)
            body = Nodes(contacts, 0)
            reply = Reply(request.transaction_id, STRANGER_ID, HERE, proof, None, body)
            packed = pack_reply(reply, 1200)
            assert packed is not None
            peer.receive(packed, THERE, NOW)


@settings(deadline=None)
@given(bodies, st.booleans(), st.booleans(), st.integers(0, 1200), st.integers(1, 60_000))
def test_what_a_datagram_sets_off_is_no_larger_than_it(
    knowing_peer: Peer, body: RequestBody, client: bool, prove: bool, cut: int, port: int
) -> None:
    sender = derive_id(STRANGER.public_key, None)
    packed = pack_request(Request(b"transact", sender, client, prove, body))
    shortest = packed.rstrip(b"\0")
    # A stingy requester: the same request with less padding.
    padding = min(cut, len(packed) - len(shortest))
    for data in (packed, shortest[:-2] + b"\xc4" + bytes([padding % 256]) + bytes(padding % 256)):
        knowing_peer.receive(data, ("127.0.0.1", port), 5000.0 + port)
        sent = sum(len(out) for out, _ in knowing_peer.datagrams_to_send())
        assert sent <= len(data)


@given(st.binary(max_size=300))
def test_garbage_changes_nothing_but_a_counter(data: bytes) -> None:
    peer = make_peer()
    peer.receive(data, THERE, NOW)
    assert peer.datagrams_to_send() == []
    assert sum(peer.counters.values()) == 2
    assert peer.next_event() is None


def test_a_flood_is_limited_by_source() -> None:
    peer = make_peer()
    answers = [send(peer, Ping()) for _ in range(300)]
    assert 150 < sum(answer is not None for answer in answers) < 300
    assert peer.counters["rate_limited"] > 0
    assert send(peer, Ping(), source=("7.7.7.7", 1)) is not None


def test_dead_bootstrap_addresses_are_tried_again() -> None:
    network = Network(1)
    peer = network.join(HERE, THERE)
    network.run(10)
    failures = network.take(HERE, BootstrapFailed)
    assert [event.retry_in for event in failures[:3]] == [1.0, 2.0, 4.0]
    assert not peer.joined
    other = network.join(THERE)
    network.run(70)
    assert peer.joined
    assert [c.id for c in peer.contacts()] == [other.peer_id]


def test_public_peers_learn_their_addresses_and_bind_their_ids() -> None:
    network = Network(2)
    first = network.join(HERE)
    second = network.join(THERE, HERE)
    network.run(5)
    assert second.peer_id == derive_id(second.public_key, THERE[0])
    assert first.peer_id == derive_id(first.public_key, HERE[0])
    assert network.take(THERE, EndpointLearnt)[-1].endpoint == THERE
    assert first.contacts() == [Contact(second.peer_id, THERE)]
    assert second.contacts() == [Contact(first.peer_id, HERE)]


def test_a_first_peer_is_joined_and_lists_itself() -> None:
    network = Network(3)
    peer = network.join(HERE)
    assert network.take(HERE, Joined)
    handle = peer.advertise(peer.sign_advert(offer("r"), (HERE,), network.now), network.now)
    network.flush(HERE)
    assert network.take(HERE, Advertised) == [Advertised(handle, stored=1, pending=0, levels=1)]
    handle = peer.find_relays(64, network.now)
    network.flush(HERE)
    (found,) = network.take(HERE, RelaysFound)
    assert found.handle == handle
    assert [it.offer.jid for it in found.adverts] == ["r@example.org"]
