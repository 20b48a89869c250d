"""A whole node on loopback, a client of it, and what a channel carries between two ends."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from node.client import Client, open_client
from node.relay_node import Ready
from node.service import open_node
from node.settings import RunSettings
from node.xmpp import Account
from overlay.core.addresses import Address


def changed(settings: RunSettings, **values: object) -> RunSettings:
    return RunSettings(**{**vars(settings), **values})


def entrance(ready: Ready) -> Address:
    host, _, port = ready.overlay.rpartition(":")
    return host, int(port)


@asynccontextmanager
async def running(settings: RunSettings) -> AsyncIterator[Ready]:
    async with open_node(settings) as node:
        yield node.ready


@asynccontextmanager
async def borrower(account: Account, ready: Ready) -> AsyncIterator[Client]:
    async with open_client(account, (entrance(ready),)) as client:
        yield client


def udp_socket() -> trio.socket.SocketType:
    return trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


async def exchange(channel_ends: tuple[Address, Address], payload: bytes) -> tuple[bytes, bytes]:
    """Send a payload through a channel in either direction; return what arrived."""
    with trio.fail_after(5), udp_socket() as here, udp_socket() as there:
        ends = (here, there)
        for end, address in zip(ends, channel_ends, strict=True):
            await end.connect(address)
        await here.send(payload)
        await there.send(payload[::-1])
        return await here.recv(2048), await there.recv(2048)
