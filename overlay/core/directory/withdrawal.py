"""Taking an advert out of the directory, from all who were asked to hold it."""

from collections.abc import Callable

from overlay.core.directory.holders import Holders
from overlay.core.directory.records import Advert
from overlay.core.directory.tree import directory_key
from overlay.core.kademlia.contact import Contact
from overlay.core.protocol.messages import NO_ADVERTS, FindRelays, Relays, Reply, Store, Stored
from overlay.core.rpc import Rpc


class Withdrawal:
    """Tells all holders of an advert at once that the relay is gone.

    To look for them again, level by level, would take seconds, and would miss those that others
    have come closer to the key than.

    Args:
        rpc: Asks the peers.
        advert: The advert without endpoints.
        holders: Whom to tell.
        on_end: Called once, at the end.

    Attributes:
        told: Holders that have taken it.
    """

    __slots__ = ("_advert", "_holders", "_on_end", "_outstanding", "_rpc", "told")

    def __init__(
        self,
        rpc: Rpc,
        advert: Advert,
        holders: Holders,
        on_end: "Callable[[Withdrawal], None]",
    ) -> None:
        self._rpc = rpc
        self._advert = advert
        self._holders = holders
        self._on_end = on_end
        self._outstanding = 1  # ours, so that it is not over before all are asked
        self.told = 0

    def start(self, now: float) -> None:
        """Ask each for a write token."""
        for level, contact, _ in self._holders:
            body = FindRelays(directory_key(level, self._rpc.own_id), NO_ADVERTS)
            self._outstanding += self._rpc.ask(contact, body, _Farewell(self, level), now)
        self.settle(0)

    def tell(self, contact: Contact, level: int, token: bytes, now: float) -> bool:
        """Send the withdrawal; returns whether an answer is to come."""
        body = Store(level, token, self._advert.encoded)
        return self._rpc.ask(contact, body, _Farewell(self, level), now)

    def settle(self, told: int) -> None:
        """One holder fewer to wait for."""
        self.told += told
        self._outstanding -= 1
        if self._outstanding == 0:
            self._on_end(self)


class _Farewell:
    """What is said to one holder at one level."""

    __slots__ = ("_level", "_withdrawal")

    def __init__(self, withdrawal: Withdrawal, level: int) -> None:
        self._withdrawal = withdrawal
        self._level = level

    def answered(self, contact: Contact, reply: Reply, now: float) -> None:
        """Go on with the token, or note that it is done."""
        body = reply.body
        if not (
            isinstance(body, Relays)
            and self._withdrawal.tell(contact, self._level, body.token, now)
        ):
            self._withdrawal.settle(isinstance(body, Stored))

    def delayed(self, contact: Contact, now: float) -> None:
        """Wait on."""

    def failed(self, contact: Contact, now: float) -> None:
        """It is gone itself, or does without our word."""
        self._withdrawal.settle(0)
