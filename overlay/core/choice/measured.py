"""The relays that a program which stays up knows and keeps measuring, so that calls need not wait.

It knows the adverts of a few hundred relays, and measures the nearest of them. For a call both
ends exchange what they have measured; a leg that was not measured is told from coordinates.

Pure: whoever holds a `MeasuredRelays` probes what is `due`, and before a call what is
`promising`, and tells what came of it.
"""

import math
import random
import statistics
from collections.abc import Iterable
from typing import Final

from overlay.core.choice.coordinates import Coordinate
from overlay.core.choice.selection import NEARLY_FULL, FailedRelays, capped, detour
from overlay.core.choice.tables import MAX_ENTRIES, RttTable, relay_name
from overlay.core.directory.records import Advert, remaining_lifetime

INTERVAL: Final = 600.0  # seconds from one probe of a relay to the next
MAX_KNOWN: Final = 512
_SPACING: Final = 0.05  # seconds between the first probes of relays that came at once
_AGAIN: Final = 10.0  # seconds after which an unanswered probe is repeated
_LOSSES: Final = 3  # unanswered probes in a row, _AGAIN apart, after which a relay is gone
_RECENT: Final = 3  # probes of which the median counts
_FULL_FOR: Final = 10.0  # seconds after which a full relay may well have room again
_LEASE: Final = 3600.0  # seconds for which a relay that says what it has free needs no advert


class KnownRelay:
    """A relay that is known.

    Attributes:
        advert: The latest one known.
        name: What it is called in tables.
        due: When to probe it next, seconds; None if it is not one of the nearest.
        expires: When it is forgotten, seconds.
    """

    __slots__ = (
        *("_free", "_free_at", "_losses", "_lost_at", "_rtts"),
        *("advert", "due", "expires", "name"),
    )

    def __init__(self, advert: Advert, now: float) -> None:
        self.advert = advert
        self.name = relay_name(advert.public_key)
        self._free = advert.offer.free
        self._free_at = now
        self.due: float | None = None
        self.expires = 0.0
        self._rtts: tuple[float, ...] = ()
        self._losses = 0
        self._lost_at = -math.inf

    @property
    def rtt(self) -> float | None:
        """Median round-trip time of the last probes, seconds; None before the first answer."""
        return statistics.median_low(self._rtts) if self._rtts else None

    def is_full(self, now: float) -> bool:
        """Whether it said lately, in an advert or to a probe, that it has hardly any room."""
        return self._free < NEARLY_FULL and now - self._free_at < _FULL_FOR

    def update(self, advert: Advert, expires: float, now: float) -> None:
        """Take in an advert, if it is a later one."""
        self.expires = max(self.expires, expires)
        if advert.seq > self.advert.seq:
            self.advert = advert
            self._free, self._free_at = advert.offer.free, now

    def answered(self, rtt: float, free: float | None, now: float) -> None:
        """Take in the answer to a probe."""
        self._rtts = (*self._rtts, rtt)[-_RECENT:]
        self._losses = 0
        self._lost_at = -math.inf
        if free is not None:
            self._free, self._free_at = free, now
            self.expires = now + _LEASE

    def lost(self, now: float) -> bool:
        """Count an unanswered probe; returns whether the relay is gone."""
        # Calls that look for a relay may probe several times a second: a relay that is started
        # again is not gone for that.
        if now - self._lost_at >= _AGAIN:
            self._losses += 1
            self._lost_at = now
        return self._losses >= _LOSSES


