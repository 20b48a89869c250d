"""Packets at a steady rate through channels: how long they take, and whether all come."""

import json
import os
import select
import struct
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from simulations.lab.bench.legs import Legs
from simulations.lab.bench.statistics import percentile

SIZE = 172
"""Bytes of a packet: 20 ms of G.711."""

SETTLING = 0.5
"""Seconds without a packet after which none is on its way any more."""

_STAMP = struct.Struct("!Q")
_PADDING = bytes(SIZE - _STAMP.size)


def send_steadily(legs: Legs, channels: int, rate: float, seconds: float) -> int:
    """Send from clients to peers, one channel after the other; returns how many packets.

    Args:
        legs: the channels.
        channels: the first so many are used.
        rate: packets a second; 0: as many as can be.
        seconds: how long.
    """
    sends = cycle([client.send for client in legs.clients[:channels]])
    clock, stamp = time.monotonic_ns, _STAMP.pack
    start = clock()
    end = start + int(seconds * 1e9)
    sent = 0
    while (now := clock()) < end:
        due = int((now - start) * rate / 1e9) + 1 - sent if rate else 64
        for send in islice(sends, due):
            send(stamp(clock()) + _PADDING)
        sent += due
        if rate:
            time.sleep(max(0.0, (start + sent * 1e9 / rate - clock()) / 1e9))
    return sent


def count_arriving(legs: Legs, channels: int, rate: float, seconds: float) -> dict[str, Any]:
    """Send, and count what comes to the peer's network interface: nobody has to receive it.

    Must be called in the peer's network namespace.
    """
    before = _received()
    started = time.monotonic()
    sent = send_steadily(legs, channels, rate, seconds)
    took = time.monotonic() - started
    at_end = latest = _received()
    while True:
        time.sleep(SETTLING)
        if latest == (latest := _received()):
            break
    return {"sent": sent, "during": (at_end - before) / took, "arrived": latest - before}


def _received() -> int:
    """Packets that have come in at eth0."""
    for line in Path("/proc/self/net/dev").read_text().splitlines():
        name, _, counters = line.strip().partition(":")
        if name == "eth0":
            return int(counters.split()[1])
    raise OSError("no network interface eth0")


def time_packets(legs: Legs, channels: int, rate: float, seconds: float) -> dict[str, Any]:
    """Send, and have another process receive: how long packets took, in microseconds."""
    with _receiver(legs, channels) as (stop, results):
        sent = send_steadily(legs, channels, rate, seconds)
        time.sleep(SETTLING)
        os.close(stop)
        with os.fdopen(results, closefd=False) as text:
            return {"sent": sent, **json.loads(text.read())}


@contextmanager
def _receiver(legs: Legs, channels: int) -> Iterator[tuple[int, int]]:
    """A process that receives until the first pipe is closed, and then writes to the second."""
    stopped, stop = os.pipe()
    results, write = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(stop)
        try:
            delays = _receive(legs, channels, stopped)
            os.write(write, json.dumps(_summary(delays)).encode())
        finally:
            os._exit(0)
    os.close(stopped)
    os.close(write)
    try:
        yield stop, results
    finally:
        os.close(results)
        os.waitpid(pid, 0)


def _receive(legs: Legs, channels: int, stopped: int) -> "array[int]":
    """Nanoseconds that each packet took."""
    epoll = select.epoll()
    epoll.register(stopped, select.EPOLLHUP)
    receives = {}
    for peer in legs.peers[:channels]:
        epoll.register(peer.fileno(), select.EPOLLIN)
        receives[peer.fileno()] = peer.recv
    delays = array("q")
    clock, unpack = time.monotonic_ns, _STAMP.unpack_from
    while True:
        for fd, _ in epoll.poll():
            if fd == stopped:
                return delays
            delays.append(-unpack(receives[fd](SIZE))[0] + clock())


def _summary(delays: "array[int]") -> dict[str, Any]:
    if not delays:
        return {"arrived": 0}
    shares = {"median": 0.5, "p99": 0.99, "p999": 0.999}
    return {
        "arrived": len(delays),
        **{name: percentile(delays, share) / 1000 for name, share in shares.items()},
    }
