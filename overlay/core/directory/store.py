"""The adverts that a peer holds for others: samples by directory key, quotas, expiry."""

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from overlay.core.addresses import Address, network_of
from overlay.core.directory.records import Advert
from overlay.core.directory.tree import SAMPLE_SIZE, directory_key, epoch_of, sample_rank
from overlay.core.ids import distance
from overlay.core.protocol.messages import StoreResult

MAX_PER_NETWORK_AND_KEY: Final = 2
MAX_PER_NETWORK: Final = 64  # over all keys
MAX_KEYS: Final = 1024
_MAX_WITHDRAWN: Final = 1024


@dataclass(slots=True)
class Entry:
    """An advert under a key. Nobody changes one; it is not frozen for the reason of `messages`.

    Attributes:
        advert: The advert, with one endpoint.
        expires_at: When it is dropped, on the peer's own clock (seconds).
        level: Of the key.
        relay: Id whose prefix the key stands for.
        verified_until: How long its relay counts as verified at that endpoint (seconds).
    """

    advert: Advert
    expires_at: float
    level: int
    relay: bytes
    verified_until: float = 0.0

    @property
    def address(self) -> Address:
        """The endpoint."""
        return self.advert.endpoints[0]

    @property
    def key(self) -> bytes:
        """The directory key that it belongs under."""
        return directory_key(self.level, self.relay)

    def verified(self, until: float) -> "Entry":
        """Return the same, of a relay that counts as verified until then."""
        return Entry(self.advert, self.expires_at, self.level, self.relay, until)


class StaleAdvertError(Exception):
    """An advert with a higher sequence number is, or was, there already."""


class KeySample:
    """The adverts under one key, first in order: two of a network, and 64 in all.

    Args:
        epoch: Decides the order.

    Attributes:
        entries: All of them, in order. They are few, and most keys hold one or two: a table of
            their public keys would take more room than they do.
    """

    __slots__ = ("_epoch", "entries")

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch
        self.entries: list[Entry] = []

    def get(self, public_key: bytes) -> Entry | None:
        """Return the advert of a public key, if it is there."""
        at = self._find(public_key)
        return None if at is None else self.entries[at]

    def verified_until(self, entry: Entry) -> float:
        """Return how long an advert's relay counts as verified by what is here: 0 if it is not."""
        held = self.get(entry.advert.public_key)
        return held.verified_until if held is not None and held.address == entry.address else 0.0

    def enter(self, epoch: int) -> None:
        """Sort them anew; all of them stay."""
        self._epoch = epoch
        self.entries.sort(key=self._place)

    def displaced_by(self, entry: Entry) -> bytes | None:
        """Return the public key of the advert that another one leaves no room for, or its own."""
        place = self._place(entry)
        rank, public_key = place
        others = [other for other in self.entries if other.advert.public_key != public_key]
        # The rank is that of the network.
        first = bisect_left(others, (rank, b""), key=self._place)
        nearest = map(self._place, others[first : first + MAX_PER_NETWORK_AND_KEY])
        rivals = [other for other in nearest if other[0] == rank]
        if len(rivals) >= MAX_PER_NETWORK_AND_KEY:
            return max(rivals[-1], place)[1]
        if len(others) >= SAMPLE_SIZE:
            return max(self._place(others[-1]), place)[1]
        return None

    def renew(self, entry: Entry) -> bool:
        """Take in an advert in place of the one before of that public key and address, if any.

        Returns:
            Whether there was one.
        """
        at = self._find(entry.advert.public_key)
        if at is None or self.entries[at].address != entry.address:
            return False
        self.entries[at] = entry
        return True

    def put(self, entry: Entry) -> None:
        """Take in an advert, in place of that of the same public key."""
        self.pop(entry.advert.public_key)
        insort(self.entries, entry, key=self._place)

    def pop(self, public_key: bytes) -> Entry | None:
        """Take out an advert, if it is there."""
        at = self._find(public_key)
        return None if at is None else self.entries.pop(at)

    def _find(self, public_key: bytes) -> int | None:
        for at, entry in enumerate(self.entries):
            if entry.advert.public_key == public_key:
                return at
        return None

    def _place(self, entry: Entry) -> tuple[bytes, bytes]:
        return sample_rank(entry.address, self._epoch), entry.advert.public_key


