"""Two ends with two paths between them, in simulated time: when they move, and when they do not."""

import heapq
import math
from collections.abc import Callable
from random import Random

import pytest

from node.rtc.loss import PAUSE, LossMeter
from node.rtc.paths import DEAD_AFTER, LOSSY, LOST_AFTER, QUIET, READY_TIMEOUT, Paths
from overlay.core.addresses import Address

TICK = 0.02
A, B, C = ("192.0.2.1", 1), ("192.0.2.2", 2), ("192.0.2.3", 3)


class Ends:
    """Two ends, and a network that loses what it is told to.

    Args:
        rtt: Of each path, seconds.
    """

    def __init__(self, rtt: float = 0.06) -> None:
        self.now = 0.0
        self.delay = {A: rtt / 2, B: rtt / 2, C: rtt / 2}
        self.lost: set[tuple[int, Address]] = set()
        """Who sends what is lost, and by which path."""
        self.mute: set[int] = set()
        self.loss: dict[Address, float] = {}
        """Which share of what goes by a path is lost."""
        self._rng = Random(1)
        self.ends = [Paths(A, 0.0), Paths(A, 0.0)]
        self.heard_at = [0.0, 0.0]
        self.probes = 0
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def stand_by(self, address: Address = B) -> None:
        for end in self.ends:
            end.stand_by(address, self.now)

    def lose(self, address: Address, *senders: int) -> None:
        self.lost |= {(sender, address) for sender in senders or (0, 1)}

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            for number, end in enumerate(self.ends):
                if number not in self.mute:
                    self._send(number, end.current.address, self._hear(1 - number))
                for address in end.handle_timer(self.now):
                    self.probes += 1
                    self._send(number, address, self._answer(number, self.now))
            self.now += TICK
            while self._queue and self._queue[0][0] <= self.now:
                heapq.heappop(self._queue)[2]()

    @property
    def at(self) -> list[Address]:
        return [end.current.address for end in self.ends]

    def _send(self, sender: int, address: Address, arrive: Callable[[Address], None]) -> None:
        lost = self._rng.random() < self.loss.get(address, 0.0)
        if not lost and (sender, address) not in self.lost:
            self._count += 1
            when = self.now + self.delay[address]
            heapq.heappush(self._queue, (when, self._count, lambda: arrive(address)))

    def _hear(self, receiver: int) -> Callable[[Address], None]:
        packet = 7, round(self.now / TICK) % 65536

        def arrive(address: Address) -> None:
            self.heard_at[receiver] = self.now
            self.ends[receiver].heard(address, self.now, packet)

        return arrive

    def _answer(self, asker: int, asked_at: float) -> Callable[[Address], None]:
        def answered(address: Address) -> None:
            self.ends[asker].answered(address, asked_at, self.now)

        def asked(address: Address) -> None:
            self._send(1 - asker, address, answered)

        return asked


def prepared(rtt: float = 0.06) -> Ends:
    ends = Ends(rtt)
    ends.run(1)
    ends.stand_by()
    ends.run(4)
    assert ends.at == [A, A]
    return ends


@pytest.mark.parametrize("rtt", [0.0, 0.06, 0.3])
@pytest.mark.parametrize("senders", [(0, 1), (0,), (1,)])
def test_both_move_when_the_path_fails_in_one_direction_or_both(
    rtt: float, senders: tuple[int, ...]
) -> None:
    ends = prepared(rtt)
    ends.lose(A, *senders)
    ends.run(QUIET + 0.3 + 3.5 * rtt)
    assert ends.at == [B, B]
    assert ends.now - min(ends.heard_at) < rtt / 2 + 2 * TICK
    ends.stand_by(C)  # and again
    ends.run(4)
    ends.lose(B)
    ends.run(QUIET + 0.3 + 3.5 * rtt)
    assert ends.at == [C, C]


def test_silence_alone_moves_nothing() -> None:
    ends = prepared()
    ends.mute = {0, 1}
    ends.run(10)
    assert ends.at == [A, A]
    ends.lose(A)  # but the path of the mute may fail, too
    ends.run(1)
    assert ends.at == [B, B]


def test_nobody_moves_to_a_path_that_does_not_work() -> None:
    ends = prepared()
    ends.lose(A)
    ends.lose(B)
    ends.run(LOST_AFTER + 1)
    assert ends.at == [A, A]
    assert [end.standby for end in ends.ends] == [None, None]


def test_a_standby_that_never_answers_is_given_up_and_one_that_works_stays() -> None:
    ends = Ends()
    ends.lose(B, 1)
    ends.stand_by()
    ends.run(READY_TIMEOUT - 0.1)
    assert ends.ends[0].standby is not None
    ends.run(0.2)
    assert ends.ends[0].standby is None
    ends.stand_by(C)
    ends.probes = 0
    ends.run(60)
    assert [end.standby is not None for end in ends.ends] == [True, True]
    assert ends.probes < 140  # two paths, two ends, every two seconds
    ends.ends[0].drop_standby()
    assert ends.ends[0].standby is None


