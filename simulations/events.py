"""The one heap of events and the simulated clock (discrete-event simulation)."""

import heapq
from collections.abc import Callable
from typing import Any


class EventHeap:
    """Actions in the order of their times; those of one time in the order of their planning.

    Attributes:
        now: The simulated clock, seconds.
    """

    __slots__ = ("_heap", "_serial", "now")

    def __init__(self, now: float = 0.0) -> None:
        self.now = now
        self._heap: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._serial = 0

    def __len__(self) -> int:
        return len(self._heap)

    def at(self, when: float, action: Callable[..., object], *args: Any) -> None:
        """Plan an action; one that is overdue is done next, without turning the clock back."""
        self._serial += 1
        if when < self.now:
            when = self.now
        heapq.heappush(self._heap, (when, self._serial, action, args))

    def after(self, delay: float, action: Callable[..., object], *args: Any) -> None:
        """Plan an action for `delay` seconds from now."""
        self.at(self.now + delay, action, *args)

    def run(self, seconds: float) -> None:
        """Let time pass."""
        heap = self._heap
        pop = heapq.heappop
        until = self.now + seconds
        while heap and heap[0][0] <= until:
            self.now, _, action, args = pop(heap)
            action(*args)
        self.now = until
