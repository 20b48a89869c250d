"""Random draws that hang on who draws, and on nothing that others do.

What happens in a simulation is then the same whether all of its hosts are in one process or not.
"""

import hashlib
import math
import random
from collections.abc import MutableSequence, Sequence
from typing import Final, TypeVar, cast

T = TypeVar("T")

MASK: Final = 2**64 - 1
STEP: Final = 0x9E3779B97F4A7C15
_UNIT: Final = 2.0**-53


def mix(state: int) -> int:
    """Return 64 bits that look random; SplitMix64 (Steele, Lea, Flood 2014) adds STEP each time."""
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    state = (state ^ (state >> 27)) * 0x94D049BB133111EB & MASK
    return state ^ (state >> 31)


def start_of(*names: object) -> int:
    """Return the first state of whatever has these names."""
    text = "|".join(map(str, names)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def draws_of(*names: object) -> random.Random:
    """Return a generator for whatever has these names, with those methods that peers call.

    A true `random.Random` takes 2.5 KB, which is too much for each of a hundred thousand peers.
    """
    return cast(random.Random, Draws(start_of(*names)))


class Draws:
    """What `random.Random` does, as far as peers need it, in a tenth of the memory.

    Args:
        state: Any number.
    """

    __slots__ = ("_state",)

    def __init__(self, state: int) -> None:
        self._state = state & MASK

    def _next(self) -> int:
        state = self._state = self._state + STEP & MASK
        return mix(state)

    def _below(self, count: int) -> int:
        return self._next() * count >> 64

    def random(self) -> float:
        """Return a number from 0 to below 1."""
        return (self._next() >> 11) * _UNIT

    def uniform(self, low: float, high: float) -> float:
        """Return a number between two."""
        return low + (high - low) * self.random()

    def gauss(self, mean: float, deviation: float) -> float:
        """Return a number of a normal distribution (Box and Muller 1958)."""
        radius = math.sqrt(-2.0 * math.log(1.0 - self.random()))
        return mean + deviation * radius * math.cos(2.0 * math.pi * self.random())

    def getrandbits(self, count: int) -> int:
        """Return a number of so many bits."""
        value = 0
        for _ in range(0, count, 64):
            value = value << 64 | self._next()
        return value >> -count % 64

    def randbytes(self, count: int) -> bytes:
        """Return so many bytes."""
        return self.getrandbits(8 * count).to_bytes(count, "big")

    def randrange(self, count: int) -> int:
        """Return a whole number from 0 to below `count`."""
        return self._below(count)

    def choice(self, items: Sequence[T]) -> T:
        """Return one of some items."""
        return items[self._below(len(items))]

    def sample(self, items: Sequence[T], count: int) -> list[T]:
        """Return so many different ones of some items, in random order.

        Raises:
            ValueError: There are not as many.
        """
        if count > len(items):
            raise ValueError("sample larger than what there is")
        moved: dict[int, int] = {}  # of a shuffle that is made as far as it is needed
        chosen = []
        for at in range(count):
            other = at + self._below(len(items) - at)
            chosen.append(items[moved.get(other, other)])
            moved[other] = moved.get(at, at)
        return chosen

    def shuffle(self, items: MutableSequence[T]) -> None:
        """Bring items into random order."""
        items[:] = self.sample(items, len(items))
