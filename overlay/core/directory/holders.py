"""Who was asked to hold our advert."""

from collections import Counter
from collections.abc import Iterator

from overlay.core.kademlia.contact import Contact

# A level of the directory, and a peer that was asked to hold an advert there.
Holder = tuple[int, Contact]


class Holders:
    """The write token of each, by level and by when the advert that it was sent expires.

    Most were sent the same one, so that a table for each of those takes the least room.
    """

    __slots__ = ("_tokens",)

    def __init__(self) -> None:
        self._tokens: dict[tuple[int, int], dict[Contact, bytes]] = {}

    def __iter__(self) -> Iterator[tuple[int, Contact, bytes]]:
        """Iterate over levels, holders and their write tokens."""
        for (level, _), tokens in self._tokens.items():
            for contact, token in tokens.items():
                yield level, contact, token

    def add(self, level: int, contact: Contact, token: bytes, expires: int) -> None:
        """Note who is asked to hold an advert that expires then (Unix time)."""
        self.drop(level, contact)
        self._tokens.setdefault((level, expires), {})[contact] = token

    def drop(self, level: int, contact: Contact) -> None:
        """Forget one that does not hold it."""
        for (other, _), tokens in self._tokens.items():
            if other == level:
                tokens.pop(contact, None)

    def unexpired(self, unix_time: float) -> "Holders":
        """Return those who were sent something that is still good."""
        good = Holders()
        for (level, expires), tokens in self._tokens.items():
            if expires > unix_time:
                good._tokens[level, expires] = dict(tokens)
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
