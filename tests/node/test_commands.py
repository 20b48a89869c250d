"""The commands as processes: what signals, and a relay that is gone, do to them."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from node.client import open_client
from node.xmpp import Account
from tests.node.prosody import COMPONENT, DOMAIN, PASSWORD, SECRET, Prosody

COMMAND = Path(sys.executable).with_name("jingle-nodes")


@pytest.fixture
def account(prosody: Prosody, tmp_path: Path) -> list[str]:
    password = tmp_path / "password"
    password.write_text(PASSWORD)
    password.chmod(0o600)
    return ["--password-file", str(password), "--xmpp-host", f"127.0.0.1:{prosody.c2s_port}"]


@pytest.fixture
def component(prosody: Prosody, tmp_path: Path) -> list[str]:
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    server = f"127.0.0.1:{prosody.component_port}"
    return ["--component", COMPONENT, "--secret-file", str(secret), "--server", server]


@asynccontextmanager
async def started(*arguments: str) -> AsyncIterator[trio.Process]:
    """A command; killed at the end if it still runs."""
    process = await trio.lowlevel.open_process(
        [str(COMMAND), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        with trio.fail_after(30):
            yield process
    finally:
        if process.poll() is None:
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
        assert process.stdout is not None
        assert process.stderr is not None
        await process.stdout.aclose()
        await process.stderr.aclose()


@asynccontextmanager
async def running_node(state: Path, *arguments: str) -> AsyncIterator[tuple[trio.Process, str]]:
    """A node, and its JID, once it serves."""
    lab = (
        *("--port", "0", "--public-address", "127.0.0.1", "--allow-private-peers"),
        *("--status-address", "127.0.0.1:0", "--turn-port", "0"),
    )
    async with started("run", "--json", "--state-dir", str(state), *lab, *arguments) as process:
        yield process, json.loads(await first_line(process))["jid"]


async def first_line(process: trio.Process) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        assert process.stdout is not None
        line += await process.stdout.receive_some(1) or pytest.fail("it has ended")
    return line


async def last_words(process: trio.Process) -> str:
    assert process.stderr is not None
    return b"".join([data async for data in process.stderr]).decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("serving_as", ["account", "component"])
async def test_a_node_that_is_told_to_stop_tells_its_borrowers(
    number: signal.Signals, serving_as: str, request: pytest.FixtureRequest, romeo: Account
) -> None:
    arguments = request.getfixturevalue(serving_as)
    if serving_as == "account":
        arguments = ["--jid", f"relay@{DOMAIN}", *arguments]
    state = request.getfixturevalue("tmp_path") / "state"
    async with (
        running_node(state, "--drain", "0", *arguments) as (node, jid),
        open_client(romeo, ()) as client,
        client.borrow(jid) as channel,
    ):
        os.kill(node.pid, number)
        with trio.fail_after(5):
            await channel.lost.wait()
        assert await node.wait() == 0
        assert await last_words(node) == ""


HANG_UP_DURING_IMPORTS = """
import os, signal, sys

class HangUp:
    def find_spec(self, name, path=None, target=None):
        if name == "node.cli":
            os.kill(os.getpid(), signal.SIGHUP)

