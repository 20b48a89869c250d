"""What a peer does so that others learn whether strangers reach them; see `reachability`."""

from typing import Final

from overlay.core.addresses import Address, is_ipv6, is_private, network_of
from overlay.core.kademlia.contact import Contact
from overlay.core.protocol.limits import RateLimiter
from overlay.core.protocol.messages import Knock, Knocking, Summon
from overlay.core.protocol.wire import KNOCKS, pack_knocking
from overlay.core.reachability.contacted import is_contacted
from overlay.core.rpc import NoSink, Rpc

# Of one host. It asks another peer each time; several of them behind one NAT share their address.
_SUMMONS_RATE: Final = 1 / 20  # a second
_SUMMONS_BURST: Final = 8.0
_KNOCK_RATE: Final = 1 / 20
_KNOCK_BURST: Final = 8.0
_SOURCES: Final = 1024
# With fewer to choose from, all who are asked would send the same ones, who may be liars.
_FEWEST_STRANGERS: Final = 6


class Witnessing:
    """Sends strangers to whoever asks for them, and knocks where we are sent.

    Nobody can have somebody else's door knocked at who does not send a multiple of it: the
    endpoint is the one that the `Summon` came from, and a `Knock` is larger than what it causes.

    Args:
        rpc: Knows the strangers, and asks them.
    """

    __slots__ = ("_asking", "_rpc", "_targets")

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc
        self._asking = RateLimiter(_SUMMONS_RATE, _SUMMONS_BURST, _SOURCES)
        self._targets = RateLimiter(_KNOCK_RATE, _KNOCK_BURST, _SOURCES)

    def summon(self, request: Summon, source: Address, now: float) -> bool:
        """Send two strangers to `source`, if there are enough of them to choose from.

        Returns:
            Whether they were sent there.
        """
        counters = self._rpc.counters
        if is_private(source[0]):
            counters["summon_private"] += 1
            return False
        if not self._asking.admit(source, now):
            counters["summon_rate_limited"] += 1
            return False
        strangers = self._strangers(request, source)
        if len(strangers) < _FEWEST_STRANGERS:
            counters["summon_nobody"] += 1
            return False
        counters["summoned"] += 1
        knock = Knock(source, request.nonce)
        chosen = strangers[:KNOCKS]
        sent = [self._rpc.ask(one, knock, NoSink(), now, attempts=1) for one in chosen]
        return any(sent)

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
        """Return contacts in other networks that `source` has not contacted.

        In random order, and no more than it takes to see that there is a choice.
        """
        network = network_of(source)
        family = is_ipv6(source[0])
        strangers: list[Contact] = []
        for contact in self._rpc.some_contacts():
            if (
                contact.network != network
                and contact.is_ipv6 == family
                and not contact.is_private
                and not is_contacted(request.contacted, contact.address[0])
            ):
                strangers.append(contact)
                if len(strangers) >= _FEWEST_STRANGERS:
                    break
        return strangers
