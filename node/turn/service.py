"""What a relay node lends of TURN: credentials to whoever may have channels, and allocations.

The Trio shell beside the relay. The server itself runs in the forwarder's process; here its users
are admitted, by the limits of channels, and get their ports.
"""

import logging
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from node.relay.addresses import Address
from node.relay.admission import LimitReached, Refused
from node.relay.jids import bare_jid
from node.relay.relay import RelayService
from node.relay.resources import explain
from node.relay.sockets import bind_udp, widest_family
from node.turn.credentials import issue
from node.turn.errors import Code
from overlay.nursery import open_background_nursery

_CODES: Final = {"forbidden": Code.FORBIDDEN}

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class TurnGrant:
    """A TURN server, and credentials for it."""

    host: str
    port: int
    username: str
    password: str
    expires: int
    """Unix time, seconds, when the credentials expire."""


class TurnService:
    """Hands out credentials for a TURN server.

    Args:
        relay: knows who may have them.
        secret: that the server shares.
        addresses: gives where it is reached at the moment; nowhere if it is not.
    """

    def __init__(
        self, relay: RelayService, secret: bytes, addresses: Callable[[], Sequence[Address]]
    ) -> None:
        self._relay = relay
        self._secret = secret
        self._addresses = addresses
        self.issued = 0
        """Credentials that were handed out since the start."""

    @property
    def addresses(self) -> Sequence[Address]:
        """Where the server is reached at the moment."""
        return self._addresses()

    def grant(self, requester: str) -> list[TurnGrant]:
        """Hand out credentials.

        Args:
            requester: the JID that asks; they are for all of its resources.

        Raises:
            Refused: there is no server, or the relay does not lend to this JID, or not now.
        """
        addresses = self.addresses
        if not addresses:
            raise no_turn()
        self._relay.check(requester)
        try:
            credentials = issue(self._secret, bare_jid(requester), time.time())
        except ValueError as error:
            raise Refused("not-acceptable", "modify", str(error)) from None
        self.issued += 1
        return [
            TurnGrant(host, port, credentials.username, credentials.password, credentials.expires)
            for host, port in addresses
        ]

    async def run(self) -> None:
        """Open the allocations that users of our own server want, until cancelled."""
        async for wanted in self._relay.wanted_allocations:
            try:
                await self._relay.allocate(wanted)
            except Refused as refused:
                busy = Code.QUOTA_REACHED if isinstance(refused, LimitReached) else None
                code = busy or _CODES.get(refused.condition, Code.INSUFFICIENT_CAPACITY)
                await self._relay.forwarder.refuse_allocation(wanted.serial, code)


def no_turn() -> Refused:
    """The refusal where there is no TURN."""
    return Refused("item-not-found", "cancel", "no TURN server here")


@asynccontextmanager
async def open_turn_port(port: int | None) -> AsyncIterator[socket.socket | None]:
    """Open the UDP port of our own server during the block; None if it cannot be had.

    Args:
        port: which; 0 for any, None for none.
    """
    if port is None:
        yield None
        return
    try:
        listener = bind_udp(widest_family(), port)
    except OSError as error:
        _log.warning(
            "no TURN server for browsers: cannot use UDP port %d: %s; "
            "pass another one with --turn-port, or off",
            port,
            explain(error),
        )
        yield None
        return
    with listener:
        yield listener


@asynccontextmanager
async def open_turn_server(
    relay: RelayService,
    listener: socket.socket,
    secret: bytes,
    addresses: Callable[[], Sequence[Address]],
) -> AsyncIterator[TurnService]:
    """Be a TURN server of our own during the block.

    Args:
        relay: whose forwarder has the packets, and whose limits hold.
        listener: bound to the server's port.
        secret: from which credentials follow; known to nobody else.
        addresses: gives where others reach that port at the moment.
    """
    service = TurnService(relay, secret, addresses)
    await relay.forwarder.serve_turn(listener, secret)
    async with open_background_nursery() as nursery:
        nursery.start_soon(service.run)
        yield service
