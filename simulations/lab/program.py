"""A program that the lab runs: JSON lines in and out, a log, and an end that is certain."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import trio

LINE_LIMIT = 1 << 20
"""Longest line, and most unread output, that is taken from a program, in bytes."""

GRACE = 10.0
"""Seconds between asking a program to end and killing it: what ours allow themselves for giving
back what they hold, and for their farewell, is three seconds and more on a busy machine."""


class ProgramError(Exception):
    """A program ended or fell silent when something was expected of it: one line for people."""


class Program:
    """A running program.

    Args:
        name: what to call it in errors.
        process: the process as the lab started it.
        log: the file that its standard error goes to.
        wrapped: whether the process is an `nsenter` that waits for the program, its only child.
    """

    def __init__(self, name: str, process: trio.Process, log: Path, *, wrapped: bool) -> None:
        self.name = name
        self.log = log
        self._process = process
        self._wrapped = wrapped
        # Both are pipes: start_program asked for them.
        self._stdin = cast(trio.abc.SendStream, process.stdin)
        self._stdout = cast(trio.abc.ReceiveStream, process.stdout)
        self._unread = bytearray()

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """Process id, of the `nsenter` if it is wrapped."""
        return self._process.pid

    @property
    def pids(self) -> list[int]:
        """The program's process as seen from outside its namespaces; empty once it has ended."""
        if not self.running:
            return []
        pid = self.pid
        if not self._wrapped:
            return [pid]
        try:
            return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        except OSError:
            return []

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program (nsenter would not pass it on)."""
        for pid in self.pids or ([self.pid] if self.running else []):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue

    async def line(self, timeout: float = 30.0) -> str:
        """Return the next line of its standard output.

        Args:
            timeout: seconds to wait.

        Raises:
            ProgramError: it ended, was silent too long, or wrote an absurd line.
        """
        try:
            with trio.fail_after(timeout):
                while b"\n" not in self._unread:
                    await self._receive()
        except trio.TooSlowError:
            raise ProgramError(f"{self.name} said nothing for {timeout:g} s") from None
        line, _, self._unread = self._unread.partition(b"\n")
        return line.decode(errors="replace")

    async def _receive(self) -> None:
        data = await self._stdout.receive_some()
        if not data:
            await self.wait()
            raise ProgramError(self._epitaph())
        self._unread += data
        if len(self._unread) > LINE_LIMIT:
            raise ProgramError(f"{self.name} wrote a line of more than {LINE_LIMIT} bytes")

    async def json(self, timeout: float = 30.0) -> Any:
        """Return the next line of its standard output, which is a JSON document."""
        line = await self.line(timeout)
        try:
            return json.loads(line)
        except ValueError:
            raise ProgramError(f"{self.name} wrote a line that is not JSON: {line[:80]}") from None

    async def send(self, value: object) -> None:
        """Write one JSON line to its standard input."""
        try:
            await self._stdin.send_all(json.dumps(value).encode() + b"\n")
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise ProgramError(self._epitaph()) from None

    async def end_input(self) -> None:
        """Close its standard input."""
        await self._stdin.aclose()

    async def read_all(self) -> str:
        """Return the rest of its standard output, up to the end of the program."""
        async for data in self._stdout:
            self._unread += data
            if len(self._unread) > LINE_LIMIT:
                raise ProgramError(f"{self.name} wrote more than {LINE_LIMIT} bytes")
        return self._unread.decode(errors="replace")

    async def wait(self) -> int:
        """Wait for its end and return its exit status (negative: the signal that ended it)."""
        return await self._process.wait()

    async def stop(self, grace: float = GRACE) -> int:
        """Ask it to end, kill it if it has not after `grace` seconds, and return its status."""
        with trio.CancelScope(shield=True):
            self.signal(signal.SIGTERM)
            with trio.move_on_after(grace):
                await self.wait()
            self.signal(signal.SIGKILL)
            status = await self.wait()
            # What it has started and left behind is still in its session's process group.
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            await self._stdin.aclose()
            await self._stdout.aclose()
        return status

    def last_words(self) -> str:
        """Return the last line of its log."""
        try:
            last = self.log.read_text(errors="replace").strip().rpartition("\n")[2]
        except OSError:
            last = ""
        return last or "no message"

    def _epitaph(self) -> str:
        return f"{self.name} ended with status {self._process.poll()}: {self.last_words()}"


async def start_program(
    argv: Sequence[str],
    *,
    name: str,
    log: Path,
    env: Mapping[str, str],
    wrapped: bool,
) -> Program:
    """Start a program in a session of its own, out of reach of the terminal's Ctrl-C."""
    with log.open("ab") as stderr:
        process = await trio.lowlevel.open_process(
            list(argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=dict(env),
            start_new_session=True,
        )
    return Program(name, process, log, wrapped=wrapped)
