"""Serves the status page with Hypercorn, within bounds: few viewers, and none may keep us waiting.

Hypercorn's own `serve` takes any number of connections and sends shielded from cancellation for as
long as the other end takes, so it could keep a node from ending; here each stream has deadlines.
"""

import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from starlette.applications import Starlette

from node.status.app import make_app
from node.status.status import Status
from overlay.nursery import open_background_nursery

MAX_CONNECTIONS = 16
"""Viewers at one time; a browser opens up to six. The least number of files that a node runs with
has room for them, since the channels' sockets are the forwarder's."""

SEND_TIME = 5.0
"""Seconds that a viewer has to take an answer."""

RECEIVE_TIME = 10.0
"""Seconds of silence after which a viewer is gone."""

MAX_AGE = 300.0
"""Seconds after which a connection ends whatever it does; a browser opens another one."""

KEEP_ALIVE = 3.0
"""Seconds that a connection is kept for the next request, and that one which has ended is counted;
the page asks once a second."""

MAX_HEAD = 8192
"""Bytes of a request's line and headers, give or take half of it."""

_log = logging.getLogger(__name__)


class _BoundedStream:
    """A stream whose sending and receiving end in time, also where cancellation does not reach."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self.socket = stream.socket

    async def send_all(self, data: bytes) -> None:
        with trio.move_on_after(SEND_TIME) as sending:
            await self._stream.send_all(data)
        if sending.cancelled_caught:
            self.socket.close()
            raise trio.BrokenResourceError("nobody reads")

    async def receive_some(self, size: int) -> bytes | bytearray:
        with trio.move_on_after(RECEIVE_TIME):
            return await self._stream.receive_some(min(size, MAX_HEAD // 2))
        return b""

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Viewers:
    """Those who are connected."""

    def __init__(self, app: Starlette) -> None:
        self._app = ASGIWrapper(app)  # type: ignore[arg-type]  # their types of the same
        self._config = Config()
        self._config.accesslog = None
        self._config.errorlog = logging.getLogger("hypercorn.error")
        self._config.keep_alive_timeout = KEEP_ALIVE
        self._config.h11_max_incomplete_size = MAX_HEAD
        self._config.h2_max_concurrent_streams = 8
        self._config.h2_max_header_list_size = MAX_HEAD
        self._config.include_server_header = False
        self._context = WorkerContext(None)
        self._streams: set[trio.SocketStream] = set()

    async def serve(self, stream: trio.SocketStream) -> None:
        """Answer one of them, unless they are too many."""
        if len(self._streams) >= MAX_CONNECTIONS:
            await trio.aclose_forcefully(stream)
            return
        self._streams.add(stream)
        try:
            with trio.move_on_after(MAX_AGE):
                await TCPServer(
                    self._app,
                    self._config,
                    self._context,
                    ConnectionState({}),
                    _BoundedStream(stream),  # type: ignore[arg-type]  # all of it that is used
                )
        except Exception:  # noqa: BLE001  # a fault in it must not end the node's calls
            _log.exception("the status page failed to answer")
        finally:
            self._streams.discard(stream)
            stream.socket.close()

    def close(self) -> None:
        """End all connections now."""
        for stream in self._streams:
            stream.socket.close()


@asynccontextmanager
async def open_status_page(
    endpoint: tuple[str, int] | None, snapshot: Callable[[], Status]
) -> AsyncIterator[str | None]:
    """Show a node's status during the block. If the address cannot be had, the node goes on.

    Args:
        endpoint: IP address and TCP port; None for no page.
        snapshot: gives the node as it is.

    Yields:
        The page's URL; None if there is none.
    """
    if endpoint is None:
        yield None
        return
    async with AsyncExitStack() as stack:
        try:
            url = await stack.enter_async_context(open_server(make_app(snapshot), *endpoint))
        except OSError as error:
            _log.warning(
                "there is no status page at port %d: %s; pass another --status-address, or off",
                endpoint[1],
                os.strerror(error.errno) if error.errno else error,
            )
            yield None
        else:
            yield url


@asynccontextmanager
async def open_server(app: Starlette, host: str, port: int) -> AsyncIterator[str]:
    """Serve an application during the block.

    Args:
        app: What answers.
        host: IP address to listen at.
        port: TCP port; 0 for any.

    Yields:
        The URL of its root.

    Raises:
        OSError: The address cannot be had.
    """
    [listener] = await trio.open_tcp_listeners(port, host=host, backlog=MAX_CONNECTIONS)
    viewers = _Viewers(app)
    async with listener, open_background_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, viewers.serve, [listener])
        try:
            bound = listener.socket.getsockname()[1]
            yield f"http://[{host}]:{bound}/" if ":" in host else f"http://{host}:{bound}/"
        finally:
            viewers.close()
