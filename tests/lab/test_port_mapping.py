"""A node behind a real miniupnpd: open to strangers, whatever happens to the router."""

import json
import sys
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import pytest
import trio

from node.nat.mapping.keeper import CHECK_INTERVAL, POOL
from simulations.lab.certificates import Authority
from simulations.lab.netns import Host, Lab
from simulations.lab.program import Program, ProgramError
from simulations.lab.prosody import start_prosody
from simulations.lab.router import PROTOCOLS, HomeRouter, add_home_router
from tests.lab.sockets import open_sockets
from tests.lab.world import COMMAND, PASSWORD, holding, secret_file

pytestmark = pytest.mark.lab

PEERS = 100  # so many that some of them are strangers to a node that has just joined
MAPPINGS = 2 + 4 * POOL  # the ports of the overlay, of TURN, and of a pool of channels
PATIENCE = 8 * CHECK_INTERVAL  # seconds: a lost answer costs a check, and machines are busy


@dataclass(frozen=True)
class World:
    """An overlay of many networks, an XMPP server, a home, and two hosts elsewhere.

    Attributes:
        router: the home's.
        alice: has an XMPP account.
        bob: has none.
        node: options of the node in the home; where it is, it has to find out.
        account: alice's options.
        bootstrap: the overlay's entrance.
    """

    lab: Lab
    router: HomeRouter
    alice: Host
    bob: Host
    node: list[str]
    account: list[str]
    bootstrap: list[str]


async def build(lab: Lab, protocols: Collection[str]) -> World:
    crowd, server = await lab.add_host("crowd"), await lab.add_host("server")
    alice, bob = await lab.add_host("alice"), await lab.add_host("bob")
    addresses = await lab.add_networks(crowd, PEERS)
    peers = await lab.start(
        crowd, sys.executable, "-m", "simulations.lab.crowd", "4278", *addresses
    )
    authority = Authority(lab.directory)
    accounts = dict.fromkeys(("node", "alice"), PASSWORD)
    await start_prosody(lab, server, "one.example", authority, accounts=accounts)
    router = await add_home_router(lab, "router", "home", protocols)
    await peers.json(timeout=90)
    bootstrap = ["--bootstrap", f"{addresses[0]}:4278"]
    login = ["--password-file", secret_file(lab), "--xmpp-ca-file", str(authority.ca_file)]
    state = ["--state-dir", str(lab.directory / "node")]
    return World(
        lab,
        router,
        alice,
        bob,
        ["--jid", "node@one.example", *login, *state, *bootstrap],
        ["--jid", "alice@one.example", *login, *bootstrap],
        bootstrap,
    )


async def start_node(world: World) -> tuple[Program, dict[str, Any]]:
    node = await world.lab.start(world.router.inside, COMMAND, "run", "--json", *world.node)
    return node, await node.json()


async def find(world: World) -> list[dict[str, Any]]:
    """The relays that answer a stranger who has just come."""
    status, output = await world.lab.run(
        world.bob, COMMAND, "find", "--json", "--timeout", "2", *world.bootstrap
    )
    relays: list[dict[str, Any]] = json.loads(output) if status == 0 else []
    return relays


async def wait_until_found(world: World, endpoint: str) -> None:
    """Wait until a stranger finds the node there, and twice that it has channels to lend.

    Its own port is the first that a router opens, and what it lends is told once a second.
    """
    told = 0
    with trio.fail_after(PATIENCE):
        while told < 2:
            relays = [relay for relay in await find(world) if relay["free"] > 0]
            told = told + 1 if [relay["endpoints"] for relay in relays] == [[endpoint]] else 0
            await trio.sleep(0.5)


async def wait_until_mapped(router: HomeRouter, count: int = MAPPINGS) -> list[int]:
    ports: list[int] = []
    with trio.fail_after(PATIENCE):
        while len(ports) < count:
            ports = await router.mapped_ports()
            await trio.sleep(0.2)
    return ports


async def wait_until_lent(world: World) -> None:
    """Its connection to the XMPP server was the old address's, which it notices after a while."""
    with trio.fail_after(PATIENCE):
        while True:
            holder = await world.lab.start(world.alice, COMMAND, "borrow", "--json", *world.account)
            try:
                await holder.json()
            except ProgramError:
                continue
            else:
                return
            finally:
                await holder.stop()


