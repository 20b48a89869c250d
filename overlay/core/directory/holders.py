"""Who was asked to hold our advert."""

from collections import Counter
from collections.abc import Iterator

from overlay.core.kademlia.contact import Contact
from overlay.core.protocol.messages import TOKEN_LENGTH

# A level of the directory, and a peer that was asked to hold an advert there.
Holder = tuple[int, Contact]


class _Told:
    """Those who were sent one advert for one level, and the write tokens of all, one by one."""

    __slots__ = ("contacts", "tokens")

    def __init__(self) -> None:
        self.contacts: list[Contact] = []
        self.tokens = b""

    def add(self, contact: Contact, token: bytes) -> None:
        self.contacts.append(contact)
        self.tokens += token

    def drop(self, contact: Contact) -> None:
        if contact in self.contacts:
            at = self.contacts.index(contact)
            del self.contacts[at]
            first = at * TOKEN_LENGTH
            self.tokens = self.tokens[:first] + self.tokens[first + TOKEN_LENGTH :]


class Holders:
    """The write token of each, by level and by when the advert that it was sent expires.

    Most were sent the same one. They are few for each level, so that lists take the least room.
    """

    __slots__ = ("_told",)

    def __init__(self) -> None:
        self._told: dict[tuple[int, int], _Told] = {}

    def __iter__(self) -> Iterator[tuple[int, Contact, bytes]]:
        """Iterate over levels, holders and their write tokens."""
        for (level, _), told in self._told.items():
            for at, contact in enumerate(told.contacts):
                first = at * TOKEN_LENGTH
                yield level, contact, told.tokens[first : first + TOKEN_LENGTH]

    def add(self, level: int, contact: Contact, token: bytes, expires: int) -> None:
        """Note who is asked to hold an advert that expires then (Unix time)."""
        self.drop(level, contact)
        told = self._told.get((level, expires))
        if told is None:
            told = self._told[level, expires] = _Told()
        told.add(contact, token)

    def drop(self, level: int, contact: Contact) -> None:
        """Forget one that does not hold it."""
        for (other, _), told in self._told.items():
            if other == level:
                told.drop(contact)

    def unexpired(self, unix_time: float) -> "Holders":
        """Return those who were sent something that is still good."""
        good = Holders()
        for (level, expires), told in self._told.items():
            if expires > unix_time:
                kept = good._told[level, expires] = _Told()
                kept.contacts, kept.tokens = list(told.contacts), told.tokens
        return good

    def renewed(self, expires: int) -> "Holders":
        """Return all of them, as sent an advert that expires then."""
        renewed = Holders()
        for level, contact, token in self:
            renewed.add(level, contact, token, expires)
        return renewed

    def by_level(self) -> Counter[int]:
        """Count them by level."""
        return Counter(level for level, _, _ in self)
