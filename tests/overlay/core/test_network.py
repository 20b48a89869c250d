"""Whole networks in memory, seeded; a failure names the seed."""

import pytest

from overlay.core.addresses import Address
from overlay.core.directory.records import sign_advert
from overlay.core.directory.registration import SETTLED
from overlay.core.directory.tree import directory_key
from overlay.core.events import Advertised, LookupEnded, RelaysFound
from overlay.core.identity import Identity, derive_id
from overlay.core.kademlia.contact import K
from overlay.core.kademlia.joining import REFRESH
from overlay.core.kademlia.lookup import LOOKUP_K, Ending
from overlay.core.protocol.messages import (
    ErrorCode,
    ErrorReply,
    FindRelays,
    Message,
    Relays,
    Reply,
    Request,
    RequestBody,
    Store,
)
from overlay.core.protocol.wire import pack_request, parse_message_untrusted
from simulations.nat import Firewall

from .network import UNIX_TIME, Network, offer


def look_up(network: Network, address: Address, target: bytes) -> LookupEnded:
    network.peers[address].find_node(target, network.now)
    network.flush(address)
    network.run(10)
    (ended,) = network.take(address, LookupEnded)
    return ended


def closest(network: Network, target: bytes, but: Address) -> list[bytes]:
    """What a sort over all living peers says."""
    living = [network.peers[address].peer_id for address in network.living() if address != but]
    value = int.from_bytes(target, "big")
    return sorted(living, key=lambda peer_id: int.from_bytes(peer_id, "big") ^ value)[:LOOKUP_K]


def advertise(network: Network, address: Address, name: str) -> None:
    peer = network.peers[address]
    peer.advertise(peer.sign_advert(offer(name), (address,), network.now), network.now)
    network.flush(address)


def find(network: Network, address: Address, wanted: int = 64) -> set[str]:
    network.peers[address].find_relays(wanted, network.now)
    network.flush(address)
    network.run(10)
    (found,) = network.take(address, RelaysFound)
    return {advert.offer.jid.partition("@")[0] for advert in found.adverts}


@pytest.mark.parametrize(("seed", "public"), [(1, False), (2, True)])
def test_lookups_find_the_closest_of_all_peers(seed: int, public: bool) -> None:
    network = Network(seed)
    addresses = network.build(80, public=public)
    network.run(30)
    for _ in range(40):
        target = network.rng.randbytes(20)
        address = network.rng.choice(addresses)
        ended = look_up(network, address, target)
        assert ended.ending is Ending.COMPLETED
        assert [c.id for c in ended.contacts] == closest(network, target, address), f"seed {seed}"


def test_lookups_stand_dead_peers_and_loss() -> None:
    network = Network(4, loss=0.02)
    addresses = network.build(80)
    network.run(30)
    network.kill(*network.rng.sample(addresses, 24))
    living = network.living()
    found = wanted = nearest = 0
    for _ in range(40):
        target = network.rng.randbytes(20)
        address = network.rng.choice(living)
        expected = closest(network, target, address)
        ended = look_up(network, address, target)
        found += len({c.id for c in ended.contacts} & set(expected))
        wanted += len(expected)
        nearest += {c.id for c in ended.contacts} >= set(expected[:3])
    assert found >= 0.9 * wanted
    assert nearest >= 36


def test_relays_are_found_by_a_client_that_knows_one_address() -> None:
    network = Network(5)
    addresses = network.build(40, public=True)
    for number, address in enumerate(addresses[:20]):
        advertise(network, address, f"r{number}")
    network.run(2)
    for address in addresses[:20]:
        (advertised,) = network.take(address, Advertised)
        assert advertised.stored >= K
    visitor = ("66.1.1.1", 5000)
    network.join(visitor, addresses[-1], client=True)
    network.run(1)
    assert find(network, visitor) == {f"r{number}" for number in range(20)}
    assert all(
        contact.address != visitor for peer in network.peers.values() for contact in peer.contacts()
    )


def test_a_relay_that_strangers_cannot_reach_is_not_found() -> None:
    network = Network(6)
    addresses = network.build(30, public=True)
    network.hide(addresses[3], Firewall())
    for _ in range(2):
        advertise(network, addresses[3], "behind-nat")
        advertise(network, addresses[4], "open")
        network.run(20)
        (hidden,) = network.take(addresses[3], Advertised)
        (listed,) = network.take(addresses[4], Advertised)
        assert hidden.pending == hidden.stored > SETTLED
    assert listed.pending < listed.stored // 4
    assert find(network, addresses[9]) == {"open"}


