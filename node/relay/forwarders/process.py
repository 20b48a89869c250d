"""The userspace forwarder's process, from its start to its end."""

import errno
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import trio

from node.errors import UserError
from node.relay.forwarders.control import MAX_MESSAGE, Ping, encode, pair
from node.relay.forwarders.own_ports import SharedPorts
from node.relay.resources import explain

WORKER = "node.relay.forwarders.worker"
"""The module that the process runs."""

START_TIME = 20.0
"""Seconds that the process has to start; it takes 0.1 s where nothing else is in the way."""

END_TIME = 1.0
"""Seconds that the process has to end by itself."""


class NotStartedError(UserError):
    """The process did not start."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the forwarder's process does not start: {reason}")


@contextmanager
def share_ports(ports: tuple[int, int]) -> Iterator[SharedPorts]:
    """The relay's own ports, first and last of them given, which processes may share in the block.

    Raises:
        NotStartedError: there are no descriptors, or no memory.
    """
    try:
        own = SharedPorts(range(ports[0], ports[1] + 1))
    except OSError as error:
        raise NotStartedError(explain(error)) from error
    try:
        yield own
    finally:
        own.close()


@asynccontextmanager
async def open_process(
    own: SharedPorts, *, kernel: bool
) -> AsyncIterator[tuple[trio.Process, trio.socket.SocketType]]:
    """Run the process during the block.

    Args:
        own: the relay's ports; shared with the process.
        kernel: whether it may have the kernel carry steady media.

    Yields:
        The process, which answers by now, and the control socket to it.

    Raises:
        NotStartedError: it cannot run.
    """
    try:
        ours, theirs = pair()
    except OSError as error:
        raise NotStartedError(explain(error)) from error
    with trio.socket.from_stdlib_socket(ours) as control:
        with theirs:
            process = await _start(theirs, own, kernel=kernel)
        try:
            await _greet(control)
            yield process, control
        finally:
            control.close()
            await _reap(process)


async def receive(control: trio.socket.SocketType) -> bytes:
    """Receive a record; empty when the process has ended."""
    try:
        return await control.recv(MAX_MESSAGE)
    except ConnectionResetError:
        return b""


async def _start(control: socket.socket, own: SharedPorts, *, kernel: bool) -> trio.Process:
    numbers = control.fileno(), own.range.start, own.range.stop - 1, own.fd
    arguments = [*map(str, numbers), *(["kernel"] if kernel else [])]
    try:
        return await trio.lowlevel.open_process(
            # -P: what lies in the working directory is none of ours, whatever its name.
            [sys.executable, "-P", "-m", WORKER, *arguments],
            pass_fds=[control.fileno(), own.fd],
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C in a terminal is for the relay
        )
    except OSError as error:
        raise NotStartedError(explain(error)) from error
    except RuntimeError as error:  # no thread to start it in
        no_thread = OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        raise NotStartedError(explain(no_thread)) from error


async def _greet(control: trio.socket.SocketType) -> None:
    with trio.move_on_after(START_TIME):
        with suppress(BrokenPipeError):
            await control.send(encode(Ping()))
        if await receive(control):
            return
        raise NotStartedError("it ended at once; see above what it wrote")
    raise NotStartedError(f"no answer in {START_TIME:.0f} s; see whether the system is busy")


async def _reap(process: trio.Process) -> None:
    """End a process whose control socket is closed, which tells it to end."""
    with trio.CancelScope(shield=True):
        with trio.move_on_after(END_TIME):
            await process.wait()
        if process.returncode is None:
            process.kill()
            await process.wait()
