"""Several processes that carry media, one for each core used; a channel stays with one of them.

What limits all channels together, a bandwidth or a quota, is counted to the byte by the process
that passes the packets on, so a relay that has such a limit has one process.
"""

import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from math import inf
from secrets import token_bytes
from typing import TypeVar

import trio

from node.relay.admission import RelayLimits
from node.relay.channel import ChannelRules, ChannelStats, Traffic
from node.relay.forwarders.base import (
    Allocated,
    ForwarderUnavailable,
    ForwardingEnded,
    Reason,
    Report,
    Totals,
)
from node.relay.forwarders.process import share_ports
from node.relay.forwarders.use import IN_USERSPACE, KernelUse
from node.relay.forwarders.userspace import UserspaceForwarder
from node.relay.ports import PortBlock
from overlay.nursery import lone_errors

CHANNELS_PER_PROCESS = 500
"""Channels that are reason enough for one more process, which costs 15 MB: with 10 us for a packet,
so many calls of 50 packets a second each way take half of a core."""

Answer = TypeVar("Answer")

AVOIDED = 10.0
"""Seconds for which a process that has not taken a channel is the last to be asked: as long as it
takes to find out that it hangs."""


def processes_for(limits: RelayLimits, use: KernelUse) -> int:
    """How many processes a relay does well with: at most one for each core that it may use."""
    if limits.limits_all or use.possible:  # then the kernel has the work
        return 1
    wanted = -(-limits.channels // CHANNELS_PER_PROCESS)
    return min(wanted, len(os.sched_getaffinity(0)))


class ForwarderPool:
    """A `Forwarder` that spreads channels over processes.

    Args:
        reports: where the ends of channels and of allowances are reported.
        ports: first and last port of the relay's channels.
        use: whether the kernel may carry steady media.
        processes: how many.
    """

    def __init__(
        self,
        reports: trio.MemorySendChannel[Report],
        ports: tuple[int, int],
        *,
        use: KernelUse = IN_USERSPACE,
        processes: int = 1,
    ) -> None:
        self._reports = reports
        self._ports = ports
        self._members = tuple(_Member(ports, use) for _ in range(processes))
        self.processes = processes
        """See `Forwarder.processes`."""

    @property
    def pids(self) -> list[int]:
        """Of the processes that run."""
        pids = (member.forwarder.pid for member in self._members)
        return [pid for pid in pids if pid is not None]

    @property
    def use(self) -> KernelUse:
        """See `Forwarder.use`; the kernel is used if all of them use it."""
        uses = [member.forwarder.use for member in self._members]
        return next((use for use in uses if not use.possible), uses[0])

    @property
    def ready(self) -> bool:
        """See `Forwarder.ready`; one is enough."""
        return any(member.forwarder.ready for member in self._members)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `Forwarder.run`."""
        with share_ports(self._ports) as own, lone_errors():
            async with trio.open_nursery() as nursery:
                for member in self._members:
                    nursery.start_soon(self._pass_on, member)
                    await nursery.start(member.forwarder.run, own)
                task_status.started()

    async def serve_turn(self, listener: socket.socket, secret: bytes) -> None:
        """See `Forwarder.serve_turn`; the first process hears of new clients."""
        nonce_secret = token_bytes(32)
        for member in self._members:
            await member.forwarder.serve_turn(
                listener, secret, nonce_secret, accepts=member is self._members[0]
            )

    async def refuse_allocation(self, serial: int, code: int) -> None:
        """See `Forwarder.refuse_allocation`."""
        await self._members[0].forwarder.refuse_allocation(serial, code)

    async def open(
        self,
        channel_id: str,
        block: PortBlock,
        rules: ChannelRules,
        turn: Allocated | None = None,
    ) -> None:
        """See `Forwarder.open`; the process that carries the fewest takes it.

        That of an allocation then has a socket that is connected to the client, so the system gives
        it what this one sends. One of a pair stays with the first process, where the client will
        ask for the other one.
        """
        now = trio.current_time()
        member = min(self._members, key=lambda member: member.reluctance(now))
        if turn is not None and (turn.request is None or len(block.sockets) > 1):
            member = self._members[0]
        member.channels.add(channel_id)
        try:
            await member.forwarder.open(channel_id, block, rules, turn)
        except BaseException as error:
            member.channels.discard(channel_id)
            if isinstance(error, ForwarderUnavailable):
                member.avoided_until = now + AVOIDED
            raise

    async def close(self, channel_id: str, reason: Reason) -> None:
        """See `Forwarder.close`."""
        for member in self._members:
            if channel_id in member.channels:
                await member.forwarder.close(channel_id, reason)

    async def limit(self, kbps: int | None) -> None:
        """See `Forwarder.limit`; several processes can only be without."""
        for member in self._members:
            await member.forwarder.limit(kbps)

    async def allow(self, serial: int, size: int | None) -> None:
        """See `Forwarder.allow`; several processes can only be without."""
        for member in self._members:
            await member.forwarder.allow(serial, size)

    async def stats(self) -> Mapping[str, ChannelStats]:
        """See `Forwarder.stats`."""
        answers = await self._ask(lambda forwarder: forwarder.stats())
        return {channel_id: stats for answer in answers for channel_id, stats in answer.items()}

    async def totals(self) -> Totals:
        """See `Forwarder.totals`."""
        answers = await self._ask(lambda forwarder: forwarder.totals())
        carried = sum((answer.carried for answer in answers), Traffic())
        return Totals(max(answer.at for answer in answers), carried)

    async def _ask(
        self, question: Callable[[UserspaceForwarder], Awaitable[Answer]]
    ) -> list[Answer]:
        """What all of them answer, asked at once: one that hangs holds up no other."""
        answers: list[Answer] = []

        async def ask(member: "_Member") -> None:
            answers.append(await question(member.forwarder))

        async with trio.open_nursery() as nursery:
            for member in self._members:
                nursery.start_soon(ask, member)
        return answers

    async def _pass_on(self, member: "_Member") -> None:
        async for report in member.reports:
            if isinstance(report, ForwardingEnded):
                member.channels.discard(report.channel_id)
            await self._reports.send(report)


class _Member:
    """A process, and the channels that it carries."""

    def __init__(self, ports: tuple[int, int], use: KernelUse) -> None:
        sender, self.reports = trio.open_memory_channel[Report](0)
        self.forwarder = UserspaceForwarder(sender, ports, use)
        self.channels: set[str] = set()
        self.avoided_until = -inf

    def reluctance(self, now: float) -> tuple[bool, bool, int]:
        """Sorts first who is to take the next channel."""
        return not self.forwarder.ready, self.avoided_until > now, len(self.channels)
