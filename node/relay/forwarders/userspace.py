"""The forwarder: in userspace it works for everyone; where the kernel can help, it does.

Keeps a process of its own (`worker`) and hands it the sockets of channels. If the process ends or
hangs, its channels are reported as closed and a new one takes its place.
"""

import itertools
import logging
import os
import socket
from array import array
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from secrets import token_bytes

import trio

from node.relay.channel import ChannelRules, ChannelStats, Traffic
from node.relay.forwarders.base import (
    Allocated,
    AllocationWanted,
    AllowanceSpent,
    ForwarderUnavailable,
    ForwardingEnded,
    Reason,
    Report,
    Totals,
)
from node.relay.forwarders.control import (
    AllocationFor,
    Allow,
    AskAllocation,
    AskStats,
    AskTotals,
    Close,
    Closed,
    KernelLost,
    Limit,
    Message,
    Open,
    Opened,
    Ping,
    RefuseAllocation,
    ServeTurn,
    Spent,
    StatsReport,
    TotalsReport,
    decode,
    encode,
)
from node.relay.forwarders.own_ports import OwnPorts, SharedPorts, Use
from node.relay.forwarders.process import NotStartedError, open_process, receive, share_ports
from node.relay.forwarders.use import IN_USERSPACE, KernelUse
from node.relay.ports import PortBlock
from node.relay.resources import explain

RESTART_DELAY = 1.0
"""Seconds from one start of the process to the next, at least: so a failing one costs little."""

LONGEST_RESTART_DELAY = 60.0
"""Each start that comes to nothing doubles the delay, up to this; a process that has lived for as
long sets it back."""

ANSWER_TIME = 1.0
"""Seconds that the process has to take a message, and to answer."""

SILENCE = 5.0
"""Seconds without a word of the process after which it is asked for one; after as many more it
hangs, and so do its channels."""

_log = logging.getLogger(__name__)


