"""HTTP/1.1 with a router: one request, and an answer of bounded size in bounded time.

Redirects are answers like others: nobody follows them.
"""

from dataclasses import dataclass
from typing import Final

import h11
import trio

from node.nat.mapping.router import MappingError
from node.nat.mapping.upnp.url import Location

TIMEOUT: Final = 4.0  # seconds for everything: some routers think for a second or two
MAX_BODY: Final = 1 << 17  # bytes; descriptions have 5 to 30 kB
_BUFFER: Final = 1 << 14


@dataclass(frozen=True, slots=True)
class Response:
    """An answer.

    Attributes:
        status: Its status code.
        body: Its content.
    """

    status: int
    body: bytes


async def fetch(
    location: Location, headers: dict[str, str] | None = None, body: bytes = b""
) -> Response:
    """GET a location, or POST to it if there is a body.

    Raises:
        MappingError: No answer, or none of HTTP, too large, or too slow.
    """
    lines = {
        "Host": f"{location.host}:{location.port}",
        "Connection": "close",
        "User-Agent": "Linux UPnP/1.1 jingle-nodes",
        **(headers or {}),
    }
    if body:
        lines["Content-Length"] = str(len(body))
    method = "POST" if body else "GET"
    request = h11.Request(method=method, target=location.path, headers=list(lines.items()))
    try:
        with trio.fail_after(TIMEOUT):
            stream = await trio.open_tcp_stream(location.host, location.port)
            async with stream:
                return await _exchange(stream, request, body)
    except trio.TooSlowError:
        raise MappingError(f"no answer over HTTP within {TIMEOUT:g} s") from None
    except OSError as error:
        raise MappingError("it takes no connection for HTTP") from error
    except trio.BrokenResourceError as error:
        raise MappingError("the connection for HTTP broke") from error
    except h11.RemoteProtocolError as error:
        raise MappingError(f"what it answers is not HTTP: {error}") from error


async def _exchange(stream: trio.abc.Stream, request: h11.Request, body: bytes) -> Response:
    connection = h11.Connection(h11.CLIENT)
    data = connection.send(request) or b""
    data += connection.send(h11.Data(data=body)) or b""
    await stream.send_all(data + (connection.send(h11.EndOfMessage()) or b""))
    status = 0
    content = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(bytes(await stream.receive_some(_BUFFER)))
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            content += event.data
            if len(content) > MAX_BODY:
                raise MappingError(f"it answers more than {MAX_BODY} bytes over HTTP")
        elif not isinstance(event, h11.InformationalResponse):
            return Response(status, bytes(content))
