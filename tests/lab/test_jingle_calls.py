"""Calls by `jingle-nodes call`, between NATs: through a relay that is found, and without one."""

import json
import signal
import sys
import wave
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio

from node.rtc.audio import RATE
from simulations.lab import tone
from simulations.lab.certificates import Authority
from simulations.lab.netns import Host, Lab, NatKind
from simulations.lab.program import Program
from simulations.lab.prosody import start_prosody
from tests.lab.world import COMMAND, PASSWORD, secret_file

pytestmark = pytest.mark.lab

AIORTC_PROGRAM = str(Path(__file__).with_name("aiortc_program.py"))
ALICE, BOB = "alice@example.org/desk", "bob@example.org/phone"
START_TIMEOUT = 40.0  # seconds; several programs start at one time on few cores
SOUND = 1.0  # second of sound that is enough to tell a tone


@dataclass(frozen=True)
class World:
    """A server, a relay that the overlay knows, and two hosts behind NATs."""

    lab: Lab
    alice: Host
    bob: Host
    node_host: Host
    server: Host
    ca_file: str
    peer: Host
    relay_jid: str
    password_file: str

    def account(self, jid: str) -> list[str]:
        """The options that log in, and enter the overlay."""
        return [
            *("--jid", jid, "--password-file", self.password_file),
            *("--xmpp-host", f"{self.server.address}:5222", "--xmpp-ca-file", self.ca_file),
            *("--bootstrap", f"{self.peer.address}:4278"),
        ]


async def build(lab: Lab, nats: NatKind) -> World:
    """Build the world, with NATs of a kind."""
    server, peer = await lab.add_host("server"), await lab.add_host("peer")
    authority = Authority(lab.directory)
    world = World(
        lab=lab,
        alice=await lab.add_host("alice", behind=await lab.add_nat("nat-a", nats)),
        bob=await lab.add_host("bob", behind=await lab.add_nat("nat-b", nats)),
        node_host=await lab.add_host("node"),
        server=server,
        ca_file=str(authority.ca_file),
        peer=peer,
        relay_jid="node@example.org/relay",
        password_file=secret_file(lab),
    )
    program = await lab.start(peer, sys.executable, "-m", "simulations.lab.peer", "4278")
    accounts = dict.fromkeys(("node", "alice", "bob"), PASSWORD)
    await start_prosody(lab, server, "example.org", authority, accounts=accounts)
    await program.json()
    node = await lab.start(
        world.node_host,
        *(COMMAND, "run", "--json", *world.account(world.relay_jid)),
        # So that it learns its IPv6 address, too.
        *("--bootstrap", f"[{peer.address6}]:4278"),
        *("--state-dir", str(lab.directory / "node")),
    )
    assert (await node.json())["jid"] == world.relay_jid
    return world


async def waiting(world: World, *options: str) -> Program:
    """Have bob wait for a call."""
    bob = await world.lab.start(
        world.bob,
        *(COMMAND, "call", "--answer", "--json", "--tone", "660"),
        *(*world.account(BOB), *options),
    )
    with trio.fail_after(START_TIMEOUT):
        while "waiting for a call at " + BOB not in bob.log.read_text():
            assert bob.running, bob.last_words()
            await trio.sleep(0.02)
    return bob


async def calling(world: World, *options: str, peer: str = BOB) -> Program:
    """Have alice call."""
    return await world.lab.start(
        world.alice,
        *(COMMAND, "call", peer, "--json", "--tone", "440"),
        *(*world.account(ALICE), *options),
    )


def heard(recording: Path) -> int:
    """The tone in a recording, Hz; 0 if there is none."""
    with wave.open(str(recording)) as file:
        assert file.getframerate() == RATE
        samples = array("h", file.readframes(file.getnframes()))
    frequency, share = tone.dominant(samples[-round(SOUND * RATE) :])
    return frequency if share > 0.8 else 0


