"""Moves a connection of aioice from one path to another, as Paths decides. Runs in asyncio.

aioice nominates whatever a check finds, and after the first such pair it checks no more. So the
pairs of a standby are kept out of its check list's way, probed from here, and nominated when the
call moves. Who controls tells the other end by USE-CANDIDATE (RFC 8445 section 8.1.1); an agent
that takes the latest nomination, as aioice does, moves at once.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, cast

import anyio
import anyio.abc
from aioice.candidate import Candidate
from aioice.ice import CandidatePair, Connection, StunProtocol
from aioice.stun import TransactionError

from node.rtc.paths import Path, Paths
from overlay.core.addresses import Address

TICK: Final = 0.02
"""Seconds from one decision to the next."""
MAX_STANDBYS: Final = 100
"""Candidates that are taken in one call; aioice never forgets one."""
_COMPONENT: Final = 1  # RTCP goes with RTP
_RTP_HEADER: Final = 12  # bytes


class Mover:
    """Keeps a connection that has a path on a path that works.

    Args:
        connection: Nominated.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._paths = Paths(_remote(connection._nominated[_COMPONENT]), anyio.current_time())
        self._pairs: dict[Address, CandidatePair] = {}
        self._taken = 0
        self._noted: tuple[Path, Path | None] = self._paths.current, None
        self._changed = anyio.Event()

    async def run(self) -> None:
        """Probe, and move, until cancelled."""
        taps = [
            _Tap(protocol, self._heard)
            for protocol in self._connection._protocols
            if isinstance(protocol, StunProtocol)
        ]
        for tap in taps:
            tap.install()
        try:
            async with anyio.create_task_group() as probes:
                while True:
                    if (pair := self._connection._nominated.get(_COMPONENT)) is not None:
                        self._pairs[_remote(pair)] = pair
                        self._paths.nominated(_remote(pair), anyio.current_time())
                        for address in self._paths.handle_timer(anyio.current_time()):
                            probes.start_soon(self._probe, self._pairs[address])
                        self._follow()
                    await anyio.sleep(TICK)
        finally:
            for tap in taps:
                tap.remove()

    async def stand_by(self, candidates: Sequence[Candidate], *, lasting: bool = False) -> bool:
        """Take the first of these candidates that can be used as the standby.

        Args:
            candidates: The other end's.
            lasting: See Paths.stand_by.

        Returns:
            Whether there is one.
        """
        current = self._connection._nominated.get(_COMPONENT)
        if current is None:
            return False
        self._paths.nominated(_remote(current), anyio.current_time())
        for candidate in candidates:
            if self._taken >= MAX_STANDBYS:
                return False
            self._taken += 1
            with suppress(ValueError):  # the other end has said that there are no more
                await self._connection.add_remote_candidate(candidate)
            pairs = [
                pair
                for pair in self._connection._check_list
                if _remote(pair) == (candidate.host, candidate.port)
            ]
            for pair in pairs:
                pair.state = CandidatePair.State.SUCCEEDED  # no check of aioice's own
            pairs.sort(key=lambda pair: pair.protocol is not current.protocol)
            if pairs:
                self._pairs = {_remote(current): current, _remote(pairs[0]): pairs[0]}
                now = anyio.current_time()
                self._paths.stand_by(_remote(pairs[0]), now, lasting=lasting)
                self._note_change()
                return True
        return False

    async def wait_over(self, candidates: Sequence[Candidate]) -> bool:
        """Wait until these are not the standby any more; whether they carry the call now."""
        addresses = {(candidate.host, candidate.port) for candidate in candidates}
        while self._paths.standby is not None and self._paths.standby.address in addresses:
            await self._changed.wait()
        return self._paths.current.address in addresses

    async def wait_failing(self, calm: float) -> None:
        """Wait until the path fails, and no standby has helped; see Paths.failing."""
        while not self._paths.failing(anyio.current_time(), calm):
            await anyio.sleep(TICK)

    def leave(self) -> None:
        """Move to the standby as soon as it works."""
        self._paths.leave(anyio.current_time())
        self._follow()

    def drop_standby(self) -> None:
        """Do without one."""
        self._paths.drop_standby()
        self._note_change()

    def _heard(self, address: Address, data: bytes) -> None:
        before, packet = self._paths.current, None
        if len(data) >= _RTP_HEADER and not 192 <= data[1] <= 223:  # RTCP (RFC 5761 section 4)
            packet = int.from_bytes(data[8:12]), int.from_bytes(data[2:4])
        self._paths.heard(address, anyio.current_time(), packet)
        if self._paths.current is not before:
            self._follow()

    def _follow(self) -> None:
        """Have aioice send where the call goes now."""
        pair = self._pairs[self._paths.current.address]
        if self._connection._nominated.get(_COMPONENT) not in (None, pair):
            self._connection._nominated[_COMPONENT] = pair
        self._note_change()

    def _note_change(self) -> None:
        state = self._paths.current, self._paths.standby
        if any(new is not old for new, old in zip(state, self._noted, strict=True)):
            self._noted = state
            self._changed.set()
            self._changed = anyio.Event()

    async def _probe(self, pair: CandidatePair) -> None:
        connection, asked_at = self._connection, anyio.current_time()
        nominate = connection.ice_controlling and connection._nominated.get(_COMPONENT) is pair
        request = connection.build_request(pair, nominate=nominate)
        key = (connection.remote_password or "").encode()
        with suppress(TransactionError):
            _, source = await pair.protocol.request(
                request, pair.remote_addr, integrity_key=key, retransmissions=1
            )
            if source == pair.remote_addr:
                self._paths.answered(_remote(pair), asked_at, anyio.current_time())


class _Tap:
    """An asyncio.DatagramProtocol before one of aioice's, which tells from where media comes."""

    def __init__(self, protocol: StunProtocol, heard: Callable[[Address, bytes], None]) -> None:
        self._protocol = protocol
        self._tell = heard

    def install(self) -> None:
        self._protocol.transport.set_protocol(cast(Any, self))

    def remove(self) -> None:
        if not self._protocol.transport.is_closing():
            self._protocol.transport.set_protocol(self._protocol)

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        if data and 128 <= data[0] <= 191:  # RTP or RTCP (RFC 7983 section 7)
            self._tell((addr[0], addr[1]), data)
        self._protocol.datagram_received(data, addr)

    def error_received(self, exc: Exception) -> None:
        self._protocol.error_received(exc)

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)


def _remote(pair: CandidatePair) -> Address:
    host, port = pair.remote_addr
    return str(host), int(port)
