"""What the peers that we enter by have told, until our own routing table says more."""

import statistics
from collections.abc import Sequence
from typing import Final

from overlay.core.kademlia.contact import Contact
from overlay.core.kademlia.routing import estimate_size

_MAX_ENTRANCES: Final = 12  # more of them make a look-up dearer and hardly safer


class Entrances:
    """Whom each of them knows, and how large each says that the network is.

    Any of them may lie, so what they name is kept apart: a look-up begins a path with each.

    Attributes:
        named: Each entrance with those that it has named, in the order of their answers.
    """

    __slots__ = ("_sizes", "named")

    def __init__(self) -> None:
        self.named: list[tuple[Contact, ...]] = []
        self._sizes: list[float] = []

    @property
    def network_size(self) -> float:
        """The median of what they say, the lower one: too small a network costs little.

        The upper levels of the directory serve everybody. It is 0 as long as nobody has told.
        """
        return statistics.median_low(self._sizes) if self._sizes else 0.0

    def add(self, entrance: Contact, neighbours: Sequence[Contact]) -> None:
        """Take in an entrance and its k nearest neighbours."""
        if len(self.named) >= _MAX_ENTRANCES:
            return
        self.named.append((entrance, *neighbours))
        self._sizes.append(estimate_size(entrance.id, neighbours))

    def clear(self) -> None:
        """Forget them."""
        self.named.clear()
        self._sizes.clear()
