"""Searches for relays: which keys are read, how deep, and of whom."""

from collections import Counter

import pytest

from overlay.core.addresses import Address
from overlay.core.directory.hunt import ENOUGH
from overlay.core.directory.tree import SAMPLE_SIZE, directory_key
from overlay.core.events import Advertised, Connected, Joined, RelaysFound
from overlay.core.protocol.messages import FindRelays, Request
from overlay.core.protocol.wire import parse_message_untrusted
from tests.overlay.core.network import Network, offer
from tests.overlay.core.test_network import find

VISITOR: Address = ("66.1.1.1", 5000)


def level_of(key: bytes) -> int:
    """Find the level, of the first few, that a directory key belongs to."""
    for level in range(7):
        for prefix in range(1 << level):
            if directory_key(level, (prefix << (160 - level)).to_bytes(20, "big")) == key:
                return level
    raise AssertionError


def listen(network: Network, asked: Counter[bytes]) -> None:
    """Count the requests for each key that reach any peer from the visitor."""

    def observe(data: bytes, source: Address, _: object) -> None:
        if source == VISITOR:
            message = parse_message_untrusted(data)
            if isinstance(message, Request) and isinstance(message.body, FindRelays):
                asked[message.body.target] += 1

    for shell in network._shells.values():
        shell.observers = (observe,)


def relays(network: Network, addresses: list[Address]) -> None:
    for number, address in enumerate(addresses):
        peer = network.peers[address]
        peer.advertise(peer.sign_advert(offer(f"r{number}"), (address,), network.now), network.now)
        network.flush(address)
    network.run(20)


def visit(network: Network, bootstrap: Address, limit: float = 3.0) -> tuple[RelaysFound, float]:
    """Have a client come and search at once; returns what it found and how long that took."""
    visitor = network.join(VISITOR, bootstrap, client=True)
    while not network.take(VISITOR, Connected):
        network.run(0.01)
    started = network.now
    visitor.find_relays(64, started, limit)
    network.flush(VISITOR)
    while True:
        network.run(0.01)
        if found := network.take(VISITOR, RelaysFound):
            return found[0], network.now - started


@pytest.fixture(scope="module")
def crowd() -> tuple[Network, list[Address]]:
    """A network of more relays than a sample holds."""
    network = Network(31)
    addresses = network.build(SAMPLE_SIZE + 8, public=True)
    network.run(30)
    relays(network, addresses)
    return network, addresses


def test_many_relays_spread_over_the_levels_of_the_tree(
    crowd: tuple[Network, list[Address]],
) -> None:
    network, addresses = crowd
    levels = [network.take(address, Advertised)[0].levels for address in addresses]
    assert min(levels) >= 2
    for address in addresses[:10]:
        assert len(find(network, address)) >= 32


def test_a_search_may_want_more_than_one_key_holds(
    crowd: tuple[Network, list[Address]],
) -> None:
    network, addresses = crowd
    assert len(find(network, addresses[0], 2 * SAMPLE_SIZE)) > SAMPLE_SIZE


def test_a_visitor_reads_deep_keys_and_does_not_join(
    crowd: tuple[Network, list[Address]],
) -> None:
    network, addresses = crowd
    asked: Counter[bytes] = Counter()
    listen(network, asked)
    found, elapsed = visit(network, addresses[-1])
    assert len(found.adverts) >= ENOUGH
    assert elapsed < 1.0
    assert not network.take(VISITOR, Joined)
    assert min(map(level_of, asked)) >= 1  # not the root, which all others would read too
    assert network.peers[VISITOR].counters["sent"] < 250


def test_a_client_that_stays_joins_after_all() -> None:
    network = Network(32)
    addresses = network.build(20, public=True)
    visitor = network.join(VISITOR, addresses[0], client=True)
    network.run(20)
    assert network.take(VISITOR, Joined)
    assert len(visitor.contacts()) >= 10


def test_few_relays_are_found_higher_up() -> None:
    network = Network(33)
    addresses = network.build(60, public=True)
    network.run(30)
    relays(network, addresses[:3])
    found, elapsed = visit(network, addresses[-1])
    assert {advert.offer.jid for advert in found.adverts} == {
        f"r{number}@example.org" for number in range(3)
    }
    assert elapsed < 3.0


def test_a_search_tells_how_many_relays_there_are() -> None:
    network = Network(36)
    addresses = network.build(80, public=True)
    network.run(30)
    relays(network, addresses[:12])
    searcher = addresses[-1]
    find(network, searcher)
    assert network.peers[searcher]._rpc.relays() == pytest.approx(12, abs=6)


def test_readers_are_spread_over_the_replicas() -> None:
    network = Network(34)
    addresses = network.build(40, public=True)
    network.run(30)
    relays(network, addresses[:6])
    before = {address: network.peers[address].counters["answered"] for address in addresses}
    for address in addresses:
        network.peers[address].find_relays(6, network.now)
        network.flush(address)
        network.run(1)
    loads = [network.peers[one].counters["answered"] - before[one] for one in addresses]
    assert max(loads) <= 4 * sum(loads) / len(loads)


def test_the_time_for_a_search_is_kept() -> None:
    """Even if everybody has gone silent."""
    network = Network(35)
    addresses = network.build(40, public=True)
    network.run(30)
    network.kill(*addresses[1:])
    searcher = network.peers[addresses[0]]
    handle = searcher.find_relays(64, network.now, 3.0)
    network.flush(addresses[0])
    network.run(3.0)
    searcher.stop_search(handle, network.now)
    network.flush(addresses[0])
    (found,) = network.take(addresses[0], RelaysFound)
    assert found.adverts == ()
