"""One end of an audio call over aiortc: Opus, DTLS-SRTP end to end, ICE through a relay or not.

Run as `python -m simulations.lab.call --offer|--answer`. Lines of JSON on standard output and
input carry what a signalling channel would:

    out  {"description": {"type": ..., "sdp": ...}}
    in   {"description": {...}, "candidates": [{"ip": ..., "port": ..., "type": ...}]}
    out  {"connected": true or false, "seconds": ...}
    out  {"sent": ..., "received": ..., ...}     the report, if connected

`candidates` are added to the other end's own. A channel of a relay (XEP-0278) is used so: the
requester, which offers here, gets host:localport as a candidate to check towards, and the other
end gets host:remoteport as a candidate of type relay.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from array import array
from typing import Any

import aioice.ice
import anyio
import anyio.to_thread
from aiortc import (
    RTCConfiguration,
    RTCIceCandidate,
    RTCIceServer,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from aiortc.sdp import SessionDescription
from av import AudioFrame

from node.rtc.audio import RATE, Tone
from simulations.lab import tone

ANALYSED = 2 * RATE  # samples; the last two seconds of the call
LINGER = 2.0
"""Seconds that an end stays after its report, so that the other can finish its own."""

CLOSE_TIMEOUT = 2.0  # seconds


class Recorder:
    """Keeps the last seconds of what arrives.

    Attributes:
        samples: the left channel, at `RATE`.
    """

    def __init__(self) -> None:
        self.samples: array[int] = array("h")

    async def record(self, track: MediaStreamTrack) -> None:
        """Record until the track ends."""
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            if isinstance(frame, AudioFrame):
                channels = len(frame.layout.channels)
                data = bytes(frame.planes[0])[: frame.samples * channels * 2]
                self.samples.extend(array("h", data)[::channels])
                del self.samples[:-ANALYSED]


def remote_description(message: dict[str, Any], *, relay_only: bool) -> RTCSessionDescription:
    """Return the other end's description with the candidates that we know for it added."""
    description = message["description"]
    session = SessionDescription.parse(description["sdp"])
    extra = [
        RTCIceCandidate(
            component=1,
            foundation=f"channel{n}",
            ip=candidate["ip"],
            port=candidate["port"],
            # RFC 8445, section 5.1.2.2: a relay is the last resort.
            priority=(0 if candidate["type"] == "relay" else 126) << 24 | 0xFFFFFE - n << 8 | 255,
            protocol="udp",
            type=candidate["type"],
        )
        for n, candidate in enumerate(message.get("candidates", []))
    ]
    for media in session.media:
        media.ice_candidates = [*([] if relay_only else media.ice_candidates), *extra]
    return RTCSessionDescription(sdp=str(session), type=description["type"])


async def call(arguments: argparse.Namespace) -> None:
    """Hold one end of a call and report on it."""
    servers = [RTCIceServer(f"stun:{server}") for server in arguments.stun]
    connection = RTCPeerConnection(RTCConfiguration(iceServers=servers))
    recorder = Recorder()
    settled = anyio.Event()
    connection.addTrack(Tone(arguments.tone))

    async with anyio.create_task_group() as tasks:

        @connection.on("track")
        def on_track(track: MediaStreamTrack) -> None:
            tasks.start_soon(recorder.record, track)

        @connection.on("connectionstatechange")
        def on_state() -> None:
            if connection.connectionState in ("connected", "failed", "closed"):
                settled.set()

        await _negotiate(connection, arguments)
        started = anyio.current_time()
        with anyio.move_on_after(arguments.timeout):
            await settled.wait()
        connected = connection.connectionState == "connected"
        _say({"connected": connected, "seconds": round(anyio.current_time() - started, 3)})
        if connected:
            await anyio.sleep(arguments.seconds)
            _say(await _report(connection, recorder))
            await anyio.sleep(LINGER)
        with anyio.move_on_after(CLOSE_TIMEOUT):
            await connection.close()
        tasks.cancel_scope.cancel()


async def _negotiate(connection: RTCPeerConnection, arguments: argparse.Namespace) -> None:
    async def tell() -> None:
        local = connection.localDescription
        _say({"description": {"type": local.type, "sdp": local.sdp}})

    async def hear() -> None:
        line = await anyio.to_thread.run_sync(sys.stdin.readline)
        remote = remote_description(json.loads(line), relay_only=arguments.relay_only)
        await connection.setRemoteDescription(remote)

    if arguments.offer:
        await connection.setLocalDescription(await connection.createOffer())
        await tell()
        await hear()
    else:
        await hear()
        await connection.setLocalDescription(await connection.createAnswer())
        await tell()


async def _report(connection: RTCPeerConnection, recorder: Recorder) -> dict[str, object]:
    stats = {entry.type: entry for entry in (await connection.getStats()).values()}
    inbound, outbound = stats.get("inbound-rtp"), stats.get("outbound-rtp")
    remote = stats.get("remote-inbound-rtp")
    frequency, share = tone.dominant(recorder.samples)
    return {
        "sent": outbound.packetsSent if outbound else 0,
        "received": inbound.packetsReceived if inbound else 0,
        "lost": inbound.packetsLost if inbound else 0,
        "jitter_ms": round(inbound.jitter / RATE * 1000, 2) if inbound else None,
        # From the other end's RTCP receiver reports (RFC 3550, section 6.4.1).
        "rtt_ms": round(remote.roundTripTime * 1000, 2)
        if remote and remote.roundTripTime is not None
        else None,
        "tone_hz": frequency,
        "tone_share": round(share, 3),
    }


def _say(value: object) -> None:
    print(json.dumps(value), flush=True)


def main() -> None:
    """Parse the arguments and hold the call."""
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__.partition("\n")[0])
    role = parser.add_mutually_exclusive_group(required=True)
    role.add_argument("--offer", action="store_true")
    role.add_argument("--answer", action="store_true")
    parser.add_argument("--tone", type=int, default=440, help="Hz to send")
    parser.add_argument("--seconds", type=float, default=8.0, help="of talk")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds to connect")
    parser.add_argument("--stun", action="append", default=[], metavar="HOST:PORT")
    parser.add_argument(
        "--relay-only", action="store_true", help="use no candidate but those added"
    )
    parser.add_argument("--loopback", action="store_true", help="all is on this machine")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    if arguments.loopback:
        # aioice leaves the loopback address out, which is right everywhere else.
        aioice.ice.get_host_addresses = lambda **_: ["127.0.0.1"]
    anyio.run(call, arguments, backend="asyncio")


if __name__ == "__main__":
    main()
