"""Workers that are processes: what they answer, and what is said when they cannot."""

import multiprocessing
import subprocess
import sys
from collections.abc import Iterator

import pytest

from simulations.engines import Worker, WorkerDiedError
from simulations.engines.local import LocalEngine
from simulations.errors import SimulationError
from tests.simulations.engines.things import Thing

SOON = 60.0  # seconds; a busy machine is slow to start Python


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = LocalEngine(1).worker(Thing, 40)
    yield worker
    worker.end()


def test_a_worker_keeps_its_object_and_tells_how_far_it_is(worker: Worker) -> None:
    engine = LocalEngine(2)
    for number, total in ((1, 41), (2, 43)):
        worker.ask("add", number)
        while engine.wait([worker], SOON) == []:
            assert worker.progress == 0.5  # it has told that, and not yet the rest
        assert worker.progress == 0.5
        assert worker.answer() == total


def test_what_a_worker_raises_is_told_from_its_end(worker: Worker) -> None:
    worker.ask("refuse")
    with pytest.raises(SimulationError, match="not like this"):
        worker.answer()
    worker.ask("stumble")
    with pytest.raises(WorkerDiedError, match=r"ZeroDivisionError: .* \(.*things\.py, line \d+\)"):
        worker.answer()
    worker.ask("add", 1)
    assert worker.answer() == 41
    worker.ask("die")
    with pytest.raises(WorkerDiedError, match="its process has ended with status 3"):
        worker.answer()
    worker.ask("add", 1)
    with pytest.raises(WorkerDiedError, match="its process has ended"):
        worker.answer()


def test_a_killed_worker_is_ready_to_say_so(worker: Worker) -> None:
    worker.ask("be_killed")
    assert LocalEngine(1).wait([worker], SOON) == [worker]
    with pytest.raises(WorkerDiedError, match="its process has ended with signal 9"):
        worker.answer()


HEARS = """
import signal
from simulations.engines.local import LocalEngine
from tests.simulations.engines.things import Thing
for _ in range(2):
    worker = LocalEngine(1).worker(Thing, 0)
    worker.ask("blocked")
    print(signal.SIGINT in worker.answer(), signal.SIGINT in signal.pthread_sigmask(0, ()))
    worker.end()
"""


def test_workers_do_not_hear_what_is_meant_for_their_parent() -> None:
    """In an interpreter of its own, as the first worker starts more than a process."""
    ran = subprocess.run([sys.executable, "-c", HEARS], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["True", "False"] * 2


def test_what_cannot_be_made_says_so_when_it_is_asked() -> None:
    worker = LocalEngine(1).worker(Thing, -1)
    worker.ask("add", 1)
    with pytest.raises(SimulationError, match="choose 0 or more"):
        worker.answer()
    worker.end()


def test_the_end_of_a_worker_is_the_end_of_its_process() -> None:
    worker = LocalEngine(1).worker(Thing, 1)
    worker.ask("add", 1)
    worker.answer()
    worker.ask("hang")
    before = len(multiprocessing.active_children())
    worker.end()
    assert len(multiprocessing.active_children()) == before - 1
