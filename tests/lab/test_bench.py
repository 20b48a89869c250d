"""The bench measures all relays with the real programs, and ends when it is told to."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from simulations.lab.bench.bench import RELAYS
from simulations.lab.netns import Lab

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("lab")]

COMMAND = str(Path(sys.executable).with_name("jingle-nodes"))


async def test_all_relays_are_measured_side_by_side(lab: Lab) -> None:
    options = ("--quick", "--rounds", "1", "--what", "cost,loss", "--json")
    result = await trio.run_process(
        [COMMAND, "bench", *options], capture_stdout=True, capture_stderr=True
    )
    document = json.loads(result.stdout)
    assert document["missing"] == []
    assert document["namespaces"] == lab.namespaces
    measured = [(entry["relay"], entry["window"]) for entry in document["cost"]]
    assert measured == [(relay, window) for relay in RELAYS for window in (1, 100)]
    assert [entry["relay"] for entry in document["capacity"]] == list(RELAYS)
    assert all(entry["calls_per_core"] > 0 for entry in document["capacity"])
    costs = {(entry["relay"], entry["window"]): entry["us"] for entry in document["cost"]}
    assert costs["ours", 1]["median"] > costs["kernel", 1]["median"]
    assert "packets lost" in document["promises"][-1]["what"]


async def test_ctrl_c_ends_it_in_one_line_and_leaves_nothing_behind(tmp_path: Path) -> None:
    process = await trio.lowlevel.open_process(
        [COMMAND, "bench", "--quick", "--what", "cost"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path)},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    with trio.fail_after(30):
        while not list(tmp_path.glob("*/turndb")):  # some relays run
            await trio.sleep(0.05)
    process.send_signal(signal.SIGINT)
    with trio.fail_after(10):
        errors = b"".join([chunk async for chunk in process.stderr])
        assert await process.wait() == 1
    await process.stdout.aclose()
    await process.stderr.aclose()
    assert errors == b"jingle-nodes: interrupted\n"
    assert not list(tmp_path.iterdir())
