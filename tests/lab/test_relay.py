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
from simulations.lab.program import Program
from simulations.lab.prosody import COMPONENT_PORT, start_prosody

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
    account6: list[str]  # the same by way of IPv6
    bootstrap6: list[str]


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
    bootstrap6 = ["--bootstrap", f"[{first.address6}]:4278"]
    login = ["--password-file", secret_file(lab), "--xmpp-ca-file", str(authority.ca_file)]
    as_component = [
        *("--component", COMPONENT, "--secret-file", secret_file(lab)),
        *("--server", f"127.0.0.1:{COMPONENT_PORT}"),
    ]
    as_account = ["--jid", "node@one.example", *login, "--xmpp-host", f"{one.address}:5222"]
    node = await lab.start(
        node_host,
        *(COMMAND, "run", "--json", *bootstrap, *bootstrap6, "--expire", str(EXPIRE)),
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
    as_alice = ["--jid", "alice@two.example", *login, "--xmpp-host"]
    account = [*as_alice, f"{two.address}:5222"]
    account6 = [*as_alice, f"[{two.address6}]:5222"]
    return World(lab, alice, bob, outsider, relay_jid, account, bootstrap, account6, bootstrap6)


@asynccontextmanager
async def borrowed(world: World, only_v6: Host | None = None) -> AsyncIterator[dict[str, Any]]:
    """Let alice hold a channel during the block, of the relay that she finds.

    She is at home, or where there is IPv6 alone.
    """
    how = [*world.account, *world.bootstrap]
    if only_v6 is not None:
        how = [*world.account6, *world.bootstrap6]
    holder = await world.lab.start(only_v6 or world.alice, COMMAND, "borrow", "--json", *how)
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


class Sockets:
    """A host's sockets under remote control."""

    def __init__(self, program: Program) -> None:
        self._program = program

    async def send(self, index: int, to: tuple[str, int], text: str, size: int = 0) -> None:
        await self._program.send({"send": [index, *to, text, size]})
        await self._program.json()

    async def receive(self, count: int, timeout: float = 5.0) -> list[tuple[int, str, int]]:
        """The socket, the text and the size of what arrived."""
        await self._program.send({"receive": count, "timeout": timeout})
        return [(index, text, size) for index, _, _, text, size in await self._program.json()]


async def open_sockets(lab: Lab, host: Host, count: int) -> Sockets:
    program = await lab.start(
        host, sys.executable, "-m", "simulations.lab.udp", *("0" for _ in range(count))
    )
    await program.json()
    return Sockets(program)


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


async def add_host_of_one_family(lab: Lab, name: str, *, is_v6: bool) -> Host:
    host = await lab.add_host(name)
    gone = ("-4", "address", "flush", "dev", "eth0")
    if not is_v6:
        gone = ("-6", *gone[1:])
    assert (await lab.run(host, "ip", *gone))[0] == 0
    return host


async def test_a_channel_between_ipv6_and_ipv4(lab: Lab) -> None:
    """The borrower has no IPv4, the other end no IPv6, and the relay has both."""
    world = await build(lab, component=False)
    six = await add_host_of_one_family(lab, "six", is_v6=True)
    four = await add_host_of_one_family(lab, "four", is_v6=False)
    async with borrowed(world, six) as channel:
        assert ":" in channel["host6"]
        assert ":" not in channel["host"]
        assert channel["send_to"] == channel["host6"]
        alice, bob = await open_sockets(lab, six, 2), await open_sockets(lab, four, 2)
        for component in (0, 1):  # RTP, RTCP
            to_alice = (channel["host6"], channel["localport"] + component)
            to_bob = (channel["host"], channel["remoteport"] + component)
            await alice.send(component, to_alice, "hello")
            await bob.send(component, to_bob, "hello too")
            assert await alice.receive(1) == [(component, "hello too", 9)]
            assert await bob.receive(1) == [(component, "hello", 5)]
            await alice.send(component, to_alice, "from alice", 1452)
            await bob.send(component, to_bob, "from bob", 1452)
            assert await bob.receive(1) == [(component, "from alice", 1452)]
            assert await alice.receive(1) == [(component, "from bob", 1452)]
