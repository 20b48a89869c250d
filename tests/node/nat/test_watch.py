"""When a node finds out what its NAT does, and from whom."""

import random
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

from node.nat import watch
from node.nat.behaviour import Behaviour, NatBehaviour
from node.nat.watch import INTERVAL, RETRY, SERVICE, SOONEST, NatWatch
from overlay.core.addresses import Address, is_ipv6
from overlay.core.directory.records import Offer
from overlay.core.reachability.verdict import Reachability, Verdict
from overlay.dht import RunningPeer
from overlay.errors import OverlayError
from overlay.settings import PeerSettings
from overlay.sockets import DatagramSocket
from simulations.nat import Dependence, Nat
from simulations.network import Host
from tests.node.nat.worlds import FULL, FULL6, PLAIN, PLAIN6, World


@dataclass
class Found:
    """What matters of an advert."""

    offer: Offer
    endpoints: tuple[Address, ...]


def advert(*endpoints: Address, services: tuple[str, ...] = (SERVICE,)) -> Found:
    return Found(Offer("r@example.org", services, "public", None, 8, 1.0), endpoints)


@dataclass
class Peer:
    """What the watch asks of a peer."""

    contacts: tuple[Address, ...] = PLAIN
    adverts: tuple[Found, ...] = ()
    endpoints: tuple[Address, ...] = (("13.0.0.1", 4278),)
    verdicts: dict[bool, Verdict] = field(default_factory=lambda: {False: Verdict.UNKNOWN})
    settings: PeerSettings = field(default_factory=PeerSettings)
    searches: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = random.Random(3)

    @property
    def reachability(self) -> dict[bool, Reachability]:
        return {is_v6: Reachability(one, 0, 0, 0) for is_v6, one in self.verdicts.items()}

    def neighbours(self, is_v6: bool) -> tuple[Address, ...]:
        return tuple(contact for contact in self.contacts if is_ipv6(contact[0]) == is_v6)

    async def wait_joined(self) -> None:
        await trio.lowlevel.checkpoint()

    async def wait_decided(self, timeout: float) -> None:
        assert timeout > 0

    async def collect_adverts(self, wanted: int, timeout: float) -> Any:
        self.searches.append(trio.current_time())
        await trio.sleep(1.0)
        return self


@pytest.fixture
async def world(nursery: trio.Nursery) -> World:
    return World(nursery)


def behind_a_nat(world: World) -> Host:
    nat = Nat("13.0.0.1", Dependence.ENDPOINT_INDEPENDENT, Dependence.ADDRESS_DEPENDENT)
    return Host("192.168.1.2", 0, behind=world.network.add_nat(nat))


def start(
    nursery: trio.Nursery, world: World, peer: Peer, host: Host, opened: bool = False
) -> NatWatch:
    natwatch = NatWatch(cast(RunningPeer, peer), lambda: opened, world.pump.opener(host))
    nursery.start_soon(natwatch.run)
    return natwatch


async def test_relays_with_two_addresses_are_asked_first(
    autojump_clock: MockClock, world: World, nursery: trio.Nursery
) -> None:
    peer = Peer(adverts=(advert(PLAIN[3], services=("stun",)), advert(FULL[0], FULL6[0])))
    natwatch = start(nursery, world, peer, behind_a_nat(world))
    assert natwatch.behaviour == {}
    await trio.sleep(25)
    assert natwatch.behaviour[False].mapping is Behaviour.ENDPOINT_INDEPENDENT
    assert natwatch.behaviour[False].filtering is Behaviour.ADDRESS_DEPENDENT


@pytest.mark.parametrize("opened", [False, True])
async def test_what_witnesses_say_counts_at_once_unless_the_port_was_opened(
    autojump_clock: MockClock, world: World, nursery: trio.Nursery, opened: bool
) -> None:
    peer = Peer()
    natwatch = start(nursery, world, peer, behind_a_nat(world), opened)
    await trio.sleep(25)
    for verdict, expected in (
        (Verdict.UNKNOWN, Behaviour.UNKNOWN),
        (Verdict.UNREACHABLE, Behaviour.DEPENDENT),
        (Verdict.REACHABLE, Behaviour.ENDPOINT_INDEPENDENT),
    ):
        peer.verdicts[False] = verdict
        told = Behaviour.UNKNOWN if opened else expected
        assert natwatch.behaviour[False].filtering is told
    assert len(peer.searches) == 1


