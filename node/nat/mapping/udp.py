"""A request to the router's port 5351, which PCP and NAT-PMP share (RFC 6887 section 19)."""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import trio

from node.nat.mapping.router import MappingError
from overlay.core.errors import RemoteProtocolError

PORT: Final = 5351

# RFC 6886 section 3.1 begins with a quarter of a second, too, but would go on for a minute.
# RFC 6887 section 8.1.1 begins with three seconds: a volunteer waits, and the router is near.
FIRST_WAITS: Final = (0.25, 0.5, 1.0)  # seconds
# A router that has answered once is there, and may be slow: each request again is more work for it.
WAITS: Final = (1.0, 2.0)

_BUFFER: Final = 1101  # RFC 6887 section 7: a message has at most 1100 bytes

_Reply = TypeVar("_Reply")


async def exchange(
    host: str,
    compose: Callable[[str], bytes],
    parse: Callable[[bytes], _Reply | None],
    waits: Sequence[float] = WAITS,
) -> _Reply:
    """Ask the router until it answers.

    Args:
        host: The router.
        compose: Makes the request, from the address that we have toward the router.
        parse: Reads a datagram of the router; None or `RemoteProtocolError` if it is no answer.
        waits: Seconds to wait for an answer, each time that it is asked.

    Raises:
        MappingError: No answer.
    """
    garbage = ""
    with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as sock:
        try:
            # Connected: others' datagrams do not come in, and a closed port is known at once.
            await sock.connect((host, PORT))
            request = compose(sock.getsockname()[0])
            for wait in waits:
                await sock.send(request)
                with trio.move_on_after(wait):
                    while True:
                        try:
                            reply = parse(await sock.recv(_BUFFER))
                        except RemoteProtocolError as error:
                            garbage = f" (it sent {error})"
                            continue
                        if reply is not None:
                            return reply
        except OSError as error:
            raise MappingError(f"no answer: {error.strerror}") from error
    raise MappingError(f"no answer{garbage}")
