"""TURN with programs that nobody here wrote: coturn's client and server, aioice, Chromium."""

import json
import re
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio

from node.turn.credentials import issue
from simulations.lab.netns import Host, Lab
from simulations.lab.program import Program
from simulations.lab.turn_cost import SECRET, start_coturn
from tests.lab.conftest import may_skip
from tests.lab.turn_meeting import meet_over_turn
from tests.lab.world import build

pytestmark = pytest.mark.lab

ENDS = str(Path(__file__).with_name("turn_ends.py"))
BROWSER = str(Path(__file__).with_name("turn_browser.py"))
PORT, PEER_PORT = 3478, 3480
MESSAGES = 5


@dataclass
class Rig:
    """A TURN server, a client and a peer, each on a host of its own."""

    lab: Lab
    server: Host
    client: Host
    peer: Host
    program: Program

    async def ask(self, question: str) -> Any:
        await self.program.send(question)
        return await self.program.json()


async def rig(lab: Lab) -> Rig:
    server, client, peer = [await lab.add_host(name) for name in ("server", "client", "peer")]
    settings = {
        "hosts": [server.address, server.address6],
        "port": PORT,
        "secret": SECRET,
        "channels_per_jid": 50,
        "requests_per_minute": 1000,
    }
    program = await lab.start(
        server, sys.executable, "-m", "simulations.lab.turn_host", json.dumps(settings)
    )
    assert await program.json() == [PORT]
    return Rig(lab, server, client, peer, program)


async def ends_settings(rig: Rig, server: Host) -> dict[str, Any]:
    """What turn_ends.py takes, with credentials from our server."""
    username, password = await rig.ask("grant")
    return {
        "server": [server.address, PORT],
        "username": username,
        "password": password,
        "host": rig.client.address,
        "far": "8.8.8.8",
    }


async def uclient(rig: Rig, server: str, *options: str) -> str:
    """What coturn's client says of messages that it has sent and received."""
    credentials = issue(SECRET.encode(), "romeo@montague.example", time.time())
    status, said = await rig.lab.run(
        rig.client,
        *("turnutils_uclient", "-u", credentials.username, "-w", credentials.password),
        *("-n", str(MESSAGES), "-m", "2", "-c", *options, server),
    )
    assert status == 0, said
    return said


def totals(said: str) -> tuple[int, int]:
    """Messages sent and received."""
    found = re.findall(r"tot_send_msgs=(\d+), tot_recv_msgs=(\d+)", said)
    assert found, said
    sent, received = found[-1]
    return int(sent), int(received)


async def browse(rig: Rig) -> Program:
    """Two ends in a browser, with a connection that has relayed candidates alone."""
    username, password = await rig.ask("grant")
    url = f"turn:{rig.server.address}:{PORT}?transport=udp"
    server = {"urls": url, "username": username, "credential": password}
    directory = rig.lab.directory / "chromium"
    directory.mkdir()
    program = await rig.lab.start(
        rig.client, sys.executable, BROWSER, str(directory), json.dumps(server)
    )
    assert await program.json() == {"length": 100_001, "types": 4 * ["relay"]}
    return program


async def test_clients_of_others(lab: Lab) -> None:
    """Coturn's, in all that it can do, and a browser beside it."""
    ours = await rig(lab)
    server, server6 = ours.server.address, ours.server.address6 or ""
    peers = ours.peer.address, ours.peer.address6 or ""
    for address in peers:
        await lab.start(ours.peer, "turnutils_peer", "-L", address, "-p", str(PEER_PORT))
    peer, peer6 = [("-e", address, "-r", str(PEER_PORT)) for address in peers]
    variants = {
        "channels": (server, *peer),
        "indications": (server, "-s", *peer),
        "dont fragment": (server, "-g", *peer),
        "relayed IPv6": (server, "-x", *peer6),
        "over IPv6": (server6, *peer),
        "one client to another": (server, "-y"),
        "one client to another, indications": (server, "-y", "-s"),
    }
    said: dict[str, str] = {}

    async def run(name: str, *arguments: str) -> None:
        said[name] = await uclient(ours, *arguments)

    has_browser = shutil.which("chromedriver") is not None or not may_skip()
    async with trio.open_nursery() as nursery:
        for name, arguments in variants.items():
            nursery.start_soon(run, name, *arguments)
        if has_browser:
            browser = await browse(ours)
    for name in variants:
        sent, received = totals(said[name])
        assert (sent, received) == (sent, sent), name
        assert sent >= 2 * MESSAGES
    _, to_peers, to_clients, drops = await ours.ask("status")
    assert to_peers >= 2 * MESSAGES * len(variants)
    assert to_clients >= 2 * MESSAGES * len(variants)
    # Before the two ends in the browser have permitted each other. They are still open: what the
    # second one to close says to the first comes too late.
    assert drops.keys() <= ({"no-permission"} if has_browser else set())
    if has_browser:
        await browser.end_input()
        assert await browser.wait() == 0


async def test_our_credentials_at_a_coturn_that_shares_the_secret(lab: Lab) -> None:
    ours = await rig(lab)
    await start_coturn(lab, ours.peer, ours.peer.address, PORT)
    settings = await ends_settings(ours, ours.peer)
    status, said = await lab.run(ours.client, sys.executable, ENDS, json.dumps(settings))
    assert status == 0
    seen = json.loads(said)
    assert seen["relayed"][0] == ours.peer.address
    assert [100, True] in seen["arrived"]
    forged = settings | {"username": settings["username"].replace("romeo", "juliet")}
    status, _ = await lab.run(ours.client, sys.executable, ENDS, json.dumps(forged))
    assert status != 0


async def test_fragments_and_peers_that_are_forbidden(lab: Lab) -> None:
    ours = await rig(lab)
    settings = await ends_settings(ours, ours.server)
    status, said = await lab.run(ours.client, sys.executable, ENDS, json.dumps(settings))
    assert status == 0
    seen = json.loads(said)
    assert seen["relayed"][0] == ours.server.address
    assert seen["arrived"] == [[2000, False], [100, True]]
    assert seen["errors"] == {
        ours.server.address: None,  # for those who have a relayed address there
        "8.8.8.8": None,
        "127.0.0.1": 403,
        "10.0.0.1": 403,
        "224.0.0.1": 403,
    }
    assert (await ours.ask("status"))[3] == {"unsent": 1}


async def test_ice_between_symmetric_nats_with_credentials_from_xmpp(lab: Lab) -> None:
    await meet_over_turn(await build(lab, component=False))
