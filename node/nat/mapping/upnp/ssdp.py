"""SSDP: where the router describes itself (UPnP Device Architecture 1.1, section 1.3).

Only what the default gateway itself answers counts, and only a description on that host: anybody
in the network may answer, and so could anybody outside who guesses our port.
"""

from typing import Final

import trio

from node.nat.mapping.router import MappingError
from node.nat.mapping.upnp.url import Location, locate_untrusted
from overlay.core.errors import RemoteProtocolError

GROUP: Final = ("239.255.255.250", 1900)

_TARGETS: Final = tuple(
    f"urn:schemas-upnp-org:device:InternetGatewayDevice:{version}" for version in (1, 2)
)
_ROUNDS: Final = 2  # datagrams get lost
_WAIT: Final = 1.25  # seconds for an answer: those of MX, and a network
_MAX_DATAGRAMS: Final = 100  # that are looked at in a round
_BUFFER: Final = 2048


def search_message(target: str) -> bytes:
    """Ask for devices of a type; they answer within a second (section 1.3.2)."""
    host, port = GROUP
    lines = (
        "M-SEARCH * HTTP/1.1",
        f"HOST: {host}:{port}",
        'MAN: "ssdp:discover"',
        "MX: 1",
        f"ST: {target}",
    )
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


def parse_answer_untrusted(data: bytes, host: str) -> Location:
    """Read where a gateway describes itself (section 1.3.3).

    Args:
        data: The datagram.
        host: Who sent it.

    Raises:
        RemoteProtocolError: It is no answer of a gateway, or the description is elsewhere.
    """
    status, *lines = data.decode("latin-1").split("\r\n")
    if not status.startswith("HTTP/1.") or status.split()[1:2] != ["200"]:
        raise RemoteProtocolError("no answer of SSDP")
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip().lower()] = value.strip()
    if headers.get("st") not in _TARGETS:
        raise RemoteProtocolError("an answer of something that is no gateway")
    return locate_untrusted(headers.get("location", ""), host)


async def find_location(host: str, own_host: str) -> Location:
    """Find where the gateway describes itself, for at most 2.5 s.

    Args:
        host: The gateway.
        own_host: Our address toward it.

    Raises:
        MappingError: It does not answer.
    """
    garbage = ""
    with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as sock:
        try:
            await sock.bind((own_host, 0))
            for _ in range(_ROUNDS):
                for target in _TARGETS:
                    await sock.sendto(search_message(target), GROUP)
                with trio.move_on_after(_WAIT):
                    for _ in range(_MAX_DATAGRAMS):
                        data, source = await sock.recvfrom(_BUFFER)
                        if source[0] != host:
                            continue
                        try:
                            return parse_answer_untrusted(data, host)
                        except RemoteProtocolError as error:
                            garbage = f" (it sent {error})"
        except OSError as error:
            raise MappingError(f"no answer: {error.strerror}") from error
    raise MappingError(f"no answer{garbage}")
