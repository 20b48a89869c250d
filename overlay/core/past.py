"""What a peer knows and holds once it has been there for long, for simulations that begin then.

A real peer believes nobody who has not answered it; what is said here is taken as true.
"""

from collections.abc import Iterable

from overlay.core.addresses import Address
from overlay.core.choice.coordinates import Coordinate
from overlay.core.directory.advertising import Advertising
from overlay.core.directory.records import Advert
from overlay.core.kademlia.contact import Contact
from overlay.core.kademlia.joining import Joining
from overlay.core.reachability.verdict import ReachabilityTest
from overlay.core.responder import Responder
from overlay.core.rpc import Rpc


class Past:
    """Fills in what a peer would have learnt.

    Args:
        rpc: Its contacts, and what was measured of them.
        joining: Whether it has joined.
        reachability: Whether strangers reach it; None for a peer that does not ask.
        responder: What it holds for others.
        advertising: Who holds its own advert.
    """

    def __init__(
        self,
        rpc: Rpc,
        joining: Joining,
        reachability: ReachabilityTest | None,
        responder: Responder,
        advertising: Advertising,
    ) -> None:
        self._rpc = rpc
        self._joining = joining
        self._reachability = reachability
        self._responder = responder
        self._advertising = advertising

    def joined(self, contacts: Iterable[Contact], now: float) -> None:
        """It joined long ago, and these are its contacts."""
        self._joining.resume(contacts, now)
        if self._reachability is not None:
            self._reachability.resume(now)

    def measured(self, contact: Contact, place: Coordinate, rtt: float, endpoint: Address) -> None:
        """A contact replied once.

        Args:
            contact: Who.
            place: Where it said that it is.
            rtt: Of its reply, seconds.
            endpoint: Where it has seen the peer.
        """
        self._rpc.witnesses.report(contact.address, endpoint)
        self._rpc.coordinates.observe(contact, place, rtt)
        self._rpc.transactions.remember(contact, rtt)

    def told_of_adverts(self, held: int) -> None:
        """Others have said that they hold so many adverts each."""
        self._rpc.census.note_held(bytes(1), held)

    def stored(
        self,
        advert: Advert,
        level: int,
        relay: Contact,
        verified_until: float,
        now: float,
        unix_time: float,
    ) -> bytes | None:
        """A relay that it has verified has stored its advert with it.

        Args:
            advert: The advert.
            level: Of the directory key.
            relay: Who stored it.
            verified_until: When it is to be verified again, seconds.
            now: Seconds.
            unix_time: The same, seconds of Unix time.

        Returns:
            The write token that the relay has got for that; None if the advert is not in the
            sample of its key.
        """
        return self._responder.resume(advert, level, relay, verified_until, now, unix_time)

    def registered(
        self, advert: Advert, level: int, holder: Contact, token: bytes, renewals: int
    ) -> None:
        """A peer holds its own advert.

        Args:
            advert: The advert.
            level: Of the directory key.
            holder: The peer.
            token: The write token that it gave.
            renewals: Times that the advert may be renewed before all holders are looked for again.
        """
        self._advertising.resume(advert, level, holder, token, renewals)
