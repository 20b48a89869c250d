"""Time for a scenario on real sockets: a clock for Trio, and the heap of events that goes by it."""

import time
from collections.abc import Callable
from typing import Any, Final

import trio

from simulations.events import EventHeap

_BEAT: Final = 0.004  # seconds
_SPAN: Final = 0.008  # seconds that the clock goes on without one


class PatientClock(trio.abc.Clock):
    """Real time from zero, which stands still while the machine does not keep up.

    It goes on for a moment only after each beat. So whatever is due has its turn at most a few
    milliseconds late, on this clock, however busy the machine is: nodes do not take that for a
    network in which nobody answers.

    Args:
        real_time: Seconds of real time.
    """

    def __init__(self, real_time: Callable[[], float] = time.perf_counter) -> None:
        self._real_time = real_time
        self._now = 0.0  # at the last beat,
        self._beaten = 0.0  # when it was so late in reality

    def start_clock(self) -> None:
        """Begin at zero."""
        self._beaten = self._real_time()

    def current_time(self) -> float:
        """Return the time, seconds."""
        return self._now + min(self._real_time() - self._beaten, _SPAN)

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Return how long it is until a deadline, seconds."""
        return deadline - self.current_time()

    def beat(self) -> None:
        """Let the clock go on for a moment, from where it is."""
        real_time = self._real_time()
        self._now += min(real_time - self._beaten, _SPAN)
        self._beaten = real_time

    async def run(self) -> None:
        """Beat whenever it is this task's turn, until cancelled."""
        while True:
            self.beat()
            # Not from now on, which may be later: the clock would stand still before its next beat.
            await trio.sleep_until(self._now + _BEAT)


class RealTimeHeap(EventHeap):
    """A heap whose events happen when Trio's time has come, as `simulations.sockets.Pump` does it.

    Attributes:
        on_earlier: Is called when something is planned to happen before all else.
    """

    __slots__ = ("on_earlier",)

    def __init__(self, now: float) -> None:
        super().__init__(now)
        self.on_earlier: Callable[[], None] = _nothing

    def arrive(self, when: float, order: int, action: Callable[..., object], *args: Any) -> None:
        """Plan an arrival."""
        is_earlier = when < self.due
        super().arrive(when, order, action, *args)
        if is_earlier:
            self.on_earlier()

    def at(self, when: float, action: Callable[..., object], *args: Any) -> None:
        """Plan an action."""
        is_earlier = when < self.due
        super().at(when, action, *args)
        if is_earlier:
            self.on_earlier()


def _nothing() -> None:
    """Nobody wants to know yet."""