async def test_a_port_that_was_opened_over_ipv4_says_nothing_of_ipv6(
    autojump_clock: MockClock, world: World, nursery: trio.Nursery
) -> None:
    peer = Peer(contacts=PLAIN6, verdicts={True: Verdict.REACHABLE})
    natwatch = start(nursery, world, peer, Host("2a09::9", 0), opened=True)
    await trio.sleep(25)
    assert natwatch.behaviour[True].filtering is Behaviour.ENDPOINT_INDEPENDENT


async def test_each_address_family_has_a_result_and_news_are_logged_once(
    autojump_clock: MockClock,
    world: World,
    nursery: trio.Nursery,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "node.nat.watch")
    peer = Peer(contacts=PLAIN + PLAIN6, verdicts={False: Verdict.UNKNOWN, True: Verdict.UNKNOWN})
    natwatch = start(nursery, world, peer, Host("2a09::9", 0))
    await trio.sleep(2 * INTERVAL)
    assert natwatch.behaviour[True].mapping is Behaviour.NONE
    assert len(peer.searches) >= 2
    assert len([line for line in caplog.messages if line.startswith("over IPv6: no NAT")]) == 1
    assert not any(host in caplog.text for host, _ in PLAIN + PLAIN6)


async def test_a_changed_address_is_looked_at_soon_but_not_too_often(
    autojump_clock: MockClock, world: World, nursery: trio.Nursery
) -> None:
    peer = Peer()
    start(nursery, world, peer, behind_a_nat(world))
    await trio.sleep(INTERVAL / 2)
    assert len(peer.searches) == 1
    changed_at = trio.current_time()
    for port in range(4000, 4100):
        peer.endpoints = (("13.0.0.1", port),)
        await trio.sleep(1)
    assert 2 <= len(peer.searches) <= 2 + 100 / SOONEST
    assert peer.searches[1] - changed_at < 5


async def test_nobody_to_ask_is_tried_again(
    autojump_clock: MockClock, world: World, nursery: trio.Nursery
) -> None:
    peer = Peer(contacts=())
    natwatch = start(nursery, world, peer, behind_a_nat(world))
    await trio.sleep(RETRY / 2)
    assert natwatch.behaviour == {}
    peer.contacts = PLAIN
    await trio.sleep(RETRY)
    assert natwatch.behaviour[False].mapping is Behaviour.ENDPOINT_INDEPENDENT


async def test_our_own_address_and_a_second_one_of_a_network_are_not_asked(
    autojump_clock: MockClock,
    world: World,
    nursery: trio.Nursery,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[Address, ...]] = []

    async def note(servers: list[Address], **options: object) -> NatBehaviour:
        await trio.lowlevel.checkpoint()
        asked.append(tuple(servers))
        return NatBehaviour()

    monkeypatch.setattr(watch, "discover", note)
    crowd = tuple((f"11.{n}.{m}.1", 1) for n in range(4) for m in range(4))
    peer = Peer(contacts=(*crowd, ("11.0.0.2", 1), ("13.0.0.1", 4278)))
    peer.adverts = tuple(advert((f"12.0.{n}.1", 1)) for n in range(5))
    start(nursery, world, peer, behind_a_nat(world))
    await trio.sleep(5)
    [servers] = asked
    assert len(servers) == 8
    assert len({host.rpartition(".")[0] for host, _ in servers}) == 8
    assert [host.startswith("12.") for host, _ in servers] == [True] * 2 + [False] * 6
    assert ("13.0.0.1", 4278) not in servers


async def test_without_a_socket_it_goes_on(
    autojump_clock: MockClock, world: World, nursery: trio.Nursery
) -> None:
    async def fail(host: str, port: int) -> DatagramSocket:
        await trio.lowlevel.checkpoint()
        raise OverlayError("cannot open UDP port 0: Too many open files; wait")

    peer = Peer()
    natwatch = NatWatch(cast(RunningPeer, peer), open_socket=fail)
    nursery.start_soon(natwatch.run)
    await trio.sleep(2 * RETRY)
    assert len(peer.searches) >= 2
    assert natwatch.behaviour == {}
