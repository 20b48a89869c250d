"""One end of an audio call over aiortc: Opus, DTLS-SRTP end to end. Runs in asyncio."""

from collections.abc import Sequence
from dataclasses import dataclass

import anyio
from aioice.candidate import Candidate
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection
from aiortc.exceptions import InvalidStateError
from aiortc.exceptions import OperationError as NothingInCommonError
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from aiortc.rtcicetransport import candidate_to_aioice
from av import AudioFrame, AudioResampler

from node.rtc.audio import RATE, Sink, Source
from node.rtc.ice_restart import MAX_CANDIDATES, IceRestart
from node.rtc.mover import Mover
from node.rtc.peer_connection import PeerConnection, wait_state
from node.rtc.sdp import IncompatibleError, candidate_of, content_of, description_of
from node.xmpp import Content, IceCandidate, IceTransport

CLOSE_TIMEOUT = 2.0
"""Seconds for closing a connection; DTLS says farewell first."""


@dataclass(frozen=True)
class MediaReport:
    """What has gone through a call, in packets (RFC 3550 section 6.4)."""

    sent: int
    received: int
    lost: int
    jitter_ms: float | None
    """Of what was received."""
    rtt_ms: float | None
    """As the other end's receiver reports have it; None if there was none yet."""


class Phone:
    """One end of one call.

    Args:
        source: What is said.
        sink: What becomes of what is heard.
        stun: A STUN server, host and port; None: no server-reflexive candidates.
    """

    def __init__(self, source: Source, sink: Sink, stun: tuple[str, int] | None) -> None:
        servers = [] if stun is None else [RTCIceServer(f"stun:{_host(stun[0])}:{stun[1]}")]
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=servers))
        self._agent = PeerConnection(self._connection)
        self._source = source
        self._sink = sink
        self._track: MediaStreamTrack | None = None
        self._has_track = anyio.Event()
        self._heard = anyio.Event()
        self._mover: Mover | None = None
        self._restart: IceRestart | None = None
        self._connection.on("track", self._note_track)
        self._connection.addTrack(source)

    async def offer(self) -> Content:
        """Offer a call."""
        await self._connection.setLocalDescription(await self._connection.createOffer())
        return content_of(self._connection.localDescription)

    async def take_offer(self, offer: Content) -> Content:
        """Take an offer, begin to check, and answer it.

        The answer comes when each pair has been checked once. So our NAT is open for the other
        end's first checks, and none of them is lost.

        Raises:
            IncompatibleError: It cannot be a call of ours.
        """
        await self._take(offer, offer=True)
        await self._connection.setLocalDescription(await self._connection.createAnswer())
        await anyio.sleep(await self._agent.checks_take())
        return content_of(self._connection.localDescription, offer.name)

    async def take_answer(self, answer: Content) -> None:
        """Take the answer to an offer.

        Raises:
            IncompatibleError: It cannot be a call of ours.
        """
        await self._take(answer, offer=False)

    async def _take(self, content: Content, *, offer: bool) -> None:
        description = description_of(content, offer=offer)
        try:
            await self._connection.setRemoteDescription(description)
        except (NothingInCommonError, InvalidStateError, ValueError) as error:
            raise IncompatibleError("incompatible-parameters", str(error)) from error

    async def add_candidates(self, candidates: Sequence[IceCandidate]) -> None:
        """Take candidates that the other end has found later: if there is a path, as a standby."""
        found = [candidate_of(candidate) for candidate in candidates]
        if self._mover is None:
            room = MAX_CANDIDATES - len(self._agent.ice().remote_candidates)
            for candidate in found[: max(0, room)]:
                await self._connection.addIceCandidate(candidate)
        elif self._restart is not None and not self._restart.done:
            for candidate in found:
                await self._restart.add(candidate_to_aioice(candidate))
        else:
            told = [candidate_to_aioice(candidate) for candidate in found]
            await self._mover.stand_by(told, lasting=True)

    async def wait_path(self) -> bool:
        """See relaying.Agent."""
        return await self._agent.wait_path()

    async def checks_take(self) -> float:
        """See relaying.Agent."""
        return await self._agent.checks_take()

    async def check(self, candidates: Sequence[Candidate]) -> None:
        """See relaying.Agent."""
        await self._agent.check(candidates)

    async def sends_to(self) -> tuple[str, int] | None:
        """See relaying.Agent."""
        return await self._agent.sends_to()

    async def keep_path(self) -> None:
        """Move to the standby when the path fails; to run beside everything else."""
        if await self.wait_path():
            self._mover = self._agent.mover()
            await self._mover.run()

    async def stand_by(self, candidates: Sequence[Candidate]) -> bool:
        """See standby.MovingAgent."""
        if self._mover is None or not await self._mover.stand_by(candidates):
            return False
        return await self._mover.wait_over(candidates)

    async def leave(self) -> None:
        """See standby.MovingAgent."""
        if self._mover is not None:
            self._mover.leave()

    async def drop_standby(self) -> None:
        """See standby.MovingAgent."""
        if self._mover is not None:
            self._mover.drop_standby()

    async def wait_failing(self, calm: float) -> None:
        """See standby.MovingAgent."""
        if self._mover is not None:
            await self._mover.wait_failing(calm)

    async def has_path(self) -> bool:
        """Whether there is a path that another one may take the place of."""
        return self._mover is not None

    async def begin_restart(self) -> tuple[str, str]:
        """Begin an ICE restart; the new ufrag and password. There must be a path."""
        await self.undo_restart()
        await self.drop_standby()
        self._restart = IceRestart(self._agent.ice())
        return self._restart.credentials

    async def check_restart(self, theirs: IceTransport, checked: Sequence[Candidate]) -> bool:
        """Look for a path when both have new credentials.

        Args:
            theirs: The other end's transport.
            checked: Addresses to check towards besides those that it has told.

        Returns:
            Whether there is one, and media takes it.
        """
        if self._restart is None or theirs.ufrag is None or theirs.pwd is None:
            return False
        told = [candidate_to_aioice(candidate_of(one)) for one in theirs.candidates]
        return await self._restart.check(theirs.ufrag, theirs.pwd, [*checked, *told])

    async def undo_restart(self) -> None:
        """Take the former credentials again if no path was looked for yet."""
        if self._restart is not None and not self._restart.checking:
            self._restart.undo()
            self._restart = None

    async def listen(self) -> None:
        """Pass on what is heard until the connection ends; to run beside everything else."""
        await self._has_track.wait()
        assert self._track is not None  # noqa: S101
        resampler = AudioResampler(format="s16", layout="mono", rate=RATE)
        while True:
            try:
                frame = await self._track.recv()
            except MediaStreamError:
                return
            self._heard.set()
            if isinstance(frame, AudioFrame):
                for mono in resampler.resample(frame):
                    await self._sink.write(bytes(mono.planes[0])[: mono.samples * 2])

    async def wait_heard(self) -> None:
        """Wait until something is heard."""
        await self._heard.wait()

    async def wait_lost(self) -> None:
        """Wait until the connection is over: the other end is silent, or has closed it."""
        await wait_state(self._connection, "connectionState", "closed", "failed")

    async def report(self) -> MediaReport:
        """What has gone through so far."""
        stats = {entry.type: entry for entry in (await self._connection.getStats()).values()}
        inbound, outbound = stats.get("inbound-rtp"), stats.get("outbound-rtp")
        remote = stats.get("remote-inbound-rtp")
        rtt = remote.roundTripTime if remote else None
        return MediaReport(
            sent=outbound.packetsSent if outbound else 0,
            received=inbound.packetsReceived if inbound else 0,
            lost=inbound.packetsLost if inbound else 0,
            jitter_ms=round(inbound.jitter / RATE * 1000, 2) if inbound else None,
            rtt_ms=None if rtt is None else round(rtt * 1000, 2),
        )

    async def close(self) -> None:
        """End the connection."""
        with anyio.move_on_after(CLOSE_TIMEOUT, shield=True):
            await self._connection.close()
        self._source.stop()
        self._sink.close()

    def _note_track(self, track: MediaStreamTrack) -> None:
        if self._track is None:
            self._track = track
            self._has_track.set()


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address
