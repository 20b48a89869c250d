"""Has the kernel carry steady media: the paths that the forwarder's process hands to nftables.

The process keeps the sockets of its channels and latches; it hands over a path when its source has
been steady for a while, and takes it back when the source falls silent. Nothing here waits for the
kernel: a thread of its own runs the transactions, many paths in each, and reads the counters.
Whatever goes wrong, the table vanishes and every path is back in userspace.
"""

import queue
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path as File
from typing import Protocol

from node.relay.budget import Budget
from node.relay.forwarders import rules
from node.relay.forwarders.loop import Loop
from node.relay.forwarders.nftables import Nftables, NftablesError
from node.relay.forwarders.rules import Path
from node.relay.sockets import is_local

INTERVAL = 0.2
"""Seconds from one reading of the counters to the next, at least: what is known of a path, its
silence and its use of a bandwidth, is that old."""

LARGEST_SHARE = 0.1
"""Share of a core that reading may take: with more paths it is done less often."""

STUCK = 5
"""Packets of a path that the kernel took, while none left, after which it goes back to userspace:
a firewall forbids it, or they are too long for the way."""

FORWARDING = {
    False: File("/proc/sys/net/ipv4/ip_forward"),
    True: File("/proc/sys/net/ipv6/conf/all/forwarding"),
}
"""By whether it is IPv6: the switch that lets the kernel forward."""


def forwards(is_v6: bool) -> bool:
    """Whether the kernel forwards packets of an address family."""
    try:
        return FORWARDING[is_v6].read_text().strip() != "0"
    except OSError:  # no such address family, or /proc/sys is hidden
        return False


@dataclass(frozen=True)
class Carried:
    """What a path has carried since the last reading."""

    arrived: bool
    """Whether the source has sent anything."""
    packets: int
    size: int
    """Bytes of UDP payload."""
    at: float
    """Seconds: when that was known; nothing of it is later."""


class Owner(Protocol):
    """Whoever has a path carried."""

    def on_carried(self, carried: Carried) -> None:
        """Called with each reading."""

    def on_stuck(self) -> None:
        """Called when its packets do not get out; it should be withdrawn then."""

    def on_gone(self, carried: "CarriedPath") -> None:
        """Called once, when the kernel carries it no longer and its last reading was taken."""


@dataclass(eq=False)
class CarriedPath:
    """A path that the kernel carries, or is about to."""

    number: int
    path: Path
    kbps: int | None
    owner: "Owner"
    arrived: int = 0
    passed: int = 0
    passed_bytes: int = 0
    unanswered: int = 0
    """Packets that arrived since one was passed on."""


@dataclass
class _Round:
    """A conversation with the kernel: begin, read, end."""

    begin: str
    end: str
    with_quota: bool
    counters: dict[str, tuple[int, int]] = field(default_factory=dict)
    quota_used: int = 0
    read_at: float = 0.0
    """Seconds: before the counters were read."""
    ended_at: float = 0.0
    failure: str | None = None


