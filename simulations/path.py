"""What happens to datagrams on their way besides delay, jitter and loss.

Lines of limited bandwidth with queues, datagrams that arrive twice or late, and partitions. A host
behind a NAT shares the line of its home, which is where the innermost NAT stands.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from simulations.draws import STEP, mix
from simulations.events import EventHeap
from simulations.network import HALF, LOW, UNIT, Host


@dataclass(frozen=True, kw_only=True)
class Line:
    """Access lines, one like the other.

    Attributes:
        up: Bytes of payload a second, towards the network.
        down: The same, from it.
        queue: Seconds that a datagram may wait for it.
    """

    up: float
    down: float
    queue: float


class Route:
    """The `Path` of all datagrams of a network.

    Args:
        heap: Has the clock.
        counters: Counts those that were `duplicated`, `reordered`, `queued_out` and `cut_off`.
        line: Access lines; None for lines without limit.
        duplication: Share of the datagrams that arrive twice.
        reordering: Share of those that are held up.
        reordering_delay: How long, seconds.
    """

    def __init__(
        self,
        heap: EventHeap,
        counters: Counter[str],
        line: Line | None = None,
        *,
        duplication: float = 0.0,
        reordering: float = 0.0,
        reordering_delay: float = 0.0,
    ) -> None:
        self._heap = heap
        self._counters = counters
        self._line = line
        self._duplication = duplication
        self._reordering = reordering
        self._reordering_delay = reordering_delay
        self._up: dict[str, float] = {}  # by line: when all that waits has gone
        self._down: dict[str, float] = {}
        self._cuts: list[frozenset[int]] = []

    def cut_off(self, sites: Iterable[int]) -> Callable[[], None]:
        """Let nothing pass between these sites and all others.

        Returns:
            What ends that.
        """
        cut = frozenset(sites)
        self._cuts.append(cut)
        return lambda: self._cuts.remove(cut)

    def departures(
        self, source: Host, site: int, size: int, delay: float, draw: int
    ) -> tuple[float, ...]:
        """Return how long copies of a datagram to a site take; none if it gets nowhere."""
        for cut in self._cuts:
            if (source.site in cut) is not (site in cut):
                self._counters["cut_off"] += 1
                return ()
        if self._line is not None:
            wait = self._wait(self._up, source, size / self._line.up)
            if wait is None:
                return ()
            delay += wait
        luck = mix(draw + STEP)
        if (luck >> HALF) * UNIT < self._reordering:
            self._counters["reordered"] += 1
            delay += self._reordering_delay
        if (luck & LOW) * UNIT < self._duplication:
            self._counters["duplicated"] += 1
            return delay, delay
        return (delay,)

    def arrival(self, host: Host, size: int) -> float | None:
        """Return how long a datagram waits for the line of its destination; None if too long."""
        if self._line is None:
            return 0.0
        return self._wait(self._down, host, size / self._line.down)

    def _wait(self, lines: dict[str, float], host: Host, takes: float) -> float | None:
        """Queue a datagram at a line; returns the seconds until it has passed."""
        if self._line is None:
            return 0.0
        name = host.name if host.behind is None else host.behind.name
        now = self._heap.now
        begins = max(now, lines.get(name, now))
        if begins - now > self._line.queue:
            self._counters["queued_out"] += 1
            return None
        lines[name] = begins + takes
        return begins + takes - now
