"""Time for real sockets, where the real time is made up."""

import pytest
import trio
import trio.testing

from simulations.real.clock import PatientClock, RealTimeHeap


def test_what_is_planned_before_all_else_is_told() -> None:
    heap = RealTimeHeap(5.0)
    told: list[float] = []
    heap.on_earlier = lambda: told.append(heap.due)
    for when in (9.0, 10.0, 7.0, 8.0, 6.0):
        heap.at(when, told.clear)
    assert told == [9.0, 7.0, 6.0]


def test_the_clock_goes_with_real_time_as_long_as_it_beats() -> None:
    real = [1000.0]
    clock = PatientClock(lambda: real[0])
    clock.start_clock()
    assert clock.current_time() == 0.0
    for _ in range(100):
        real[0] += 0.005
        clock.beat()
    assert clock.current_time() == pytest.approx(0.5)
    assert clock.deadline_to_sleep_time(0.75) == pytest.approx(0.25)


def test_the_clock_stands_still_while_nobody_has_a_turn() -> None:
    real = [1000.0]
    clock = PatientClock(lambda: real[0])
    clock.start_clock()
    seen = []
    for late in (0.004, 3.0, 0.004, 70.0, 0.0):
        real[0] += late
        seen.append(clock.current_time())
        clock.beat()
        assert clock.current_time() == seen[-1]
    assert seen == pytest.approx([0.004, 0.012, 0.016, 0.024, 0.024])


def test_a_program_that_is_slow_has_more_of_its_own_time() -> None:
    """Each turn takes ten times as long as the clock goes on without a beat."""
    real = [0.0]
    clock = PatientClock(lambda: real[0])

    async def main() -> float:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(clock.run)
            late = 0.0
            for _ in range(50):
                due = trio.current_time() + 0.1
                while trio.current_time() < due:
                    real[0] += 0.08
                    await trio.lowlevel.checkpoint()
                late = max(late, trio.current_time() - due)
            nursery.cancel_scope.cancel()
        return late

    assert trio.run(main, clock=clock) < 0.02
    assert real[0] > 50.0 * 0.1 * 5


def test_the_clock_goes_on_though_its_own_task_was_held_up() -> None:
    """By another program, between any two looks at real time."""
    real = [0.0]

    def held_up() -> float:
        real[0] += 0.006
        return real[0]

    clock = PatientClock(held_up)

    async def main() -> float:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(clock.run)
            while trio.current_time() < 1.0 and real[0] < 1000.0:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        return trio.current_time()

    assert trio.run(main, clock=clock) >= 1.0
