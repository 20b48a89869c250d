"""Measuring endpoints with STUN Binding requests (RFC 8489) from a fresh socket."""

import random
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import trio

from overlay.core import stun
from overlay.core.addresses import Address
from overlay.core.errors import RemoteProtocolError
from overlay.sockets import DatagramSocket, OpenSocket

_RTO: Final = 0.3  # seconds; doubles with each of the attempts (RFC 8489 section 6.2.1)
_ATTEMPTS: Final = 3
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
        enough: Answers after which the rest are waited for only briefly.
        rng: Source of transaction ids.
    """

    def __init__(
        self,
        sock: DatagramSocket,
        endpoints: Collection[Address],
        enough: int,
        rng: random.Random,
    ) -> None:
        self.answers: dict[Address, Answer] = {}
        self._sock = sock
        self._endpoints = endpoints
        self._enough = enough
        self._rng = rng
        self._sent: dict[bytes, tuple[Address, float]] = {}

    async def run(self) -> None:
        """Send, receive, send again what was not answered."""
        started = trio.current_time()
        with trio.move_on_after(_RTO * (2**_ATTEMPTS - 1)) as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send)
                while len(self.answers) < len(self._endpoints):
                    await self._receive()
                    if len(self.answers) >= self._enough:
                        elapsed = trio.current_time() - started
                        scope.deadline = min(scope.deadline, started + 2 * elapsed + _GRACE)
                nursery.cancel_scope.cancel()

    async def _send(self) -> None:
        for attempt in range(_ATTEMPTS):
            for endpoint in self._endpoints:
                if endpoint in self.answers:
                    continue
                tid = self._rng.randbytes(stun.TRANSACTION_ID_LENGTH)
                self._sent[tid] = (endpoint, trio.current_time())
                try:
                    await self._sock.sendto(stun.binding_request(tid), endpoint)
                except OSError:
                    continue  # no route to this one, or no such address family here
            await trio.sleep(_RTO * 2**attempt)

    async def _receive(self) -> None:
        try:
            data, source = await self._sock.recvfrom(_BUFFER)
            message = stun.parse_stun_untrusted(data)
        except (OSError, RemoteProtocolError):
            return
        endpoint, sent_at = self._sent.get(message.transaction_id, (None, 0.0))
        if endpoint == source and stun.reflexive_address(message) is not None:
            answer = Answer(trio.current_time() - sent_at, stun.relay_status_untrusted(data))
            self.answers.setdefault(source, answer)


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
        enough: Answers after which the rest are waited for only briefly; None for all.

    Returns:
        What each endpoint answered, if it did.
    """
    endpoints = tuple(dict.fromkeys(endpoints))
    if not endpoints:
        return {}
    sock = await open_socket(host, 0)
    try:
        probe = Probe(sock, endpoints, len(endpoints) if enough is None else enough, rng)
        await probe.run()
        return probe.answers
    finally:
        sock.close()
