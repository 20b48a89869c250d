"""A bucket: contacts in the order in which they were seen, and others that wait for a place.

`kademlia.routing.KBucket` decides who gets a place and who is promoted, but does not stay: beside
its contacts it takes 300 bytes, and of dictionaries, as it has them, one of twenty contacts takes
632 bytes where a tuple takes 200. Finding a contact in a tuple takes up to a microsecond, which
hardly matters beside a datagram.
"""

import math
from collections import OrderedDict
from typing import Final

from kademlia.routing import KBucket

from overlay.core.kademlia.contact import Contact, K

# Contacts that wait for a place in a full bucket. Each costs a ping when it comes, and the oldest
# contact another: with more of them, all that was gained is pings.
REPLACEMENTS: Final = 4


class Bucket:
    """At most k contacts, and a few replacements.

    Attributes:
        contacts: The contacts, the one seen least recently first.
        replacements: Those that wait for a place, the latest last.
        looked_up: When something was last looked up in it, seconds.
    """

    __slots__ = ("contacts", "looked_up", "replacements")

    def __init__(self) -> None:
        self.contacts: tuple[Contact, ...] = ()
        self.replacements: tuple[Contact, ...] = ()
        self.looked_up = -math.inf

    @property
    def is_full(self) -> bool:
        """Whether there is no place, not even to wait for one."""
        return len(self.contacts) >= K and len(self.replacements) >= REPLACEMENTS

    def members(self) -> tuple[Contact, ...]:
        """Return the contacts and the replacements."""
        return self.contacts + self.replacements

    def saw(self, contact: Contact) -> bool:
        """Put a contact last if it has a place; returns whether it has."""
        contacts = self.contacts
        for place, known in enumerate(contacts):
            if known is contact or known == contact:  # mostly one and the same object
                if place + 1 < len(contacts):
                    self.contacts = (*contacts[:place], *contacts[place + 1 :], known)
                return True
        return False

    def add(self, contact: Contact) -> bool:
        """Take in a contact; returns False if it has to wait for a place."""
        bucket = self._as_kbucket()
        added: bool = bucket.add_node(contact)
        self._become(bucket)
        return added

    def remove(self, contact: Contact) -> None:
        """Take out a contact; the latest replacement takes its place."""
        bucket = self._as_kbucket()
        bucket.remove_node(contact)
        self._become(bucket)

    def _as_kbucket(self) -> KBucket:
        bucket = KBucket(0, 0, K)  # its range is of no interest: ours go by the length of a prefix
        bucket.max_replacement_nodes = REPLACEMENTS
        bucket.nodes = OrderedDict((contact.id, contact) for contact in self.contacts)
        bucket.replacement_nodes = OrderedDict((other.id, other) for other in self.replacements)
        return bucket

    def _become(self, bucket: KBucket) -> None:
        self.contacts = tuple(bucket.nodes.values())
        self.replacements = tuple(bucket.replacement_nodes.values())


def find(contacts: tuple[Contact, ...], peer_id: bytes) -> Contact | None:
    """Return the contact with an id, if it is among some."""
    for contact in contacts:
        if contact.id == peer_id:
            return contact
    return None
