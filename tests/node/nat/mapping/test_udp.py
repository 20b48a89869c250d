"""The exchange of datagrams, with a router on loopback."""

from collections.abc import AsyncIterator

import pytest
import trio

from node.nat.mapping import udp
from node.nat.mapping.router import MappingError
from overlay.core.errors import RemoteProtocolError

HOST = "127.0.0.1"


@pytest.fixture
async def router(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[trio.socket.SocketType]:
    with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as sock:
        await sock.bind((HOST, 0))
        monkeypatch.setattr(udp, "PORT", sock.getsockname()[1])
        yield sock


def parse(data: bytes) -> bytes | None:
    if data == b"garbage":
        raise RemoteProtocolError("nonsense")
    return data if data == b"answer" else None


async def test_it_asks_again_and_waits_for_the_answer_to_this_request(
    router: trio.socket.SocketType, nursery: trio.Nursery
) -> None:
    async def serve() -> None:
        await router.recvfrom(100)  # lost
        request, source = await router.recvfrom(100)
        assert request == b"127.0.0.1?"
        for data in (b"garbage", b"answer to another", b"answer"):
            await router.sendto(data, source)

    nursery.start_soon(serve)
    with trio.fail_after(5):
        reply = await udp.exchange(HOST, lambda own: f"{own}?".encode(), parse, (0.05, 5.0))
    assert reply == b"answer"


async def test_a_stranger_is_not_heard(
    router: trio.socket.SocketType, nursery: trio.Nursery
) -> None:
    async def serve() -> None:
        _, source = await router.recvfrom(100)
        with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as stranger:
            await stranger.sendto(b"answer", source)

    nursery.start_soon(serve)
    with pytest.raises(MappingError, match=r"^no answer$"):
        await udp.exchange(HOST, lambda _: b"?", parse, (0.2,))


async def test_garbage_alone_is_named(
    router: trio.socket.SocketType, nursery: trio.Nursery
) -> None:
    async def serve() -> None:
        _, source = await router.recvfrom(100)
        await router.sendto(b"garbage", source)

    nursery.start_soon(serve)
    with pytest.raises(MappingError, match="nonsense"):
        await udp.exchange(HOST, lambda _: b"?", parse, (0.2,))


async def test_a_closed_port_is_known_at_once(router: trio.socket.SocketType) -> None:
    router.close()
    with trio.fail_after(2), pytest.raises(MappingError, match="refused"):
        await udp.exchange(HOST, lambda _: b"?", parse, (60.0,))
