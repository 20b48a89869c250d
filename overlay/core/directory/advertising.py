"""Our own advert: registered, renewed now and then, withdrawn in the end."""

from collections.abc import Callable
from typing import Final

from overlay.core.directory.holders import Holders
from overlay.core.directory.records import MAX_LIFETIME, Advert
from overlay.core.directory.refresh import Refresh
from overlay.core.directory.registration import SETTLED, Keep, Registration
from overlay.core.directory.withdrawal import Withdrawal
from overlay.core.kademlia.contact import Contact
from overlay.core.rpc import Rpc

# Times that an advert is renewed with those who hold it before its place is looked for again:
# whoever came since has been handed it, but is not known to us. At three refreshes an hour that is
# before the advert that they were handed expires.
RENEWALS: Final = 2

# Is called with the peers that took an advert at the deepest level, how many of them list it
# later, and the levels that took it.
Done = Callable[[int, int, int], None]


class Advertising:
    """Knows who was asked to hold our advert, so that all of them hear when it is withdrawn.

    Args:
        rpc: Asks the peers.
        keep: Stores an advert with ourselves.
    """

    __slots__ = ("_before", "_holders", "_keep", "_own_id", "_renewals", "_rpc")

    def __init__(self, rpc: Rpc, keep: Keep) -> None:
        self._rpc = rpc
        self._keep = keep
        self._holders = Holders()
        self._before: Registration | Refresh | None = None
        self._renewals = 0  # that may follow
        self._own_id = rpc.own_id

    def put(self, advert: Advert, now: float, done: Done) -> None:
        """Register an advert in place of the one before, or withdraw that.

        Args:
            advert: The advert; one without endpoints is a withdrawal.
            now: Seconds.
            done: Called once, at the end.
        """
        if self._before is not None:
            self._before.stop()  # what it has not stored yet is out of date
        if advert.withdrawn:
            self._withdraw(advert, now, done)
        elif self._renewals and self._own_id == self._rpc.own_id:
            self._renew(advert, now, done)
        else:
            self._register(advert, now, done)

    def resume(
        self, advert: Advert, level: int, holder: Contact, token: bytes, renewals: int
    ) -> None:
        """Note who holds an advert that was registered long ago; for simulations.

        Args:
            advert: The advert.
            level: Of the directory.
            holder: Who holds it there.
            token: The write token that the holder gave.
            renewals: Of those that may follow a registration, how many are left.
        """
        self._holders.add(level, holder, token, advert.expires)
        self._own_id = self._rpc.own_id
        self._renewals = renewals

    def _withdraw(self, advert: Advert, now: float, done: Done) -> None:
        self._keep(0, advert, now)  # in case we are alone
        holders, self._holders = self._holders, Holders()
        self._renewals = 0
        levels = len(holders.by_level())
        Withdrawal(self._rpc, advert, holders, lambda it: done(it.told, 0, levels)).start(now)

    def _register(self, advert: Advert, now: float, done: Done) -> None:
        signed = advert.expires - MAX_LIFETIME
        self._holders = self._holders.unexpired(signed)
        self._renewals = 0
        self._own_id = self._rpc.own_id

        def registered(it: Registration) -> None:
            if it is self._before:
                self._before = None
                if it.stored >= SETTLED:
                    self._renewals = RENEWALS
            done(it.stored, it.pending, it.levels)

        registration = Registration(self._rpc, advert, self._keep, self._holders, registered)
        self._before = registration
        registration.start(now)

    def _renew(self, advert: Advert, now: float, done: Done) -> None:
        """Tell those who hold the advert; if half of them are gone anywhere, look for others."""
        self._renewals -= 1
        before = self._holders.by_level()
        self._holders = self._holders.renewed(advert.expires)

        def renewed(it: Refresh, at: float) -> None:
            if it is not self._before:
                done(0, 0, 0)  # another advert has taken the place of this one
                return
            self._before = None
            for level, holder in it.lost:
                self._holders.drop(level, holder)
            deepest = max(before, default=0)
            # The level that rejected it has a few holders, too, which may well all go.
            levels = [level for level in before if 2 * before[level] >= before[deepest]]
            if not levels or any(2 * it.stored[level] < before[level] for level in levels):
                self._register(advert, at, done)
            else:
                done(it.stored[deepest], it.pending[deepest], len(before))

        refresh = Refresh(self._rpc, advert, self._holders, renewed)
        self._before = refresh
        refresh.start(now)
