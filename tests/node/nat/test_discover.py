"""NATs of all kinds, recognised over the simulated network."""

from dataclasses import dataclass
from itertools import product

import pytest
import trio
from trio.testing import MockClock

from node.nat.behaviour import Behaviour, NatBehaviour
from node.nat.discover import discover
from node.nat.server import Addresses
from overlay.core.addresses import Address
from overlay.core.protocol import stun
from overlay.core.protocol.behaviour import Change, discovery_response
from simulations.nat import Dependence, Firewall, Nat
from simulations.network import Host
from tests.node.nat.worlds import FULL, FULL6, PLAIN, PLAIN6, World, binding

OUTER, INNER = "13.0.0.1", "192.168.1.2"
OPEN, BY_HOST, BY_PORT = Dependence
NAMES = {
    OPEN: Behaviour.ENDPOINT_INDEPENDENT,
    BY_HOST: Behaviour.ADDRESS_DEPENDENT,
    BY_PORT: Behaviour.ADDRESS_AND_PORT_DEPENDENT,
}


@dataclass(frozen=True)
class Kind:
    """A NAT as RFC 3489 called it."""

    name: str
    mapping: Dependence
    filtering: Dependence


FULL_CONE = Kind("full cone", OPEN, OPEN)
KINDS = [
    FULL_CONE,
    Kind("address-restricted cone", OPEN, BY_HOST),
    Kind("port-restricted cone", OPEN, BY_PORT),
    Kind("symmetric", BY_PORT, BY_PORT),
]


@pytest.fixture
async def world(nursery: trio.Nursery) -> World:
    return World(nursery)


def behind(world: World, kind: Kind, *, hairpinning: bool = False) -> Host:
    nat = Nat(OUTER, kind.mapping, kind.filtering, hairpinning=hairpinning)
    return Host(INNER, 0, behind=world.network.add_nat(nat))


def hairpins(mapping: Dependence, filtering: Dependence, hairpinning: bool) -> bool | None:
    """What can be told: nobody knows the port from which a symmetric NAT would come around."""
    if OPEN in (mapping, filtering):
        return hairpinning
    return None


@pytest.mark.parametrize("hairpinning", [False, True])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_a_server_with_two_addresses_tells_the_four_kinds(
    autojump_clock: MockClock, world: World, kind: Kind, hairpinning: bool
) -> None:
    behaviour = await world.discover(behind(world, kind, hairpinning=hairpinning), FULL[:1])
    assert behaviour.mapping == NAMES[kind.mapping]
    assert behaviour.filtering == NAMES[kind.filtering]
    assert behaviour.hairpinning is hairpins(kind.mapping, kind.filtering, hairpinning)
    assert behaviour.local is not None
    assert behaviour.local[0] == INNER
    assert behaviour.mapped is not None
    assert behaviour.mapped[0] == OUTER
    assert world.responders[0].counters["rate_limited"] == 0


@pytest.mark.parametrize("hairpinning", [False, True])
@pytest.mark.parametrize(("mapping", "filtering"), list(product(Dependence, Dependence)))
async def test_all_other_combinations_with_losses_and_more_servers(
    autojump_clock: MockClock,
    nursery: trio.Nursery,
    mapping: Dependence,
    filtering: Dependence,
    hairpinning: bool,
) -> None:
    world = World(nursery, loss=0.1)
    host = behind(world, Kind("", mapping, filtering), hairpinning=hairpinning)
    behaviour = await world.discover(host, (*PLAIN, *FULL))
    assert behaviour.mapping == NAMES[mapping]
    assert behaviour.filtering == NAMES[filtering]
    assert behaviour.hairpinning is hairpins(mapping, filtering, hairpinning)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("reached", [None, False, True])
async def test_plain_servers_tell_the_mapping_and_witnesses_whether_strangers_come_in(
    autojump_clock: MockClock, world: World, kind: Kind, reached: bool | None
) -> None:
    behaviour = await world.discover(behind(world, kind), PLAIN, reached)
    symmetric = kind.mapping is BY_PORT
    assert behaviour.mapping == (
        Behaviour.DEPENDENT if symmetric else Behaviour.ENDPOINT_INDEPENDENT
    )
    assert (
        behaviour.filtering
        == {
            None: Behaviour.UNKNOWN,
            False: Behaviour.DEPENDENT,
            True: Behaviour.ENDPOINT_INDEPENDENT,
        }[reached]
    )


