"""The page on a real socket: what it serves, and what it does to those who keep it waiting."""

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit

import pytest
import trio

from node.status import server
from node.status.server import MAX_CONNECTIONS, MAX_HEAD, open_status_page
from tests.node.status.snapshots import BUSY

PATIENCE = 5.0
"""Seconds until a test gives up."""

REQUEST = b"GET /status.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async with open_status_page(("127.0.0.1", 0), lambda: BUSY) as url:
        assert url is not None
        yield urlsplit(url).port or pytest.fail("it names no port")


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[trio.SocketStream]:
    with trio.fail_after(PATIENCE):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            yield stream


async def all_of(stream: trio.SocketStream) -> bytes:
    """What comes until the other end closes."""
    received = b""
    try:
        async for data in stream:
            received += data
    except trio.BrokenResourceError:
        pass  # it was closed before it had read all
    return received


async def answer_to(port: int, request: bytes) -> bytes:
    async with connected(port) as stream:
        await stream.send_all(request)
        return await all_of(stream)


async def test_it_serves_one_request_after_another(port: int) -> None:
    async with connected(port) as stream:
        for _ in range(3):
            await stream.send_all(REQUEST)
            answer = b""
            while not answer.endswith(b"}"):
                answer += await stream.receive_some()
            assert answer.startswith(b"HTTP/1.1 200")
            assert b"\r\nserver:" not in answer


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),  # without Host
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: 127.0.0.1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: rebound.example\r\nConnection: close\r\n\r\n", b"421"),
        (b"POST / HTTP/1.1\r\nHost: ::1\r\nContent-Length: 9999999999\r\n\r\n", b"421"),
        (b"GET /../status.py HTTP/1.1\r\nHost: [::1]\r\nConnection: close\r\n\r\n", b"404"),
        (b"GET /%2e%2e/%00 HTTP/1.1\r\nHost: [::1]\r\nConnection: close\r\n\r\n", b"404"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 2 * MAX_HEAD + b"\r\n\r\n", b"431"),
        (b"GET /" + b"x" * 2 * MAX_HEAD, b"431"),
    ],
)
async def test_bad_requests_are_answered_and_closed(
    port: int, request_: bytes, status: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "RECEIVE_TIME", 0.3)
    assert (await answer_to(port, request_)).startswith(b"HTTP/1.1 " + status)


async def test_a_websocket_is_refused(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "RECEIVE_TIME", 0.3)
    upgrade = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    request = b"GET /status.json HTTP/1.1\r\nHost: rebound.example\r\n" + upgrade + key
    assert (await answer_to(port, request)).startswith(b"HTTP/1.1 403")


async def test_who_says_nothing_is_cut_off(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "RECEIVE_TIME", 0.1)
    assert (await answer_to(port, b"GET / HTT")).startswith(b"HTTP/1.1 400")


async def test_who_speaks_slowly_is_cut_off(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_AGE", 0.3)
    with pytest.raises(trio.BrokenResourceError):
        async with connected(port) as stream:
            for byte in REQUEST * 1000:
                await stream.send_all(bytes([byte]))
                await trio.sleep(0.02)


async def test_viewers_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "KEEP_ALIVE", 0.5)
    async with open_status_page(("127.0.0.1", 0), lambda: BUSY) as url:
        port = urlsplit(url).port or 0
        async with AsyncExitStack() as stack:
            for _ in range(MAX_CONNECTIONS):
                stream = await stack.enter_async_context(connected(port))
                await stream.send_all(REQUEST[:-2])
            assert await first_answer(port) == b""
        with trio.fail_after(PATIENCE):
            while not await first_answer(port):
                pass


async def first_answer(port: int) -> bytes:
    async with connected(port) as stream:
        try:
            await stream.send_all(REQUEST)
            return await stream.receive_some()
        except trio.BrokenResourceError:
            return b""


async def ask_without_reading(stream: trio.SocketStream) -> None:
    """Until nothing more is taken."""
    stuck = False
    while not stuck:
        with trio.move_on_after(0.3) as sending:
            await stream.send_all(REQUEST * 100)
        stuck = sending.cancelled_caught


async def test_who_does_not_read_keeps_nobody_from_leaving() -> None:
    with trio.fail_after(3 * PATIENCE):
        async with open_status_page(("127.0.0.1", 0), lambda: BUSY) as url:
            stream = await trio.open_tcp_stream("127.0.0.1", urlsplit(url).port or 0)
            await ask_without_reading(stream)
            began = trio.current_time()
        assert trio.current_time() - began < server.SEND_TIME / 2
        await stream.aclose()


async def test_who_does_not_read_is_cut_off(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "SEND_TIME", 0.2)
    async with connected(port) as stream:
        with pytest.raises(trio.BrokenResourceError):
            while True:
                await stream.send_all(REQUEST * 100)


async def test_a_port_in_use_costs_the_page_only(
    port: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_status_page(("127.0.0.1", port), lambda: BUSY) as url:
        assert url is None
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        f"there is no status page at port {port}: Address already in use; "
        "pass another --status-address, or off"
    )


async def test_no_page_is_no_page() -> None:
    async with open_status_page(None, lambda: BUSY) as url:
        assert url is None


async def test_ipv6() -> None:
    async with open_status_page(("::1", 0), lambda: BUSY) as url:
        assert url is not None
        assert url.startswith("http://[::1]:")


async def test_a_defect_ends_one_answer_and_not_the_node(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    async with open_status_page(("127.0.0.1", 0), fail) as url:  # type: ignore[arg-type]
        port = urlsplit(url).port or 0
        assert (await first_answer(port)).startswith(b"HTTP/1.1 500")
        page = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        assert (await answer_to(port, page)).startswith(b"HTTP/1.1 200")
    assert "ZeroDivisionError" in caplog.text