class AdvertStore:
    """Adverts by directory key, at most 64 for each.

    Attributes:
        own_id: Id of the peer that holds them. When there are too many keys, those furthest from
            it give way: others are nearer to them.
    """

    __slots__ = ("_count", "_epoch", "_keys", "_withdrawn", "own_id")

    def __init__(self, own_id: bytes) -> None:
        self.own_id = own_id
        self._keys: dict[bytes, KeySample] = {}
        self._withdrawn: dict[bytes, tuple[int, float]] = {}  # the latest last
        self._epoch = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[bytes]:
        """Iterate over the keys under which something is held."""
        return iter(list(self._keys))

    def get(self, key: bytes, unix_time: float) -> list[Entry]:
        """Return what is held under a key, in the order of the sample."""
        self._enter_epoch(unix_time)
        return self.entries(key)

    def entries(self, key: bytes) -> list[Entry]:
        """Return what is held under a key, in the order of the last time that was told."""
        held = self._keys.get(key)
        return [] if held is None else list(held.entries)

    def verified_until(self, entry: Entry, now: float) -> float:
        """Return how long an advert's relay counts as verified, by what is held under any key.

        If what is held under the advert's own key suffices now, the others are not searched.
        """
        own = self._keys.get(entry.key)
        until = 0.0 if own is None else own.verified_until(entry)
        if until > now:
            return until
        return max((held.verified_until(entry) for held in self._keys.values()), default=0.0)

    def judge(self, entry: Entry, unix_time: float) -> StoreResult:
        """Tell what `put` would do with an advert.

        Raises:
            StaleAdvertError: A later one of the same key is known.
        """
        self._enter_epoch(unix_time)
        key, public_key = entry.key, entry.advert.public_key
        withdrawn_seq, _ = self._withdrawn.get(public_key, (-1, 0.0))
        held = self._keys.get(key)
        known = None if held is None else held.get(public_key)
        # One that is renewed keeps its place.
        is_renewal = known is not None and known.address == entry.address
        if entry.advert.seq <= withdrawn_seq:
            raise StaleAdvertError
        if known is not None and entry.advert.encoded != known.advert.encoded:
            if entry.advert.seq <= known.advert.seq:
                raise StaleAdvertError
        elif held is None and len(self._keys) >= MAX_KEYS:
            furthest = max(self._keys, key=self._distance)
            if self._distance(key) >= self._distance(furthest):
                return StoreResult.OUTSIDE_SAMPLE
        if held is not None and not is_renewal and held.displaced_by(entry) == public_key:
            return StoreResult.OUTSIDE_SAMPLE
        if known is None and self._is_crowded(network_of(entry.address)):
            return StoreResult.OUTSIDE_SAMPLE
        return StoreResult.LISTED

    def put(self, entry: Entry, unix_time: float) -> StoreResult:
        """Keep an advert, if it belongs to the sample of its key.

        Raises:
            StaleAdvertError: A later one of the same key is known.
        """
        result = self.judge(entry, unix_time)
        key = entry.key
        if result is StoreResult.LISTED:
            held = self._keys.get(key)
            if held is not None and held.renew(entry):
                return result
            self._remove(key, entry.advert.public_key)
            if key not in self._keys and len(self._keys) >= MAX_KEYS:
                self._drop_furthest_key()
            held = self._keys.get(key)
            if held is None:
                held = self._keys[key] = KeySample(self._epoch)
            elif (displaced := held.displaced_by(entry)) is not None:
                self._remove(key, displaced)
            held.put(entry)
            self._count += 1
        return result

    def withdraw(self, advert: Advert, expires_at: float) -> None:
        """Drop a relay's adverts under all keys, and refuse earlier ones until `expires_at`.

        Raises:
            StaleAdvertError: A later one is known.
        """
        public_key = advert.public_key
        holding = self._entries_of(public_key)
        if any(advert.seq <= entry.advert.seq for entry in holding.values()):
            raise StaleAdvertError
        for key in holding:
            self._remove(key, public_key)
        # Even if none is known: an earlier one may be under verification, or still on its way.
        self._withdrawn.pop(public_key, None)
        self._withdrawn[public_key] = (advert.seq, expires_at)
        if len(self._withdrawn) > _MAX_WITHDRAWN:
            del self._withdrawn[next(iter(self._withdrawn))]

    def expire(self, now: float) -> int:
        """Drop what has expired.

        Returns:
            How many adverts that was.
        """
        expired = [
            (key, entry.advert.public_key)
            for key, held in self._keys.items()
            for entry in held.entries
            if entry.expires_at <= now
        ]
        for key, public_key in expired:
            self._remove(key, public_key)
        over = [one for one, (_, expires_at) in self._withdrawn.items() if expires_at <= now]
        for public_key in over:
            del self._withdrawn[public_key]
        return len(expired)

    def _entries_of(self, public_key: bytes) -> dict[bytes, Entry]:
        """Return the adverts of one relay, by directory key."""
        return {
            key: entry
            for key, held in self._keys.items()
            if (entry := held.get(public_key)) is not None
        }

    def _is_crowded(self, network: bytes) -> bool:
        """Whether a network has all the adverts that it may have."""
        if self._count < MAX_PER_NETWORK:  # as with most peers
            return False
        addresses = (entry.address for held in self._keys.values() for entry in held.entries)
        return sum(network_of(address) == network for address in addresses) >= MAX_PER_NETWORK

    def _distance(self, key: bytes) -> int:
        return distance(self.own_id, key)

    def _drop_furthest_key(self) -> None:
        furthest = max(self._keys, key=self._distance)
        for entry in self.entries(furthest):
            self._remove(furthest, entry.advert.public_key)

    def _remove(self, key: bytes, public_key: bytes) -> None:
        held = self._keys.get(key)
        entry = None if held is None else held.pop(public_key)
        if held is None or entry is None:
            return
        self._count -= 1
        if not held.entries:
            del self._keys[key]

    def _enter_epoch(self, unix_time: float) -> None:
        epoch = epoch_of(unix_time)
        if epoch != self._epoch:
            self._epoch = epoch
            for held in self._keys.values():
                held.enter(epoch)
