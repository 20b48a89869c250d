"""The one queue of events and the simulated clock (discrete-event simulation).

What hosts do to each other goes by `arrive`, whose order at one time hangs on the sender alone: two
hosts might as well have queues of their own.

Only the events of the moment are in a heap. Those of later moments lie unsorted until their time
comes (a calendar queue, after Brown, CACM 1988): in a heap of all events of a large network each
step would go through memory that no cache holds.
"""

import heapq
import math
from collections.abc import Callable
from typing import Any, Final

# Moments a second; a power of two, so that the product with a time is exact.
_MOMENTS: Final = 64.0
_FAR: Final = 2.0**40  # seconds; all that is later, or never, is of one moment

_Event = tuple[float, int, Callable[..., object], tuple[Any, ...]]


class EventHeap:
    """Actions in the order of their times; those of one time in the order of their planning.

    Arrivals come before all others of their time.

    Attributes:
        now: The simulated clock, seconds.
    """

    __slots__ = ("_later", "_moment", "_moments", "_serial", "_soon", "now")

    def __init__(self, now: float = 0.0) -> None:
        self.now = now
        self._moment = 0.0  # whose events, with all earlier ones, are in the heap
        self._soon: list[_Event] = []
        self._moments: list[float] = []  # a heap of the later ones
        self._later: dict[float, list[_Event]] = {}
        self._serial = 0

    def at(self, when: float, action: Callable[..., object], *args: Any) -> None:
        """Plan an action; one that is overdue is done next, without turning the clock back."""
        self._serial += 1
        if when < self.now:
            when = self.now
        self._plan((when, self._serial, action, args))

    def arrive(self, when: float, order: int, action: Callable[..., object], *args: Any) -> None:
        """Plan an arrival.

        Args:
            when: When it is.
            order: Among arrivals of one time: a number that no other one has, below 0.
            action: What happens then.
            args: What it is called with.
        """
        self._plan((when, order, action, args))

    def after(self, delay: float, action: Callable[..., object], *args: Any) -> None:
        """Plan an action for `delay` seconds from now."""
        self.at(self.now + delay, action, *args)

    @property
    def due(self) -> float:
        """When the next action is; infinity if there is none."""
        if not self._soon:
            self._turn()
        return self._soon[0][0] if self._soon else math.inf

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.run_until(self.now + seconds)

    def run_until(self, until: float) -> None:
        """Let time pass until a time of the simulated clock."""
        pop = heapq.heappop
        while self.due <= until:
            self.now, _, action, args = pop(self._soon)
            action(*args)
        self.now = until

    def _plan(self, event: _Event) -> None:
        moment = min(event[0], _FAR) * _MOMENTS // 1.0
        if moment <= self._moment:
            heapq.heappush(self._soon, event)
        elif (later := self._later.get(moment)) is not None:
            later.append(event)
        else:
            self._later[moment] = [event]
            heapq.heappush(self._moments, moment)

    def _turn(self) -> None:
        """Go on to the next moment in which something is to happen."""
        if self._moments:
            self._moment = heapq.heappop(self._moments)
            self._soon = self._later.pop(self._moment)
            heapq.heapify(self._soon)