class MeasuredRelays:
    """Known relays, of which the nearest are probed every ten minutes.

    Args:
        failed: Relays that failed lately; those that stop answering are added.
        rng: Spreads the probes out, and chooses whom to forget.
        size: Relays that are kept measured.
    """

    __slots__ = ("_failed", "_known", "_rng", "_size")

    def __init__(self, failed: FailedRelays, rng: random.Random, size: int = MAX_ENTRIES) -> None:
        self._failed = failed
        self._rng = rng
        self._known: dict[bytes, KnownRelay] = {}
        self._size = size

    def __len__(self) -> int:
        return len(self._known)

    @property
    def measured(self) -> int:
        """Relays that have answered a probe."""
        return sum(relay.rtt is not None for relay in self._known.values())

    def get(self, public_key: bytes) -> KnownRelay | None:
        """Return a relay that is known."""
        return self._known.get(public_key)

    def take(
        self, adverts: Iterable[Advert], here: Coordinate | None, now: float, unix_time: float
    ) -> None:
        """Take in what a search has found, and choose anew which relays to measure.

        Args:
            adverts: Good ones, in any order.
            here: Our coordinate.
            now: Seconds.
            unix_time: The same moment as Unix time.
        """
        for advert in adverts:
            if not self._failed.avoids(advert.public_key, now):
                relay = self._known.setdefault(advert.public_key, KnownRelay(advert, now))
                relay.update(advert, now + remaining_lifetime(advert, unix_time), now)
        self._forget(now)
        self._choose_measured(here, now)

    def next_due(self) -> float | None:
        """Return when `due` has something to probe."""
        times = (relay.due for relay in self._known.values() if relay.due is not None)
        return min(times, default=None)

    def due(self, now: float) -> list[Advert]:
        """Take the adverts of the relays that are to be probed now."""
        due = []
        for relay in self._known.values():
            if relay.due is not None and relay.due <= now:
                relay.due = now + INTERVAL * self._rng.uniform(0.9, 1.1)
                due.append(relay.advert)
        return due

    def answered(self, public_key: bytes, rtt: float, free: float | None, now: float) -> None:
        """Take in the answer to a probe.

        Args:
            public_key: The relay's.
            rtt: Round-trip time, seconds.
            free: Free share of its channels, if it said so.
            now: Seconds.
        """
        if (relay := self._known.get(public_key)) is not None:
            relay.answered(rtt, free, now)

    def lost(self, public_key: bytes, now: float) -> None:
        """Note that a probe was not answered: the relay is probed again soon, then given up."""
        relay = self._known.get(public_key)
        if relay is None:
            return
        if relay.lost(now):
            del self._known[public_key]
            self._failed.add(public_key, now)
        elif relay.due is not None:
            relay.due = now + _AGAIN

    def promising(
        self, count: int, here: Coordinate | None, theirs: RttTable | None, now: float
    ) -> list[KnownRelay]:
        """Return the relays that are best for a call, best first.

        Args:
            count: Relays to return at most.
            here: Our coordinate.
            theirs: What the other end has measured; None if it is foreign.
            now: Seconds.
        """

        def promise(relay: KnownRelay) -> tuple[bool, float]:
            key = relay.advert.public_key
            there, far = (None, None) if theirs is None else theirs.leg(relay.name)
            path = detour(relay.advert.coordinate, here, there, near=relay.rtt, far=far)
            return relay.is_full(now) or self._failed.avoids(key, now), path

        return sorted(self._known.values(), key=promise)[:count]

    def table(self, here: Coordinate | None, first: Iterable[KnownRelay] = ()) -> RttTable:
        """Return what has been measured, for the other end of a call.

        Args:
            here: Our coordinate.
            first: Relays to put in before all others.
        """
        rtts: dict[bytes, float] = {}
        nearest = sorted(self._known.values(), key=lambda relay: relay.rtt or 0.0)
        for relay in (*first, *nearest):
            if relay.rtt is not None and len(rtts) < MAX_ENTRIES:
                rtts[relay.name] = relay.rtt
        return RttTable(here, rtts)

    def _forget(self, now: float) -> None:
        for key in [key for key, relay in self._known.items() if relay.expires <= now]:
            del self._known[key]
        surplus = len(self._known) - MAX_KNOWN
        if surplus > 0:
            unmeasured = [key for key, relay in self._known.items() if relay.due is None]
            for key in self._rng.sample(unmeasured, surplus):
                del self._known[key]

    def _choose_measured(self, here: Coordinate | None, now: float) -> None:
        def distance(advert: Advert) -> float:
            near = self._known[advert.public_key].rtt
            return detour(advert.coordinate, here, None, near=near)

        adverts = sorted((relay.advert for relay in self._known.values()), key=distance)
        nearest = {advert.public_key for advert in capped(adverts)[: self._size]}
        new = 0
        for key, relay in self._known.items():
            if key not in nearest:
                relay.due = None
            elif relay.due is None:
                relay.due = now + new * _SPACING
                new += 1
