"""What a peer does so that others learn whether strangers reach them; see `reachability`."""

import random
from typing import Final

from overlay.core.addresses import Address, is_ipv6, is_private, network_of
from overlay.core.contact import Contact
from overlay.core.contacted import is_contacted
from overlay.core.limits import RateLimiter
from overlay.core.messages import Agreed, Knock, Knocking, Reply, Summon
from overlay.core.rpc import Rpc
from overlay.core.wire import KNOCKS, pack_knocking

# Of one host. It asks another peer each time; several of them behind one NAT share their address.
_SUMMONS_RATE: Final = 1 / 20  # a second
_SUMMONS_BURST: Final = 8.0
_KNOCK_RATE: Final = 1 / 20
_KNOCK_BURST: Final = 8.0
_SOURCES: Final = 1024


class Witnessing:
    """Sends strangers to whoever asks for them, and knocks where we are sent.

    Nobody can have somebody else's door knocked at who does not send a multiple of it: the
    endpoint is the one that the `Summon` came from, and a `Knock` is larger than what it causes.

    Args:
        rpc: Knows the strangers, and asks them.
        rng: Chooses among them.
    """

    __slots__ = ("_asking", "_rng", "_rpc", "_targets")

    def __init__(self, rpc: Rpc, rng: random.Random) -> None:
        self._rpc = rpc
        self._rng = rng
        self._asking = RateLimiter(_SUMMONS_RATE, _SUMMONS_BURST, _SOURCES)
        self._targets = RateLimiter(_KNOCK_RATE, _KNOCK_BURST, _SOURCES)

    def summon(self, request: Summon, source: Address, now: float) -> bool:
        """Send a stranger to `source`, if we know one.

        Returns:
            Whether one was sent there.
        """
        counters = self._rpc.counters
        if is_private(source[0]):
            counters["summon_private"] += 1
            return False
        if not self._asking.admit(source, now):
            counters["summon_rate_limited"] += 1
            return False
        strangers = self._strangers(request, source)
        if not strangers:
            counters["summon_nobody"] += 1
            return False
        chosen = self._rng.sample(strangers, min(KNOCKS, len(strangers)))
        counters["summoned"] += 1
        return _Errand(self._rpc, Knock(source, request.nonce), chosen).send(now)

    def knock(self, request: Knock, now: float) -> bool:
        """Knock where we are sent.

        Returns:
            Whether we did.
        """
        counters = self._rpc.counters
        host, _ = endpoint = request.endpoint
        if is_private(host) or not self._rpc.reaches(host):
            counters["knock_out_of_reach"] += 1
            return False
        if not self._targets.admit(endpoint, now):
            counters["knock_rate_limited"] += 1
            return False
        counters["knocked"] += 1
        self._rpc.send(pack_knocking(Knocking(request.nonce, self._rpc.own_id)), endpoint)
        return True

    def _strangers(self, request: Summon, source: Address) -> list[Contact]:
        """Return our contacts that `source` has not contacted, in other networks."""
        network = network_of(source)
        family = is_ipv6(source[0])
        return [
            contact
            for contact in self._rpc.table.contacts()
            if contact.network != network
            and is_ipv6(contact.address[0]) == family
            and not contact.is_private
            and not is_contacted(request.contacted, contact.address[0])
        ]


class _Errand:
    """Peers that are asked to knock, one by one until one agrees.

    Each is asked once: the second one is the retransmission.
    """

    __slots__ = ("_knock", "_left", "_rpc")

    def __init__(self, rpc: Rpc, knock: Knock, left: list[Contact]) -> None:
        self._rpc = rpc
        self._knock = knock
        self._left = left

    def send(self, now: float) -> bool:
        """Ask the next; returns whether that was possible."""
        return bool(self._left) and self._rpc.ask(
            self._left.pop(), self._knock, self, now, attempts=1
        )

    def answered(self, contact: Contact, reply: Reply, now: float) -> None:
        """It is done, or the next must do it."""
        if reply.body != Agreed(agreed=True):
            self.send(now)

    def delayed(self, contact: Contact, now: float) -> None:
        """Wait on."""

    def failed(self, contact: Contact, now: float) -> None:
        """Ask the next."""
        self.send(now)
