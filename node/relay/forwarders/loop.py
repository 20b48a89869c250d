"""An event loop over epoll: readiness handlers and timers, and nothing else.

A packet of media costs a few microseconds, nearly all of it in system calls. A task or a callback
object per packet would double that, so the handlers are plain calls, looked up by descriptor.
"""

import heapq
import select
import time
from collections.abc import Callable
from itertools import count

MAX_EVENTS = 128
"""Ready descriptors taken at once: bounds how long timers and the control socket wait."""


class Loop:
    """Calls handlers when descriptors are ready or times have come, until stopped.

    Handlers of timers may add and remove descriptors; handlers of readiness may add them, but
    remove none except their own, since others may be among those that are ready, too.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[], object]] = {}
        self._timers: list[tuple[float, int, Callable[[], object]]] = []
        self._order = count()  # of timers that are due at once
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

    def call_at(self, when: float, handler: Callable[[], object]) -> None:
        """Call `handler` once, at `when` (seconds on this loop's clock)."""
        heapq.heappush(self._timers, (when, next(self._order), handler))

    def stop(self) -> None:
        """Return from `run` after what is being handled."""
        self._running = False

    def run(self) -> None:
        """Handle events until `stop`."""
        self._running = True
        poll, handlers, timers, clock = (
            self._epoll.poll,
            self._handlers,
            self._timers,
            time.monotonic,
        )
        while self._running:
            wait = max(0.0, timers[0][0] - clock()) if timers else None
            ready = poll(wait, MAX_EVENTS)
            self.now = clock()
            for fd, _ in ready:
                handlers[fd]()
            while timers and timers[0][0] <= self.now:
                heapq.heappop(timers)[2]()
        self._epoll.close()
