"""``jingle-nodes status`` beside a page on loopback."""

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trio

from node.cli import execute
from node.commands.status import status as show_status
from node.errors import UserError
from node.settings import StatusSettings
from node.status.server import open_status_page
from tests.node.status.snapshots import BUSY

COMMAND = str(Path(sys.executable).with_name("jingle-nodes"))


@pytest.fixture
async def address() -> AsyncIterator[str]:
    async with open_status_page(("127.0.0.1", 0), lambda: BUSY) as url:
        yield urlsplit(url or "").netloc


async def said(*arguments: str) -> tuple[int, str, str]:
    """The exit status of the command, and what it said on both outputs."""
    with trio.fail_after(20):
        done = await trio.run_process(
            [COMMAND, "status", *arguments], capture_stdout=True, capture_stderr=True, check=False
        )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


async def test_json_is_the_snapshot(address: str) -> None:
    status, out, err = await said("--status-address", address, "--json")
    assert (status, err) == (0, "")
    assert out.count("\n") == 1
    assert json.loads(out)["channels"]["open"] == 12


@pytest.mark.parametrize("once", [[], ["--once"]])
async def test_a_pipe_gets_it_once_and_plain(address: str, once: list[str]) -> None:
    status, out, err = await said("--status-address", address, *once)
    assert (status, err) == (0, "")
    assert "12 of 100, 88% offered" in out
    assert "\x1b" not in out


async def test_the_address_may_stand_in_the_nodes_file(address: str, tmp_path: Path) -> None:
    config = tmp_path / "node.toml"
    config.write_text(f'jid = "a@b"\nstatus-address = "{address}"\n')
    status, out, _ = await said("--config", str(config))
    assert (status, "12 of 100" in out) == (0, True)


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[str]:
    """Something that is no node."""

    async def answer_once(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        with suppress(trio.BrokenResourceError):  # it has heard enough
            await stream.send_all(answer)
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, answer_once, [listener])
        yield f"127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "closed connection"),
        (b"SSH-2.0-\x1b[2JOpenSSH\r\n", "SSH-2.0-\ufffd[2JOpenSSH"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "HTTP 404"),
        (HEAD + b"x" * 2**21, "something else answers"),
        (HEAD + b"hello", "no node of this version"),
        (HEAD + b'{"version": 3}', "no node of this version"),
        (HEAD + b"[" * 5000, "no node of this version"),
        (HEAD + b"\xff", "no node of this version"),
    ],
)
async def test_what_is_no_node_is_said_to_be_none(answer: bytes, reason: str) -> None:
    async with answering(answer) as address:
        with pytest.raises(UserError) as refused:
            await show_status(StatusSettings(status_address=address), once=True, as_json=False)
    assert reason in str(refused.value)
    assert str(refused.value).isprintable()


async def test_nobody_there_is_one_line() -> None:
    with trio.socket.socket() as sock:
        await sock.bind(("127.0.0.1", 0))  # and nobody listens
        address = f"127.0.0.1:{sock.getsockname()[1]}"
        status, out, err = await said("--status-address", address, "--json")
    assert (status, out) == (1, "")
    assert err == (
        f"jingle-nodes: no node shows its status at {address}: Connection refused; start one "
        "with jingle-nodes run, or pass the --status-address that it has\n"
    )


@pytest.mark.parametrize("address", ["off", "127.0.0.1:0", "example.org:1", "127.0.0.1:x", ""])
def test_what_is_no_address_is_a_usage_error(
    address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(["status", "--status-address", address]) == 2
    err = capsys.readouterr().err
    assert "--status-address" in err
    assert err.count("\n") == 1


class Screen:
    """A pseudo-terminal of 100 columns, and all that was written to it."""

    def __init__(self) -> None:
        self.written = ""
        self._ours, self.theirs = pty.openpty()
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        os.set_blocking(self._ours, False)

    async def wait_for(self, pattern: str) -> None:
        with trio.fail_after(20):
            while not re.search(pattern, self.written):
                await trio.lowlevel.wait_readable(self._ours)
                self.written += os.read(self._ours, 65_536).decode(errors="replace")

    def close(self) -> None:
        os.close(self._ours)
        os.close(self.theirs)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_terminal_gets_a_view_that_lives_and_ends_cleanly(number: signal.Signals) -> None:
    screen = Screen()
    async with trio.open_nursery() as nursery:
        stop = trio.Event()

        async def serve(*, task_status: trio.TaskStatus[str]) -> None:
            async with open_status_page(("127.0.0.1", 0), lambda: BUSY) as url:
                task_status.started(urlsplit(url or "").netloc)
                await stop.wait()

        address = await nursery.start(serve)
        process = await trio.lowlevel.open_process(
            [COMMAND, "status", "--status-address", address],
            stdin=subprocess.DEVNULL,
            stdout=screen.theirs,
            stderr=subprocess.PIPE,
            env={**os.environ, "TERM": "xterm"},
        )
        await screen.wait_for("12 of 100")
        screen.written = ""
        await screen.wait_for("12 of 100")  # it was drawn again
        stop.set()
        await screen.wait_for("no node shows its status")
        os.kill(process.pid, number)
        await screen.wait_for(r"\x1b\[\?1049l")  # the screen from before is back
        with trio.fail_after(5):
            assert await process.wait() == 0
        assert process.stderr is not None
        assert await process.stderr.receive_some() == b""
        await process.stderr.aclose()
    screen.close()


async def test_a_dumb_terminal_gets_it_once(address: str) -> None:
    screen = Screen()
    with trio.fail_after(20):
        done = await trio.run_process(
            [COMMAND, "status", "--status-address", address],
            stdout=screen.theirs,
            env={**os.environ, "TERM": "dumb"},
        )
    await screen.wait_for("12 of 100")
    screen.close()
    assert done.returncode == 0
    assert "\x1b" not in screen.written
