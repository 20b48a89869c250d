"""How long from a cold start to a channel in hand: `python -m simulations.lab.cold_start [RUNS]`.

On loopback, with one relay node and an XMPP server in processes of their own: each run starts
`jingle-nodes borrow`, which knows a bootstrap address and an account, and ends when it prints the
channel. Python's start and imports count. Beside it the same for `jingle-nodes find`.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path

import trio

from simulations.lab.certificates import Authority
from simulations.lab.netns import Lab, open_loopback

RUNS = 21
COMMAND = str(Path(sys.executable).with_name("jingle-nodes"))
DOMAIN = "localhost"
USERS = {"relay": "secret", "borrower": "secret"}


async def measure(runs: int) -> None:
    """Measure and print medians and maxima.

    Args:
        runs: how often each command is started.
    """
    async with open_loopback() as lab:
        host = await lab.add_host("host")
        Authority(lab.directory).issue(DOMAIN)
        server = await lab.start(
            host,
            *(sys.executable, "-m", "simulations.lab.embedded_xmpp", DOMAIN, str(lab.directory)),
            *(json.dumps(USERS), "--port", "0"),
        )
        password = lab.directory / "password"
        password.write_text("secret\n")
        password.chmod(0o600)
        port = (await server.json())["port"]
        account = ["--password-file", str(password), "--xmpp-host", f"127.0.0.1:{port}"]
        node = await lab.start(
            host,
            *(COMMAND, "run", "--json", "--jid", f"relay@{DOMAIN}", *account),
            *("--status-address", "off"),
            *("--port", "0", "--public-address", "127.0.0.1", "--allow-private-peers"),
            *("--state-dir", str(lab.directory / "state"), "--requests-per-minute", "1000"),
        )
        entrance = ["--bootstrap", (await node.json())["overlay"]]
        find = [COMMAND, "find", "--json", *entrance]
        borrow = [COMMAND, "borrow", "--json", "--jid", f"borrower@{DOMAIN}", *account, *entrance]
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
