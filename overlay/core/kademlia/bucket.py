"""A bucket: contacts in the order in which they were seen, and others that wait for a place.

`kademlia.routing.KBucket` decides who gets a place and who is promoted, but does not stay: beside
its contacts it takes 300 bytes, and of dictionaries, as it has them, one of twenty contacts takes
632 bytes where a list takes 216. Finding a contact in a list takes up to a microsecond, which
hardly matters beside a datagram.
"""

import math
from typing import Final

from kademlia.routing import KBucket

from overlay.core.kademlia.contact import Contact, K

# Contacts that wait for a place in a full bucket. Each costs a ping when it comes, and the oldest
# contact another: with more of them, all that was gained is pings.
REPLACEMENTS: Final = 4

_NOBODY: Final[list[Contact]] = []  # waits for a place, mostly


class Places:
    """A list of contacts as the mapping by id that the package wants; the latest are at the end.

    Args:
        contacts: The list, which is changed.
    """

    __slots__ = ("_contacts",)

    def __init__(self, contacts: list[Contact]) -> None:
        self._contacts = contacts

    def __len__(self) -> int:
        return len(self._contacts)

    def __contains__(self, peer_id: bytes) -> bool:
        return find(self._contacts, peer_id) is not None

    def __setitem__(self, peer_id: bytes, contact: Contact) -> None:
        for place, known in enumerate(self._contacts):
            if known.id == peer_id:
                self._contacts[place] = contact
                return
        self._contacts.append(contact)

    def __delitem__(self, peer_id: bytes) -> None:
        for place, known in enumerate(self._contacts):
            if known.id == peer_id:
                del self._contacts[place]
                return
        raise KeyError(peer_id)

    def values(self) -> list[Contact]:
        """Return the contacts, in order."""
        return self._contacts

    def popitem(self, *, last: bool = True) -> tuple[bytes, Contact]:
        """Take out the contact that was put in last, or first, as `OrderedDict.popitem` does."""
        contact = self._contacts.pop(-1 if last else 0)
        return contact.id, contact


class Bucket:
    """At most k contacts, and a few replacements.

    Attributes:
        contacts: The contacts, the one seen least recently first.
        replacements: Those that wait for a place, the latest last.
        looked_up: When something was last looked up in it, seconds.
    """

    __slots__ = ("contacts", "looked_up", "replacements")

    def __init__(self) -> None:
        self.contacts: list[Contact] = []
        self.replacements = _NOBODY
        self.looked_up = -math.inf

    @property
    def is_full(self) -> bool:
        """Whether there is no place, not even to wait for one."""
        return len(self.contacts) >= K and len(self.replacements) >= REPLACEMENTS

    def members(self) -> list[Contact]:
        """Return the contacts and the replacements."""
        return self.contacts + self.replacements

    def saw(self, contact: Contact) -> bool:
        """Put a contact last if it has a place; returns whether it has."""
        contacts = self.contacts
        for place, known in enumerate(contacts):
            if known is contact or known == contact:  # mostly one and the same object
                contacts.append(contacts.pop(place))
                return True
        return False

    def add(self, contact: Contact) -> bool:
        """Take in a contact; returns False if it has to wait for a place."""
        if self.replacements is _NOBODY and len(self.contacts) >= K:
            self.replacements = []
        added: bool = self._as_kbucket().add_node(contact)
        return added

    def remove(self, contact: Contact) -> None:
        """Take out a contact; the latest replacement takes its place."""
        self._as_kbucket().remove_node(contact)

    def _as_kbucket(self) -> KBucket:
        bucket = KBucket(0, 0, K)  # its range is of no interest: ours go by the length of a prefix
        bucket.max_replacement_nodes = REPLACEMENTS
        bucket.nodes, bucket.replacement_nodes = Places(self.contacts), Places(self.replacements)
        return bucket


def find(contacts: list[Contact], peer_id: bytes) -> Contact | None:
    """Return the contact with an id, if it is among some."""
    for contact in contacts:
        if contact.id == peer_id:
            return contact
    return None