def test_an_advert_ends_with_its_hour() -> None:
    network = Network(7)
    addresses = network.build(10)
    advertise(network, addresses[2], "r")
    network.run(2)
    assert find(network, addresses[5]) == {"r"}
    network.run(3700)
    assert find(network, addresses[5]) == set()


def test_three_peers_are_a_network() -> None:
    network = Network(9)
    one, two, three = network.build(3)
    advertise(network, two, "r")
    network.run(1)
    assert find(network, one) == find(network, three) == {"r"}
    visitor = ("127.0.0.1", 9000)
    network.join(visitor, one, client=True)
    network.run(0.2)
    assert find(network, visitor) == {"r"}


def test_no_request_sets_off_more_than_it_holds() -> None:
    network = Network(10, loss=0.05)
    addresses = network.build(25, public=True)
    for number, address in enumerate(addresses):
        advertise(network, address, f"r{number}")
    network.run(60)
    find(network, addresses[0])
    assert network.audit.requests > 1000
    assert network.audit.larger == 0


def test_the_same_seed_is_the_same_network() -> None:
    def trace(seed: int) -> str:
        network = Network(seed, loss=0.1)
        network.build(15)
        network.run(60)
        return network.trace.hexdigest()

    assert trace(11) == trace(11)
    assert trace(11) != trace(12)


def test_an_idle_peer_sends_little() -> None:
    network = Network(12)
    addresses = network.build(40)
    network.run(60)
    before = network.traffic
    network.run(3600)
    assert (network.traffic - before) / len(addresses) / 3600 < 1000


def test_far_buckets_are_refreshed_and_our_neighbourhood_is_looked_up_as_a_whole() -> None:
    network = Network(14)
    addresses = network.build(80)
    network.run(1.3 * REFRESH)
    idle = network.peers[addresses[7]]._rpc.table
    before = [bucket.looked_up for bucket in idle.buckets]
    far = dict(idle.far_buckets())
    assert 0 < len(far) < len(before)
    near = [bucket.contacts for index, bucket in enumerate(idle.buckets) if index not in far]
    assert sum(map(len, near)) <= K
    assert all(network.now - before[index] < 1.3 * REFRESH for index in far)
    nearest = idle.buckets[-1].contacts[0]
    network.peers[addresses[7]].find_node(nearest.id, network.now)
    assert idle.buckets[-1].looked_up == network.now, "it was looked up"


def test_an_advert_is_kept_by_none_but_the_peers_near_its_key() -> None:
    network = Network(13)
    addresses = network.build(150)
    network.run(30)
    key = directory_key(0, bytes(20))
    distance_of = {
        address: int.from_bytes(network.peers[address].peer_id, "big") ^ int.from_bytes(key, "big")
        for address in addresses
    }
    # Whoever knows few others cannot tell, and keeps what it is given.
    grown = (one for one in addresses if len(network.peers[one].contacts()) >= 3 * K)
    *_, furthest = sorted(grown, key=distance_of.__getitem__)
    visitor = ("127.0.0.1", 9000)
    identity = Identity(bytes(32))
    sender = derive_id(identity.public_key, None)
    it = sign_advert(
        identity,
        offer("r"),
        seq=1,
        expires=int(UNIX_TIME + network.now) + 3600,
        endpoints=(visitor,),
    )
    peer = network.peers[furthest]

    def ask(body: RequestBody) -> Message:
        request = Request(bytes(8), sender, client=True, prove=False, body=body)
        peer.receive(pack_request(request), visitor, network.now)
        (reply,) = (data for data, to in peer.datagrams_to_send() if to == visitor)
        return parse_message_untrusted(reply)

    relays = ask(FindRelays(key, 0))
    assert isinstance(relays, Reply)
    assert isinstance(relays.body, Relays)
    refusal = ask(Store(0, relays.body.token, it.encoded))
    assert refusal == ErrorReply(bytes(8), ErrorCode.TOO_FAR)


def test_whoever_knows_only_dead_peers_joins_by_those_who_come_by_it() -> None:
    network = Network(1)
    lone = ("127.0.0.1", 4000)
    peer = network.join(lone, ("127.0.0.1", 9999))
    for number in range(1, 4):
        network.join(("127.0.0.1", 4000 + number), lone)
    network.run(60)
    assert len(list(peer.contacts())) == 3
    assert peer.joined
