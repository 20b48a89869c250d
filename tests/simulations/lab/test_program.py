import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from simulations.lab.program import Program, ProgramError, start_program

Start = Callable[[str], Awaitable[Program]]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    async def start(script: str) -> Program:
        return await start_program(
            [sys.executable, "-c", script],
            name="script",
            log=tmp_path / "log",
            env=os.environ,
            wrapped=False,
        )

    return start


async def test_lines_go_in_and_come_out(start: Start) -> None:
    program = await start("print('[1]'); print(input()); print('the rest'); print('of it')")
    assert await program.json() == [1]
    await program.send({"a": "b"})
    assert await program.json() == {"a": "b"}
    assert await program.read_all() == "the rest\nof it\n"
    assert await program.stop() == 0


async def test_the_end_is_told_with_the_last_line_of_the_log(start: Start) -> None:
    program = await start("import sys; sys.exit('no such thing')")
    with pytest.raises(ProgramError, match="script ended with status 1: no such thing"):
        await program.line()
    await program.stop()


async def test_silence_is_an_error(start: Start) -> None:
    program = await start("import time; time.sleep(60)")
    with pytest.raises(ProgramError, match="said nothing"):
        await program.line(timeout=0.01)
    assert await program.stop() == -signal.SIGTERM


async def test_what_is_not_json_is_an_error(start: Start) -> None:
    program = await start("print('ready')")
    with pytest.raises(ProgramError, match="not JSON: ready"):
        await program.json()
    await program.stop()


async def test_a_program_that_will_not_end_is_killed_with_its_children(start: Start) -> None:
    program = await start(
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "os.write(1, b'%d\\n' % (os.fork() or os.getpid()))\n"  # in one piece
        "time.sleep(60)"
    )
    child = max(int(await program.line()), int(await program.line()))
    assert await program.stop(grace=0.1) == -signal.SIGKILL
    with trio.fail_after(5):
        while Path(f"/proc/{child}").exists() and "Z" not in _state(child):
            await trio.sleep(0.01)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"
