"""NAT-PMP (RFC 6886): the messages, and a router that speaks it."""

import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import trio

from node.nat.mapping.epoch import Epoch
from node.nat.mapping.router import (
    LEASE,
    NO_HOST,
    Mapping,
    MappingError,
    MappingLostError,
    NoAddressError,
    PortTakenError,
)
from node.nat.mapping.udp import FIRST_WAITS, WAITS, exchange
from overlay.core.errors import RemoteProtocolError

_VERSION: Final = 0
_ADDRESS: Final = 0  # opcodes
_MAP_UDP: Final = 1
_RESPONSE: Final = 128

_HEADER: Final = struct.Struct("!BBHI")  # version, opcode, result, epoch
_MAP: Final = struct.Struct("!BBHHHI")  # …, reserved, internal port, external port, lifetime
_MAPPED: Final = struct.Struct("!HHI")  # internal port, external port, lifetime

# Section 3.5.
_NETWORK_FAILURE: Final = 3
_RESULTS: Final = {
    1: "it speaks another version",
    2: "it is not allowed",
    4: "it has no room for more mappings",
    5: "it cannot do that",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """A response.

    Attributes:
        opcode: Of the request.
        result: 0 for success.
        epoch: Seconds since the router lost its state.
        host: The external address, if that was asked.
        internal: Our port, if a mapping was asked.
        external: The router's port.
        lifetime: Seconds.
    """

    opcode: int
    result: int
    epoch: int
    host: str = ""
    internal: int = 0
    external: int = 0
    lifetime: int = 0


def address_request() -> bytes:
    """Ask for the external address (section 3.2)."""
    return bytes((_VERSION, _ADDRESS))


def map_request(port: int, lifetime: int) -> bytes:
    """Ask for a mapping of a UDP port to the same one outside; lifetime 0 ends it (section 3.3)."""
    return _MAP.pack(_VERSION, _MAP_UDP, 0, port, port if lifetime else 0, lifetime)


def parse_answer_untrusted(data: bytes) -> Answer:
    """Read a response (sections 3.2, 3.3 and 3.5).

    Raises:
        RemoteProtocolError: It is none.
    """
    if len(data) < _HEADER.size:
        raise RemoteProtocolError(f"{len(data)} bytes")
    version, opcode, result, epoch = _HEADER.unpack_from(data)
    opcode -= _RESPONSE
    if version != _VERSION or opcode not in (_ADDRESS, _MAP_UDP):
        raise RemoteProtocolError("no NAT-PMP response")
    body = data[_HEADER.size :]
    if result:
        return Answer(opcode, result, epoch)
    if opcode == _ADDRESS:
        if len(body) != 4:
            raise RemoteProtocolError("an address of the wrong length")
        return Answer(opcode, result, epoch, host=socket.inet_ntoa(body))
    if len(body) != _MAPPED.size:
        raise RemoteProtocolError("a mapping of the wrong length")
    internal, external, lifetime = _MAPPED.unpack(body)
    return Answer(opcode, result, epoch, "", internal, external, lifetime)


class NatPmpRouter:
    """A router that speaks NAT-PMP; see `Router`."""

    protocol = "NAT-PMP"

    def __init__(self, host: str) -> None:
        self.host = host
        self._epoch = Epoch()
        self._external = NO_HOST

    async def map(self, port: int) -> Mapping:
        """Open a port, or renew it."""
        answer = await self._ask(map_request(port, LEASE), _MAP_UDP, port)
        if answer.external != port:
            await self.unmap(port)
            raise PortTakenError(f"it gives port {answer.external} instead of {port}")
        return Mapping((self._external, port), answer.lifetime)

    async def unmap(self, port: int) -> None:
        """Close a port (section 3.4)."""
        await self._ask(map_request(port, 0), _MAP_UDP, port)

    async def check(self, port: int) -> str:
        """Return the external address; the epoch tells whether mappings are lost (section 3.6)."""
        await self.probe(WAITS)
        return self._external

    async def probe(self, waits: Sequence[float] = FIRST_WAITS) -> None:
        """Ask for the external address, which every router that speaks NAT-PMP knows.

        Args:
            waits: See `exchange`.

        Raises:
            MappingLostError: The router has forgotten the mappings.
            MappingError: It has no such address, or does not answer.
        """
        answer = await self._ask(address_request(), _ADDRESS, waits=waits)
        self._external = answer.host
        if not self._epoch.is_kept(answer.epoch, trio.current_time()):
            raise MappingLostError("it has started anew")
        if answer.host == NO_HOST:
            raise NoAddressError

    async def _ask(
        self, request: bytes, opcode: int, port: int = 0, waits: Sequence[float] = WAITS
    ) -> Answer:
        def parse(data: bytes) -> Answer | None:
            answer = parse_answer_untrusted(data)
            is_ours = answer.opcode == opcode and (answer.result or answer.internal == port)
            return answer if is_ours else None

        answer = await exchange(self.host, lambda _: request, parse, waits)
        if answer.result == _NETWORK_FAILURE:
            raise NoAddressError
        if answer.result:
            raise MappingError(_RESULTS.get(answer.result, f"result {answer.result}"))
        return answer


async def find_natpmp(host: str) -> NatPmpRouter:
    """Find out whether a router speaks NAT-PMP.

    Raises:
        MappingError: It does not.
    """
    router = NatPmpRouter(host)
    await router.probe()
    return router
