"""What workers are made of in tests; processes of their own must find it by name."""

import os
import signal
import time

from simulations.engines.worker import Report
from simulations.errors import SimulationError


class Thing:
    """Does as it is told."""

    def __init__(self, report: Report, start: int) -> None:
        if start < 0:
            raise SimulationError("choose 0 or more")
        self._report = report
        self._sum = start

    def add(self, number: int) -> int:
        self._report(0.5)
        self._sum += number
        return self._sum

    def refuse(self) -> None:
        raise SimulationError("not like this")

    def stumble(self) -> float:
        return 1 / (self._sum - self._sum)

    def die(self) -> None:
        os._exit(3)

    def be_killed(self) -> None:
        os.kill(os.getpid(), 9)

    def blocked(self) -> set[signal.Signals]:
        return {signal.Signals(one) for one in signal.pthread_sigmask(signal.SIG_BLOCK, ())}

    def hang(self) -> None:
        time.sleep(3600.0)  # its end comes from without
