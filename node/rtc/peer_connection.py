"""aiortc's RTCPeerConnection as an agent that relays can be given to."""

from collections.abc import Sequence
from typing import Final

import anyio
from aioice.candidate import Candidate
from aioice.ice import Connection
from aiortc import RTCIceTransport, RTCPeerConnection, RTCSessionDescription
from aiortc.sdp import candidate_from_sdp

from node.rtc.mover import Mover

PACE: Final = 0.02
"""Seconds from one check to the next, as aioice paces them (Ta of RFC 8445 section 6.1.4.2)."""
MAX_CHECKS: Final = 25
"""Checks that are waited for; only hosts with many addresses have more."""


class PeerConnection:
    """The agent of a connection whose media, if there are several, are bundled.

    Args:
        connection: The connection, with a track or a data channel.
    """

    def __init__(self, connection: RTCPeerConnection) -> None:
        self._connection = connection

    async def wait_path(self) -> bool:
        """Wait until the checks are over; whether there is a path."""
        return await wait_state(
            self._connection, "iceConnectionState", "completed", "failed", "closed"
        )

    async def checks_take(self) -> float:
        """Seconds until each pair has been checked once: they are paced."""
        pairs = sum(
            (":" in local.ip) == (":" in remote.ip)
            for transport in self._transports()[:1]
            for local in transport.iceGatherer.getLocalCandidates()
            for remote in transport.getRemoteCandidates()
            if local.type == "host"
        )
        return min(MAX_CHECKS, pairs + 1) * PACE

    async def check(self, candidates: Sequence[Candidate]) -> None:
        """Check towards these addresses, too."""
        for candidate in candidates:
            of_aiortc = candidate_from_sdp(candidate.to_sdp())
            of_aiortc.sdpMLineIndex = 0
            await self._connection.addIceCandidate(of_aiortc)

    async def sends_to(self) -> tuple[str, int] | None:
        """The address that media is sent to, if there is a path."""
        for transport in self._transports():
            # There is no public way to ask for the pair that was selected.
            for pair in transport._connection._nominated.values():
                host, port = pair.remote_addr
                return str(host), int(port)
        return None

    def mover(self) -> Mover:
        """What moves its media to another path; there must be one."""
        return Mover(self.ice())

    def ice(self) -> Connection:
        """The agent within."""
        connection: Connection = self._transports()[0]._connection
        return connection

    def _transports(self) -> list[RTCIceTransport]:
        senders = [sender.transport for sender in self._connection.getSenders()]
        if self._connection.sctp is not None:
            senders.append(self._connection.sctp.transport)
        return [transport.transport for transport in senders if transport is not None]


def open_ended(description: RTCSessionDescription) -> RTCSessionDescription:
    """A description to which candidates may be added later (RFC 8838 section 8).

    aiortc tells all candidates at once, and that they are all; an agent that was told so takes no
    relay any more, and gives up when all checks have failed.
    """
    sdp = description.sdp.replace("a=end-of-candidates\r\n", "")
    return RTCSessionDescription(sdp=sdp, type=description.type)


async def wait_state(connection: RTCPeerConnection, kind: str, wanted: str, *others: str) -> bool:
    """Wait until a connection is in one of several states; whether it is in the one wanted.

    Args:
        connection: The connection.
        kind: iceConnectionState or connectionState.
        wanted: The state to wait for.
        *others: States in which that will not come any more.
    """
    changed = anyio.Event()

    def note() -> None:
        changed.set()

    connection.on(kind.lower() + "change", note)
    try:
        while (state := getattr(connection, kind)) not in (wanted, *others):
            await changed.wait()
            changed = anyio.Event()
    finally:
        # Closed connections have dropped their listeners.
        if note in connection.listeners(kind.lower() + "change"):
            connection.remove_listener(kind.lower() + "change", note)
    return bool(state == wanted)
