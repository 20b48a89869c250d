"""A quota under load, with a crash and a restart in the middle.

`python -m simulations.lab.quota_run [QUOTA]`, such as 200MB/day. On loopback, with a node in
processes of its own: one borrower sends through it both ways, as fast as the other end takes it,
until nothing passes any more. At a third of the quota the node is killed, at two thirds it is told
to stop; each time it is started again. Prints what has arrived at the ends, and what the node's
file says. Exit status 1 if more than 0.1 % too much has passed.
"""

from __future__ import annotations

import itertools
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import trio

from node.client import Client, open_client
from node.relay.count_file import read_count
from node.relay.quota import SMALLEST, Quota
from node.settings.run import QUOTA_FILE
from node.xmpp import Account
from simulations.lab.lone_relay import BORROWER, PASSWORD, LoneRelay, start_server
from simulations.lab.netns import open_loopback
from simulations.lab.program import Program

SIZE = 1400
"""Bytes of a datagram."""

WINDOW = 64
"""Datagrams of one end that may be on their way: so few that no socket has to drop any."""

STALL = 0.02
"""Seconds without a datagram after which all that are on their way count as lost."""

SILENCE = 2.0
"""Seconds without a datagram after which nothing passes any more."""

TOLERANCE = 0.001
"""Share of the quota by which it may be passed at most."""


@dataclass(frozen=True)
class Stage:
    """How things stood once a node had ended, or passed on no more."""

    name: str
    passed: int
    """Bytes that have arrived at the ends since the beginning."""
    counted: int
    """Bytes that the node's file says are used."""


class End:
    """One end of the call: a socket that sends to the relay, and counts what comes from there."""

    def __init__(self) -> None:
        self.socket = trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM)
        self.arrived = 0  # bytes
        self._latest = 0  # number of a datagram
        self._news = trio.Event()

    async def receive(self) -> None:
        """Count what arrives, until cancelled."""
        while True:
            data = await self.socket.recv(SIZE + 1)
            self.arrived += len(data)
            self._latest = int.from_bytes(data[:8])
            self._news.set()

    async def send(self, to: tuple[str, int], other: End) -> None:
        """Send as fast as the other end receives, until cancelled."""
        known = other._latest
        for number in itertools.count(known + 1):
            await self.socket.sendto(number.to_bytes(8).ljust(SIZE), to)
            known = max(known, other._latest)
            if number - known >= WINDOW:
                other._news = trio.Event()
                with trio.move_on_after(STALL) as stalled:
                    await other._news.wait()
                if stalled.cancelled_caught:
                    known = number


class Run:
    """A quota, the node that keeps to it, and two ends that send through it."""

    def __init__(self, relay: LoneRelay, quota: Quota) -> None:
        self.quota = quota
        self._relay = relay
        self._ends = (End(), End())

    @property
    def passed(self) -> int:
        """Bytes that have arrived so far."""
        return sum(end.arrived for end in self._ends)

    async def measure(self) -> list[Stage]:
        """Use the quota up; return how it stood at each end of the node."""
        stages = []
        account = Account(BORROWER, PASSWORD, host_port=self._relay.server)
        async with open_client(account, ()) as client:
            for number, share, name in (
                (signal.SIGKILL, 1 / 3, "after SIGKILL"),
                (signal.SIGTERM, 2 / 3, "after SIGTERM"),
                (None, 2.0, "used up"),
            ):
                node, ready = await self._relay.start_node(
                    *("--quota", self.quota.name, "--drain", "0"), TZ=_late()
                )
                async with self._load(client, ready["jid"]):
                    await self._wait_for(share)
                    if number is not None:
                        await _end(node, number)
                        await self._wait_for(2.0)  # what is on its way
                stages.append(Stage(name, self.passed, self._counted()))
                await node.stop()
        for end in self._ends:
            end.socket.close()
        return stages

    @asynccontextmanager
    async def _load(self, client: Client, jid: str) -> AsyncIterator[None]:
        here, there = self._ends
        async with client.borrow(jid) as channel, trio.open_nursery() as nursery:
            nursery.start_soon(here.receive)
            nursery.start_soon(there.receive)
            nursery.start_soon(here.send, channel.requester_address, there)
            nursery.start_soon(there.send, channel.peer_address, here)
            yield
            nursery.cancel_scope.cancel()

    async def _wait_for(self, share: float) -> None:
        """Wait until so much has passed, or nothing passes any more."""
        before, since = self.passed, trio.current_time()
        while self.passed < share * self.quota.size and trio.current_time() < since + SILENCE:
            await trio.sleep(0.01)
            if self.passed != before:
                before, since = self.passed, trio.current_time()

    def _counted(self) -> int:
        count = read_count(Path(self._relay.state) / QUOTA_FILE, "what was used of the quota")
        return 0 if count is None else count[1]


async def _end(node: Program, number: signal.Signals) -> None:
    node.signal(number)
    await node.wait()


def _late() -> str:
    """A time zone in which it is 23:00 or a little less: the whole of a day's quota may be used."""
    now = datetime.now(UTC)
    west = (now.hour * 60 + now.minute - 23 * 60) % 1440
    return f"<late>{west // 60}:{west % 60:02}"


async def run_out(quota: Quota) -> list[Stage]:
    """Have a node use up a quota; see the module.

    Args:
        quota: of a day.
    """
    async with open_loopback() as lab:
        return await Run(await start_server(lab), quota).measure()


async def main(quota: Quota) -> int:
    """Measure and print; return the exit status."""
    stages = await run_out(quota)
    print(f"quota: {quota.size:,} bytes a {quota.period}; {SIZE:,}-byte datagrams both ways")
    print(f"{'':15}{'passed on':>15}{'in the file':>15}")
    for stage in stages:
        print(f"{stage.name:15}{stage.passed:15,}{stage.counted:15,}")
    overshoot = stages[-1].passed / quota.size - 1
    print(f"overshoot: {overshoot:+.3%} of the quota; at most {TOLERANCE:+.1%} is allowed")
    return 0 if overshoot <= TOLERANCE else 1


if __name__ == "__main__":
    text = sys.argv[1] if sys.argv[1:] else f"{SMALLEST // 10**6}MB/day"
    sys.exit(trio.run(main, Quota.parse(text)))
