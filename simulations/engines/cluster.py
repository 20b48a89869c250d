"""A Ray cluster: one on this machine for the time being, or any other.

Whoever reaches a cluster may run code on it. The one that is started here listens on loopback
only, asks for a token that nobody else has, reports to nobody, and leaves nothing behind.
"""

import logging
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from node.settings.values import split_host_port
from simulations.engines.worker import Engine
from simulations.errors import SimulationError

# Of a cluster on this machine; Ray reads them when it is imported, so not before they are set. The
# third keeps it to loopback, whatever the system.
_OWN_CLUSTER: Final = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}
_PORT: Final = 6379  # of a cluster, if its address does not say
_PATIENCE: Final = 10.0  # seconds
_OBJECTS: Final = 128 * 2**20  # bytes of shared memory: results are small


@contextmanager
def ray_engine(address: str | None, jobs: int | None, processors: int) -> Iterator[Engine]:
    """Connect to a cluster during the block.

    Args:
        address: Where it is, as Ray writes it; None for one of this machine's, for the time being.
        jobs: How many workers work at once; None for as many as it has processors.
        processors: Of this machine's, that are used.

    Raises:
        SimulationError: There is none, or it does not start.
    """
    folder = None
    if address is None:
        os.environ.update(_OWN_CLUSTER, RAY_AUTH_TOKEN=secrets.token_hex(32))
        folder = tempfile.mkdtemp(prefix="jingle-nodes-ray-")
        where: dict[str, Any] = {
            "num_cpus": processors,
            "include_dashboard": False,
            "object_store_memory": _OBJECTS,
            "_temp_dir": folder,
        }
    else:
        _check_answers(address)
        where = {"address": address if ":" in address else f"{address}:{_PORT}"}
    import ray
    from ray.exceptions import RayError

    from simulations.engines.actors import RayEngine

    try:
        try:
            ray.init(**where, log_to_driver=False, logging_level=logging.ERROR)
        except (RayError, ConnectionError, OSError, RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            what = "start here" if address is None else f"answer at {address}"
            raise SimulationError(f"Ray does not {what}: {reason}") from None
        yield RayEngine(jobs)
    finally:
        ray.shutdown()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _check_answers(address: str) -> None:
    """Find out at once what Ray itself would take minutes to find out.

    Raises:
        SimulationError: Nobody listens there.
    """
    try:
        host, port = split_host_port(address)
    except ValueError as error:
        raise SimulationError(f"--ray-address {error}") from None
    try:
        socket.create_connection((host, port or _PORT), _PATIENCE).close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise SimulationError(
            f"--ray-address {address}: no cluster answers there ({reason}); start one by: ray "
            "start --head"
        ) from None
