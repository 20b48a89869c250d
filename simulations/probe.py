"""STUN Binding requests from a fresh socket, over the simulated wire.

The same schedule as `overlay.probing`, without its Trio tasks.
"""

import random
from collections.abc import Callable, Iterable

from overlay.core.addresses import Address
from overlay.core.errors import RemoteProtocolError
from overlay.core.protocol import stun
from overlay.probing import ATTEMPTS, PATIENCE, RTO, patience_after
from simulations.network import Host, Network


class Probe:
    """One round of Binding requests to several endpoints.

    Args:
        network: Carries them.
        host: Whose fresh socket they come from.
        endpoints: Whom to ask.
        rng: Source of transaction ids.
        on_end: Is called once, when all have answered or time is up.
        enough: Answers after which the rest are waited for only briefly; None to wait for all.

    Attributes:
        answered: When each endpoint answered, seconds on the simulated clock.
        rtts: The round trip of the first answer, seconds.
        names: Which relay it is, of those that said so.
        free: The free share of its channels, of the same.
    """

    def __init__(
        self,
        network: Network,
        host: Host,
        endpoints: Iterable[Address],
        rng: random.Random,
        on_end: "Callable[[Probe], None]",
        enough: int | None = None,
    ) -> None:
        self.answered: dict[Address, float] = {}
        self.rtts: dict[Address, float] = {}
        self.names: dict[Address, bytes] = {}
        self.free: dict[Address, float] = {}
        self._network = network
        self._endpoints = tuple(endpoints)
        self._rng = rng
        self._on_end = on_end
        self._enough = enough
        self._started = network.heap.now
        self._sent: dict[bytes, tuple[Address, float]] = {}
        self._over = False
        self._socket = network.bind(host, 0, self._receive)
        network.heap.after(PATIENCE, self._end)
        self._attempt(RTO, ATTEMPTS)

    def _attempt(self, wait: float, left: int) -> None:
        if self._over or not left:
            return
        for endpoint in self._endpoints:
            if endpoint in self.answered:
                continue
            transaction_id = self._rng.randbytes(stun.TRANSACTION_ID_LENGTH)
            self._sent[transaction_id] = endpoint, self._network.heap.now
            self._network.send(self._socket, stun.binding_request(transaction_id), endpoint)
        self._network.heap.after(wait, self._attempt, 2 * wait, left - 1)

    def _receive(self, data: bytes, source: Address) -> None:
        try:
            message = stun.parse_stun_untrusted(data)
        except RemoteProtocolError:
            return
        asked, at = self._sent.get(message.transaction_id, (None, 0.0))
        if asked == source and stun.reflexive_address(message) is not None:
            self.answered.setdefault(source, self._network.heap.now)
            self.rtts.setdefault(source, self._network.heap.now - at)
            relay = stun.relay_status_untrusted(data)
            if relay is not None:
                self.names[source] = relay.name
                self.free[source] = relay.free
            if len(self.answered) == len(self._endpoints):
                self._end()
            elif self._enough is not None:
                elapsed = self._network.heap.now - self._started
                patience = patience_after(elapsed, is_enough=len(self.answered) >= self._enough)
                self._network.heap.after(max(0.0, patience - elapsed), self._end)

    def _end(self) -> None:
        if self._over:
            return
        self._over = True
        self._network.close(self._socket)
        self._on_end(self)
