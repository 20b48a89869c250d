"""The one UDP port of a peer, which overlay and STUN share."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import trio

from overlay.core.addresses import Address, is_ipv6
from overlay.core.protocol.stun import is_stun
from overlay.driver import Driver
from overlay.sockets import DatagramSocket

_BUFFER: Final = 2048

# Answers a STUN message and its source, or says that it does not.
TakeStun = Callable[[bytes, Address], Awaitable[bool]]

_log = logging.getLogger(__name__)


class Port:
    """Hands what comes in to the core of its address family.

    Args:
        sock: The peer's socket.
        drivers: What runs the cores: over IPv4 (False), and IPv6 (True).

    Attributes:
        take_stun: Is offered STUN messages before the cores answer them; None for nobody.
    """

    def __init__(self, sock: DatagramSocket, drivers: Mapping[bool, Driver]) -> None:
        self.take_stun: TakeStun | None = None
        self._sock = sock
        self._drivers = drivers

    async def send(self, data: bytes, address: Address) -> None:
        """Send a datagram.

        Raises:
            OSError: There is no way there.
        """
        await self._sock.sendto(data, address)

    async def receive(self) -> None:
        """Take in datagrams until cancelled."""
        counters = next(iter(self._drivers.values())).core.counters
        while True:
            try:
                data, source = await self._sock.recvfrom(_BUFFER)
            except OSError as error:
                # An ICMP error for an earlier datagram; the request it was will time out.
                counters["receive_errors"] += 1
                _log.debug("receiving failed: %s", error)
                await trio.sleep(0)
                continue
            if self.take_stun is not None and is_stun(data) and await self.take_stun(data, source):
                continue
            if (driver := self._drivers.get(is_ipv6(source[0]))) is not None:
                await driver.receive(data, source)
