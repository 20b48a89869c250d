"""Those who use one relay meet on its own ports, and no packet goes round there."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from simulations.lab.netns import Lab
from simulations.lab.turn_cost import SECRET
from tests.lab.turn_own import FORBIDDEN, ROUNDS
from tests.lab.world import forward

pytestmark = pytest.mark.lab

ENDS = str(Path(__file__).with_name("turn_own.py"))
PORT = 3478
ROUTERS = "45.254.0.9", "2a0e:fffe::9"
"""Addresses that nobody in the lab has: those of a router which does not send back what comes from
inside."""

ALL = (2 * ROUNDS + 1) * [True]


@pytest.mark.parametrize("behind_nat", [False, True], ids=["public", "behind a NAT"])
@pytest.mark.parametrize(
    "how",
    [{"forwarder": "userspace", "processes": 2}, {"forwarder": "kernel"}],
    ids=lambda how: how["forwarder"],
)
async def test_users_of_one_relay_meet(lab: Lab, how: dict[str, Any], behind_nat: bool) -> None:
    server, client = await lab.add_host("server"), await lab.add_host("client")
    await forward(lab, server)
    relay, relay6 = ROUTERS if behind_nat else (server.address, server.address6)
    settings = {
        "hosts": [relay, relay6],
        "port": PORT,
        "secret": SECRET,
        "channels_per_jid": 50,
        "requests_per_minute": 1000,
    }
    program = await lab.start(
        server, sys.executable, "-m", "simulations.lab.turn_host", json.dumps(settings | how)
    )
    assert await program.json() == [PORT]

    async def ask(question: str) -> Any:
        await program.send(question)
        return await program.json()

    username, password = await ask("grant")
    channels = [(await ask("channel"))[:2] for _ in range(3)]
    assert (await ask("channel"))[2] == how["forwarder"]
    ends = {
        "server": [server.address, PORT],
        "relay": relay,
        "relay6": relay6,
        "username": username,
        "password": password,
        "channels": channels,
        "host": client.address,
    }
    status, said = await lab.run(client, sys.executable, ENDS, json.dumps(ends))
    assert status == 0
    assert json.loads(said) == {
        "indication": True,
        "two users of TURN": ALL,
        "two users of TURN over IPv6": ALL,
        "TURN and a channel": ALL,
        "a channel between users of TURN": ALL,
        "TURN over IPv6 and a channel over IPv4": ALL,
        "after the end": None,
        "TURN and the server's port": FORBIDDEN,
    }
    drops = (await ask("status"))[3]
    assert drops.pop("unsent") >= ROUNDS  # to the port that was closed
    assert drops.keys() <= {"no-permission", "no-peer"}  # before all have permitted and latched
