"""Probes over a socket that nobody answers."""

import random

import pytest
import trio
import trio.testing

from overlay.core.addresses import Address
from overlay.probing import measure
from overlay.sockets import DatagramSocket

VICTIM: Address = ("127.0.0.1", 4000)


class SilentSocket:
    """Notes what is sent."""

    def __init__(self) -> None:
        self.sent: list[Address] = []

    async def sendto(self, data: bytes, address: Address) -> int:
        self.sent.append(address)
        return len(data)

    async def recvfrom(self, bufsize: int) -> tuple[bytes, Address]:
        await trio.sleep_forever()
        raise AssertionError

    def getsockname(self) -> Address:
        return "127.0.0.1", 5000

    def close(self) -> None:
        pass


@pytest.mark.trio
async def test_an_endpoint_that_many_adverts_name_is_probed_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    sock = SilentSocket()

    async def open_socket(host: str, port: int) -> DatagramSocket:
        return sock

    answers = await measure(
        [VICTIM] * 30, open_socket=open_socket, host="127.0.0.1", rng=random.Random(1)
    )
    assert answers == {}
    assert sock.sent == [VICTIM] * 3  # one request, sent again twice