sys.meta_path.insert(0, HangUp())
from node.__main__ import main
main()
"""


@pytest.mark.parametrize(("command", "status"), [("run", 0), ("find", -signal.SIGHUP)])
async def test_a_node_that_is_still_being_loaded_has_no_settings_to_read_again(
    command: str, status: int
) -> None:
    with trio.fail_after(20):
        done = await trio.run_process(
            [sys.executable, "-c", HANG_UP_DURING_IMPORTS, command, "--help"],
            capture_stdout=True,
            check=False,
        )
    assert done.returncode == status


async def test_settings_to_read_again_do_not_change_how_a_node_ends_that_never_served(
    account: list[str], tmp_path: Path
) -> None:
    with trio.socket.socket() as silent:
        await silent.bind(("127.0.0.1", 0))
        silent.listen()
        server = f"127.0.0.1:{silent.getsockname()[1]}"
        arguments = ("--jid", f"relay@{DOMAIN}", *account[:2], "--xmpp-host", server)
        lab = ("--port", "0", "--public-address", "127.0.0.1", "--turn-port", "off")
        rest = ("--status-address", "off", "--port-mapping", "off", "--allow-private-peers")
        state = ("--state-dir", str(tmp_path / "state"))
        async with started("run", *arguments, *lab, *rest, *state) as node:
            with trio.fail_after(20):
                (connection, _) = await silent.accept()
            with connection:  # and it waits for a word
                os.kill(node.pid, signal.SIGHUP)
                os.kill(node.pid, signal.SIGTERM)
                with trio.fail_after(10):
                    assert await node.wait() == 0
            assert await last_words(node) == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_second_signal_leaves_at_once(
    number: signal.Signals, account: list[str], tmp_path: Path, romeo: Account
) -> None:
    arguments = ("--jid", f"relay@{DOMAIN}", "--drain", "1000", *account)
    async with (
        running_node(tmp_path / "state", *arguments) as (node, jid),
        open_client(romeo, ()) as client,
        client.borrow(jid) as channel,
    ):
        os.kill(node.pid, number)
        assert node.stderr is not None
        words = (await node.stderr.receive_some()).decode()
        assert "channels that are still open: 1; they may end within 1000 s" in words
        assert not channel.lost.is_set()
        os.kill(node.pid, number)
        with trio.fail_after(5):
            await channel.lost.wait()
        assert await node.wait() == 0
        assert await last_words(node) == ""


async def test_sighup_has_a_node_read_its_settings_again(
    account: list[str], tmp_path: Path, romeo: Account
) -> None:
    file = tmp_path / "node.toml"
    file.write_text("maxkbps = 64\ndrain = 0")
    arguments = ("--jid", f"relay@{DOMAIN}", "--config", str(file), *account)
    async with (
        running_node(tmp_path / "state", *arguments) as (node, jid),
        open_client(romeo, ()) as client,
    ):
        async with client.borrow(jid) as first:
            assert first.offer.maxkbps == 64
            for content, complaint in (
                ("maxkbps = ", "WARNING node.commands.run: all settings stay as they were: "),
                ("speed = 3", "there is no setting 'speed'"),
                ("quota = '1GB'", "line 1: '1GB' is no quota such as"),
                ("maxkbps = 64\ndrain = 0", "settings were read again: no limit has changed"),
                (
                    "maxkbps = 96\ndrain = 0\nrelay_ports = '1-9'",
                    "(was 64); to change --relay-ports, start",
                ),
            ):
                file.write_text(content)
                os.kill(node.pid, signal.SIGHUP)
                assert node.stderr is not None
                words = (await node.stderr.receive_some()).decode()
                assert complaint in words
                assert words.count("\n") == 1
            async with client.borrow(jid) as second:
                assert second.offer.maxkbps == 96
            assert not first.lost.is_set()
        os.kill(node.pid, signal.SIGTERM)
        assert await node.wait() == 0


async def test_a_service_manager_is_told_how_the_node_is(
    account: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        await manager.bind(f"\0{tmp_path}")
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{tmp_path}")
        arguments = ("--jid", f"relay@{DOMAIN}", "--drain", "20", *account)
        async with running_node(tmp_path / "state", *arguments) as (node, _):
            assert await manager.recv(100) == b"READY=1"
            os.kill(node.pid, signal.SIGHUP)
            reloading, _, time = (await manager.recv(100)).decode().partition("\n")
            assert reloading == "RELOADING=1"
            assert time.startswith("MONOTONIC_USEC=")
            assert await manager.recv(100) == b"READY=1"
            os.kill(node.pid, signal.SIGTERM)
            assert await manager.recv(100) == b"STOPPING=1\nEXTEND_TIMEOUT_USEC=45000000"
            assert await node.wait() == 0


async def test_a_service_manager_that_does_not_listen_keeps_no_node_from_serving(
    account: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    arguments = ("--jid", f"relay@{DOMAIN}", *account)
    async with running_node(tmp_path / "state", *arguments) as (node, _):
        os.kill(node.pid, signal.SIGTERM)
        assert await node.wait() == 0
        assert "cannot tell the service manager: No such file" in await last_words(node)


async def test_borrow_ends_with_its_relay(account: list[str], tmp_path: Path) -> None:
    async with (
        running_node(tmp_path / "state", "--drain", "0", "--jid", f"relay@{DOMAIN}", *account) as (
            node,
            jid,
        ),
        started("borrow", "--jid", f"romeo@{DOMAIN}", *account, "--relay", jid) as borrow,
    ):
        await first_line(borrow)
        os.kill(node.pid, signal.SIGTERM)
        assert await borrow.wait() == 1
        words = await last_words(borrow)
        assert words.startswith(f"jingle-nodes: the channel on {jid} is gone")
        assert words.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_an_interrupted_borrow_gives_its_channel_back(
    number: signal.Signals, account: list[str], tmp_path: Path
) -> None:
    one = ("--jid", f"relay@{DOMAIN}", "--channels", "1")
    async with running_node(tmp_path / "state", *one, *account) as (_, jid):
        for _ in range(2):
            arguments = ("--jid", f"romeo@{DOMAIN}", *account, "--relay", jid)
            async with started("borrow", *arguments) as borrow:
                await first_line(borrow)
                os.kill(borrow.pid, number)
                assert await borrow.wait() == 0
                assert await last_words(borrow) == ""


@pytest.fixture
async def silent() -> AsyncIterator[trio.socket.SocketType]:
    """A server that takes connections and says nothing."""
    with trio.socket.socket() as server:
        await server.bind(("127.0.0.1", 0))
        server.listen(1)
        yield server


def borrowing_from(silent: trio.socket.SocketType, directory: Path) -> tuple[str, ...]:
    password = directory / "password"
    password.write_text(PASSWORD)
    password.chmod(0o600)
    server = ("--xmpp-host", f"127.0.0.1:{silent.getsockname()[1]}")
    account = ("--jid", "romeo@xmpp.test", "--password-file", str(password), *server)
    return ("borrow", *account, "--relay", "relay.xmpp.test")


async def test_borrow_that_is_interrupted_without_a_channel_has_failed(
    tmp_path: Path, silent: trio.socket.SocketType
) -> None:
    async with started(*borrowing_from(silent, tmp_path)) as borrow:
        stream, _ = await silent.accept()
        with stream:
            os.kill(borrow.pid, signal.SIGINT)
            assert await borrow.wait() == 1
            assert await last_words(borrow) == (
                "jingle-nodes: interrupted before a relay lent a channel\n"
            )


async def test_the_timeout_of_borrow_includes_the_login(
    tmp_path: Path, silent: trio.socket.SocketType
) -> None:
    async with started(*borrowing_from(silent, tmp_path), "--timeout", "0.3") as borrow:
        assert await borrow.wait() == 1
        assert "does not answer within 0.3 s" in await last_words(borrow)
