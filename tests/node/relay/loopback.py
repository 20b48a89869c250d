"""A relay on loopback, and the two ends of its channels."""

import socket
import struct
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import trio

from node.relay.admission import RelayLimits
from node.relay.forwarders.base import Report
from node.relay.forwarders.userspace import UserspaceForwarder
from node.relay.grants import ChannelGrant
from node.relay.meter import local_time
from node.relay.opening import open_relay
from node.relay.relay import RelayService

PORTS = (22_000, 29_999)
REQUESTER = "romeo@montague.example/orchard"
PATIENCE = 5.0
"""Seconds until a test gives up; nothing here takes that long unless it fails."""


class LoopbackRelay:
    """A relay with the userspace forwarder."""

    def __init__(self, service: RelayService, forwarder: UserspaceForwarder) -> None:
        self.service = service
        self.forwarder = forwarder

    async def channel(self) -> ChannelGrant:
        return await self.service.request_channel(REQUESTER)


@asynccontextmanager
async def loopback_relay(
    *, quota_file: Path | None = None, clock: Callable[[], datetime] = local_time, **limits: Any
) -> AsyncIterator[LoopbackRelay]:
    """Open a relay that takes peers on loopback."""
    forwarders = []

    def make(reports: trio.MemorySendChannel[Report], ports: tuple[int, int]) -> UserspaceForwarder:
        forwarders.append(UserspaceForwarder(reports, ports))
        return forwarders[0]

    unlimited = dict.fromkeys(
        ("channels", "channels_per_jid", "channels_per_domain", "requests_per_minute"), 10_000
    )
    settings = RelayLimits(**(unlimited | {"allow_private_peers": True} | limits))
    async with open_relay(
        settings,
        lambda: ["127.0.0.1"],
        ports=PORTS,
        quota_file=quota_file,
        clock=clock,
        make_forwarder=make,
    ) as service:
        yield LoopbackRelay(service, forwarders[0])


class End:
    """A UDP socket that sends to one port of a relay."""

    def __init__(self, sock: trio.socket.SocketType, host: str, port: int) -> None:
        self.socket = sock
        self.relay = (host, port)

    async def send(self, payload: bytes) -> None:
        await self.socket.sendto(payload, self.relay)

    async def receive(self) -> bytes:
        with trio.fail_after(PATIENCE):
            payload, source = await self.socket.recvfrom(65_535)
        assert source[1] == self.relay[1]
        return payload


@asynccontextmanager
async def open_end(port: int, host: str = "127.0.0.1") -> AsyncIterator[End]:
    """An end that sends to `port` of a relay on loopback."""
    family = trio.socket.AF_INET6 if ":" in host else trio.socket.AF_INET
    with trio.socket.socket(family, trio.socket.SOCK_DGRAM) as sock:
        await sock.bind((host, 0))
        yield End(sock, host, port)


async def talk(one: End, other: End, rounds: int = 3) -> None:
    """Send both ways, so that both have latched and their sources are live."""
    await one.send(b"hello")
    await other.send(b"hello")
    assert await one.receive() == b"hello"
    assert await other.receive() == b"hello"
    for number in range(rounds):
        for sender, receiver in ((one, other), (other, one)):
            await sender.send(b"%d" % number)
            assert await receiver.receive() == b"%d" % number


async def ready_again(relay: LoopbackRelay) -> None:
    """Wait, in real time, until another process runs."""
    deadline = time.monotonic() + PATIENCE
    while not relay.forwarder.ready:
        assert time.monotonic() < deadline
        await trio.to_thread.run_sync(time.sleep, 0.02)


def forged(ports: tuple[int, int], payload: bytes) -> None:
    """Send a datagram of any source port to another port, on loopback; takes root."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP) as sock:
        header = struct.pack("!HHHH", *ports, 8 + len(payload), 0)
        sock.sendto(header + payload, ("127.0.0.1", 0))
