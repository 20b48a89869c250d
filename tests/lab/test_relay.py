"""A relay of one server, borrowed by users of another, for calls between symmetric NATs."""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio

from simulations.lab.certificates import Authority
from simulations.lab.netns import Host, Lab
from simulations.lab.phones import phone
from simulations.lab.prosody import COMPONENT_PORT, start_prosody
from tests.lab.sockets import open_sockets

pytestmark = pytest.mark.lab

COMMAND = str(Path(sys.executable).with_name("jingle-nodes"))
REACH = str(Path(__file__).with_name("reach.py"))
PASSWORD = "secret"
EXPIRE = 2
COMPONENT = "relay.one.example"


@dataclass(frozen=True)
class World:
    """Two federated servers, a peer of the overlay, a relay, and two hosts behind NATs."""

    lab: Lab
    alice: Host
    bob: Host
    outsider: Host
    relay_jid: str
    account: list[str]
    bootstrap: list[str]


def secret_file(lab: Lab) -> str:
    path = lab.directory / "secret"
    path.write_text(f"{PASSWORD}\n")
    path.chmod(0o600)
    return str(path)


async def build(lab: Lab, *, component: bool) -> World:
    """Build the world, with a relay as a component or as an ordinary account."""
    one, two = await lab.add_host("one"), await lab.add_host("two")
    first, outsider = await lab.add_host("peer"), await lab.add_host("outsider")
    node_host = one if component else await lab.add_host("node")
    alice = await lab.add_host("alice", behind=await lab.add_nat("nat-a"))
    bob = await lab.add_host("bob", behind=await lab.add_nat("nat-b"))
    authority = Authority(lab.directory)
    async with trio.open_nursery() as nursery:

        async def start_servers() -> None:
            for domain, host, user in (("one.example", one, "node"), ("two.example", two, "alice")):
                components = {COMPONENT: PASSWORD} if component and host is one else {}
                await start_prosody(
                    lab, host, domain, authority, accounts={user: PASSWORD}, components=components
                )

        nursery.start_soon(start_servers)
        peer = await lab.start(first, sys.executable, "-m", "simulations.lab.peer", "4278")
        await peer.json()
    bootstrap = ["--bootstrap", f"{first.address}:4278"]
    login = ["--password-file", secret_file(lab), "--xmpp-ca-file", str(authority.ca_file)]
    as_component = [
        *("--component", COMPONENT, "--secret-file", secret_file(lab)),
        *("--server", f"127.0.0.1:{COMPONENT_PORT}"),
    ]
    as_account = ["--jid", "node@one.example", *login, "--xmpp-host", f"{one.address}:5222"]
    node = await lab.start(
        node_host,
        *(COMMAND, "run", "--json", *bootstrap, "--expire", str(EXPIRE)),
        *("--state-dir", str(lab.directory / "node")),
        *(as_component if component else as_account),
    )
    relay_jid = (await node.json())["jid"]
    status, services = await lab.run(
        alice,
        *(sys.executable, REACH, "alice@two.example", PASSWORD),
        *(two.address, str(authority.ca_file), relay_jid),
    )
    assert status == 0
    assert relay_jid in [service["address"] for service in json.loads(services)]
    account = ["--jid", "alice@two.example", *login, "--xmpp-host", f"{two.address}:5222"]
    return World(lab, alice, bob, outsider, relay_jid, account, bootstrap)


@asynccontextmanager
async def borrowed(world: World) -> AsyncIterator[dict[str, Any]]:
    """Let alice hold a channel during the block, of the relay that she finds."""
    holder = await world.lab.start(
        world.alice, COMMAND, "borrow", "--json", *world.account, *world.bootstrap
    )
    try:
        channel: dict[str, Any] = await holder.json()
        assert channel["relay"] == world.relay_jid
        yield channel
    finally:
        assert await holder.stop() == 0


@pytest.mark.parametrize("component", [False, True], ids=["account", "component"])
async def test_a_call_between_symmetric_nats_through_a_borrowed_relay(
    lab: Lab, component: bool
) -> None:
    world = await build(lab, component=component)
    async with borrowed(world) as channel:
        ends = await phone(lab, world.alice, world.bob, channel, "--seconds", "4")
    assert [end["connected"] for end in ends] == [True, True]
    assert [end["tone_hz"] for end in ends] == [660, 440]
    assert all(end["tone_share"] > 0.8 for end in ends)
    assert all(end["received"] >= 150 and end["lost"] <= 2 for end in ends)
    # The round trip is known from the other end's RTCP.
    assert all(end["rtt_ms"] is not None for end in ends)


async def test_a_channel_carries_rtp_and_rtcp_whole_and_only_between_its_ends(lab: Lab) -> None:
    world = await build(lab, component=False)
    async with borrowed(world) as channel:
        host, local, remote = channel["host"], channel["localport"], channel["remoteport"]
        alice = await open_sockets(lab, world.alice, 2)
        bob = await open_sockets(lab, world.bob, 2)
        for component in (0, 1):  # RTP, RTCP
            await alice.send(component, (host, local + component), "hello")
            await bob.send(component, (host, remote + component), "hello too")
            await alice.receive(1)  # bob's, and with it both ends are latched
            await alice.send(component, (host, local + component), "from alice", 1472)
            assert await bob.receive(2) == [
                (component, "hello", 5),  # the relay kept it until bob was there
                (component, "from alice", 1472),
            ]
            await bob.send(component, (host, remote + component), "from bob", 1472)
            assert await alice.receive(1) == [(component, "from bob", 1472)]

        outsider = await open_sockets(lab, world.outsider, 1)
        for port in range(local, remote + 2):
            await outsider.send(0, (host, port), "noise")
        await alice.send(0, (host, local), "still from alice")
        await bob.send(0, (host, remote), "still from bob")
        assert await bob.receive(2, timeout=0.5) == [(0, "still from alice", 16)]
        assert await alice.receive(2, timeout=0.5) == [(0, "still from bob", 14)]
        assert await outsider.receive(1, timeout=0.1) == []

        # Bob is silent for more than the channel's expiry: one-way media is no idle channel.
        for n in range(2 * EXPIRE * 5):
            await alice.send(0, (host, local), f"one way {n}")
            await trio.sleep(0.2)
        assert len(await bob.receive(2 * EXPIRE * 5)) == 2 * EXPIRE * 5
