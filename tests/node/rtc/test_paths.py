"""Two ends with two paths between them, in simulated time: when they move, and when they do not."""

import heapq
from collections.abc import Callable

import pytest

from node.rtc.paths import LOST_AFTER, QUIET, READY_TIMEOUT, Address, Paths

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
        if (sender, address) not in self.lost:
            self._count += 1
            when = self.now + self.delay[address]
            heapq.heappush(self._queue, (when, self._count, lambda: arrive(address)))

    def _hear(self, receiver: int) -> Callable[[Address], None]:
        def arrive(address: Address) -> None:
            self.heard_at[receiver] = self.now
            self.ends[receiver].heard(address, self.now)

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


def test_before_the_first_sound_nothing_is_suspicious() -> None:
    ends = Ends()
    ends.mute = {0, 1}
    ends.stand_by()
    ends.lose(A)
    ends.run(3)
    assert ends.at == [A, A]


def test_where_ice_goes_it_follows() -> None:
    end = Paths(A, 0.0)
    end.nominated(C, 1.0)
    end.stand_by(C, 1.0)  # it carries the call already
    assert (end.current.address, end.standby) == (C, None)
    end.stand_by(B, 1.0)
    end.nominated(B, 2.0)
    assert (end.current.address, end.standby) == (B, None)
