"""The routing table: k-buckets by common-prefix length (Kademlia section 2.4).

Which bucket, who may enter, who leaves and who is closest is decided here.
"""

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from overlay.core.ids import ID_BITS
from overlay.core.kademlia.bucket import Bucket, find
from overlay.core.kademlia.contact import Contact, K

# Diversity: how much of a table one network (IPv4 /24, IPv6 /48) may fill.
MAX_PER_BUCKET: Final = 2
MAX_PER_TABLE: Final = 10

MAX_FAILURES: Final = 2  # in a row; one lost packet never evicts

_COUNTS: Final = 128


def estimate_size(own_id: bytes, nearest: Sequence[Contact]) -> float:
    """Estimate how many peers a network has, from the density of ids near one of them.

    Args:
        own_id: The one id.
        nearest: Its k nearest neighbours; fewer if there are no more.
    """
    own = int.from_bytes(own_id, "big")
    # Whoever names them may name one twice, or the one peer itself.
    distances = {contact.long_id ^ own for contact in nearest} - {0}
    if len(distances) < K:
        return len(distances) + 1.0
    return K * 2.0**ID_BITS / max(distances)


def _count(bucket: Bucket, network: bytes) -> int:
    """Count the contacts of a network; replacements with them, since they will be promoted."""
    return sum(contact.network == network for contact in bucket.members())


