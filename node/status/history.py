"""The latest five minutes of a relay, a sample each second. No I/O and no clock."""

from collections import deque
from itertools import pairwise

from node.relay.channel import Traffic
from node.status.status import History

INTERVAL = 1.0
"""Seconds from one sample to the next."""

LENGTH = 300
"""Intervals that are kept: five minutes."""


class Samples:
    """What was carried until each moment, and the channels that were open."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, Traffic, int]] = deque(maxlen=LENGTH + 1)

    def add(self, now: float, carried: Traffic, channels: int) -> None:
        """Take a sample.

        Args:
            now: seconds.
            carried: since the start.
            channels: that are open.
        """
        self._samples.append((now, carried, channels))

    def history(self) -> History:
        """Rates between the samples, whatever time was between them."""
        pairs = [
            (later[0] - earlier[0], earlier[1], later[1], later[2])
            for earlier, later in pairwise(self._samples)
            if later[0] > earlier[0]
        ]
        return History(
            interval=INTERVAL,
            to_peers=tuple(
                round((later.requester_bytes - earlier.requester_bytes) / seconds, 1)
                for seconds, earlier, later, _ in pairs
            ),
            to_requesters=tuple(
                round((later.peer_bytes - earlier.peer_bytes) / seconds, 1)
                for seconds, earlier, later, _ in pairs
            ),
            channels=tuple(channels for *_, channels in pairs),
        )
