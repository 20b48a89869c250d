"""A login that is cut off while TLS begins leaves no transport open, and nothing to wait for."""

import asyncio
import gc
import logging
import warnings
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from node.xmpp import Account, XmppError
from node.xmpp.connection import Connection

TLS = "xmlns='urn:ietf:params:xml:ns:xmpp-tls'"
OFFER = (
    "<stream:stream xmlns:stream='http://etherx.jabber.org/streams' xmlns='jabber:client' id='1' "
    f"version='1.0'><stream:features><starttls {TLS}/></stream:features>"
)
PROCEED = f"<proceed {TLS}/>"
HANDSHAKE = b"\x16\x03"
"""How the first record of TLS begins."""


class Login:
    """A login, and the other end of its stream."""

    def __init__(self, port: int) -> None:
        account = Account("romeo@xmpp.test", "secret", ("127.0.0.1", port), tls="unverified")
        self.connection = Connection(account)
        self.task = asyncio.create_task(self.connection.log_in(30))
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def until(self, sent: bytes) -> None:
        await self.reader.readuntil(sent)

    async def reach_handshake(self) -> None:
        self.writer.write(PROCEED.encode())
        await self.until(HANDSHAKE)


async def cancelled_when_tls_is_granted(login: Login) -> None:
    login.task.cancel()
    login.connection.client.data_received(PROCEED)


async def cancelled_in_the_handshake(login: Login) -> None:
    await login.reach_handshake()
    login.task.cancel()


async def aborted_in_the_handshake(login: Login) -> None:
    await login.reach_handshake()
    await login.connection.reconnect()
    login.task.cancel()


async def the_server_hangs_up(login: Login) -> None:
    await login.reach_handshake()
    login.writer.close()


async def the_server_speaks_no_tls(login: Login) -> None:
    await login.reach_handshake()
    login.writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")


@pytest.mark.parametrize(
    "cut_off",
    [
        cancelled_when_tls_is_granted,
        cancelled_in_the_handshake,
        aborted_in_the_handshake,
        the_server_hangs_up,
        the_server_speaks_no_tls,
    ],
)
def test_nothing_stays_open(
    cut_off: Callable[[Login], Awaitable[None]], caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        accepted: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
        accepted = asyncio.get_running_loop().create_future()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            accepted.set_result((reader, writer))

        async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
            login = Login(server.sockets[0].getsockname()[1])
            login.reader, login.writer = await accepted
            await login.until(b"stream:stream")
            login.writer.write(OFFER.encode())
            await login.until(b"<starttls")
            await cut_off(login)
            with suppress(asyncio.CancelledError, XmppError):
                await login.task
            for _ in range(10):
                await asyncio.sleep(0)  # whatever was about to begin
            await login.connection.close()
            login.writer.close()

    caplog.set_level(logging.INFO, "node.xmpp.connection")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        asyncio.run(run())
        gc.collect()
    assert [str(warning.message) for warning in said] == []
    assert "did not close" not in caplog.text