class RoutingTable:
    """Contacts by their distance to `own`.

    Attributes:
        own: Our id as a number.
        buckets: By the length of the prefix that their contacts share with us.
    """

    __slots__ = ("_failures", "_networks", "_own_id", "buckets", "own")

    def __init__(self, own: bytes) -> None:
        self._own_id = own
        self.own = int.from_bytes(own, "big")
        self.buckets: list[Bucket] = []
        # Contacts by network, several of them to a count: an upper bound, which is mostly enough.
        self._networks = array("H", bytes(2 * _COUNTS))
        self._failures: dict[bytes, int] = {}

    def __len__(self) -> int:
        return sum(len(bucket.contacts) for bucket in self.buckets)

    def __contains__(self, contact: Contact) -> bool:
        bucket = self._bucket(contact.long_id)
        return bucket is not None and find(bucket.contacts, contact.id) == contact

    def get(self, peer_id: bytes) -> Contact | None:
        """Return the contact with an id, if it is in a bucket."""
        bucket = self._bucket(int.from_bytes(peer_id, "big"))
        return None if bucket is None else find(bucket.contacts, peer_id)

    def contacts(self) -> list[Contact]:
        """Return all contacts, deepest bucket first."""
        return [contact for bucket in reversed(self.buckets) for contact in bucket.contacts]

    def wants(self, contact: Contact) -> bool:
        """Whether a contact that proves itself would get a place, or one among replacements."""
        if contact.long_id == self.own:
            return False
        bucket = self._bucket(contact.long_id)
        if bucket is not None:
            if bucket.is_full or find(bucket.contacts, contact.id) is not None:
                return False
            if find(bucket.replacements, contact.id) is not None:
                return False
        return self._is_diverse(contact, bucket)

    def add(self, contact: Contact) -> Contact | None:
        """Take in a contact that has just proved itself, or note that it was seen.

        Returns:
            If its bucket is full: the contact seen least recently, which gives up its place
            if it does not answer a ping. The new one waits among the replacements.
        """
        if contact.long_id == self.own:
            return None
        bucket = self._bucket(contact.long_id)
        if bucket is not None:
            if bucket.saw(contact):
                self._forgive(contact)
                return None
            if find(bucket.contacts, contact.id) is not None:
                return None
            if find(bucket.replacements, contact.id) is not None:
                return bucket.contacts[0]
        if not self._is_diverse(contact, bucket):
            return None
        return self._insert(bucket or self._deepen(contact.long_id), contact)

    def fill(self, contacts: Iterable[Contact], refreshed_at: Callable[[], float]) -> None:
        """Take in contacts as if they had proved themselves, in a table that has stood for long.

        For simulations that begin in the middle; a real peer believes nobody who has not answered.

        Args:
            contacts: They are subject to all caps.
            refreshed_at: Tells for each bucket when something was last looked up in it, seconds.
        """
        for contact in contacts:
            self.add(contact)
        for bucket in self.buckets:
            bucket.looked_up = refreshed_at()

    def looked_up(self, target: int, now: float) -> None:
        """Note that an id is looked up."""
        bucket = self._bucket(target)
        if bucket is not None:
            bucket.looked_up = max(bucket.looked_up, now)

    def far_buckets(self) -> Iterator[tuple[int, Bucket]]:
        """Yield the buckets, by index, beyond those that hold our k nearest contacts at most."""
        held = 0
        for index in reversed(range(len(self.buckets))):
            bucket = self.buckets[index]
            held += len(bucket.contacts)
            if held > K and bucket.contacts:
                yield index, bucket

    def fail(self, contact: Contact) -> bool:
        """Count a request that a contact did not answer.

        Returns:
            Whether the contact has now been evicted.
        """
        if contact not in self:
            return False
        failures = self._failures.get(contact.id, 0) + 1
        if failures < MAX_FAILURES:
            self._failures[contact.id] = failures
            return False
        self.remove(contact)
        return True

    def remove(self, contact: Contact) -> None:
        """Evict a contact; the latest replacement takes its place."""
        bucket = self._bucket(contact.long_id)
        if bucket is None or find(bucket.contacts, contact.id) != contact:
            return
        bucket.remove(contact)
        self._forgive(contact)
        self._forget(contact)

    def closest(self, target: int, count: int = K) -> list[Contact]:
        """Return the contacts closest to an id, closest first.

        All contacts of the target's own bucket are closer to it than those of deeper buckets,
        which all share the same prefix with it, and those are closer than any shallower bucket.
        """
        found: list[Contact] = []
        for group in self._groups(self._index(target)):
            by_distance = {contact.long_id ^ target: contact for contact in group}
            found += [by_distance[distance] for distance in sorted(by_distance)]
            if len(found) >= count:
                break
        return found[:count]

    def count_nearer(self, target: int) -> int:
        """Return how many contacts are nearer to an id than we are.

        Those are all of the target's own bucket, and some of the deeper ones.
        """
        index = self._index(target)
        own = self.own ^ target
        nearer = sum(len(bucket.contacts) for bucket in self.buckets[index : index + 1])
        for deeper in self.buckets[index + 1 :]:
            for contact in deeper.contacts:
                nearer += contact.long_id ^ target < own
        return nearer

    def estimated_size(self) -> float:
        """Estimate how many peers the network has, from the density of ids near our own."""
        return estimate_size(self._own_id, self.closest(self.own))

    def _index(self, long_id: int) -> int:
        return ID_BITS - (self.own ^ long_id).bit_length()

    def _bucket(self, long_id: int) -> Bucket | None:
        """The bucket that an id belongs in; None if there is none as deep as that."""
        index = self._index(long_id)
        return self.buckets[index] if index < len(self.buckets) else None

    def _deepen(self, long_id: int) -> Bucket:
        """Make the bucket that an id belongs in, and those above it that were not needed yet."""
        while len(self.buckets) <= self._index(long_id):
            self.buckets.append(Bucket())
        return self.buckets[-1]

    def _groups(self, index: int) -> Iterator[Iterable[Contact]]:
        """Yield a bucket, all deeper ones together, and the shallower ones one by one."""
        for bucket in self.buckets[index : index + 1]:
            yield bucket.contacts
        yield [contact for deeper in self.buckets[index + 1 :] for contact in deeper.contacts]
        for bucket in reversed(self.buckets[:index]):
            yield bucket.contacts

    def _insert(self, bucket: Bucket, contact: Contact) -> Contact | None:
        if bucket.is_full:  # the oldest of those that wait is dropped
            self._forget(bucket.replacements[0])
        self._networks[hash(contact.network) % _COUNTS] += 1
        return None if bucket.add(contact) else bucket.contacts[0]

    def _is_diverse(self, contact: Contact, bucket: Bucket | None) -> bool:
        """Whether the caps leave room."""
        network = contact.network
        held = self._networks[hash(network) % _COUNTS]
        if held < MAX_PER_BUCKET or (bucket is None and held < MAX_PER_TABLE):
            return True
        if held >= MAX_PER_TABLE:
            held = sum(_count(other, network) for other in self.buckets)
            if held >= MAX_PER_TABLE:
                return False
        return bucket is None or _count(bucket, network) < MAX_PER_BUCKET

    def _forget(self, contact: Contact) -> None:
        self._networks[hash(contact.network) % _COUNTS] -= 1

    def _forgive(self, contact: Contact) -> None:
        self._failures.pop(contact.id, None)
        if not self._failures:
            self._failures.clear()  # gives back the room that an emptied table keeps
