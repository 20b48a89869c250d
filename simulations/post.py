"""What is told otherwise than by datagrams: it takes its time, and does not get lost.

Hosts send each other letters over XMPP. What all shards must know of a host is announced.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

from simulations.network import Host, Network

# When it arrives, its order, who it is for, and what it says; all of it can be pickled.
Letter = tuple[float, int, Hashable, tuple[Any, ...]]


class Post:
    """Carries letters to boxes.

    Args:
        network: Where the hosts are.
        leaving: By site, where to put letters to other shards; None where it is here.
    """

    def __init__(
        self, network: Network, leaving: Sequence[list[Letter] | None] | None = None
    ) -> None:
        self._network = network
        self._leaving = leaving
        here_or_there = {id(there): there for there in leaving or () if there is not None}
        self._elsewhere = list(here_or_there.values())
        self._boxes: dict[Hashable, Callable[..., None]] = {}

    def open(self, name: Hashable, box: Callable[..., None]) -> None:
        """Have a box called with the letters to a name."""
        self._boxes[name] = box

    def close(self, name: Hashable) -> None:
        """Drop letters to a name from now on."""
        self._boxes.pop(name, None)

    def rtt(self, one: int, other: int) -> float:
        """Return the round trip between two sites without jitter, seconds."""
        latency = self._network.latency
        return latency.one_way(one, other) + latency.one_way(other, one)

    def send(self, source: Host, site: int, name: Hashable, *content: Any) -> None:
        """Send a letter to a box at a site, which takes half of a round trip."""
        when = self._network.heap.now + self.rtt(source.site, site) / 2
        letter = when, self._network.next_order(source), name, content
        leaving = None if self._leaving is None else self._leaving[site]
        if leaving is None:
            self.admit((letter,))
        else:
            leaving.append(letter)

    def announce(self, source: Host, delay: float, name: Hashable, *content: Any) -> None:
        """Have the boxes of this name in all shards get a letter at the same time.

        Args:
            source: Whom it is about.
            delay: Seconds until then; a shard must be able to wait for it, see `Shard.outlook`.
            name: Of the boxes.
            content: What it says.
        """
        when = self._network.heap.now + delay
        letter = when, self._network.next_order(source), name, content
        self.admit((letter,))
        for leaving in self._elsewhere:
            leaving.append(letter)

    def admit(self, letters: Iterable[Letter]) -> None:
        """Let letters arrive."""
        for when, order, name, content in letters:
            self._network.heap.arrive(when, order, self._deliver, name, content)

    def _deliver(self, name: Hashable, content: tuple[Any, ...]) -> None:
        box = self._boxes.get(name)
        if box is not None:
            box(*content)
