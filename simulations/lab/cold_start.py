"""How long from a cold start to a channel in hand: `python -m simulations.lab.cold_start [RUNS]`.

On loopback, with one relay node and an XMPP server in processes of their own: each run starts
`jingle-nodes borrow`, which knows a bootstrap address and an account, and ends when it prints the
channel. Python's start and imports count. Beside it the same for `jingle-nodes find`.
"""

from __future__ import annotations

import statistics
import sys
import time

import trio

from simulations.lab.lone_relay import BORROWER, COMMAND, start_server
from simulations.lab.netns import Lab, open_loopback

RUNS = 21


async def measure(runs: int) -> None:
    """Measure and print medians and maxima.

    Args:
        runs: how often each command is started.
    """
    async with open_loopback() as lab:
        relay = await start_server(lab)
        _, ready = await relay.start_node()
        entrance = ["--bootstrap", ready["overlay"]]
        find = [COMMAND, "find", "--json", *entrance]
        borrow = [COMMAND, "borrow", "--json", "--jid", BORROWER, *relay.login, *entrance]
        for name, argv in (("find", find), ("borrow", borrow)):
            times = [await _time_to_first_line(lab, argv) for _ in range(runs)]
            print(
                f"{name}: median {statistics.median(times):.2f} s, "
                f"longest {max(times):.2f} s, of {runs} cold starts"
            )


async def _time_to_first_line(lab: Lab, argv: list[str]) -> float:
    started = time.perf_counter()
    program = await lab.start(None, *argv)
    await program.json()
    seconds = time.perf_counter() - started
    await program.stop()
    return seconds


if __name__ == "__main__":
    trio.run(measure, int(sys.argv[1]) if sys.argv[1:] else RUNS)