async def serves_at(world: World, host: str) -> None:
    """A stranger finds the node there, and borrows a channel that works."""
    await wait_until_found(world, f"{host}:4278")
    async with holding(world.lab, world.alice, *world.account) as channel:
        assert channel["host"] == host
        await carries(world, channel)


async def carries(world: World, channel: dict[str, Any]) -> None:
    """Both components of a channel pass packets on between two strangers to the router."""
    alice = await open_sockets(world.lab, world.alice, 2)
    bob = await open_sockets(world.lab, world.bob, 2)
    for component in (0, 1):
        await alice.send(component, (channel["host"], channel["localport"] + component), "hello")
        await bob.send(component, (channel["host"], channel["remoteport"] + component), "hi")
        assert await alice.receive(1) == [(component, "hi", 2)]
        assert await bob.receive(1) == [(component, "hello", 5)]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_by_each_protocol_alone_strangers_reach_a_node_and_its_channels(
    lab: Lab, protocol: str
) -> None:
    world = await build(lab, [protocol])
    node, ready = await start_node(world)
    outside = world.router.nat.address
    assert ready["port_mapping"] == protocol
    assert (ready["public_address"], ready["overlay"]) == (outside, f"{outside}:4278")
    await serves_at(world, outside)
    ports = await wait_until_mapped(world.router)
    assert 4278 in ports
    assert await node.stop(grace=15) == 0
    assert await world.router.mapped_ports() == []


async def test_a_router_that_starts_anew_or_moves_needs_no_restart_of_the_node(lab: Lab) -> None:
    world = await build(lab, PROTOCOLS)
    node, ready = await start_node(world)
    assert ready["port_mapping"] == "PCP"
    ports = await wait_until_mapped(world.router)
    await world.router.stop()
    await world.router.start()
    assert await world.router.mapped_ports() == []
    assert await wait_until_mapped(world.router) == ports
    await wait_until_found(world, f"{world.router.nat.address}:4278")
    moved = await world.router.move()
    await wait_until_lent(world)
    await serves_at(world, moved)
    assert node.running


async def test_a_router_of_upnp_may_do_both_at_once(lab: Lab) -> None:
    world = await build(lab, ["UPnP"])
    node, _ = await start_node(world)
    ports = await wait_until_mapped(world.router)
    await world.router.stop()
    moved = await world.router.move()
    await world.router.start()
    assert await wait_until_mapped(world.router) == ports
    await serves_at(world, moved)
    assert node.running


async def test_behind_a_router_that_opens_nothing_nobody_finds_a_node_and_it_says_why(
    lab: Lab,
) -> None:
    world = await build(lab, [])
    node, ready = await start_node(world)
    assert ready["port_mapping"] is None
    [line] = [line for line in node.log.read_text().splitlines() if "opens no ports" in line]
    assert "the router [address] opens no ports" in line
    assert "forward UDP ports 4278 and 20000-29999 to this machine there" in line
    for _ in range(3):  # for longer than it takes where the router does open ports
        assert await find(world) == []


async def examined(world: World) -> dict[str, dict[str, str]]:
    """What the doctor finds in the home."""
    _, said = await world.lab.run(
        world.router.inside, COMMAND, "doctor", "--json", *world.node, timeout=90
    )
    return {check["name"]: check for check in json.loads(said)["checks"]}


async def test_a_doctor_has_the_ports_opened_for_itself_but_leaves_those_of_a_node_alone(
    lab: Lab,
) -> None:
    world = await build(lab, PROTOCOLS)
    found = await examined(world)
    assert found["reachability"]["result"] == "ok", found
    assert found["port mapping"]["result"] == "ok"
    assert "PCP" in found["port mapping"]["meaning"]
    assert "over IPv4: a NAT" in found["NAT behaviour"]["meaning"]
    assert await world.router.mapped_ports() == []

    await start_node(world)
    ports = await wait_until_mapped(world.router)
    found = await examined(world)
    assert "the node that runs uses it" in found["port mapping"]["meaning"]
    assert "failed" not in [check["result"] for check in found.values()], found
    assert await world.router.mapped_ports() == ports
    status, shown = await lab.run(world.router.inside, COMMAND, "status", "--json")
    assert status == 0
    checks = {check["name"]: check for check in json.loads(shown)["checks"]}
    assert checks["port mapping"]["result"] == "ok"
    assert "8 channels open (PCP)" in checks["port mapping"]["meaning"]
