"""Workers that are actors of the Ray cluster that this process is connected to."""

from collections.abc import Sequence
from typing import Any

import ray
from ray.exceptions import RayError

from simulations.engines.worker import Make, Reply, Worker, carry_out


class RayEngine:
    """Actors of the cluster that this process is connected to.

    Args:
        jobs: How many work at once; None for as many as the cluster has processors.

    Attributes:
        slots: The same.
    """

    def __init__(self, jobs: int | None = None) -> None:
        processors = int(ray.cluster_resources().get("CPU", 1))
        self.slots = min(jobs or processors, processors)

    def worker(self, make: Make, *args: Any) -> Worker:
        """Start an actor that has an object."""
        return _RayWorker(make, args)

    def wait(self, workers: Sequence[Worker], seconds: float) -> list[Worker]:
        """Return those that have an answer, or are gone, once there are any or time is up."""
        asked = {one.reply: one for one in workers if isinstance(one, _RayWorker)}
        ready, _ = ray.wait(list(asked), num_returns=1, timeout=seconds)
        return [asked[reply] for reply in ready]


class _Holder:
    """What an actor is: it has the object of a worker."""

    def __init__(self, make: Make, args: tuple[Any, ...]) -> None:
        self._made = carry_out(make, lambda _: None, *args)

    def call(self, method: str, args: tuple[Any, ...]) -> Reply:
        if self._made.value is None:
            return self._made
        return carry_out(getattr(self._made.value, method), *args)


class _RayWorker:
    def __init__(self, make: Make, args: tuple[Any, ...]) -> None:
        self.progress = 0.0
        self.reply: Any = None
        self._actor: Any = ray.remote(_Holder).options(num_cpus=1).remote(make, args)

    def ask(self, method: str, *args: Any) -> None:
        self.reply = self._actor.call.remote(method, args)

    def answer(self) -> Any:
        try:
            reply: Reply = ray.get(self.reply)
        except RayError as error:
            reply = Reply(failed=" ".join(str(error).split())[:200])
        return reply.unwrap()

    def end(self) -> None:
        ray.kill(self._actor)
