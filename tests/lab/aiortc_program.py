"""An ordinary aiortc program with a data channel: `aiortc_program.py offer|answer [ACCOUNT ...]`.

Its signalling are lines of JSON on standard output and input. Who offers has relays: JID,
PASSWORD, HOST, CA_FILE, PEER. Who answers has never heard of them. Both print what they heard.
"""

import json
import sys
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
from aioice.candidate import Candidate
from aiortc import RTCConfiguration, RTCDataChannel, RTCPeerConnection, RTCSessionDescription
from aiortc.sdp import candidate_from_sdp

from node.rtc import PeerConnection, open_ended, open_relays
from node.xmpp import Account


def say(value: object) -> None:
    print(json.dumps(value), flush=True)


async def hear() -> Any:
    return json.loads(await anyio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True))


async def describe(connection: RTCPeerConnection) -> None:
    local = open_ended(connection.localDescription)
    say({"sdp": local.sdp, "type": local.type})


async def tell(candidates: list[Candidate]) -> None:
    say([candidate.to_sdp() for candidate in candidates])


def echo(channel: RTCDataChannel, heard: anyio.Event) -> None:
    @channel.on("message")
    def on_message(message: str) -> None:
        if message == "ping":
            channel.send("pong")
        heard.set()


async def offer(
    connection: RTCPeerConnection, jid: str, password: str, host: str, ca_file: str, peer: str
) -> None:
    account = Account(jid, password, (host, 5222), "verify", Path(ca_file))
    heard = anyio.Event()
    async with open_relays(account, [(peer, 4278)]) as relays:
        channel = connection.createDataChannel("chat")
        channel.on("open", lambda: channel.send("ping"))
        echo(channel, heard)
        await connection.setLocalDescription(await connection.createOffer())
        await describe(connection)
        await connection.setRemoteDescription(RTCSessionDescription(**await hear()))
        async with relays.connected(PeerConnection(connection), tell) as borrowed:
            await heard.wait()
            say({"relay": borrowed.relay if borrowed else None})


async def answer(connection: RTCPeerConnection) -> None:
    heard = anyio.Event()
    connection.on("datachannel", lambda channel: echo(channel, heard))
    await connection.setRemoteDescription(RTCSessionDescription(**await hear()))
    await connection.setLocalDescription(await connection.createAnswer())
    await describe(connection)
    for line in await hear():
        candidate = candidate_from_sdp(line)
        candidate.sdpMLineIndex = 0
        await connection.addIceCandidate(candidate)
    await heard.wait()
    await anyio.sleep(1)  # for the answer to leave


async def main(*arguments: str) -> None:
    role, *account = arguments
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    with anyio.fail_after(30):
        if role == "offer":
            await offer(connection, *account)
        else:
            await answer(connection)
        await connection.close()


if __name__ == "__main__":
    anyio.run(main, *sys.argv[1:], backend="asyncio")
