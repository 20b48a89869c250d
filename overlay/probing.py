"""Measuring endpoints with STUN Binding requests (RFC 8489) from a fresh socket."""

import random
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import trio

from overlay.core.addresses import Address
from overlay.core.errors import RemoteProtocolError
from overlay.core.protocol import stun
from overlay.sockets import DatagramSocket, OpenSocket

RTO: Final = 0.15  # seconds to the first retransmission; doubles (RFC 8489 section 6.2.1)
ATTEMPTS: Final = 3
PATIENCE: Final = 2.0  # seconds for which answers are waited for
# The same once there is an answer. A relay that is farther away has no part in a good call: 0.15 s
# is all that ITU-T G.114 grants the whole way from mouth to ear.
_PATIENCE_ANSWERED: Final = 0.3
_GRACE: Final = 0.05  # seconds for which stragglers are waited for, at the least
_BUFFER: Final = 2048


@dataclass(frozen=True, slots=True)
class Answer:
    """What an endpoint answered.

    Attributes:
        rtt: Round-trip time, seconds.
        relay: Which relay answered and what it has free; None if it is none.
    """

    rtt: float
    relay: stun.RelayStatus | None


class Probe:
    """One round of Binding requests to several endpoints.

    Args:
        sock: A socket of its own.
        endpoints: Whom to ask.
        enough: Answers after which the rest are waited for only briefly; None to wait for all.
        rng: Source of transaction ids.
    """

    def __init__(
        self,
        sock: DatagramSocket,
        endpoints: Collection[Address],
        enough: int | None,
        rng: random.Random,
    ) -> None:
        self.answers: dict[Address, Answer] = {}
        self._sock = sock
        self._waiting = list(endpoints)
        self._enough = enough
        self._rng = rng
        self._sent: dict[bytes, tuple[Address, float]] = {}
        self._started = 0.0
        self._scope = trio.CancelScope()

    async def run(self) -> None:
        """Send, receive, send again what was not answered."""
        self._started = trio.current_time()
        self._scope.deadline = self._started + PATIENCE
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send)
                while True:
                    await self._receive()

    async def _send(self) -> None:
        for attempt in range(ATTEMPTS):
            for endpoint in tuple(self._waiting):
                tid = self._rng.randbytes(stun.TRANSACTION_ID_LENGTH)
                self._sent[tid] = (endpoint, trio.current_time())
                try:
                    await self._sock.sendto(stun.binding_request(tid), endpoint)
                except OSError:
                    # No route to this one, or no such address family here.
                    self._wait_no_more_for(endpoint)
            await trio.sleep(RTO * 2**attempt)

    async def _receive(self) -> None:
        try:
            data, source = await self._sock.recvfrom(_BUFFER)
            message = stun.parse_stun_untrusted(data)
        except (OSError, RemoteProtocolError):
            return
        endpoint, sent_at = self._sent.get(message.transaction_id, (None, 0.0))
        if (
            endpoint == source
            and source not in self.answers
            and stun.reflexive_address(message) is not None
        ):
            rtt = trio.current_time() - sent_at
            self.answers[source] = Answer(rtt, stun.relay_status_untrusted(data))
            self._wait_no_more_for(source)
            self._hurry()

    def _wait_no_more_for(self, endpoint: Address) -> None:
        if endpoint in self._waiting:
            self._waiting.remove(endpoint)
        if not self._waiting:
            self._scope.cancel()

    def _hurry(self) -> None:
        """Somebody has answered: wait for the silent ones for a time that suits a call."""
        if self._enough is None:
            return
        elapsed = trio.current_time() - self._started
        patience = patience_after(elapsed, is_enough=len(self.answers) >= self._enough)
        self._scope.deadline = min(self._scope.deadline, self._started + patience)


def patience_after(elapsed: float, *, is_enough: bool) -> float:
    """Return for how long, since the beginning, a call waits for answers after the first ones.

    Args:
        elapsed: Seconds until the last answer.
        is_enough: Whether there are as many as wanted.
    """
    patience = 2 * elapsed + _GRACE
    return patience if is_enough else max(patience, _PATIENCE_ANSWERED)


async def measure(
    endpoints: Collection[Address],
    *,
    open_socket: OpenSocket,
    host: str,
    rng: random.Random,
    enough: int | None = None,
) -> dict[Address, Answer]:
    """Measure the round-trip times to endpoints, all at once.

    Args:
        endpoints: Whom to ask, each once: many adverts may name the same.
        open_socket: Opens the fresh socket.
        host: Local address for it.
        rng: Source of transaction ids.
        enough: For somebody who waits for the first good ones: answers after which the rest are
            waited for only briefly, as they are for a third of a second once there is one. None to
            be patient with each.

    Returns:
        What each endpoint answered, if it did.
    """
    endpoints = tuple(dict.fromkeys(endpoints))
    if not endpoints:
        return {}
    sock = await open_socket(host, 0)
    try:
        probe = Probe(sock, endpoints, enough, rng)
        await probe.run()
        return probe.answers
    finally:
        sock.close()