async def report(program: Program) -> dict[str, Any]:
    """What a call that was says of itself."""
    result: dict[str, Any] = await program.json(START_TIMEOUT)
    assert await program.wait() == 0, program.last_words()
    return result


async def talk(world: World, who: str, how: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A call that one of them ends; what both say of it, and that both have heard the other."""
    recordings = {name: world.lab.directory / f"{name}.wav" for name in ("alice", "bob")}
    for recording in recordings.values():
        recording.unlink(missing_ok=True)
    ends = ("--seconds", "1.5") if how == "seconds" else ()
    bob = await waiting(world, "--record", str(recordings["bob"]), *(ends if who == "bob" else ()))
    alice = await calling(
        world, "--record", str(recordings["alice"]), *(ends if who == "alice" else ())
    )
    if how == "signal":
        with trio.fail_after(START_TIMEOUT):
            while (
                not recordings["alice"].exists()
                or recordings["alice"].stat().st_size < 1.5 * RATE * 2
            ):
                assert alice.running, alice.last_words()
                await trio.sleep(0.05)
        (alice if who == "alice" else bob).signal(signal.SIGINT)
    reports = await report(alice), await report(bob)
    assert [heard(recordings[name]) for name in ("alice", "bob")] == [660, 440]
    assert [one["ended_by_peer"] for one in reports] == [who == "bob", who == "alice"]
    for one in reports:
        assert one["received"] > 50
        assert one["lost"] <= 2
        assert one["reason"] == "success"
    return reports


async def granted(world: World) -> int:
    """How many channels the relay has granted."""
    status, output = await world.lab.run(world.node_host, COMMAND, "status", "--json")
    assert status == 0
    count: int = json.loads(output)["channels"]["granted"]
    return count


async def test_calls_that_need_a_relay(lab: Lab) -> None:
    world = await build(lab, "symmetric")
    await fails(
        world,
        f"nobody takes calls at {BOB} (service-unavailable); check the address, which names the "
        "resource, and that it is waiting for calls",
    )
    alices, bobs = await talk(world, "alice", "seconds")
    assert (alices["relay"], bobs["relay"]) == (world.relay_jid, None)
    bob = await waiting(world, "carol@example.org")
    await fails(world, f"{BOB} declined the call; agree on it with a message first")
    assert await bob.stop() == 1
    assert bob.last_words() == "jingle-nodes: interrupted before there was a call"
    assert await granted(world) == 1
    await aiortc_programs_talk(world)
    assert await granted(world) == 2


async def test_a_call_that_needs_no_relay(lab: Lab) -> None:
    world = await build(lab, "port-restricted")
    alices, bobs = await talk(world, "bob", "signal")
    assert (alices["relay"], bobs["relay"]) == (None, None)
    assert await granted(world) == 0


async def fails(world: World, said: str) -> None:
    """A call that comes to nothing, and the line that says so."""
    alice = await calling(world)
    with trio.fail_after(START_TIMEOUT):
        assert await alice.wait() == 1
    assert alice.log.read_text() == f"jingle-nodes: {said}\n"


async def aiortc_programs_talk(world: World) -> None:
    """Two programs that use aiortc, one of them with our relays; the other has IPv6 alone."""
    carol = await world.lab.add_host("carol")
    assert (await world.lab.run(carol, "ip", "-4", "address", "flush", "dev", "eth0"))[0] == 0
    login = ("alice@example.org", PASSWORD, world.server.address, world.ca_file, world.peer.address)
    alice = await world.lab.start(world.alice, sys.executable, AIORTC_PROGRAM, "offer", *login)
    other = await world.lab.start(carol, sys.executable, AIORTC_PROGRAM, "answer")
    await other.send(await alice.json())
    await alice.send(await other.json())
    await other.send(await alice.json())
    assert await alice.json() == {"relay": world.relay_jid}
    assert await alice.wait() == 0
    assert await other.wait() == 0