class UserspaceForwarder:
    """A `Forwarder` whose packets are carried by a process of its own.

    Args:
        reports: where the ends of channels and of allowances are reported.
        ports: first and last port of the relay's channels.
        use: whether the kernel may carry steady media.
    """

    processes = 1
    """See `Forwarder.processes`."""

    def __init__(
        self,
        reports: trio.MemorySendChannel[Report],
        ports: tuple[int, int],
        use: KernelUse = IN_USERSPACE,
    ) -> None:
        self._reports = reports
        self._ports = ports
        self.use = use
        """See `Forwarder.use`."""
        self._control: trio.socket.SocketType | None = None
        self._sending = trio.Lock()
        self._limit, self._allowed = Limit(None), Allow(0, None)
        self._turn: tuple[socket.socket, ServeTurn] | None = None
        self._channels: set[str] = set()
        self._own = OwnPorts()
        self._taken: dict[str, range] = {}  # ports that are marked there, by channel
        self._asking = trio.Lock()
        self._awaited: str | int | None = None
        self._answered = trio.Event()
        self._failure = ""
        self._serials = itertools.count()
        self._stats: dict[str, ChannelStats] = {}
        self._totals = Totals(0.0, Traffic())  # of the process that runs
        self._earlier = Traffic()  # of those before it, as far as they have told
        self.pid: int | None = None
        """Of the process, while one runs."""

    @property
    def ready(self) -> bool:
        """See `Forwarder.ready`."""
        return self._control is not None

    async def run(
        self,
        own: SharedPorts | None = None,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """See `Forwarder.run`.

        Args:
            own: the relay's ports, if other forwarders have some of them.
            task_status: told when it can take channels.
        """
        with share_ports(self._ports) if own is None else nullcontext(own) as shared:
            self._own = shared
            await self._run(shared, task_status)

    async def _run(self, own: SharedPorts, task_status: trio.TaskStatus[None]) -> None:
        delay = RESTART_DELAY
        has_run = False
        while True:
            began = trio.current_time()
            try:
                async with open_process(own, kernel=self.use.possible) as (
                    process,
                    control,
                ):
                    self._control, self.pid = control, process.pid
                    if not has_run:
                        task_status.started()
                        has_run = True
                    try:
                        await self._send(self._limit)
                        await self._send(self._allowed)
                        await self._serve_turn()
                        failure = await self._read(control)
                    except ForwarderUnavailable as error:
                        failure = str(error)
                    finally:
                        self._control = self.pid = None
                failure += f" (exit status {process.returncode})"
            except NotStartedError as error:
                if not has_run:
                    raise
                failure = str(error)
            now = trio.current_time()
            if now - began > LONGEST_RESTART_DELAY:
                delay = RESTART_DELAY
            wait = max(0.0, began + delay - now)
            delay = min(2 * delay, LONGEST_RESTART_DELAY)
            _log.warning(
                "%s; closing its %d channels; restart in %.0f s",
                failure,
                len(self._channels),
                wait,
            )
            await self._end_all()
            await trio.sleep(wait)

    async def serve_turn(
        self,
        listener: socket.socket,
        secret: bytes,
        nonce_secret: bytes | None = None,
        *,
        accepts: bool = True,
    ) -> None:
        """See `Forwarder.serve_turn`.

        Args:
            listener: bound to the server's port.
            secret: from which the passwords of users follow.
            nonce_secret: from which nonces do; the same for all that share the listener.
            accepts: whether it receives there; else only from clients that it is given by `open`.
        """
        self._turn = listener, ServeTurn(secret, nonce_secret or token_bytes(32), accepts)
        with suppress(ForwarderUnavailable):  # then the next process hears of it
            await self._serve_turn()

    async def _serve_turn(self) -> None:
        if self._turn is not None:
            listener, message = self._turn
            await self._send(message, _rights([listener]))

    async def refuse_allocation(self, serial: int, code: int) -> None:
        """See `Forwarder.refuse_allocation`."""
        with suppress(ForwarderUnavailable):  # then nobody waits any more
            await self._send(RefuseAllocation(serial, code))

    async def open(
        self,
        channel_id: str,
        block: PortBlock,
        rules: ChannelRules,
        turn: Allocated | None = None,
    ) -> None:
        """See `Forwarder.open`."""
        for_turn = None
        if turn is not None:
            has_asked = self._turn is not None and self._turn[1].accepts
            request = None if has_asked else turn.request
            for_turn = AllocationFor(turn.serial, list(turn.hosts), request)
        message = Open(channel_id, rules, for_turn)
        self._taken[channel_id] = range(block.first, block.first + len(block.sockets))
        use = Use.CHANNEL if turn is None else Use.ALLOCATION
        self._own.mark(self._taken[channel_id], use)
        try:
            await self._ask(channel_id, message, _rights(block.sockets))
        except BaseException:
            self._free(channel_id)
            with trio.CancelScope(shield=True):  # it may be open, or be opened later
                await self.close(channel_id, Reason.CRASHED)
            raise
        finally:
            for sock in block.sockets:
                sock.close()

    async def close(self, channel_id: str, reason: Reason) -> None:
        """See `Forwarder.close`."""
        with suppress(ForwarderUnavailable):  # then its end is about to be reported
            await self._send(Close(channel_id, reason))

    async def limit(self, kbps: int | None) -> None:
        """See `Forwarder.limit`."""
        self._limit = Limit(kbps)
        with suppress(ForwarderUnavailable):  # then the next process hears of it
            await self._send(self._limit)

    async def allow(self, serial: int, size: int | None) -> None:
        """See `Forwarder.allow`."""
        self._allowed = Allow(serial, size)
        with suppress(ForwarderUnavailable):
            await self._send(self._allowed)

    async def stats(self) -> Mapping[str, ChannelStats]:
        """See `Forwarder.stats`."""
        serial = next(self._serials)
        try:
            return await self._ask(serial, AskStats(serial))
        except ForwarderUnavailable:
            return {}

    async def totals(self) -> Totals:
        """See `Forwarder.totals`."""
        serial = next(self._serials)
        with suppress(ForwarderUnavailable):  # then what was known before is still true
            await self._ask(serial, AskTotals(serial))
        return replace(self._totals, carried=self._carried)

    @property
    def _carried(self) -> Traffic:
        return self._earlier + self._totals.carried

    async def _read(self, control: trio.socket.SocketType) -> str:
        """Take what the process says until it fails; returns how it did."""
        asked = False
        while True:
            with trio.move_on_after(SILENCE) as waiting:
                record = await receive(control)
            if waiting.cancelled_caught:
                if asked:
                    return "the forwarder's process hangs"
                asked = True
                with suppress(ForwarderUnavailable):
                    await self._send(Ping())
            elif not record:
                return "the forwarder's process has ended"
            else:
                asked = False
                await self._take(decode(record))

    async def _take(self, message: Message) -> None:
        match message:
            case Opened(channel_id, 0):
                if channel_id == self._awaited:
                    self._channels.add(channel_id)
                self._answer(channel_id)
            case Opened(channel_id, errno):
                reason = explain(OSError(errno, os.strerror(errno)))
                self._answer(channel_id, f"the forwarder takes no channel: {reason}")
            case Closed(channel_id, reason, stats):
                await self._end(channel_id, Reason(reason), stats)
            case KernelLost(lacks):
                self.use = KernelUse(possible=False, lacks=lacks)
                _log.warning(
                    "calls are forwarded in userspace from now on; for the kernel it takes %s",
                    lacks,
                )
            case AskAllocation(serial, requester, pair, request):
                await self._reports.send(AllocationWanted(serial, requester, pair, request))
            case Spent(serial, size, ended):
                await self._reports.send(AllowanceSpent(serial, size, ended))
            case StatsReport(serial, channels, last) if serial == self._awaited:
                self._stats |= channels
                if last:
                    self._answer(serial)
            case TotalsReport(serial, at, totals):
                self._totals = Totals(at, totals)
                self._answer(serial)

    async def _end_all(self) -> None:
        self._answer(self._awaited, "the forwarder has just failed")
        self._earlier = self._carried
        self._totals = replace(self._totals, carried=Traffic())
        for channel_id in self._channels.copy():
            await self._end(channel_id, Reason.CRASHED, None)
        lost = self._allowed
        if lost.size is not None:
            self._allowed = Allow(lost.serial, 0)  # nobody knows what was spent of it
            await self._reports.send(AllowanceSpent(lost.serial, lost.size, ended=True))

    async def _end(self, channel_id: str, reason: Reason, stats: ChannelStats | None) -> None:
        self._channels.discard(channel_id)
        self._free(channel_id)
        await self._reports.send(ForwardingEnded(channel_id, reason, stats))

    def _free(self, channel_id: str) -> None:
        self._own.mark(self._taken.pop(channel_id, range(0)), Use.NONE)

    async def _ask(
        self, key: str | int, question: Message, *ancillary: tuple[int, int, bytes]
    ) -> Mapping[str, ChannelStats]:
        """Send a question and wait for its answer: one at a time, so few pile up unanswered."""
        try:
            with trio.fail_after(ANSWER_TIME):
                async with self._asking:
                    self._awaited, self._answered = key, trio.Event()
                    self._failure, self._stats = "", {}
                    try:
                        await self._send(question, *ancillary)
                        await self._answered.wait()
                    finally:
                        self._awaited = None
                    if self._failure:
                        raise ForwarderUnavailable(self._failure)
                    return self._stats
        except trio.TooSlowError:
            raise ForwarderUnavailable("the forwarder does not respond") from None

    def _answer(self, key: str | int | None, failure: str = "") -> None:
        if key == self._awaited:  # else its time is over
            self._failure = failure
            self._answered.set()

    async def _send(self, message: Message, *ancillary: tuple[int, int, bytes]) -> None:
        with trio.move_on_after(ANSWER_TIME):
            async with self._sending:
                if self._control is None:
                    raise ForwarderUnavailable("the forwarder is about to restart")
                try:
                    await self._control.sendmsg([encode(message)], ancillary)
                except (OSError, trio.ClosedResourceError) as error:  # the latter: given up
                    raise ForwarderUnavailable("the forwarder has just failed") from error
                return
        raise ForwarderUnavailable("the forwarder does not respond")


def _rights(sockets: Sequence[socket.socket]) -> tuple[int, int, bytes]:
    """Ancillary data that hands sockets to another process."""
    fds = array("i", [sock.fileno() for sock in sockets])
    return socket.SOL_SOCKET, socket.SCM_RIGHTS, fds.tobytes()
