"""Bootstrap addresses: checked at the start, resolved for as long as it takes."""

import ipaddress
import socket
from typing import Final

import trio

from overlay.core.addresses import Address, normalise
from overlay.errors import OverlayError
from overlay.troubles import Troubles

_MAX_ADDRESSES: Final = 4  # of one DNS name
_RESOLVE_TIMEOUT: Final = 10.0  # seconds
_FIRST_RETRY: Final = 2.0
_LAST_RETRY: Final = 60.0


def check_bootstrap(bootstrap: tuple[tuple[str, int], ...]) -> None:
    """Refuse what can never work.

    Raises:
        OverlayError: A host is empty or a port out of range.
    """
    for host, port in bootstrap:
        if not host or not 0 < port < 65_536:
            raise OverlayError(
                f"bootstrap address {host!r} port {port} is impossible; "
                "give host:port with a port from 1 to 65535"
            )


async def resolve(host: str, port: int, troubles: Troubles) -> list[Address]:
    """Return the addresses of a bootstrap peer; a name that fails is tried again and again.

    Args:
        host: IP address or DNS name.
        port: UDP port.
        troubles: Where to tell that it fails.
    """
    try:
        return [normalise(str(ipaddress.ip_address(host)), port)]
    except ValueError:
        pass  # a name, then
    subject = f"bootstrap peer {host}"
    retry = _FIRST_RETRY
    while True:
        reason = f"no answer within {_RESOLVE_TIMEOUT:.0f} s"
        with trio.move_on_after(_RESOLVE_TIMEOUT):
            try:
                found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
                troubles.end(subject)
                addresses = [normalise(str(item[4][0]), port) for item in found]
                return list(dict.fromkeys(addresses))[:_MAX_ADDRESSES]
            except OSError as error:
                reason = error.strerror or str(error)
            except UnicodeError as error:
                reason = str(error)
        what = f"cannot resolve {subject} ({reason})"
        troubles.begin(subject, what, f"trying again in {retry:.0f} s")
        await trio.sleep(retry)
        retry = min(_LAST_RETRY, 2 * retry)
