"""Hosts get their places behind NATs in the shares of a scenario."""

import random
from collections import Counter

import pytest

from simulations.addresses import public_hosts
from simulations.events import EventHeap
from simulations.latency import FlatLatency
from simulations.nat import Dependence
from simulations.network import Network
from simulations.run.nats import KINDS, OPEN, Homes, kind_behind
from simulations.scenario.network import NatSettings

SHARES = NatSettings(
    open=0.4, full_cone=0.2, symmetric=0.2, carrier_grade=0.2, hosts_per_nat=2, homes_per_carrier=3
)


def homes(settings: NatSettings) -> Homes:
    rng = random.Random(1)
    network = Network(EventHeap(), FlatLatency(0.1), rng)
    return Homes(network, rng, settings, public_hosts(rng, 100))


def test_hosts_are_behind_what_the_shares_say() -> None:
    world = homes(SHARES)
    drawn = Counter(world.draw() for _ in range(5000))
    for kind, share in SHARES.shares.items():
        assert drawn[kind] / 5000 == pytest.approx(share, abs=0.03)
    hidden = Counter(world.hidden_kinds(5000))
    assert hidden[OPEN] == 0
    assert hidden["symmetric"] / 5000 == pytest.approx(1 / 3, abs=0.03)
    assert homes(NatSettings()).hidden_kinds(0) == []


def test_hosts_of_a_home_share_its_nat_and_homes_their_provider() -> None:
    world = homes(SHARES)
    first, second, third = (world.place("carrier_grade") for _ in range(3))
    assert first.behind is second.behind is not third.behind
    assert first.behind is not None
    assert third.behind is not None
    carrier = first.behind.behind
    assert carrier is third.behind.behind
    assert carrier is not None
    assert carrier.mapping is Dependence.PORT_DEPENDENT
    assert first.behind.name.startswith("100.64.")
    others = [world.place("carrier_grade") for _ in range(4)]
    assert others[-1].behind is not None
    assert others[-1].behind.behind is not carrier
    assert world.place(OPEN).behind is None


def test_it_can_be_told_what_a_host_is_behind() -> None:
    world = homes(SHARES)
    assert {kind_behind(world.place(kind)) for kind in KINDS} == set(KINDS)
    assert all(kind_behind(world.place(kind)) == kind for kind in KINDS)


def test_some_nats_hairpin_and_all_have_the_timeout_of_the_scenario() -> None:
    settings = NatSettings(open=0.0, symmetric=1.0, hairpin=0.5, mapping_timeout=7.0)
    world = homes(settings)
    nats = [world.place("symmetric").behind for _ in range(200)]
    hairpinning = sum(nat.hairpinning for nat in nats if nat is not None)
    assert hairpinning == pytest.approx(100, abs=30)
    nat = nats[0]
    assert nat is not None
    outer = nat.outbound(("10.0.0.1", 1), ("11.0.0.1", 1), 0.0)
    assert nat.inbound(("11.0.0.1", 1), outer, 6.9) == ("10.0.0.1", 1)
    assert nat.inbound(("11.0.0.1", 1), outer, 7.1) is None
