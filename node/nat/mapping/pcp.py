"""PCP (RFC 6887): the messages of its MAP opcode, and a router that speaks it."""

import hashlib
import ipaddress
import struct
from collections.abc import Callable, Sequence
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
from overlay.core.addresses import Address, normalise
from overlay.core.errors import RemoteProtocolError

NONCE_LENGTH: Final = 12

_VERSION: Final = 2
_ANNOUNCE: Final = 0  # opcodes
_MAP: Final = 1
_RESPONSE: Final = 128
_UDP: Final = 17

_REQUEST: Final = struct.Struct("!BBHI16s")  # version, opcode, reserved, lifetime, our address
_HEADER: Final = struct.Struct("!BBBBII12x")  # version, opcode, reserved, result, lifetime, epoch
# Nonce, protocol, reserved, internal port, external port, external address (section 11.1).
_MAP_DATA: Final = struct.Struct("!12sB3xHH16s")

_MAX_LENGTH: Final = 1100  # section 7

# Section 7.4.
_NETWORK_FAILURE: Final = 7
_CANNOT_PROVIDE_EXTERNAL: Final = 11
_RESULTS: Final = {
    1: "it speaks another version",
    2: "it is not allowed",
    4: "it cannot do that",
    8: "it has no room for more mappings",
    9: "it does not map UDP",
    10: "this machine has as many mappings as it may have",
    12: "there is another NAT between this machine and it",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """A response.

    Attributes:
        opcode: Of the request.
        result: 0 for success.
        lifetime: Of the mapping or of the error, seconds.
        epoch: Seconds since the router lost its state.
        nonce: Of the request for a mapping.
        internal: Our port.
        external: The router's address and port.
    """

    opcode: int
    result: int
    lifetime: int
    epoch: int
    nonce: bytes = b""
    internal: int = 0
    external: Address = ("", 0)


def announce_request(own_host: str) -> bytes:
    """Ask whether PCP is spoken (section 14.1).

    Args:
        own_host: Our IPv4 address.
    """
    return _REQUEST.pack(_VERSION, _ANNOUNCE, 0, 0, _pack_host(own_host))


def map_request(own_host: str, nonce: bytes, port: int, lifetime: int) -> bytes:
    """Ask for a mapping of a UDP port to the same one outside; lifetime 0 ends it (section 11).

    Args:
        own_host: Our IPv4 address.
        nonce: Twelve bytes, the same each time for this port.
        port: UDP port.
        lifetime: Seconds.
    """
    return _REQUEST.pack(_VERSION, _MAP, 0, lifetime, _pack_host(own_host)) + _MAP_DATA.pack(
        nonce, _UDP, port, port if lifetime else 0, _pack_host(NO_HOST)
    )


def parse_answer_untrusted(data: bytes) -> Answer:
    """Read a response (sections 7.2 and 11.1).

    Raises:
        RemoteProtocolError: It is none.
    """
    if not 4 <= len(data) <= _MAX_LENGTH:
        raise RemoteProtocolError(f"{len(data)} bytes")
    if data[0] != _VERSION:
        # A router that speaks NAT-PMP alone says so in its own format (RFC 6887 appendix A).
        return Answer(data[1] & ~_RESPONSE, 1, 0, 0)
    if len(data) < _HEADER.size or len(data) % 4:
        raise RemoteProtocolError(f"{len(data)} bytes")
    _, opcode, _, result, lifetime, epoch = _HEADER.unpack_from(data)
    opcode -= _RESPONSE
    if opcode not in (_ANNOUNCE, _MAP):
        raise RemoteProtocolError("no PCP response")
    if opcode == _ANNOUNCE or (result and len(data) < _HEADER.size + _MAP_DATA.size):
        return Answer(opcode, result, lifetime, epoch)
    try:
        nonce, protocol, internal, port, host = _MAP_DATA.unpack_from(data, _HEADER.size)
    except struct.error:
        raise RemoteProtocolError("a mapping of the wrong length") from None
    if protocol != _UDP:
        raise RemoteProtocolError("a mapping that is not of UDP")
    external = normalise(str(ipaddress.IPv6Address(host)), port)
    return Answer(opcode, result, lifetime, epoch, nonce, internal, external)


def _pack_host(host: str) -> bytes:
    """IPv4 addresses are written as IPv4-mapped ones (section 5)."""
    return ipaddress.IPv6Address(f"::ffff:{host}").packed


class PcpRouter:
    """A router that speaks PCP; see `Router`.

    Args:
        host: Its address.
        secret: Makes the nonces. Whoever comes back with the same after a crash may renew what
            he had; with another nonce the router would refuse until that has expired.
    """

    protocol = "PCP"

    def __init__(self, host: str, secret: bytes) -> None:
        self.host = host
        self._secret = secret
        self._epoch = Epoch()

    async def map(self, port: int) -> Mapping:
        """Open a port, or renew it."""
        answer = await self._map(port, LEASE)
        if answer.external[1] != port:
            await self.unmap(port)
            raise PortTakenError(f"it gives port {answer.external[1]} instead of {port}")
        return Mapping(answer.external, answer.lifetime)

    async def unmap(self, port: int) -> None:
        """Close a port (section 15)."""
        await self._map(port, 0)

    async def check(self, port: int) -> str:
        """Renew the mapping, which tells the external address and the epoch (section 8.5)."""
        answer = await self._map(port, LEASE)
        self._note(answer)
        if answer.external[1] != port:
            raise MappingLostError("it has given the port to somebody else")
        return answer.external[0]

    async def probe(self) -> None:
        """Make sure that PCP is spoken.

        Raises:
            MappingError: It is not.
        """
        self._note(await self._ask(_ANNOUNCE, announce_request, waits=FIRST_WAITS))

    def _note(self, answer: Answer) -> None:
        if not self._epoch.is_kept(answer.epoch, trio.current_time()):
            raise MappingLostError("it has started anew")

    async def _map(self, port: int, lifetime: int) -> Answer:
        nonce = hashlib.sha256(self._secret + port.to_bytes(2)).digest()[:NONCE_LENGTH]

        def compose(own_host: str) -> bytes:
            return map_request(own_host, nonce, port, lifetime)

        return await self._ask(_MAP, compose, nonce, port)

    async def _ask(
        self,
        opcode: int,
        compose: Callable[[str], bytes],
        nonce: bytes = b"",
        port: int = 0,
        waits: Sequence[float] = WAITS,
    ) -> Answer:
        def parse(data: bytes) -> Answer | None:
            answer = parse_answer_untrusted(data)
            is_ours = answer.nonce == nonce and answer.internal == port
            return answer if answer.opcode == opcode and (answer.result or is_ours) else None

        answer = await exchange(self.host, compose, parse, waits)
        if answer.result == _CANNOT_PROVIDE_EXTERNAL:
            raise PortTakenError(f"UDP port {port} is not to be had")
        if answer.result == _NETWORK_FAILURE:
            raise NoAddressError
        if answer.result:
            raise MappingError(_RESULTS.get(answer.result, f"result {answer.result}"))
        return answer


async def find_pcp(host: str, secret: bytes) -> PcpRouter:
    """Find out whether a router speaks PCP.

    Raises:
        MappingError: It does not.
    """
    router = PcpRouter(host, secret)
    await router.probe()
    return router
