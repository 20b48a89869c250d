"""Where simulations run beside each other: processes of this machine, or a Ray cluster.

`worker` says what either of them offers; `local` is the one, `cluster` with its `actors` the other.
"""

from simulations.engines.worker import Engine, Worker, WorkerDiedError

__all__ = ["Engine", "Worker", "WorkerDiedError"]
