"""NATs of the simulated network: RFC 4787, seen from both sides."""

import random
from itertools import product

import pytest

from overlay.core.addresses import Address
from simulations.errors import SimulationError
from simulations.events import EventHeap
from simulations.latency import FlatLatency
from simulations.nat import IDLE, Dependence, Nat
from simulations.network import Host, Network, Socket

FRIEND, STRANGER = "11.0.0.1", "12.0.0.1"
OUTER, INNER, NEIGHBOUR = "13.0.0.1", "192.168.1.2", "192.168.1.3"
KINDS = list(Dependence)


class World:
    """Hosts, and what each of their sockets received."""

    def __init__(self) -> None:
        self.heap = EventHeap()
        self.network = Network(self.heap, FlatLatency(0.1), random.Random(3))
        self.received: dict[Address, list[tuple[bytes, Address]]] = {}

    def open(self, name: str, port: int, behind: Nat | None = None) -> Socket:
        def note(data: bytes, source: Address) -> None:
            self.received[name, port].append((data, source))

        self.received[name, port] = []
        return self.network.bind(Host(name, 0, behind=behind), port, note)

    def send(self, socket: Socket, data: bytes, to: Address, wait: float = 1.0) -> None:
        self.network.send(socket, data, to)
        self.heap.run(wait)

    def take(self, socket: Socket) -> list[tuple[bytes, Address]]:
        taken = self.received[socket.address]
        self.received[socket.address] = []
        return taken

    def seen_from(self, inside: Socket, outside: Socket) -> Address:
        """The address that a datagram from within has without."""
        self.send(inside, b"hello", outside.address)
        [(data, source)] = self.take(outside)
        assert data == b"hello"
        return source


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize(("mapping", "expected"), list(zip(KINDS, (1, 2, 3), strict=True)))
def test_the_outer_port_depends_on_what_the_kind_says(
    world: World, mapping: Dependence, expected: int
) -> None:
    nat = world.network.add_nat(Nat(OUTER, mapping))
    inside = world.open(INNER, 5000, nat)
    outside = [world.open(FRIEND, 1), world.open(FRIEND, 2), world.open(STRANGER, 1)]
    seen = [world.seen_from(inside, socket) for socket in outside]
    assert {host for host, _ in seen} == {OUTER}
    assert len(set(seen)) == expected
    assert [world.seen_from(inside, socket) for socket in outside] == seen


@pytest.mark.parametrize(("mapping", "filtering"), list(product(KINDS, KINDS)))
def test_who_is_let_in_depends_on_what_the_kind_says(
    world: World, mapping: Dependence, filtering: Dependence
) -> None:
    nat = world.network.add_nat(Nat(OUTER, mapping, filtering))
    inside = world.open(INNER, 5000, nat)
    friend, other_port, stranger = (
        world.open(FRIEND, 1),
        world.open(FRIEND, 2),
        world.open(STRANGER, 1),
    )
    seen = world.seen_from(inside, friend)
    for socket, name in ((friend, b"friend"), (other_port, b"port"), (stranger, b"stranger")):
        world.send(socket, name, seen)
    names = [data for data, _ in world.take(inside)]
    assert names == [b"friend", b"port", b"stranger"][: 3 - KINDS.index(filtering)]
    # And nobody reaches the private address, or a port that nobody has.
    for to in ((INNER, 5000), (OUTER, seen[1] + 1), (OUTER, 80)):
        world.send(friend, b"in", to)
    assert world.take(inside) == []


def test_a_mapping_lapses_unless_it_is_used_from_within(world: World) -> None:
    nat = world.network.add_nat(Nat(OUTER, filtering=Dependence.ENDPOINT_INDEPENDENT))
    inside, friend = world.open(INNER, 5000, nat), world.open(FRIEND, 1)
    seen = world.seen_from(inside, friend)
    world.heap.run(IDLE - 10)
    assert world.seen_from(inside, friend) == seen
    world.heap.run(IDLE - 10)
    world.send(friend, b"in time", seen)
    world.heap.run(20)
    world.send(friend, b"too late", seen)
    assert [data for data, _ in world.take(inside)] == [b"in time"]
    assert world.seen_from(inside, friend) != seen


@pytest.mark.parametrize("hairpinning", [True, False])
def test_neighbours_meet_by_their_outer_addresses_if_the_nat_hairpins(
    world: World, hairpinning: bool
) -> None:
    nat = world.network.add_nat(
        Nat(OUTER, filtering=Dependence.ENDPOINT_INDEPENDENT, hairpinning=hairpinning)
    )
    inside, neighbour = world.open(INNER, 5000, nat), world.open(NEIGHBOUR, 5000, nat)
    friend = world.open(FRIEND, 1)
    seen, other = world.seen_from(inside, friend), world.seen_from(neighbour, friend)
    world.send(neighbour, b"around", seen)
    assert world.take(inside) == [(b"around", other)] * hairpinning  # REQ-9: the outer source
    world.send(neighbour, b"directly", inside.address)
    assert world.take(inside) == [(b"directly", neighbour.address)]


@pytest.mark.parametrize("hairpinning", [True, False])
def test_a_nat_behind_a_nat(world: World, hairpinning: bool) -> None:
    provider = world.network.add_nat(Nat(OUTER, Dependence.PORT_DEPENDENT, hairpinning=hairpinning))
    homes = [world.network.add_nat(Nat(f"100.64.0.{n}", behind=provider)) for n in (1, 2)]
    one, two = world.open(INNER, 5000, homes[0]), world.open(NEIGHBOUR, 5000, homes[1])
    friend, other = world.open(FRIEND, 1), world.open(FRIEND, 2)
    seen = world.seen_from(one, friend)
    assert seen[0] == OUTER
    assert world.seen_from(one, other) != seen
    world.send(friend, b"back", seen)
    assert world.take(one) == [(b"back", friend.address)]
    world.send(two, b"into a home", ("100.64.0.1", 1024))
    world.send(friend, b"into a home", ("100.64.0.1", 1024))
    assert world.take(one) == []
    # By the provider's hairpin a datagram comes as far as the filter of the other home.
    filtered = world.network.counters["filtered"]
    world.send(two, b"around", seen)
    assert world.take(one) == []
    assert world.network.counters["filtered"] == filtered + 1


def test_an_outer_address_is_of_one_nat(world: World) -> None:
    world.network.add_nat(Nat(OUTER))
    with pytest.raises(SimulationError, match="there is a NAT"):
        world.network.add_nat(Nat(OUTER))


def test_ports_end(world: World) -> None:
    nat = Nat(OUTER, Dependence.PORT_DEPENDENT)

    def send(port: int) -> Address:
        return nat.outbound((INNER, 1), (FRIEND, port), 0.0)

    seen = {send(port) for port in range(1, 65_536 - 1023)}
    assert len(seen) == 65_536 - 1024
    with pytest.raises(SimulationError, match="in use"):
        send(65_535)
