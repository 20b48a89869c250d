"""Finding relays: several keys of the directory tree are read at once.

How one key is read, see `reading`. The keys are random prefixes at the level at which each has a
few relays below it. There are as many such keys as it takes for nobody to be asked often; the upper
levels, which are few, are gone to only where the lower ones are empty.
"""

import math
import random
from collections.abc import Callable
from typing import Final

from overlay.core.directory.reading import AdvertSearch
from overlay.core.directory.records import Advert
from overlay.core.directory.sample import MOST, OURSELVES, AdvertSample
from overlay.core.directory.tree import directory_key, first_level
from overlay.core.ids import ID_LENGTH
from overlay.core.rpc import Rpc

_MAX_KEYS: Final = 64  # read in one search

# Shares of the time for a search: after the first, a few adverts are enough for somebody who is
# in a hurry; after the second, the root is gone to straight.
_PATIENCE: Final = 0.15
_BELOW_ROOT: Final = 0.5
ENOUGH: Final = 16


class RelayHunt:
    """Collects adverts from random prefixes of the directory tree.

    The level to begin at rests on what others say. So that no lie keeps a search in the depths,
    it climbs by as much as it takes where it finds little, and goes straight for the root when
    its time gets short.

    Args:
        rpc: Asks the peers.
        wanted: Adverts that are enough, at most `MOST`.
        held: Reads the adverts under a key from our own store.
        rng: Chooses the prefixes.
        clock_offset: Unix time minus `now`, seconds.
        on_end: Called once, at the end.
    """

    __slots__ = (
        "_entrances",
        "_held",
        "_is_counted",
        "_keys",
        "_level",
        "_on_end",
        "_open",
        "_read_level",
        "_rng",
        "_root_due",
        "_rpc",
        "_sample",
        "_searches",
        "asked",
        "due",
    )

    def __init__(
        self,
        rpc: Rpc,
        wanted: int,
        held: Callable[[bytes], list[bytes]],
        rng: random.Random,
        clock_offset: float,
        on_end: "Callable[[RelayHunt], None]",
    ) -> None:
        self._rpc = rpc
        self._held = held
        self._rng = rng
        self._on_end = on_end
        self._level = 0
        self._read_level = 0  # of the keys that are being read; the other may be the next
        self._is_counted = False
        self._entrances = 0  # that had answered when the search began
        self._keys: set[bytes] = set()  # those read so far
        self._searches: list[AdvertSearch] = []
        self._open = 0
        self._sample = AdvertSample(rpc, min(wanted, MOST), clock_offset)
        self._root_due = math.inf
        self.asked = 0
        self.due: float | None = None

    @property
    def adverts(self) -> tuple[Advert, ...]:
        """What was found."""
        return tuple(self._sample.adverts(self._rng))

    def start(self, now: float, limit: float, *, hurried: bool) -> None:
        """Search from the deepest level on, for about `limit` seconds; less if `hurried`."""
        self._root_due = now + limit * _BELOW_ROOT
        self.due = now + limit * _PATIENCE if hurried else self._root_due
        self._begin(now)

    def handle_timer(self, now: float) -> None:
        """Do with fewer adverts from now on, or go for the root."""
        if self.due is None or now < self.due:
            return
        if now < self._root_due:
            self.due = self._root_due
            self._sample.wanted = min(self._sample.wanted, ENOUGH)
            if self._sample.is_enough:
                self._cancel(now)
        else:
            self.due = None
            if self._level > 0:
                self._level = 1
                self._cancel(now)

    def stop(self, now: float) -> None:
        """End with what there is."""
        self.due = None
        self._level = 0
        self._cancel(now)

    def _begin(self, now: float) -> None:
        self._entrances = len(self._rpc.entrances.named)
        self._keys.clear()
        self._is_counted = False
        self._level, _ = self._first_level()
        self._read(now)

    def _cancel(self, now: float) -> None:
        for search in self._searches:
            search.cancel(now)

    def _read(self, now: float) -> None:
        """Read random keys of the level that have not been read yet, or else climb."""
        _, count = self._first_level()
        prefixes = (self._rng.randbytes(ID_LENGTH) for _ in range(count))
        drawn = dict.fromkeys(directory_key(self._level, prefix) for prefix in prefixes)
        keys = [key for key in drawn if key not in self._keys]
        if not keys:
            self._climb(now)
            return
        self._keys.update(keys)
        self._read_level = self._level
        self._searches = [
            AdvertSearch(self._rpc, key, self._key_read, self._sample, self._rng) for key in keys
        ]
        self._open = len(keys)
        for key, search in zip(keys, self._searches, strict=True):
            for encoded in self._held(key):
                self._sample.take(encoded, OURSELVES, now)
            search.start(now)

    def _key_read(self, now: float) -> None:
        self._open -= 1
        if self._sample.is_enough:
            self._cancel(now)
        if self._open == 0:
            self._open = -1  # once
            self._go_on(now)

    def _go_on(self, now: float) -> None:
        """End, read further keys of the level if they are worth it, or climb."""
        searches, self._searches = self._searches, []
        self.asked += sum(search.answers for search in searches)
        found = sum(search.found for search in searches)
        totals = [search.total for search in searches if search.total is not None]
        if found and any(totals) and not self._is_counted:
            self._is_counted = True  # further up, where samples are full, there is less to learn
            self._rpc.census.note_keys(self._read_level, totals)
        if self._sample.is_enough or self._level == 0:
            entered = len(self._rpc.entrances.named)
            if not len(self._sample) and self.due is not None and entered > self._entrances:
                self._begin(now)  # the first to answer may have led us among liars
                return
            self.due = None
            self._on_end(self)
        elif found >= len(searches) and self.due is not None and len(self._keys) < _MAX_KEYS:
            self._read(now)
        else:
            self._climb(now)

    def _climb(self, now: float) -> None:
        """Go up to where as many keys have what is wanted."""
        found = len(self._sample)
        if self.due is None:
            self._level = 0
        elif found:
            self._level -= max(1, math.ceil(math.log2(self._sample.wanted / found)))
        else:
            self._level //= 2
        # Others may have told by now that the network is smaller than was said at first.
        deepest, _ = self._first_level()
        self._level = max(0, min(self._level, deepest))
        self._read(now)

    def _first_level(self) -> tuple[int, int]:
        return first_level(self._rpc.relays(), self._rpc.network_size())
