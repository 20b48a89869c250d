"""The userspace forwarder: works for everyone, without privilege.

Keeps a process of its own (`worker`) and hands it the sockets of channels. If the process ends, its
channels are reported as closed and a new one takes its place.
"""

import socket
import subprocess
import sys
from array import array
from collections.abc import Mapping
from contextlib import suppress

import trio

from node.relay.channel import ChannelRules, ChannelStats
from node.relay.forwarders.base import ForwarderUnavailable, ForwardingEnded, Reason
from node.relay.forwarders.control import (
    MAX_MESSAGE,
    AskStats,
    Close,
    Closed,
    Message,
    Open,
    StatsReport,
    decode,
    encode,
    pair,
)
from node.relay.ports import PortBlock

WORKER = "node.relay.forwarders.worker"
"""The module that the process runs."""

RESTART_DELAY = 1.0
"""Seconds from one start of the process to the next, at least: so a failing one costs little."""

ANSWER_TIME = 1.0
"""Seconds that the process has to take a message, to answer, or to end."""


class UserspaceForwarder:
    """A `Forwarder` whose packets are carried by a process of its own.

    Args:
        ended: where the ends of channels are reported.
    """

    def __init__(self, ended: trio.MemorySendChannel[ForwardingEnded]) -> None:
        self._ended = ended
        self._control: trio.socket.SocketType | None = None
        self._sending = trio.Lock()
        self._channels: set[str] = set()
        self._asking = trio.Lock()
        self._serial = 0
        self._stats: dict[str, ChannelStats] = {}
        self._answered = trio.Event()
        self.pid: int | None = None
        """Of the process, while one runs."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `Forwarder.run`."""
        while True:
            next_start = trio.current_time() + RESTART_DELAY
            await self._run_process(task_status)
            task_status = trio.TASK_STATUS_IGNORED
            for channel_id in self._channels.copy():
                await self._end(channel_id, Reason.CRASHED, None)
            self._answered.set()
            await trio.sleep_until(next_start)

    async def open(self, channel_id: str, block: PortBlock, rules: ChannelRules) -> None:
        """See `Forwarder.open`."""
        fds = array("i", [sock.fileno() for sock in block.sockets])
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, fds.tobytes())
        self._channels.add(channel_id)  # at once: the end may be reported while this sends
        try:
            await self._send(Open(channel_id, rules), rights)
        except BaseException:
            self._channels.discard(channel_id)
            raise
        finally:
            for sock in block.sockets:
                sock.close()

    async def close(self, channel_id: str, reason: Reason) -> None:
        """See `Forwarder.close`."""
        if channel_id in self._channels:
            with suppress(ForwarderUnavailable):  # then its end is about to be reported
                await self._send(Close(channel_id, reason))

    async def stats(self) -> Mapping[str, ChannelStats]:
        """See `Forwarder.stats`."""
        async with self._asking:
            self._serial += 1
            self._stats = {}
            self._answered = trio.Event()
            with trio.move_on_after(ANSWER_TIME), suppress(ForwarderUnavailable):
                await self._send(AskStats(self._serial))
                await self._answered.wait()
            return self._stats

    async def _run_process(self, task_status: trio.TaskStatus[None]) -> None:
        ours, theirs = pair()
        with trio.socket.from_stdlib_socket(ours) as self._control:
            with theirs:
                process = await trio.lowlevel.open_process(
                    [sys.executable, "-m", WORKER, str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,  # Ctrl-C in a terminal is for the relay
                )
            self.pid = process.pid
            try:
                task_status.started()
                await self._read(self._control)
            finally:
                self._control.close()
                self._control = self.pid = None
                await _reap(process)

    async def _read(self, sock: trio.socket.SocketType) -> None:
        while True:
            try:
                record = await sock.recv(MAX_MESSAGE)
            except ConnectionResetError:
                return
            if not record:
                return
            match decode(record):
                case Closed(channel_id, reason, stats):
                    await self._end(channel_id, Reason(reason), stats)
                case StatsReport(serial, channels, last) if serial == self._serial:
                    self._stats |= channels
                    if last:
                        self._answered.set()

    async def _end(self, channel_id: str, reason: Reason, stats: ChannelStats | None) -> None:
        self._channels.discard(channel_id)
        await self._ended.send(ForwardingEnded(channel_id, reason, stats))

    async def _send(self, message: Message, *ancillary: tuple[int, int, bytes]) -> None:
        with trio.move_on_after(ANSWER_TIME):
            async with self._sending:
                if self._control is None:
                    raise ForwarderUnavailable("the forwarder is about to restart")
                try:
                    await self._control.sendmsg([encode(message)], ancillary)
                except OSError as error:
                    raise ForwarderUnavailable("the forwarder has just failed") from error
                return
        raise ForwarderUnavailable("the forwarder does not respond")


async def _reap(process: trio.Process) -> None:
    """End a process whose control socket is closed, which tells it to end."""
    with trio.CancelScope(shield=True):
        with trio.move_on_after(ANSWER_TIME):
            await process.wait()
        if process.returncode is None:
            process.kill()
            await process.wait()