@pytest.mark.parametrize(
    ("mapping", "expected"),
    [
        (OPEN, Behaviour.ENDPOINT_INDEPENDENT),
        (BY_HOST, Behaviour.ADDRESS_DEPENDENT),
        (BY_PORT, Behaviour.ADDRESS_AND_PORT_DEPENDENT),
    ],
)
async def test_two_ports_of_one_plain_host_tell_the_mapping_closer(
    autojump_clock: MockClock, world: World, mapping: Dependence, expected: Behaviour
) -> None:
    second: Address = (PLAIN[0][0], 4279)
    world.serve(second, binding)
    host = behind(world, Kind("", mapping, BY_PORT))
    assert (await world.discover(host, (*PLAIN, second))).mapping == expected
    both = await world.discover(host, (PLAIN[0], second))
    told = expected if mapping is BY_PORT else Behaviour.UNKNOWN
    assert both.mapping == told


@pytest.mark.parametrize("servers", [(*PLAIN, *FULL), (*PLAIN6, *FULL6)], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("filtering", Dependence)
async def test_without_a_nat_there_may_be_a_firewall(
    autojump_clock: MockClock, world: World, servers: tuple[Address, ...], filtering: Dependence
) -> None:
    name = "2a03::7" if ":" in servers[0][0] else "13.0.0.7"
    for gate, expected in (
        (None, Behaviour.ENDPOINT_INDEPENDENT),
        (Firewall(filtering), NAMES[filtering]),
    ):
        behaviour = await world.discover(Host(name, 0, gate), servers)
        assert behaviour.mapping is Behaviour.NONE
        assert behaviour.filtering is expected
        assert behaviour.hairpinning is None
        assert behaviour.mapped == behaviour.local


@pytest.mark.parametrize("hairpinning", [False, True])
@pytest.mark.parametrize("home", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("provider", KINDS, ids=lambda kind: kind.name)
async def test_the_nat_of_a_provider_and_that_at_home_are_as_close_as_the_closer_one(
    autojump_clock: MockClock, world: World, home: Kind, provider: Kind, hairpinning: bool
) -> None:
    outer = world.network.add_nat(
        Nat(OUTER, provider.mapping, provider.filtering, hairpinning=hairpinning)
    )
    inner = world.network.add_nat(
        Nat("100.64.0.1", home.mapping, home.filtering, hairpinning=True, behind=outer)
    )
    behaviour = await world.discover(Host(INNER, 0, behind=inner), FULL)
    order = list(Dependence)
    mapping = max(home.mapping, provider.mapping, key=order.index)
    filtering = max(home.filtering, provider.filtering, key=order.index)
    assert behaviour.mapping == NAMES[mapping]
    assert behaviour.filtering == NAMES[filtering]
    assert behaviour.hairpinning is hairpins(mapping, filtering, hairpinning)


async def test_nothing_is_known_where_nobody_answers(
    autojump_clock: MockClock, world: World
) -> None:
    started = trio.current_time()
    behaviour = await world.discover(Host("13.0.0.7", 0), [("99.0.0.1", 1)])
    assert trio.current_time() - started == pytest.approx(5.5)
    assert (behaviour.mapping, behaviour.filtering) == (Behaviour.UNKNOWN, Behaviour.UNKNOWN)
    assert await world.discover(Host("13.0.0.8", 0), []) == NatBehaviour()
    with pytest.raises(ValueError, match="one address family"):
        await discover([PLAIN[0], PLAIN6[0]])


async def test_it_takes_no_longer_than_it_says(autojump_clock: MockClock, world: World) -> None:
    started = trio.current_time()
    await world.discover(behind(world, KINDS[3]), (*FULL, ("99.0.0.1", 1)))
    assert trio.current_time() - started < 17


# Servers that are broken, or lie.


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_a_minority_that_lies_about_the_mapping_is_outvoted_or_believed_nothing(
    autojump_clock: MockClock, world: World, kind: Kind
) -> None:
    def lie(data: bytes, source: Address) -> bytes:
        return stun.binding_response(stun.parse_stun_untrusted(data), ("66.0.0.1", source[1]))

    liar = world.serve(("10.6.6.6", 6), lie).address
    behaviour = await world.discover(behind(world, kind), (liar, *PLAIN))
    symmetric = kind.mapping is BY_PORT
    assert behaviour.mapping == (
        Behaviour.DEPENDENT if symmetric else Behaviour.ENDPOINT_INDEPENDENT
    )
    if not symmetric:
        assert behaviour.mapped is not None
        assert behaviour.mapped[0] == OUTER


@pytest.mark.parametrize(
    ("alive", "obeys", "expected"),
    [
        # Nobody is at the other host: nothing can be told of who would be let in from there.
        ([Change(), Change(port=True)], True, Behaviour.UNKNOWN),
        # Nobody is at the other port: strangers are kept out, and that is all.
        ([Change(), Change(True, True)], True, Behaviour.DEPENDENT),
    ],
)
async def test_silence_of_what_is_not_there_is_not_filtering(
    autojump_clock: MockClock, world: World, alive: list[Change], obeys: bool, expected: Behaviour
) -> None:
    addresses = Addresses(("41.0.0.1", 3478), ("42.0.0.1", 3479))
    world.serve_fully(addresses, alive, obeys)
    host = behind(world, KINDS[2])
    behaviour = await world.discover(host, (*PLAIN, addresses.first))
    assert behaviour.mapping is Behaviour.ENDPOINT_INDEPENDENT
    assert behaviour.filtering is expected


async def test_of_two_servers_the_one_that_works_decides(
    autojump_clock: MockClock, world: World
) -> None:
    addresses = Addresses(("41.0.0.1", 3478), ("42.0.0.1", 3479))
    world.serve_fully(addresses, obeys=False)
    behaviour = await world.discover(behind(world, FULL_CONE), (addresses.first, FULL[0]))
    assert behaviour.filtering is Behaviour.ENDPOINT_INDEPENDENT


async def test_a_server_that_names_another_address_and_refuses_to_use_it_tells_nothing(
    autojump_clock: MockClock,
    world: World,
) -> None:
    address, other = ("41.0.0.1", 3478), ("31.0.0.1", 3479)

    def refuse(data: bytes, source: Address) -> bytes:
        request = stun.parse_stun_untrusted(data)
        if types := stun.attributes_not_understood(data):
            return stun.not_understood_response(request, types)
        return discovery_response(request, source, address, other)

    world.serve(address, refuse)
    started = trio.current_time()
    behaviour = await world.discover(behind(world, KINDS[2]), (address, *PLAIN))
    assert behaviour.filtering is Behaviour.UNKNOWN
    assert trio.current_time() - started < 12  # the errors are not waited for


async def test_answers_of_somebody_else_do_not_count(
    autojump_clock: MockClock, world: World
) -> None:
    """A stranger who reads along answers for the other address, from where he is."""
    addresses = Addresses(("41.0.0.1", 3478), ("42.0.0.1", 3479))
    stranger = world.serve(("43.0.0.1", 1), lambda data, source: None)

    def betray(data: bytes, source: Address) -> bytes:
        request = stun.parse_stun_untrusted(data)
        response = discovery_response(request, source, addresses.first, addresses.other)
        world.network.send(stranger, response, source)
        wants_change = stun.attributes_not_understood(data) != ()
        return b"\0" * 40 if wants_change else response

    world.serve(addresses.first, betray)
    behaviour = await world.discover(behind(world, FULL_CONE), (addresses.first, *PLAIN))
    assert behaviour.filtering is Behaviour.UNKNOWN
    assert behaviour.mapping is Behaviour.ENDPOINT_INDEPENDENT


async def test_nothing_is_sent_to_the_other_address_of_a_server_in_another_network_kind(
    autojump_clock: MockClock,
    world: World,
) -> None:
    victim = world.serve(("10.1.2.3", 53), binding)

    def aim(data: bytes, source: Address) -> bytes:
        request = stun.parse_stun_untrusted(data)
        return discovery_response(request, source, ("41.0.0.1", 3478), victim.address)

    world.serve(("41.0.0.1", 3478), aim)
    await world.discover(behind(world, FULL_CONE), (("41.0.0.1", 3478), *PLAIN))
    assert victim.received_bytes == 0


async def test_a_server_cannot_aim_hairpins_at_a_third_party(
    autojump_clock: MockClock, world: World
) -> None:
    victim = world.serve(("66.0.0.1", 53), binding)
    asked: set[Address] = set()

    def aim(data: bytes, source: Address) -> bytes:
        """Tell the first socket the truth, and the others that they are the victim."""
        asked.add(source)
        seen = source if len(asked) == 1 else victim.address
        return stun.binding_response(stun.parse_stun_untrusted(data), seen)

    world.serve(("10.6.6.6", 6), aim)
    behaviour = await world.discover(behind(world, FULL_CONE), (("10.6.6.6", 6), *PLAIN))
    assert behaviour.mapping is Behaviour.ENDPOINT_INDEPENDENT
    assert behaviour.hairpinning is None
    assert len(asked) == 2
    assert victim.received_bytes == 0


async def test_garbage_ends_nothing(autojump_clock: MockClock, world: World) -> None:
    def garbage(data: bytes, source: Address) -> bytes:
        return data[: world.rng.randrange(len(data))]

    world.serve(("41.0.0.1", 3478), garbage)
    behaviour = await world.discover(behind(world, FULL_CONE), (("41.0.0.1", 3478), *FULL))
    assert behaviour.filtering is Behaviour.ENDPOINT_INDEPENDENT
