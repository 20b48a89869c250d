import pytest

from overlay.core.addresses import Address
from overlay.core.choice.tables import relay_name
from overlay.core.directory.records import Advert, sign_advert
from overlay.core.directory.store import Entry
from overlay.core.directory.tree import directory_key
from overlay.core.identity import Identity, derive_id
from overlay.core.ids import distance
from overlay.core.kademlia.contact import Contact, K
from overlay.core.peer import Peer
from overlay.core.protocol.messages import (
    NO_ADVERTS,
    ErrorCode,
    ErrorReply,
    FindRelays,
    HandOver,
    Relays,
    Reply,
    Request,
    RequestBody,
    Stored,
    StoreResult,
)
from overlay.core.protocol.wire import pack_request, parse_message_untrusted
from tests.overlay.core.network import UNIX_TIME, Network, offer

ROOT = directory_key(0, bytes(20))
RELAY: Address = ("99.1.1.1", 4000)
NEWCOMERS = 20


def holders(network: Network) -> list[Peer]:
    """The k living peers that are nearest to the root of the directory."""
    peers = [network.peers[address] for address in network.living()]
    return sorted(peers, key=lambda peer: distance(peer.peer_id, ROOT))[:K]


def holds(peer: Peer, network: Network) -> bool:
    return bool(peer.store.get(ROOT, network.now + UNIX_TIME))


@pytest.fixture(scope="module")
def network() -> Network:
    """A relay that has registered once, and peers that came after it."""
    network = Network(3)
    first = network.build(40, public=True)
    relay = network.join(RELAY, first[0])
    network.run(10)
    relay.advertise(relay.sign_advert(offer("relay"), (RELAY,), network.now), network.now)
    network.flush(RELAY)
    network.run(10)
    assert all(holds(peer, network) for peer in holders(network) if peer is not relay)
    for number in range(NEWCOMERS):
        network.join((f"{number + 120}.9.9.9", 4000), first[number])
        network.run(5)
    return network


def test_newcomers_are_handed_what_they_are_to_hold(network: Network) -> None:
    newcomers = {network.peers[f"{number + 120}.9.9.9", 4000] for number in range(NEWCOMERS)}
    # Peers do not agree on who is the last of the k.
    nearest = [peer for peer in holders(network)[: 3 * K // 4] if peer in newcomers]
    assert len(nearest) > 2
    assert all(holds(peer, network) for peer in nearest)
    handed = sum(peer.counters["handed_over"] for peer in network.peers.values())
    assert handed <= 3 * NEWCOMERS


def test_a_withdrawal_follows_what_was_handed_over(network: Network) -> None:
    relay = network.peers[RELAY]
    relay.advertise(relay.sign_advert(offer("relay"), (), network.now), network.now)
    network.flush(RELAY)
    network.run(10)
    assert not any(holds(peer, network) for peer in network.peers.values())


class Rig:
    """One peer, and a contact of it that hands over what it likes."""

    def __init__(self) -> None:
        self.network = Network(1)
        self.network.build(2, public=True)
        (self.here, self.peer), (self.there, self.giver) = self.network.peers.items()

    def ask(self, body: RequestBody, *, source: Address | None = None) -> object:
        source = source or self.there
        sender = self.giver.peer_id if source == self.there else derive_id(bytes(32), source[0])
        request = Request(b"transact", sender, True, False, body)
        self.peer.receive(pack_request(request), source, self.network.now)
        for data, _ in self.peer.datagrams_to_send():
            message = parse_message_untrusted(data)
            if isinstance(message, Reply):
                return message.body
            if isinstance(message, ErrorReply):
                return message.code
        return None

    def hand_over(self, advert: Advert, relay: bytes, *, source: Address | None = None) -> object:
        tokens = self.ask(FindRelays(ROOT, NO_ADVERTS), source=source)
        assert isinstance(tokens, Relays)
        return self.ask(HandOver(0, relay, tokens.token, advert.encoded), source=source)


KEY = Identity(bytes(31) + b"\7")
RELAY_ID = derive_id(KEY.public_key, RELAY[0])


def advert_of(rig: Rig, *endpoints: Address, key: Identity = KEY) -> Advert:
    expires = int(rig.network.now + UNIX_TIME) + 3000
    return sign_advert(key, offer("relay"), seq=1, expires=expires, endpoints=endpoints)


def test_what_is_handed_over_is_listed_once_its_relay_has_answered() -> None:
    rig = Rig()
    assert Contact(rig.giver.peer_id, rig.there) in rig.peer.contacts()
    assert rig.hand_over(advert_of(rig, RELAY), RELAY_ID) == Stored(StoreResult.PENDING)
    rig.peer.endpoint_verified(RELAY, relay_name(bytes(32)), rig.network.now)
    assert not holds(rig.peer, rig.network), "somebody else answers there"
    assert rig.hand_over(advert_of(rig, RELAY), RELAY_ID) == Stored(StoreResult.PENDING)
    rig.peer.endpoint_verified(RELAY, relay_name(KEY.public_key), rig.network.now)
    assert holds(rig.peer, rig.network)


def test_nobody_but_contacts_hands_over() -> None:
    rig = Rig()
    stranger = ("77.7.7.7", 4000)
    given = rig.hand_over(advert_of(rig, RELAY), RELAY_ID, source=stranger)
    assert given is ErrorCode.BAD_ADVERT


def test_an_advert_is_handed_over_for_its_own_relay_and_place() -> None:
    rig = Rig()
    other = Identity(bytes(31) + b"\6")
    private = ("10.1.1.1", 4000)
    for advert, relay in (
        (advert_of(rig, RELAY, key=other), RELAY_ID),
        (advert_of(rig, RELAY), bytes(20)),
        (advert_of(rig, ("98.1.1.1", 4000)), RELAY_ID),
        (advert_of(rig, RELAY, ("2a00::1", 4000)), RELAY_ID),
        (advert_of(rig, private), derive_id(KEY.public_key, private[0])),
    ):
        assert rig.hand_over(advert, relay) is ErrorCode.BAD_ADVERT


def test_who_was_handed_an_advert_is_remembered_until_that_expires() -> None:
    rig = Rig()
    handing, giver = rig.peer._handing_over, Contact(rig.giver.peer_id, rig.there)
    relays = [Identity(bytes(31) + bytes([number])) for number in (1, 2)]
    adverts = [advert_of(rig, RELAY, key=relay) for relay in relays]
    for number, advert in enumerate(adverts):
        entry = Entry(advert, 100.0 + number, 0, derive_id(advert.public_key, RELAY[0]))
        handing.handed(giver, entry, 100.0 * number)
    rig.peer.datagrams_to_send()
    for advert, told in zip(adverts, (0, 1), strict=True):
        handing.withdrawn(advert, 100.0)
        assert len(rig.peer.datagrams_to_send()) == told, "the first has expired"
    handing.withdrawn(adverts[1], 100.0)
    assert not rig.peer.datagrams_to_send(), "once is enough"


def test_no_more_than_a_thousand_adverts_are_remembered() -> None:
    rig = Rig()
    handing, giver = rig.peer._handing_over, Contact(rig.giver.peer_id, rig.there)
    entry = Entry(advert_of(rig, RELAY), 100.0, 0, RELAY_ID)
    for _ in range(1100):
        handing.handed(giver, entry, 0.0)
    assert len(handing._handed) == 1024
