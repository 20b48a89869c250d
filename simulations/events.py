"""The one heap of events and the simulated clock (discrete-event simulation).

What hosts do to each other goes by `arrive`, whose order at one time hangs on the sender alone: two
hosts might as well have heaps of their own.
"""

import heapq
import math
from collections.abc import Callable
from typing import Any


class EventHeap:
    """Actions in the order of their times; those of one time in the order of their planning.

    Arrivals come before all others of their time.

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

    def arrive(self, when: float, order: int, action: Callable[..., object], *args: Any) -> None:
        """Plan an arrival.

        Args:
            when: When it is.
            order: Among arrivals of one time: a number that no other one has, below 0.
            action: What happens then.
            args: What it is called with.
        """
        heapq.heappush(self._heap, (when, order, action, args))

    def after(self, delay: float, action: Callable[..., object], *args: Any) -> None:
        """Plan an action for `delay` seconds from now."""
        self.at(self.now + delay, action, *args)

    @property
    def due(self) -> float:
        """When the next action is; infinity if there is none."""
        return self._heap[0][0] if self._heap else math.inf

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.run_until(self.now + seconds)

    def run_until(self, until: float) -> None:
        """Let time pass until a time of the simulated clock."""
        heap = self._heap
        pop = heapq.heappop
        while heap and heap[0][0] <= until:
            self.now, _, action, args = pop(heap)
            action(*args)
        self.now = until
