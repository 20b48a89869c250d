"""The process that carries the media: `python -m node.relay.forwarders.worker` with arguments.

They are a control socket, the first and the last port of the relay, memory that tells which ports
are open, and maybe `kernel`. A process of its own keeps packets from waiting for the interpreter
while the relay computes. It imports little, so that a crashed one is replaced in no time; it ends
when the relay does, which it learns from the control socket; and it writes nothing anywhere but its
messages.
"""

import errno
import gc
import os
import resource
import signal
import socket
import sys
from collections import deque
from typing import TYPE_CHECKING

from node.relay.budget import Budget
from node.relay.channel import PORTS, Traffic, total
from node.relay.drop import Drop
from node.relay.forwarders.control import (
    MAX_MESSAGE,
    STATS_PER_REPORT,
    Allow,
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
from node.relay.forwarders.loop import Loop
from node.relay.forwarders.media import MediaChannel
from node.relay.forwarders.own_ports import OwnPorts, shared_ports
from node.relay.resources import check_descriptors

if TYPE_CHECKING:  # else only a process that uses it loads it
    from node.relay.forwarders.kernel import Kernel
    from node.turn.place import TurnPlace
    from node.turn.sockets import TurnSockets


class Worker:
    """Channels, and the conversation with the relay about them.

    Args:
        control: non-blocking socket to the relay.
        own: the ports of the relay, also those of its other processes.
        kernel: whether the kernel may carry steady media.
    """

    def __init__(
        self, control: socket.socket, own: OwnPorts | None = None, *, kernel: bool = False
    ) -> None:
        self._control = control
        self._own = own or OwnPorts()
        self._loop = Loop()
        self._channels: dict[str, MediaChannel | TurnPlace] = {}
        self._turn: TurnSockets | None = None
        self._budget = Budget(lambda *spent: self._send(Spent(*spent)))
        self._ended = Traffic()  # what the channels that have ended carried
        # Bounded by what the relay asks: one question at a time, each channel closes once, and
        # of what it allows two reports are due; and by what is asked for TURN.
        self._outbox: deque[bytes] = deque()
        self._loop.add(control.fileno(), self._control_ready)
        self._kernel = self._open_kernel() if kernel else None

    def run(self) -> None:
        """Carry media until the relay is gone."""
        self._loop.run()
        if self._kernel is not None:
            self._kernel.close()
        if self._turn is not None:
            self._turn.close()

    def _open_kernel(self) -> "Kernel":
        from node.relay.forwarders.kernel import Kernel

        return Kernel(self._loop, self._budget, lambda lacks: self._send(KernelLost(lacks)))

    def _control_ready(self) -> None:
        self._loop.call_at(self._loop.now, self._converse)  # this may close ports that are ready

    def _converse(self) -> None:
        self._flush()
        try:
            record, fds, _, _ = socket.recv_fds(self._control, MAX_MESSAGE, PORTS)
        except BlockingIOError:
            return
        except OSError:
            record = b""
        if not record:
            self._loop.stop()
            return
        match decode(record):
            case Open() as message:
                self._open(message, [socket.socket(fileno=fd) for fd in fds])
            case ServeTurn() as message:
                self._serve_turn([socket.socket(fileno=fd) for fd in fds], message)
            case RefuseAllocation(serial, code) if self._turn is not None:
                self._turn.refuse(serial, code)
            case Close(channel_id, reason):
                self._close(channel_id, reason)
            case Limit(kbps):
                self._budget.limit(kbps, self._loop.now)
                if self._kernel is not None:
                    self._kernel.limit(kbps)
            case Allow(serial, size):
                self._budget.allow(serial, size)
                if self._kernel is not None:
                    self._kernel.allowance_changed()
            case AskStats(serial):
                self._report_stats(serial)
            case AskTotals(serial):
                self._send(TotalsReport(serial, self._loop.now, self._totals()))
            case Ping() as message:
                self._send(message)

    def _open(self, message: Open, sockets: list[socket.socket]) -> None:
        failure = self._carry(message, sockets)
        if failure:
            for sock in sockets:
                sock.close()
        self._send(Opened(message.channel_id, failure))

    def _carry(self, message: Open, sockets: list[socket.socket]) -> int:
        try:
            check_descriptors(max((sock.fileno() for sock in sockets), default=0))
            self._channels[message.channel_id] = self._opened(message, sockets)
        except OSError as error:
            return error.errno or errno.EIO
        return 0

    def _opened(self, message: Open, sockets: list[socket.socket]) -> "MediaChannel | TurnPlace":
        channel_id, rules, turn = message.channel_id, message.rules, message.turn
        if turn is not None:
            if self._turn is None or not sockets:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            if turn.request is not None:
                return self._turn.take_over(channel_id, turn.request, turn.hosts, rules, sockets)
            return self._turn.open(channel_id, turn.serial, turn.hosts, rules, sockets)
        if len(sockets) != PORTS:  # no descriptors were left to receive the others
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return MediaChannel(
            self._loop,
            sockets,
            rules,
            self._budget,
            self._own,
            lambda: self._close(channel_id, "expired"),
            self._kernel,
        )

    def _serve_turn(self, listeners: list[socket.socket], message: ServeTurn) -> None:
        if self._turn is not None or not listeners:  # told twice, or no descriptors are left
            for listener in listeners:
                listener.close()
            return
        from node.turn.sockets import TurnSockets

        self._turn = TurnSockets(
            self._loop,
            listeners[0],
            message,
            self._budget,
            self._own,
            self._send,
            self._close,
        )

    def _close(self, channel_id: str, reason: str) -> None:
        media = self._channels.get(channel_id)
        if media is not None and not media.closed:  # else it has expired just before
            media.close(lambda: self._end(channel_id, reason, media))

    def _end(self, channel_id: str, reason: str, media: "MediaChannel | TurnPlace") -> None:
        del self._channels[channel_id]
        stats = media.stats()
        self._ended += stats
        self._send(Closed(channel_id, reason, stats))

    def _totals(self) -> Traffic:
        carried = self._ended + total(media.channel for media in self._channels.values())
        if self._turn is not None:
            carried += Traffic(drops={Drop.TURN_STRANGERS: self._turn.server.unanswered})
        return carried

    def _report_stats(self, serial: int) -> None:
        waiting = list(self._channels.items())
        while True:
            batch, waiting = waiting[:STATS_PER_REPORT], waiting[STATS_PER_REPORT:]
            stats = {channel_id: media.stats() for channel_id, media in batch}
            self._send(StatsReport(serial, stats, last=not waiting))
            if not waiting:
                return

    def _send(self, message: Message) -> None:
        self._outbox.append(encode(message))
        self._flush()

    def _flush(self) -> None:
        while self._outbox:
            try:
                self._control.send(self._outbox[0])
            except BlockingIOError:
                break
            except OSError:
                self._loop.stop()
                return
            self._outbox.popleft()
        self._loop.watch_writable(self._control.fileno(), writable=bool(self._outbox))


def main() -> None:
    """Run the process."""
    for stop in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(stop, signal.SIG_IGN)  # sent to the whole group; the relay decides
    # Which channels there are descriptors for, the relay decides, and it may change its mind.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    fd, first, last, ports_fd = map(int, sys.argv[1:5])
    control = socket.socket(fileno=fd)
    control.setblocking(False)
    own = shared_ports(range(first, last + 1), ports_fd)
    worker = Worker(control, own, kernel="kernel" in sys.argv[5:])
    gc.freeze()
    worker.run()


if __name__ == "__main__":
    main()
