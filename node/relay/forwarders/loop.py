"""An event loop over epoll: readiness handlers and timers, and nothing else.

A packet of media costs a few microseconds, nearly all of it in system calls. A task or a callback
object per packet would double that, so the handlers are plain calls, looked up by descriptor. And
a wait with a timeout sets a timer of the system each time: so timers are an alarm (setitimer(2)),
which is set only when another one comes first, and every wait is without end.
"""

import heapq
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from math import inf
from typing import Any

MAX_EVENTS = 128
"""Ready descriptors taken at once: bounds how long timers and the control socket wait."""

SHORTEST_WAIT = 0.002
"""Seconds from one alarm to the next, at least: with thousands of timers many are due at once."""


Timer = list[Any]
"""When (seconds), a number that decides between equals, and what is to be called then."""


def _nothing() -> None:
    """What a cancelled timer does."""


class Loop:
    """Calls handlers when descriptors are ready or times have come, until stopped.

    Handlers of timers may add and remove descriptors; handlers of readiness may add them, but
    remove none except their own, since others may be among those that are ready, too.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[], object]] = {}
        self._order = count()  # of timers that are due at once
        self._timers: list[Timer] = []
        self._cancelled = 0
        self.call_at(inf, _nothing)  # so that there is a first one
        self._alarm_at = inf
        self._running = False
        self.now = time.monotonic()
        """Seconds: when the descriptors that are being handled became ready."""

    def add(self, fd: int, handler: Callable[[], object]) -> None:
        """Call `handler` whenever `fd` is readable or has an error; it must receive once."""
        self._epoll.register(fd, select.EPOLLIN)
        self._handlers[fd] = handler

    def watch_writable(self, fd: int, *, writable: bool) -> None:
        """Also call the handler of `fd` when it is writable, or no longer."""
        self._epoll.modify(fd, select.EPOLLIN | (select.EPOLLOUT if writable else 0))

    def remove(self, fd: int) -> None:
        """Forget a descriptor that is about to be closed."""
        del self._handlers[fd]
        self._epoll.unregister(fd)

    def call_at(self, when: float, handler: Callable[[], object]) -> Timer:
        """Call `handler` once, at `when` (seconds on this loop's clock)."""
        timer: Timer = [when, next(self._order), handler]
        heapq.heappush(self._timers, timer)
        return timer

    def cancel(self, timer: Timer) -> None:
        """Forget a timer that has not come."""
        timer[2] = _nothing
        self._cancelled += 1
        if 2 * self._cancelled > len(self._timers):
            self._timers[:] = [kept for kept in self._timers if kept[2] is not _nothing]
            heapq.heapify(self._timers)
            self.call_at(inf, _nothing)
            self._cancelled = 0

    def stop(self) -> None:
        """Return from `run` after what is being handled."""
        self._running = False

    def run(self) -> None:
        """Handle events until `stop`; in the main thread, whose SIGALRM it takes.

        Other threads should block that signal.
        """
        self._running = True
        poll, handlers, timers, clock = (
            self._epoll.poll,
            self._handlers,
            self._timers,
            time.monotonic,
        )
        with self._alarm():
            while self._running:
                if timers[0][0] < self._alarm_at:
                    self._set_alarm()
                ready = poll(None, MAX_EVENTS)
                self.now = now = clock()
                for fd, _ in ready:
                    handlers[fd]()
                while timers[0][0] <= now:
                    heapq.heappop(timers)[2]()
        self._epoll.close()

    def _set_alarm(self) -> None:
        self._alarm_at = self._timers[0][0]
        signal.setitimer(signal.ITIMER_REAL, max(self._alarm_at - time.monotonic(), SHORTEST_WAIT))

    @contextmanager
    def _alarm(self) -> Iterator[None]:
        """Have the system's alarm end a wait."""
        with ExitStack() as stack:
            bell, ring = socket.socketpair()
            for end in (bell, ring):
                stack.enter_context(end).setblocking(False)

            def rung() -> None:
                with suppress(BlockingIOError):
                    bell.recv(64)
                self._alarm_at = inf

            self.add(bell.fileno(), rung)
            stack.callback(self.remove, bell.fileno())
            handler = signal.signal(signal.SIGALRM, lambda *_: None)
            stack.callback(signal.signal, signal.SIGALRM, handler)
            stack.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(ring.fileno()))
            stack.callback(signal.setitimer, signal.ITIMER_REAL, 0)
            yield
