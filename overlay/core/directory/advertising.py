"""Our own advert: registered now and then, withdrawn in the end."""

from collections.abc import Callable

from overlay.core.directory.records import MAX_LIFETIME, Advert
from overlay.core.directory.registration import Keep, Registration
from overlay.core.directory.withdrawal import Holder, Withdrawal
from overlay.core.rpc import Rpc


class Advertising:
    """Knows who was asked to hold our advert, so that all of them hear when it is withdrawn.

    Args:
        rpc: Asks the peers.
        keep: Stores an advert with ourselves.
    """

    __slots__ = ("_holders", "_keep", "_registration", "_rpc")

    def __init__(self, rpc: Rpc, keep: Keep) -> None:
        self._rpc = rpc
        self._keep = keep
        self._holders: dict[Holder, int] = {}  # with the Unix time at which they drop it
        self._registration: Registration | None = None

    def put(self, advert: Advert, now: float, done: Callable[[int, int, int], None]) -> None:
        """Register an advert in place of the one before, or withdraw that.

        Args:
            advert: The advert; one without endpoints is a withdrawal.
            now: Seconds.
            done: Called once, at the end, with the peers that took it, how many of them list it
                later, and the levels that took it.
        """
        if self._registration is not None:
            self._registration.stop()  # what it has not stored yet is out of date
        if advert.withdrawn:
            self._keep(0, advert, now)  # in case we are alone
            holders, self._holders = self._holders, {}
            levels = len({level for level, _ in holders})
            Withdrawal(self._rpc, advert, holders, lambda it: done(it.told, 0, levels)).start(now)
            return
        signed = advert.expires - MAX_LIFETIME
        self._holders = {
            holder: expires for holder, expires in self._holders.items() if expires > signed
        }
        self._registration = Registration(
            self._rpc,
            advert,
            self._keep,
            self._holders,
            lambda it: done(it.stored, it.pending, it.levels),
        )
        self._registration.start(now)
