"""One end of ICE with aioice, for TURN alone: `turn_ice.py JSON`.

JSON is an object of `controlling`, `bootstrap` (a peer of the overlay, which is a STUN server) and,
for who is to have a TURN server, `account` (JID, password, host and file of certificates): it finds
one in the overlay, and fetches the credentials over XMPP. Prints its candidates, takes those of the
other end from standard input, and prints what it has received and its kinds of candidates.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import aioice
import trio

from node.client import open_client
from node.xmpp import Account


async def fetch(settings: dict[str, Any]) -> dict[str, Any]:
    jid, password, host, ca_file = settings["account"]
    account = Account(jid, password, (host, 5222), "verify", Path(ca_file))
    bootstrap = [(settings["bootstrap"], 4278)]
    async with open_client(account, bootstrap, timeout=20.0) as client:
        while not any("turn" in relay.services for relay in await client.find()):
            await trio.sleep(0.1)
        (server, *_) = await client.turn(timeout=20.0)
    return {
        "turn_server": (server.host, server.port),
        "turn_username": server.username,
        "turn_password": server.password,
    }


async def connect(settings: dict[str, Any], turn: dict[str, Any]) -> dict[str, Any]:
    # Of a symmetric NAT STUN tells the address, for which TURN takes a permission.
    stun = settings["bootstrap"], 4278
    controlling = settings["controlling"]
    ice = aioice.Connection(controlling, stun_server=stun, use_ipv6=False, **turn)
    await ice.gather_candidates()
    candidates = [candidate.to_sdp() for candidate in ice.local_candidates]
    say([ice.local_username, ice.local_password, candidates])
    line = await asyncio.to_thread(sys.stdin.readline)
    ice.remote_username, ice.remote_password, others = json.loads(line)
    for sdp in others:
        await ice.add_remote_candidate(aioice.Candidate.from_sdp(sdp))
    await ice.add_remote_candidate(None)
    await ice.connect()
    received = []
    for number in range(20):
        await ice.send(b"%d" % number)
        received.append(int(await ice.recv()))
    kinds = {candidate.split()[7] for candidate in candidates}
    await asyncio.to_thread(sys.stdin.readline)  # the other one may not have all yet
    await ice.close()
    return {"received": received, "kinds": sorted(kinds)}


def say(value: object) -> None:
    print(json.dumps(value), flush=True)


def main(settings: dict[str, Any]) -> None:
    turn = trio.run(fetch, settings) if "account" in settings else {}
    say(asyncio.run(connect(settings, turn)))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
