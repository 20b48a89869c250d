import heapq
import math
import random

import pytest

from simulations.events import EventHeap


@pytest.mark.parametrize("seed", range(8))
def test_everything_happens_in_the_order_that_one_heap_would_have(seed: int) -> None:
    """Also what is planned meanwhile, for the same moment, a later one, or one that has passed."""
    rng = random.Random(seed)
    queue = EventHeap(5.0)
    planned: list[tuple[float, int, int]] = []  # one plain heap
    happened: list[int] = []
    serial = count = 0

    def plan() -> None:
        nonlocal serial, count
        count += 1
        number = count
        delay = rng.choice([-1.0, 0.0, 1e-9, 1 / 64, rng.uniform(0.0, 0.1), rng.expovariate(0.1)])
        when = queue.now + delay
        if rng.random() < 0.5 and delay >= 0.0:
            order = -rng.getrandbits(60) - 1
            queue.arrive(when, order, act, number)
        else:
            serial = order = serial + 1
            queue.at(when, act, number)
        heapq.heappush(planned, (max(when, queue.now), order, number))

    def act(number: int) -> None:
        when, _, expected = heapq.heappop(planned)
        assert (queue.now, number) == (when, expected)
        happened.append(number)
        for _ in range(rng.choice([0, 1, 1, 2]) if count < 2000 else 0):
            plan()

    for _ in range(50):
        plan()
    until = 5.0
    while planned:
        assert queue.due == planned[0][0]
        until += rng.expovariate(1.0)
        queue.run_until(until)
        assert queue.now == until
        assert not planned or planned[0][0] > until
        if rng.random() < 0.2 and count < 2000:
            plan()
    assert len(happened) == count > 100
    assert queue.due == math.inf


def test_what_never_happens_is_waited_for_in_vain() -> None:
    queue = EventHeap()
    done: list[str] = []
    queue.at(math.inf, done.append, "never")
    queue.at(1e15, done.append, "late")
    queue.after(3.0, done.append, "soon")
    queue.run_until(1e12)
    assert done == ["soon"]
    queue.run_until(1e15)
    assert done == ["soon", "late"]
    assert queue.due == math.inf
