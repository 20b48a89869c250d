"""The latest five minutes of a relay, a sample each second. No I/O and no clock."""

from collections import deque
from itertools import pairwise

from node.relay.forwarders.base import Totals
from node.status.status import History

INTERVAL = 1.0
"""Seconds from one sample to the next."""

LENGTH = 300
"""Intervals that are kept: five minutes."""


class Samples:
    """What was carried until each moment, and the channels that were open."""

    def __init__(self) -> None:
        self._samples: deque[tuple[Totals, int]] = deque(maxlen=LENGTH + 1)

    def add(self, totals: Totals, channels: int) -> None:
        """Take a sample; one that tells nothing new of what was carried is left out.

        Args:
            totals: What was carried since the start.
            channels: That are open.
        """
        if not self._samples or totals.at > self._samples[-1][0].at:
            self._samples.append((totals, channels))

    def history(self) -> History:
        """Rates between the samples, whatever time was between them."""
        pairs = [
            (later.at - earlier.at, earlier.carried, later.carried, channels)
            for (earlier, _), (later, channels) in pairwise(self._samples)
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
