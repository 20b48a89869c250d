"""HTTP with a router in memory, and once with one on loopback."""

from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, memory_stream_pair

from node.nat.mapping.router import MappingError
from node.nat.mapping.upnp.http import MAX_BODY, TIMEOUT, Response, fetch
from node.nat.mapping.upnp.url import Location
from overlay.nursery import lone_errors

LOCATION = Location("127.0.0.1", 80, "/desc.xml")
Serve = Callable[[trio.abc.Stream], Awaitable[None]]


async def answered(serve: Serve, monkeypatch: pytest.MonkeyPatch, body: bytes = b"") -> Response:
    """What comes of a request to a router that does as `serve` says."""
    ours, theirs = memory_stream_pair()

    async def connect(host: str, port: int) -> trio.abc.Stream:
        return ours

    monkeypatch.setattr("trio.open_tcp_stream", connect)
    with lone_errors():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, theirs)
            response = await fetch(LOCATION, {"SOAPAction": '"x"'} if body else {}, body)
            nursery.cancel_scope.cancel()
    return response


def sends(*chunks: bytes) -> Serve:
    async def serve(stream: trio.abc.Stream) -> None:
        with suppress(trio.BrokenResourceError):
            await stream.receive_some()  # the request, or some of it
            for chunk in chunks:
                await stream.send_all(chunk)
        await stream.aclose()

    return serve


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n<a/>",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n<a/>\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n<a/>",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\nContent-Length: 4\n\n<a/>more",
    ],
)
async def test_answers_of_all_kinds(answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    for chunks in ([answer], [answer[n : n + 1] for n in range(len(answer))]):
        assert await answered(sends(*chunks), monkeypatch) == Response(200, b"<a/>")


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([], "not HTTP"),
        ([b"SSH-2.0-dropbear\r\n\r\n"], "not HTTP"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n<a/>"], "not HTTP"),
        ([b"HTTP/1.1 200 OK\r\n", *[b"X: y\r\n"] * 9999], "not HTTP"),
        ([b"HTTP/1.1 200 OK\r\n\r\n", *[bytes(1 << 14)] * 9], f"more than {MAX_BODY} bytes"),
    ],
)
async def test_what_cannot_be_used_is_told(
    chunks: list[bytes], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MappingError, match=expected) as raised:
        await answered(sends(*chunks), monkeypatch)
    assert "\n" not in str(raised.value)


async def test_a_redirect_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = b"HTTP/1.1 302 Found\r\nLocation: http://198.51.100.7/\r\nContent-Length: 0\r\n\r\n"
    assert await answered(sends(answer), monkeypatch) == Response(302, b"")


async def test_one_that_drips_has_an_end(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def drip(stream: trio.abc.Stream) -> None:
        await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
        with suppress(trio.BrokenResourceError):
            while True:
                await stream.send_all(b" ")
                await trio.sleep(1)

    started = trio.current_time()
    with pytest.raises(MappingError, match="no answer over HTTP within 4 s"):
        await answered(drip, monkeypatch)
    assert trio.current_time() - started == pytest.approx(TIMEOUT)


@settings(max_examples=50)
@given(data=st.binary(max_size=200), kept=st.integers(0, 60))
def test_garbage(data: bytes, kept: int) -> None:
    valid = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n<a/>\r\n0\r\n\r\n"

    async def main() -> None:
        with pytest.MonkeyPatch.context() as monkeypatch, suppress(MappingError):
            await answered(sends(valid[:kept] + data), monkeypatch)

    trio.run(main)


async def test_over_real_sockets(nursery: trio.Nursery) -> None:
    requests = []

    async def serve(stream: trio.SocketStream) -> None:
        request = b""
        while not request.endswith(b"<body/>"):
            request += await stream.receive_some()
        requests.append(request)
        await stream.send_all(b"HTTP/1.1 500 Oh\r\nContent-Length: 4\r\n\r\n<a/>")
        await stream.aclose()

    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    async with listener:
        location = Location("127.0.0.1", port, "/ctl")
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        response = await fetch(location, {"SOAPAction": '"x"'}, b"<body/>")
        assert response == Response(500, b"<a/>")
        [request] = requests
        assert request.startswith(b"POST /ctl HTTP/1.1\r\n")
        assert f"127.0.0.1:{port}\r\n".encode() in request
        nursery.cancel_scope.cancel()
    with pytest.raises(MappingError, match="takes no connection"):
        await fetch(location)