def test_who_looks_for_no_other_standby_keeps_one_that_is_late() -> None:
    ends = Ends()
    ends.ends[0].stand_by(B, 0.0, lasting=True)
    ends.lose(B)
    ends.run(READY_TIMEOUT + 0.1)
    ends.probes = 0
    ends.run(20)
    assert ends.probes < 35  # in no hurry
    ends.lost.clear()
    ends.run(3)
    ends.ends[1].stand_by(B, ends.now)
    ends.run(1)
    ends.lose(A)
    ends.run(1)
    assert ends.at == [B, B]


def test_both_leave_a_path_that_loses_much() -> None:
    ends = prepared()
    ends.loss = {A: 0.3}
    ends.run(5)
    assert ends.at == [B, B]


@pytest.mark.parametrize("loss", [{A: 0.3, B: 0.3}, {A: 0.04}])
def test_nobody_leaves_for_what_the_line_loses_or_for_little(loss: dict[Address, float]) -> None:
    ends = prepared()
    ends.loss, ends.probes = loss, 0
    ends.run(5 * PAUSE)
    assert ends.at == [A, A]
    assert ends.probes < 600  # the trials have pauses


def test_loss_is_counted_across_the_wrap_and_anew_for_another_stream() -> None:
    meter = LossMeter()
    assert meter.take() == 0
    for number in range(65500, 65500 + 101):
        if number % 4:
            meter.note(1, number % 65536)
    assert meter.take() == pytest.approx(0.25, abs=0.01)
    for number in (7, 5, 6, 8):  # few, and not in order
        meter.note(2, number)
    assert meter.take() == 0
    meter.note(2, 58)
    assert meter.take() == pytest.approx(0.98)


def test_a_planned_end_waits_for_nothing() -> None:
    ends = prepared()
    ends.ends[1].leave(ends.now)
    assert ends.at == [A, B]
    ends.run(0.1)
    assert ends.at == [B, B]


def test_a_planned_end_waits_for_the_standby_if_there_is_none_yet() -> None:
    ends = Ends()
    ends.ends[0].leave(ends.now)
    ends.run(1)
    ends.stand_by()
    ends.run(0.3)
    assert ends.at == [B, B]


@pytest.mark.parametrize(("loss", "moves"), [(0.0, False), (0.3, True), (1.0, True)])
def test_before_the_first_sound_the_paths_are_compared(loss: float, moves: bool) -> None:
    ends = Ends()
    ends.mute = {0, 1}
    ends.stand_by()
    ends.loss = {A: loss}
    ends.run(3)
    assert ends.at == [A, A]
    ends.run(3)
    assert ends.at == ([B, B] if moves else [A, A])
    ends.run(10)
    ends.probes = 0
    ends.run(10)  # they may just be mute
    assert ends.probes < 30


@pytest.mark.parametrize("standby", [True, False])
def test_a_path_fails_when_no_standby_helps(standby: bool) -> None:
    ends = Ends()
    ends.lose(B)
    ends.run(3)
    if standby:
        ends.stand_by()
    ends.run(1)
    assert not any(end.failing(ends.now, 0) for end in ends.ends)
    ends.lose(A)
    ends.run(QUIET + DEAD_AFTER + 0.2)
    assert all(end.failing(ends.now, math.inf) for end in ends.ends)
    ends.ends[0].nominated(C, ends.now)
    assert not ends.ends[0].failing(ends.now, 0)


def test_a_path_fails_if_nothing_from_here_arrives() -> None:
    ends = Ends()
    ends.run(3)
    ends.lose(A, 0)
    ends.run(LOST_AFTER + 2)
    assert ends.now - ends.heard_at[0] < 1
    assert ends.ends[0].failing(ends.now, math.inf)


def test_a_path_that_has_a_standby_does_not_fail_nor_does_a_mute_one() -> None:
    ends = prepared()
    ends.lose(A)
    ends.run(3)
    assert ends.at == [B, B]
    ends.mute = {0, 1}
    ends.run(3)
    assert not any(end.failing(ends.now, 0) for end in ends.ends)


def test_a_path_that_loses_much_fails_unless_it_is_new() -> None:
    ends = Ends()
    ends.loss = {A: 0.3}
    ends.run(LOSSY + 1.5)
    assert all(end.failing(ends.now, 0) for end in ends.ends)
    assert not any(end.failing(ends.now, 60) for end in ends.ends)
    ends.loss = {}
    ends.run(3)
    assert not any(end.failing(ends.now, 0) for end in ends.ends)


def test_where_ice_goes_it_follows() -> None:
    end = Paths(A, 0.0)
    end.nominated(C, 1.0)
    end.stand_by(C, 1.0)  # it carries the call already
    assert (end.current.address, end.standby) == (C, None)
    end.stand_by(B, 1.0)
    end.nominated(B, 2.0)
    assert (end.current.address, end.standby) == (B, None)
