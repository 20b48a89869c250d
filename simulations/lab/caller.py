"""A program that makes or takes one call after the other: `python -m simulations.lab.caller ...`.

The arguments are its JID, the XMPP server's address, the file of that server's CA, and the address
of a peer of the overlay. Lines of JSON come in on standard input, and go out on standard output:

    in   {"call": JID, "seconds": ...}   make a call, and hang up after so long
    in   {"answer": true}                take a call; says {"waiting": JID}
    out  {"error": ...}, or what the call was like, as CallReport has it
    in   {"warm": N}                     wait until N relays are measured; says {"warm": ...}
    in   {"forget": true}                log in anew, and know no relay; says {"jid": JID}, as at
                                         the beginning
"""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import trio

from node.client import Client, open_client
from node.errors import UserError
from node.rtc.audio import Silence, Tone
from node.rtc.line import Line
from node.rtc.talk import CallReport
from node.xmpp import Account
from node.xmpp.bridge import Bridge, open_bridge
from simulations.lab.lone_relay import PASSWORD

RING = 30.0  # seconds
_PORT = 4278  # of the overlay


async def serve(bridge: Bridge, account: Account, peer: str) -> bool:
    """Do what the lines say; whether somebody who knows no relay is to go on."""
    async with open_client(account, [(peer, _PORT)], stays=True) as client:
        line = Line(client, bridge, partial(Tone, 440), Silence, (), nullcontext)
        await line.look_around()
        _say({"jid": client.jid})
        while (text := await trio.to_thread.run_sync(sys.stdin.readline)) != "":
            order: dict[str, Any] = json.loads(text)
            if "forget" in order:
                return True
            if "warm" in order:
                while client.measured < order["warm"]:
                    await trio.sleep(0.1)
                _say({"warm": client.measured})
                continue
            try:
                report = await _talk(line, client, order)
            except UserError as error:
                _say({"error": str(error)})
            else:
                _say(asdict(report))
    return False


async def _talk(line: Line, client: Client, order: dict[str, Any]) -> CallReport:
    if "call" in order:
        return await line.call(order["call"], order["seconds"], RING)
    return await line.answer(None, None, partial(_say, {"waiting": client.jid}))


def _say(value: object) -> None:
    print(json.dumps(value), flush=True)


async def main(*arguments: str) -> None:
    """Serve until the input ends."""
    jid, server, ca_file, peer = arguments
    account = Account(jid, PASSWORD, (server, 5222), "verify", Path(ca_file))
    async with open_bridge() as bridge:
        while await serve(bridge, account, peer):
            pass


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