class Kernel:
    """Carries paths in the kernel.

    Args:
        loop: that calls it.
        budget: what all channels share.
        on_lost: called once if the kernel carries nothing any more, with what that would take.
    """

    def __init__(self, loop: Loop, budget: Budget, on_lost: Callable[[str], object]) -> None:
        self._loop = loop
        self._budget = budget
        self._on_lost = on_lost
        self._table = rules.table_name()
        self._families = {is_v6 for is_v6 in FORWARDING if forwards(is_v6)}
        self._count = 0
        self._new: list[CarriedPath] = []
        self._paths: dict[int, CarriedPath] = {}
        self._leaving: list[CarriedPath] = []
        self._ending: list[CarriedPath] = []  # those that the round under way stops
        self._kbps: int | None = None
        self._granted: int | None = None  # bytes of payload that all may carry, ever
        self._passed = 0  # bytes of payload that all have carried
        self._quota_used = 0  # as the kernel counts it
        self._limits_changed = True
        self._busy = self._lost = self._proven = False
        self._due = 0.0
        self.read_at = loop.now
        """Seconds: all that came before has been read."""
        self._rounds: queue.SimpleQueue[_Round | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[_Round] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._bell, ring = socket.socketpair()
        self._bell.setblocking(False)
        loop.add(self._bell.fileno(), self._answered)
        try:
            # Now, while descriptors are few: the library waits with select(2), and ends the process
            # if its socket is not below 1024.
            nftables = Nftables()
        except NftablesError as error:
            ring.close()
            self._lose(f"nftables ({error})")
            return
        talk = (nftables, self._table, self._rounds, self._done, ring)
        self._thread = threading.Thread(target=_converse, args=talk, daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            ring.close()
            nftables.close()
            self._lose("one more thread (raise the limit of processes: ulimit -u)")

    def close(self) -> None:
        """Carry nothing any more, after the loop has ended; its table is gone then."""
        self._rounds.put(None)
        if self._thread is not None and self._thread.ident is not None:
            self._thread.join()
        self._bell.close()

    def carry(self, path: Path, kbps: int | None, owner: Owner) -> CarriedPath | None:
        """Have the kernel carry a path as soon as it can; None if it cannot."""
        if self._lost or not path.is_plain or path.is_v6 not in self._families:
            return None
        if is_local(path.source[0]) or is_local(path.destination[0]):
            return None  # packets of and for this machine take another way through its kernel
        self._count += 1
        carried = CarriedPath(self._count, path, kbps, owner)
        self._new.append(carried)
        self._hurry()
        return carried

    def withdraw(self, carried: CarriedPath) -> None:
        """Have it carry a path no longer; nothing happens if that is so already."""
        if carried in self._new:
            self._new.remove(carried)
            self._loop.call_at(self._loop.now, lambda: carried.owner.on_gone(carried))
        elif self._paths.pop(carried.number, None) is not None:
            self._leaving.append(carried)
            self._hurry()

    def limit(self, kbps: int | None) -> None:
        """Set what all paths together may carry without asking: kbit/s; None: any number."""
        self._kbps = kbps
        self._limits_changed = True
        self._hurry()

    def allowance_changed(self) -> None:
        """Take note that the budget is metered, or no longer."""
        if self._budget.is_metered == (self._granted is not None):
            return  # what was granted of the one before is still to be spent
        self._granted = self._passed if self._budget.is_metered else None
        self._limits_changed = True
        self._hurry()

    def _hurry(self) -> None:
        self._due = self._loop.now
        self._loop.call_at(self._due, self._begin)

    def _begin(self) -> None:
        """Begin a round, if one is due and there is anything to do."""
        if self._busy or self._lost or self._loop.now < self._due:
            return
        if not (self._new or self._paths or self._leaving):
            return
        new, self._new = self._new, []
        self._ending, self._leaving = self._leaving, []
        begin = self._limits()
        begin += "".join(rules.stop(self._table, c.number, c.path) for c in self._ending)
        begin += "".join(rules.start(self._table, c.number, c.path, kbps=c.kbps) for c in new)
        end = "".join(rules.remove(self._table, c.number) for c in self._ending)
        self._paths |= {carried.number: carried for carried in new}
        self._busy = True
        self._rounds.put(_Round(begin, end, self._granted is not None))

    def _limits(self) -> str:
        size = None
        if self._granted is not None:
            # The kernel counts headers, and what it then has left to userspace: neither was passed.
            self._granted += self._budget.grant(self._granted - self._passed)
            size = self._quota_used + self._granted - self._passed
        if self._limits_changed:
            self._limits_changed = False
            return rules.limit_all(self._table, kbps=self._kbps, size=size)
        return "" if size is None else rules.set_quota(self._table, size)

    def _answered(self) -> None:
        if not self._bell.recv(64):  # the thread has ended
            self._loop.remove(self._bell.fileno())
        self._loop.call_at(self._loop.now, self._take)  # this may close ports that are ready

    def _take(self) -> None:
        if self._done.empty():
            return
        done = self._done.get()
        self._busy = False
        if done.failure is not None:
            self._lose(done.failure)
            return
        self._quota_used = done.quota_used
        carried = (*self._paths.values(), *self._ending, *self._leaving)
        for path in carried:
            self._note(path, done)
        self.read_at = done.read_at
        ended, self._ending = self._ending, []
        for path in ended:
            path.owner.on_gone(path)
        stuck = [path for path in carried if path.unanswered >= STUCK]
        if stuck and not self._proven:
            self._lose("a firewall that lets pass what the kernel forwards")
            return
        for path in stuck:
            path.owner.on_stuck()
        took = done.ended_at - done.read_at
        self._due = self._loop.now + max(INTERVAL, took / LARGEST_SHARE)
        if self._new or self._leaving:
            self._due = self._loop.now
        self._loop.call_at(self._due, self._begin)

    def _note(self, carried: CarriedPath, done: _Round) -> None:
        arrived, _ = done.counters.get(f"arrived{carried.number}", (carried.arrived, 0))
        passed, size = done.counters.get(
            f"passed{carried.number}", (carried.passed, carried.passed_bytes)
        )
        packets = passed - carried.passed
        payload = max(0, size - carried.passed_bytes - packets * carried.path.headers)
        carried.unanswered = 0 if packets else carried.unanswered + arrived - carried.arrived
        has_arrived = arrived > carried.arrived
        carried.arrived, carried.passed, carried.passed_bytes = arrived, passed, size
        self._passed += payload
        self._proven |= packets > 0
        carried.owner.on_carried(Carried(has_arrived, packets, payload, done.ended_at))

    def _lose(self, lacking: str) -> None:
        """Give up: the thread ends, its netlink socket closes, and with it goes the table."""
        if self._lost:
            return
        self._lost = True
        self._rounds.put(None)
        gone = (*self._new, *self._paths.values(), *self._leaving, *self._ending)
        self._new, self._leaving, self._ending = [], [], []
        self._paths = {}
        for carried in gone:
            carried.owner.on_stuck()
            carried.owner.on_gone(carried)
        self._on_lost(lacking)


def _converse(
    nftables: Nftables,
    table: str,
    rounds: "queue.SimpleQueue[_Round | None]",
    done: "queue.SimpleQueue[_Round]",
    ring: socket.socket,
) -> None:
    """Talk with the kernel, in a thread, until it refuses or nothing more is to be said."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])  # which is the loop's
    with ring, nftables:
        has_table = False
        while (round_ := rounds.get()) is not None:
            try:
                if not has_table:
                    nftables.run(rules.make_table(table))
                    has_table = True
                _hold(nftables, table, round_)
            except NftablesError as error:
                round_.failure = f"nftables that take its rules ({error})"
            except (KeyError, TypeError) as error:
                round_.failure = f"nftables that list counters ({error!r})"
            done.put(round_)
            with suppress(OSError):  # a loop that has ended
                ring.send(b"!")


def _hold(nftables: Nftables, table: str, round_: _Round) -> None:
    if round_.begin:
        nftables.run(round_.begin)
    round_.read_at = time.monotonic()
    if round_.with_quota:  # before the counters: what is counted in between is no use to anybody
        for quota in nftables.list(rules.list_quota(table), "quota"):
            round_.quota_used = quota["used"]
    for counter in nftables.list(rules.list_counters(table), "counter"):
        round_.counters[counter["name"]] = counter["packets"], counter["bytes"]
    round_.ended_at = time.monotonic()
    if round_.end:
        nftables.run(round_.end)
