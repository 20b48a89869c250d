"""Where a relay takes requests for channels, that come over XMPP."""

from typing import Final

from node.relay.admission import Refused
from overlay.core.addresses import Address
from simulations.post import Post
from simulations.run.lending import Lender, LentChannel

DESK: Final = "desk"
CALLER: Final = "caller"


class Desk:
    """Answers callers, as long as the relay is there.

    Args:
        post: Brings requests.
        lender: What it lends.
    """

    def __init__(self, post: Post, lender: Lender) -> None:
        self._post = post
        self._lender = lender
        self._lent: dict[tuple[int, int], LentChannel] = {}
        post.open(desk_of(lender.address), self._take)

    def close(self) -> None:
        """Answer nobody any more."""
        self._post.close(desk_of(self._lender.address))

    def _take(self, what: str, call: int, attempt: int, name: str, site: int) -> None:
        """Take a letter of a caller on a host at a site."""
        if what == "release":
            lent = self._lent.pop((call, attempt), None)
            if lent is not None:
                self._lender.release(lent)
            return
        here, caller = self._lender.host, (CALLER, call)
        try:
            lent = self._lender.request(f"caller@{name}.client.example")
        except Refused:
            self._post.send(here, site, caller, "refused", attempt)
            return
        self._lent[call, attempt] = lent
        self._post.send(here, site, caller, "granted", attempt, lent.localport, lent.remoteport)


def desk_of(relay: Address) -> tuple[str, Address]:
    """Return the name of a relay's box."""
    return DESK, relay
