"""A relay without XMPP on a host of the lab, and calls through it."""

import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from simulations.lab.netns import Host, Lab
from simulations.lab.program import Program
from tests.lab.sockets import Sockets, open_sockets
from tests.lab.world import forward

RELAY = str(Path(__file__).with_name("relay_host.py"))


@dataclass
class Rig:
    """A relay on a host, and two hosts that talk through it."""

    lab: Lab
    host: Host
    alice: Host
    bob: Host
    program: Program
    said: list[str]

    async def ask(self, question: str) -> Any:
        await self.program.send(question)
        return await self.program.json()

    @property
    def worker(self) -> int:
        """The forwarder's process."""
        (relay,) = self.program.pids
        (worker,) = [
            int(pid)
            for task in Path(f"/proc/{relay}/task").iterdir()
            for pid in (task / "children").read_text().split()
        ]
        return worker

    async def status(self) -> dict[str, Any]:
        (status,) = await self.ask("status")
        assert isinstance(status, dict)
        return status

    async def rules(self) -> str:
        return (await self.lab.run(self.host, "nft", "list", "ruleset"))[1]

    async def paths(self) -> int:
        return (await self.rules()).count("notrack accept")

    async def received(self) -> int:
        """Datagrams that any socket of the relay has received."""
        _, table = await self.lab.run(self.host, "cat", "/proc/net/snmp", "/proc/net/snmp6")
        udp = [line.split() for line in table.splitlines() if line.startswith("Udp:")]
        udp6 = [line.split() for line in table.splitlines() if line.startswith("Udp6InDatagrams")]
        return int(udp[1][1]) + int(udp6[0][1])


async def build(
    lab: Lab, *, forwarding: bool = True, forwarder: str = "auto", **limits: Any
) -> Rig:
    host = await lab.add_host("relay")
    alice, bob = await lab.add_host("alice"), await lab.add_host("bob")
    if forwarding:
        await forward(lab, host)
    settings = {"forwarder": forwarder, "host": host.address} | limits
    program = await lab.start(host, sys.executable, RELAY, json.dumps(settings))
    return Rig(lab, host, alice, bob, program, await program.json())


@dataclass
class Call:
    """The two ends of a channel, and where each sends to."""

    rig: Rig
    alice: Sockets
    bob: Sockets
    local: tuple[str, int]
    remote: tuple[str, int]
    count: int = 0
    size: int = 0
    """Bytes sent by each."""

    async def exchange(self, times: int, *, size: int = 172, component: int = 0) -> None:
        """Send both ways and have all of it arrive."""
        for _ in range(times):
            self.count += 1
            self.size += size
            text = f"{self.count} "
            await self.alice.send(component, self._to(self.local, component), text, size)
            await self.bob.send(component, self._to(self.remote, component), text, size)
            assert await self.bob.receive(1) == [(component, text, size)]
            assert await self.alice.receive(1) == [(component, text, size)]

    async def until(self, holds: Callable[[], Awaitable[bool]]) -> None:
        """Keep talking until something holds."""
        with trio.fail_after(10):
            while not await holds():
                await self.exchange(1)
                await trio.sleep(0.02)  # as media comes, and within every limit of a test

    @staticmethod
    def _to(address: tuple[str, int], component: int) -> tuple[str, int]:
        return address[0], address[1] + component


async def call(rig: Rig, *, host: str | None = None, bobs: str | None = None) -> Call:
    grant = await rig.ask("open")
    alice, bob = await open_sockets(rig.lab, rig.alice, 2), await open_sockets(rig.lab, rig.bob, 2)
    host = host or grant["host"]
    made = Call(rig, alice, bob, (host, grant["localport"]), (bobs or host, grant["remoteport"]))
    await alice.send(0, made.local, "hello")
    await bob.send(0, made.remote, "hello")
    assert await bob.receive(1) == [(0, "hello", 5)]
    assert await alice.receive(1) == [(0, "hello", 5)]
    return made


def is_carried(rig: Rig, paths: int = 2) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        return await rig.paths() == paths

    return holds
