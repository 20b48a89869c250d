"""How long a call is silent when its relay fails: `python -m simulations.lab.failover [RUNS]`.

A call by `jingle-nodes call` between two hosts behind symmetric NATs, among three relays. Each run
ends the relay that carries it, by SIGKILL; or drops all UDP to its channels; or asks it to leave;
and takes the longest time between two packets of audio that arrive, at the end that waits longer.
Then relays lose 30 % of the packets, and the time is taken until both ends have left them. At last
relays are killed in a call with a client of another make.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from node.rtc.loss import PAUSE
from simulations.lab.certificates import Authority
from simulations.lab.figures import show
from simulations.lab.lone_relay import COMMAND, PASSWORD
from simulations.lab.netns import Host, Lab, NatKind, open_lab
from simulations.lab.program import Program, ProgramError
from simulations.lab.prosody import start_prosody

RUNS = 20
RELAYS = 3
FAILURES = ("kill", "black hole", "drain")
START_TIMEOUT = 40.0  # seconds; several programs start at one time on few cores
AT_ONCE = 3  # relays that start at one time
LOOK = 3.0  # seconds after a failure in which the gap must be over
DOMAIN = "calls.example"
ALICE, BOB = f"alice@{DOMAIN}/desk", f"bob@{DOMAIN}/phone"
_HEARD = 10  # packets since the look before, a third of a second ago
_PORT = 4278
_HOLE = (
    "table inet hole {{ chain in {{ type filter hook prerouting priority -400; "
    f"udp dport != {_PORT} {{}} drop; }}}}; }}}}"
)
"""Drops what goes to channels, and lets probes of the relay itself through."""
_LOSS = "numgen random mod 10 < 3"  # 30 %


@dataclass
class Stage:
    """Two callers, and relays between them; made by `build`."""

    lab: Lab
    alice: Host
    bob: Host
    relays: list[Host]
    login: list[str]
    server: str
    """Address of the XMPP server."""
    ca_file: str
    peer: str
    """Address of a peer of the overlay."""
    nodes: dict[str, Program] = field(default_factory=dict)
    """By address."""
    jids: dict[str, str] = field(default_factory=dict)
    watchers: list[Program] = field(default_factory=list)
    ends: list[Program] = field(default_factory=list)

    async def start_relay(self, host: Host, *command: str) -> None:
        """Start, or start again, the relay of a host; by another command than ours."""
        node = await self.lab.start(
            host,
            *(
                *(command or (COMMAND,)),
                "run",
                "--json",
                "--jid",
                f"{host.name}@{DOMAIN}",
                *self.login,
            ),
            *("--drain", "0", "--state-dir", str(self.lab.directory / host.name)),
        )
        self.jids[host.address] = (await node.json(START_TIMEOUT))["jid"]
        self.nodes[host.address] = node

    async def watch(self) -> None:
        """Watch what arrives at bob and at alice."""
        for host in (self.bob, self.alice):
            self.watchers.append(
                await self.lab.start(host, sys.executable, "-m", "simulations.lab.arrivals")
            )

    async def start_call(self, *options: str) -> None:
        """Have alice call bob, with more options, and watch what arrives at both."""
        await self.watch()
        bob = await self.lab.start(
            self.bob, *(COMMAND, "call", "--answer", "--json", "--jid", BOB, *self.login)
        )
        with trio.fail_after(START_TIMEOUT):
            while f"waiting for a call at {BOB}" not in bob.log.read_text():
                await trio.sleep(0.05)
        alice = await self.lab.start(
            self.alice, *(COMMAND, "call", BOB, "--json", "--jid", ALICE, *self.login, *options)
        )
        self.ends = [alice, bob]

    async def start_foreign(self, replaces: str, *peer: str) -> Program:
        """Start a client of another make on bob's host; it calls somebody, or waits for a call.

        Args:
            replaces: how it takes a transport-replace; see foreign_jingle.py.
            *peer: whom to call.
        """
        foreign = await self.lab.start(
            self.bob,
            *(sys.executable, "-m", "simulations.lab.foreign_jingle", BOB, PASSWORD),
            *(self.server, self.ca_file, replaces, *peer),
        )
        await self.said(foreign, "ready")
        return foreign

    async def said(self, foreign: Program, what: str) -> object:
        """Wait until a client of another make says something of that name; the value.

        Raises:
            ProgramError: it was refused something.
        """
        with trio.fail_after(START_TIMEOUT):
            while what not in (line := await foreign.json(START_TIMEOUT)):
                if "error" in line:
                    raise ProgramError(f"{foreign.name}: {line['error']}")
        value: object = line[what]
        return value

    async def look(self) -> list[dict[str, Any]]:
        """What has arrived at bob, and at alice, since the last look."""
        for watcher in self.watchers:
            await watcher.send(None)
        return [await watcher.json() for watcher in self.watchers]

    async def carrier(self, *others: str) -> str:
        """Wait until both ends hear each other from one address, and by no other; which one.

        Args:
            *others: addresses that do not count.

        Raises:
            ProgramError: there is none.
        """
        first: dict[str, Any] = {}
        second: dict[str, Any] = {}
        with trio.move_on_after(START_TIMEOUT):
            while True:
                first, second = await self.look()
                sources = {first["source"], second["source"]}
                calm = max(first["gap"], second["gap"]) < 0.2
                # The first packets are not heard yet.
                calm = calm and min(first["packets"], second["packets"]) > _HEARD
                if calm and len(sources) == 1 and None not in sources and not sources & {*others}:
                    return str(sources.pop())
                await trio.sleep(0.3)
        raise ProgramError(f"they do not hear each other: at bob {first}, at alice {second}")

    async def standby(self) -> str:
        """Wait until both ends hear each other through a relay, and a standby has answered both.

        Returns:
            The address of the relay that carries the call.

        Raises:
            ProgramError: there is none.
        """
        first: dict[str, Any] = {}
        second: dict[str, Any] = {}
        with trio.move_on_after(START_TIMEOUT):
            while True:
                first, second = await self.look()
                carrier: str | None = first["source"]
                calm = max(first["gap"], second["gap"]) < 0.2
                ready = set(first["ready"]) & set(second["ready"]) & set(self.nodes)
                if calm and ready and carrier in self.nodes and carrier == second["source"]:
                    return str(carrier)
                await trio.sleep(0.2)
        raise ProgramError(f"no standby: at bob {first}, at alice {second}")

    async def fail(self, relay: str, failure: str, seconds: float = LOOK) -> float:
        """Have the relay at an address fail; the gap in the seconds that follow."""
        host = next(host for host in self.relays if host.address == relay)
        node = self.nodes.pop(relay)
        await self.look()
        match failure:
            case "kill":
                _kill(node)
            case "drain":
                node.signal(signal.SIGTERM)
            case _:
                await self.drop(host)
        await trio.sleep(seconds)
        gap = max(float(end["gap"]) for end in await self.look())
        await node.stop()
        if failure == "black hole":
            await self._nft(host, "delete table inet hole")
        return gap

    def kill(self, relay: str) -> None:
        """Kill the relay at an address."""
        _kill(self.nodes.pop(relay))

    async def drop(self, host: Host, *, some: bool = False) -> None:
        """Have a host drop what goes to channels: all of it, or 30 %."""
        await self._nft(host, _HOLE.format(_LOSS if some else ""))

    async def granted(self, host: Host) -> int:
        """How many channels the relay of a host has granted."""
        _, output = await self.lab.run(host, COMMAND, "status", "--json")
        count: int = json.loads(output)["channels"]["granted"]
        return count

    async def thin_out(self, relay: str) -> float:
        """Have the relay at an address lose 30 %; seconds until both ends hear another one."""
        host = next(host for host in self.relays if host.address == relay)
        await trio.sleep(PAUSE)  # the run before has made both ends compare the paths, too
        started = trio.current_time()
        await self.drop(host, some=True)
        with trio.fail_after(START_TIMEOUT):
            while relay in [end["source"] for end in await self.look()]:
                await trio.sleep(0.05)
        seconds = trio.current_time() - started
        await self._nft(host, "delete table inet hole")
        return seconds

    async def _nft(self, host: Host, rules: str) -> None:
        status, _ = await self.lab.run(host, "nft", rules)
        if status:
            raise ProgramError(f"nft on {host.name} refused: {rules}")


async def build(lab: Lab, relays: int = RELAYS, nats: NatKind = "symmetric") -> Stage:
    """Start a server, a peer of the overlay, and relays; the callers are behind NATs of a kind."""
    xmpp, peer = await lab.add_host("xmpp"), await lab.add_host("peer")
    authority = Authority(lab.directory)
    password = lab.directory / "password"
    password.write_text(f"{PASSWORD}\n")
    password.chmod(0o600)
    login = [
        *("--password-file", str(password), "--xmpp-ca-file", str(authority.ca_file)),
        *("--xmpp-host", f"{xmpp.address}:5222", "--bootstrap", f"{peer.address}:{_PORT}"),
    ]
    stage = Stage(
        lab=lab,
        alice=await lab.add_host("alice", behind=await lab.add_nat("nat-a", nats)),
        bob=await lab.add_host("bob", behind=await lab.add_nat("nat-b", nats)),
        relays=[await lab.add_host(f"relay{n}") for n in range(relays)],
        login=login,
        server=xmpp.address,
        ca_file=str(authority.ca_file),
        peer=peer.address,
    )
    users = ["alice", "bob", *(host.name for host in stage.relays)]
    await start_prosody(lab, xmpp, DOMAIN, authority, accounts=dict.fromkeys(users, PASSWORD))
    first = await lab.start(peer, sys.executable, "-m", "simulations.lab.peer", str(_PORT))
    await first.json(START_TIMEOUT)
    starting = trio.CapacityLimiter(AT_ONCE)

    async def start(host: Host) -> None:
        async with starting:
            await stage.start_relay(host)

    async with trio.open_nursery() as nursery:
        for host in stage.relays:
            nursery.start_soon(start, host)
    return stage


def _kill(program: Program) -> None:
    """SIGKILL for a program and its children at one time."""
    pids = program.pids
    for pid in pids:
        with suppress(OSError):
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            pids += [int(child) for child in children]
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


async def measure(runs: int) -> None:
    """Measure and print medians and 95th percentiles.

    Args:
        runs: how often each failure happens.
    """
    async with open_lab() as lab:
        stage = await build(lab)
        await stage.start_call()
        for failure in FAILURES:
            gaps: list[float] = []
            for _ in range(runs):
                relay = await stage.standby()
                gaps.append(await stage.fail(relay, failure))
                await stage.start_relay(next(one for one in stage.relays if one.address == relay))
            show(f"{failure}: gap", gaps)
        waits = [await stage.thin_out(await stage.standby()) for _ in range(runs)]
        show("30 % loss: moved after", waits)
        for end in stage.ends:
            await end.stop()
        foreign = await stage.start_foreign("accept")
        alice = (COMMAND, "call", BOB, "--json", "--jid", ALICE, *stage.login)
        await lab.start(stage.alice, *alice)
        await stage.said(foreign, "talks")
        gaps = []
        for _ in range(runs):
            relay = await stage.carrier()
            await trio.sleep(LOOK)  # so that another channel is held
            gaps.append(await stage.fail(relay, "kill"))
            await stage.start_relay(next(one for one in stage.relays if one.address == relay))
        show("kill, and a peer of another make: gap", gaps)


if __name__ == "__main__":
    trio.run(measure, int(sys.argv[1]) if sys.argv[1:] else RUNS)
