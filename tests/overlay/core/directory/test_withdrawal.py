"""Adverts that are taken out again, on a simulated network."""

import pytest

from overlay.core.addresses import Address
from overlay.core.directory import registration
from overlay.core.events import Advertised
from tests.overlay.core.network import Network, offer

RELAY: Address = ("99.1.7.9", 5000)
LEVELS = 3


def put(network: Network, endpoints: tuple[Address, ...], seconds: float) -> None:
    """Have the relay sign an advert, and let time pass."""
    relay = network.peers[RELAY]
    network.run(0.01)  # the time is its sequence number
    advert = relay.sign_advert(offer("r"), endpoints, network.now)
    relay.advertise(advert, network.now)
    network.flush(RELAY)
    network.run(seconds)


def held(network: Network) -> int:
    """Copies of adverts in the whole network."""
    return sum(len(peer.store) for peer in network.peers.values())


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    """Some peers and the relay, which take the network for a large one."""
    monkeypatch.setattr(registration, "deepest_level", lambda size: LEVELS - 1)
    network = Network(5)
    addresses = network.build(25, public=True)
    network.join(RELAY, addresses[0])
    network.run(5)
    return network


def test_all_levels_hear_of_it_at_once(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    put(network, (RELAY,), 10)
    (registered,) = network.take(RELAY, Advertised)
    assert registered.levels == LEVELS
    copies = held(network)
    assert copies > LEVELS
    # The levels that it was put at count, whatever the size of the network is by now.
    monkeypatch.setattr(registration, "deepest_level", lambda size: 0)
    put(network, (), 0.2)
    (withdrawn,) = network.take(RELAY, Advertised)
    assert withdrawn.levels == LEVELS
    assert withdrawn.stored >= copies
    assert held(network) == 0


def test_those_that_are_not_among_the_closest_any_more_hear_of_it(network: Network) -> None:
    put(network, (RELAY,), 10)
    for number in range(25):
        network.join((f"{number + 100}.9.7.9", 4000), RELAY)
        network.run(0.5)
    network.run(5)
    assert held(network) > 0
    put(network, (), 1)
    assert held(network) == 0


@pytest.mark.parametrize("seconds", [0.02, 0.06, 0.3])
def test_a_registration_under_way_does_not_bring_it_back(network: Network, seconds: float) -> None:
    put(network, (RELAY,), seconds)
    put(network, (), 60)
    assert held(network) == 0


def test_a_relay_alone_forgets_its_own() -> None:
    network = Network(6)
    network.join(RELAY)
    network.run(1)
    put(network, (RELAY,), 1)
    assert held(network) == 1
    put(network, (), 0)
    assert held(network) == 0
