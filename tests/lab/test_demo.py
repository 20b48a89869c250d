"""The demo does what it shows, with and without namespaces, and ends when it is told to."""

import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from simulations.lab import demo
from simulations.lab.netns import Lab, LabUnavailableError

pytestmark = pytest.mark.lab


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "TALK", 2.5)
    monkeypatch.setattr(demo, "DIRECT_TIMEOUT", 3.0)


@pytest.mark.usefixtures("short", "lab")
async def test_the_demo_holds(capsys: pytest.CaptureFixture[str]) -> None:
    assert await demo.demo(json=True) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["ok"]
    assert result["namespaces"]
    assert not result["direct"]["connected"]
    assert len(result["relays"]) == demo.RELAYS
    assert result["channel"]["relay"] in [relay["jid"] for relay in result["relays"]]
    assert [end["tone_hz"] for end in result["call"].values()] == [660, 440]


@pytest.mark.usefixtures("short")
async def test_without_namespaces_it_says_so_and_uses_the_relay_all_the_same(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    @asynccontextmanager
    async def unavailable() -> AsyncIterator[Lab]:
        raise LabUnavailableError("no namespaces in this test")
        yield

    monkeypatch.setattr(demo, "open_lab", unavailable)
    assert await demo.demo(json=False) == 0
    output = capsys.readouterr().out
    assert "no namespaces in this test. All runs on 127.0.0.1, without NATs" in output
    assert "440 Hz, " in output


@pytest.mark.usefixtures("lab")
async def test_ctrl_c_ends_it_in_one_line_and_leaves_nothing_behind(tmp_path: Path) -> None:
    process = await trio.lowlevel.open_process(
        [str(Path(sys.executable).with_name("jingle-nodes")), "demo"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path)},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    output = b""
    with trio.fail_after(30):
        while b"An XMPP server" not in output:
            output += await process.stdout.receive_some()
    process.send_signal(signal.SIGINT)
    with trio.fail_after(10):
        errors = b"".join([chunk async for chunk in process.stderr])
        assert await process.wait() == 1
    await process.stdout.aclose()
    await process.stderr.aclose()
    assert errors == b"jingle-nodes: interrupted\n"
    assert not list(tmp_path.iterdir())
