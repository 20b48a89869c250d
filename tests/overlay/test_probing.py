"""Probes over a socket whose other end is a table of delays."""

import errno
import math
import random
from collections.abc import Iterable, Mapping

import pytest
import trio
import trio.testing

from overlay.core.addresses import Address
from overlay.core.protocol.stun import binding_response, parse_stun_untrusted
from overlay.probing import ATTEMPTS, PATIENCE, Answer, measure
from overlay.sockets import DatagramSocket

NEAR: Address = ("192.0.2.1", 4000)
OTHER: Address = ("192.0.2.2", 4000)
SILENT: Address = ("192.0.2.3", 4000)
SLOW: Address = ("192.0.2.4", 4000)
UNREACHABLE: Address = ("2001:db8::1", 4000)
DELAYS = {NEAR: 0.01, OTHER: 0.12, SILENT: math.inf, SLOW: 0.7}


class DelayedSocket:
    """Answers after the delay of the endpoint, unless the first requests to it are lost."""

    def __init__(self, losses: Mapping[Address, int]) -> None:
        self.sent: list[Address] = []
        self._losses = dict(losses)
        self._replies: list[tuple[float, bytes, Address]] = []
        self._changed = trio.Event()

    async def sendto(self, data: bytes, address: Address) -> int:
        await trio.lowlevel.checkpoint()
        if address == UNREACHABLE:
            raise OSError(errno.ENETUNREACH, "Network is unreachable")
        self.sent.append(address)
        self._losses[address] = self._losses.get(address, 0) - 1
        if self._losses[address] < 0:
            due = trio.current_time() + DELAYS[address]
            response = binding_response(parse_stun_untrusted(data), ("127.0.0.1", 5000))
            self._replies.append((due, response, address))
            self._changed.set()
        return len(data)

    async def recvfrom(self, bufsize: int) -> tuple[bytes, Address]:
        while True:
            self._changed = trio.Event()
            self._replies.sort()
            due = self._replies[0][0] if self._replies else math.inf
            with trio.move_on_at(due):
                await self._changed.wait()
            if trio.current_time() >= due:
                _, data, source = self._replies.pop(0)
                return data, source

    def getsockname(self) -> Address:
        return "127.0.0.1", 5000

    def close(self) -> None:
        pass


def probe(
    endpoints: Iterable[Address],
    enough: int | None = None,
    losses: Mapping[Address, int] | None = None,
) -> tuple[dict[Address, Answer], float, list[Address]]:
    """Measure; the answers, the seconds that it took, and what was sent."""
    sock = DelayedSocket(losses or {})

    async def open_socket(host: str, port: int) -> DatagramSocket:
        return sock

    async def timed() -> tuple[dict[Address, Answer], float]:
        started = trio.current_time()
        answers = await measure(
            tuple(endpoints),
            open_socket=open_socket,
            host="127.0.0.1",
            rng=random.Random(1),
            enough=enough,
        )
        return answers, trio.current_time() - started

    clock = trio.testing.MockClock(autojump_threshold=0)
    answers, seconds = trio.run(timed, clock=clock)
    return answers, seconds, sock.sent


def test_an_endpoint_that_many_adverts_name_is_probed_once() -> None:
    answers, seconds, sent = probe([SILENT] * 30)
    assert answers == {}
    assert sent == [SILENT] * ATTEMPTS
    assert seconds == pytest.approx(PATIENCE)


def test_it_is_over_when_all_have_answered() -> None:
    answers, seconds, sent = probe([NEAR, OTHER])
    assert answers[NEAR].rtt == pytest.approx(0.01)
    assert answers[OTHER].rtt == pytest.approx(0.12)
    assert seconds == pytest.approx(0.12)
    assert sent == [NEAR, OTHER]


def test_silent_ones_are_hardly_waited_for_once_somebody_has_answered() -> None:
    answers, seconds, sent = probe([NEAR, OTHER, SILENT], enough=8)
    assert answers.keys() == {NEAR, OTHER}
    assert seconds == pytest.approx(0.3)
    assert sent == [NEAR, OTHER, SILENT, SILENT]


def test_a_lost_request_is_sent_again_in_time() -> None:
    answers, _, _ = probe([NEAR, OTHER, SILENT], enough=8, losses={OTHER: 1})
    assert answers[OTHER].rtt == pytest.approx(0.12)  # of the request that was answered


def test_with_enough_answers_stragglers_get_as_long_again() -> None:
    answers, seconds, _ = probe([NEAR, OTHER, SILENT], enough=1)
    assert answers.keys() == {NEAR}
    assert seconds == pytest.approx(0.07)


def test_as_long_as_nobody_has_answered_everybody_is_waited_for() -> None:
    answers, seconds, _ = probe([SLOW, SILENT], enough=8)
    assert answers.keys() == {SLOW}
    assert seconds == pytest.approx(2 * 0.7 + 0.05)


def test_who_is_in_no_hurry_waits_for_each() -> None:
    answers, seconds, _ = probe([NEAR, SLOW, SILENT])
    assert answers.keys() == {NEAR, SLOW}
    assert seconds == pytest.approx(PATIENCE)


def test_an_endpoint_that_nothing_can_be_sent_to_is_not_waited_for() -> None:
    answers, seconds, _ = probe([UNREACHABLE, NEAR], enough=8)
    assert answers.keys() == {NEAR}
    assert seconds == pytest.approx(0.01)
    answers, seconds, _ = probe([UNREACHABLE])
    assert answers == {}
    assert seconds == 0
