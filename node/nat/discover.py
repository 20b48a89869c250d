"""NAT behaviour discovery (RFC 5780): the tests of `node.nat.plan`, over sockets of their own."""

import random
from collections.abc import Sequence
from contextlib import AsyncExitStack, closing
from typing import Final

import trio

from node.nat.behaviour import NatBehaviour
from node.nat.plan import Answers, From, Test, discovery
from overlay.core.addresses import Address, is_ipv6, normalise
from overlay.core.errors import RemoteProtocolError
from overlay.core.protocol.behaviour import Discovered, discovered, discovery_request
from overlay.core.protocol.stun import (
    TRANSACTION_ID_LENGTH,
    is_binding_request,
    parse_stun_untrusted,
)
from overlay.sockets import DatagramSocket, OpenSocket, open_udp, source_host

RTO: Final = 0.5
"""Seconds to the first retransmission; doubles (RFC 8489 section 6.2.1)."""

ATTEMPTS: Final = 4
"""Requests of a test, Rc in the RFC; its 7 would be half a minute for each of the three rounds."""

LAST_WAIT: Final = 2.0
"""Seconds for which the last one waits for its answer."""

_BUFFER: Final = 2048
_WILDCARDS: Final = ("::", "0.0.0.0")  # noqa: S104


async def discover(
    servers: Sequence[Address],
    *,
    open_socket: OpenSocket = open_udp,
    host: str = "::",
    rng: random.Random | None = None,
    reached: bool | None = None,
) -> NatBehaviour:
    """Find out what the NATs between here and some servers do; it takes up to 17 seconds.

    Args:
        servers: STUN servers, all of one address family: one with two addresses (RFC 5780) tells
            all, several plain ones (RFC 8489) on different hosts tell the mapping.
        open_socket: Opens the sockets, three fresh ones.
        host: Local address for them.
        rng: Source of transaction ids; None for the operating system's.
        reached: Whether strangers reach a port of ours that was not opened to them on purpose;
            None if that is not known.

    Raises:
        ValueError: There are servers of both address families.
        OverlayError: There is no socket to be had.
    """
    if not servers:
        return NatBehaviour()
    if len({is_ipv6(server[0]) for server in servers}) > 1:
        raise ValueError("servers of one address family at a time: each has NATs of its own")
    rng = random.SystemRandom() if rng is None else rng
    async with AsyncExitStack() as stack:
        sockets = {
            sender: stack.enter_context(closing(await open_socket(host, 0))) for sender in From
        }
        nursery = await stack.enter_async_context(trio.open_nursery())
        tester = _Tester(sockets, rng)
        for sender in From:
            nursery.start_soon(tester.receive, sender)
        behaviour = await _carry_out(tester, servers, _local(sockets[From.MAPPING], servers[0]))
        nursery.cancel_scope.cancel()
    return behaviour.with_reachability(reached)


async def _carry_out(tester: "_Tester", servers: Sequence[Address], local: Address) -> NatBehaviour:
    plan = discovery(servers, local)
    tests = next(plan)
    while True:
        answers = await tester.round(tests)
        try:
            tests = plan.send(answers)
        except StopIteration as end:
            verdict: NatBehaviour = end.value
            return verdict


def _local(sock: DatagramSocket, server: Address) -> Address:
    host, port = sock.getsockname()[:2]
    return normalise(source_host(server) if host in _WILDCARDS else host, port)


class _Tester:
    """Sends the requests of tests, and knows their answers."""

    def __init__(self, sockets: dict[From, DatagramSocket], rng: random.Random) -> None:
        self._sockets = sockets
        self._rng = rng
        self._waiting: dict[bytes, Test] = {}
        self._answers: dict[Test, Discovered | None] = {}
        self._complete = trio.Event()

    async def round(self, tests: list[Test]) -> Answers:
        """Carry out some tests at once, until each has an answer or was sent often enough."""
        self._answers = {}
        self._complete = trio.Event()
        self._waiting = {self._rng.randbytes(TRANSACTION_ID_LENGTH): test for test in tests}
        if tests:
            for attempt in range(ATTEMPTS):
                await self._send()
                last = attempt == ATTEMPTS - 1
                with trio.move_on_after(LAST_WAIT if last else RTO * 2**attempt):
                    await self._complete.wait()
                    break
        return self._answers

    async def _send(self) -> None:
        for transaction_id, test in tuple(self._waiting.items()):
            data = discovery_request(transaction_id, test.change)
            try:
                await self._sockets[test.sender].sendto(data, test.to)
            except OSError:
                await trio.lowlevel.checkpoint()  # no route: that is no answer either

    async def receive(self, receiver: From) -> None:
        """Take in what comes to a socket, until cancelled."""
        sock = self._sockets[receiver]
        while True:
            try:
                data, source = await sock.recvfrom(_BUFFER)
                self._take(receiver, data, source)
            except RemoteProtocolError:
                continue
            except OSError:
                await trio.lowlevel.checkpoint()  # an ICMP error for an earlier request

    def _take(self, receiver: From, data: bytes, source: Address) -> None:
        """Note an answer if it is to a request of this round and from where it has to be from.

        Raises:
            RemoteProtocolError: It is no STUN message.
        """
        message = parse_stun_untrusted(data)
        test = self._waiting.get(message.transaction_id)
        if test is None:
            return
        answer = None
        if test.hears is not None:
            if receiver is not test.hears or not is_binding_request(message):
                return
        elif receiver is not test.sender or is_binding_request(message):
            return
        elif message.error_code is None:
            answer = discovered(message, test.to)
            if answer is None or source != test.answer_from:
                return
        elif source != test.to:
            return
        self._answers[test] = answer
        del self._waiting[message.transaction_id]
        if not self._waiting:
            self._complete.set()
