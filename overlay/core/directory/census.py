"""How many relays the network has, by what others say."""

import statistics
from collections.abc import Collection
from typing import Final

from overlay.core.directory.tree import SAMPLE_SIZE, estimated_relays

# Parts of the id space of each of which the latest reply tells how many adverts a peer holds:
# neighbours hold the same ones, so that a look-up's last replies are all one word.
_PARTS: Final = 16


class RelayCensus:
    """An estimate of the number of relays, by which a search chooses the level to begin at.

    What the few peers hold that were asked is a first guess, which may be wrong by a factor of
    ten; how much lies under the keys that a search has read tells it better.
    """

    __slots__ = ("_counted", "_held")

    def __init__(self) -> None:
        self._held: dict[int, int] = {}  # adverts that a peer holds, by part of the id space
        self._counted: float | None = None  # by the latest search

    def note_held(self, peer_id: bytes, held: int) -> None:
        """Note how many adverts a peer says that it holds."""
        self._held[peer_id[0] * _PARTS >> 8] = held

    def note_keys(self, level: int, totals: Collection[int]) -> None:
        """Note how many adverts lie under some keys of a level, as their replicas say."""
        typical = _middle([min(total, SAMPLE_SIZE) for total in totals])
        if typical >= SAMPLE_SIZE:
            typical *= 2.0  # full samples are of more, nobody knows of how many
        self._counted = typical * (1 << level)

    def relays(self, network_size: float) -> float:
        """Estimate how many relays there are; as long as nobody has told, all peers are.

        Args:
            network_size: Estimated number of peers.
        """
        if self._counted is not None:
            return min(network_size, self._counted)
        if not self._held:
            return network_size
        return estimated_relays(network_size, _middle(self._held.values()))


def _middle(values: Collection[float]) -> float:
    """Return the mean without the lowest and the highest third: liars."""
    ordered = sorted(values)
    out = len(ordered) // 3
    return statistics.fmean(ordered[out : len(ordered) - out])
