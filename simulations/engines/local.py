"""Workers that are processes of this machine."""

import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any, Final

from simulations.engines.worker import Make, Reply, Worker, carry_out

# Nothing of the parent is in them: threads that a fork would have lost, or memory that it shares.
_SPAWN: Final = multiprocessing.get_context("spawn")

_GRACE: Final = 5.0  # seconds that a process has to end


class LocalEngine:
    """Processes of this machine.

    Args:
        jobs: How many work at once.

    Attributes:
        slots: The same.
    """

    def __init__(self, jobs: int) -> None:
        self.slots = jobs

    def worker(self, make: Make, *args: Any) -> Worker:
        """Start a process that has an object."""
        return _LocalWorker(make, args)

    def wait(self, workers: Sequence[Worker], seconds: float) -> list[Worker]:
        """Return those that have an answer, or are gone, once there are any or time is up."""
        local = {one.connection: one for one in workers if isinstance(one, _LocalWorker)}
        ready = [local[connection] for connection in wait(list(local), seconds)]  # type: ignore[index]
        return [worker for worker in ready if worker.has_answer()]


class _LocalWorker:
    def __init__(self, make: Make, args: tuple[Any, ...]) -> None:
        self.progress = 0.0
        self.connection, far = _SPAWN.Pipe()
        self._reply: Reply | None = None
        self._process = _SPAWN.Process(target=_serve, args=(far, make, args), daemon=True)
        with _unsignalled():
            self._process.start()
        far.close()  # so that its end is seen here

    def ask(self, method: str, *args: Any) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # whoever takes the answer is told
            self.connection.send((method, args))

    def has_answer(self) -> bool:
        """Take in what has come: whether the answer is there, or never will be."""
        while self._reply is None and self.connection.poll():
            self._take()
        return self._reply is not None

    def answer(self) -> Any:
        while self._reply is None:
            self._take()
        reply, self._reply = self._reply, None
        return reply.unwrap()

    def end(self) -> None:
        self._process.terminate()
        self._process.join(_GRACE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._process.close()
        self.connection.close()

    def _take(self) -> None:
        try:
            came = self.connection.recv()
        except (EOFError, ConnectionResetError):
            self._process.join(_GRACE)
            code = self._process.exitcode
            how = f"signal {-code}" if code is not None and code < 0 else f"status {code}"
            came = Reply(failed=f"its process has ended with {how}")
        if isinstance(came, Reply):
            self._reply = came
        else:
            self.progress = came


@contextmanager
def _unsignalled() -> Iterator[None]:
    """Have processes that start during the block never get SIGINT, from their first moment on.

    Ctrl-C reaches all that a terminal runs; the parent decides.
    """
    resource_tracker.ensure_running()  # whose start, with the first process, would end the block
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(connection: "Connection[Any, Any]", make: Make, args: tuple[Any, ...]) -> None:
    """Be a worker, until nobody asks any more."""
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        made = carry_out(make, connection.send, *args)
        while True:
            method, given = connection.recv()
            if made.value is None:
                connection.send(made)
            else:
                connection.send(carry_out(getattr(made.value, method), *given))
