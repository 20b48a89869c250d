"""The contacts of a bucket, in the order in which they were seen.

`kademlia.routing.KBucket` wants a mapping by id. One of twenty contacts takes 632 bytes as a
dictionary, and 288 as a list: finding one takes up to a microsecond then, which hardly matters
beside a datagram.
"""

from typing import Final

from overlay.core.kademlia.contact import Contact

_NONE: Final[list[Contact]] = []  # of all that are empty, as replacements mostly are


class Places:
    """A small mapping of ids to contacts; those put in last are at the end."""

    __slots__ = ("contacts",)

    def __init__(self) -> None:
        self.contacts = _NONE

    def __len__(self) -> int:
        return len(self.contacts)

    def __contains__(self, peer_id: bytes) -> bool:
        return self.get(peer_id) is not None

    def __setitem__(self, peer_id: bytes, contact: Contact) -> None:
        for place, known in enumerate(self.contacts):
            if known.id == peer_id:
                self.contacts[place] = contact
                return
        self.contacts = [*self.contacts, contact]  # not in place: `_NONE` is shared

    def __delitem__(self, peer_id: bytes) -> None:
        for place, known in enumerate(self.contacts):
            if known.id == peer_id:
                del self.contacts[place]
                return
        raise KeyError(peer_id)

    def get(self, peer_id: bytes, default: None = None) -> Contact | None:
        """Return the contact with an id, if it has a place."""
        for contact in self.contacts:
            if contact.id == peer_id:
                return contact
        return default

    def values(self) -> list[Contact]:
        """Return the contacts, in order."""
        return self.contacts

    def popitem(self, *, last: bool = True) -> tuple[bytes, Contact]:
        """Take out the contact that was put in last, or first, as `OrderedDict.popitem` does."""
        contact = self.contacts.pop(-1 if last else 0)
        return contact.id, contact

    def saw(self, contact: Contact) -> bool:
        """Put a contact last if it has a place; returns whether it has."""
        contacts = self.contacts
        for place, known in enumerate(contacts):
            if known is contact or known == contact:  # mostly one and the same object
                contacts.append(contacts.pop(place))
                return True
        return False
