"""What the checks share: the settings, one XMPP session, one overlay peer, and the node if it runs.

Nothing is made or changed: no key, no directory, no presence; a node that runs goes on. What the
router has opened is closed again.
"""

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from dataclasses import replace
from typing import Generic, TypeVar

import trio

from node.entrance import enter_overlay
from node.nat.mapping import PortMapping, open_port_mapping
from node.settings import RunSettings
from node.settings.run import KEY_FILE, PEERS_FILE
from node.xmpp import Account, ComponentAccount, Session, open_session
from node.xmpp.account import parse_jid
from node.xmpp.session import OPEN_TIMEOUT
from overlay import OverlayError
from overlay.dht import RunningPeer, open_peer
from overlay.nursery import open_background_nursery
from overlay.peer_cache import PeerCache
from overlay.settings import PeerSettings
from overlay.sockets import open_udp
from overlay.state import is_in_use

T = TypeVar("T")


class SkippedError(Exception):
    """A check has nothing to look at: one line that says why."""


class Shared(Generic[T]):
    """A resource that several checks wait for, or the error with which it could not be opened."""

    def __init__(self) -> None:
        self._settled = trio.Event()
        self._value: T
        self._error: Exception | None = None

    async def get(self) -> T:
        """Wait for it.

        Raises:
            Exception: What opening it has raised.
        """
        await self._settled.wait()
        if self._error is not None:
            raise self._error
        return self._value

    async def get_or_skip(self, reason: str) -> T:
        """The same for a check that is not about the resource itself.

        Raises:
            SkippedError: It could not be opened.
        """
        try:
            return await self.get()
        except Exception as error:
            raise SkippedError(reason) from error

    async def hold(self, opening: Callable[[], AbstractAsyncContextManager[T]]) -> None:
        """Open it, and keep it open until cancelled."""
        try:
            async with opening() as self._value:
                self._settled.set()
                await trio.sleep_forever()
        except Exception as error:  # noqa: BLE001  (whoever gets it is told)
            self._error = error
            self._settled.set()


class Patient:
    """The node that is examined; made by open_patient.

    Attributes:
        settings: What it is run with.
        timeout: Seconds that each check may take.
        s2s_domain: The server to reach from its own; None for those of relays that are found.
        port_error: Why its overlay port cannot be had; None if it can.
        runs: Whether the node runs here, with these settings.
        session: Its account's session, or the component's.
        peer: A peer in the overlay; on the node's own port if that is free.
        turn_peer: Another one, on the port of the node's TURN server.
        mapping: Their ports, and those of a channel, on the router.
    """

    def __init__(self, settings: RunSettings, s2s_domain: str | None, timeout: float) -> None:
        self.settings = settings
        self.s2s_domain = s2s_domain
        self.timeout = timeout
        self.deadline = trio.current_time() + timeout
        self.port_error: OverlayError | None = None
        self.runs = False
        self.session: Shared[Session] = Shared()
        self.peer: Shared[RunningPeer] = Shared()
        self.turn_peer: Shared[RunningPeer] = Shared()
        self.mapping: Shared[PortMapping] = Shared()
        self._opened_at: str | None = None  # the router's public address

    @property
    def domain(self) -> str:
        """The domain of its JID, or of the server that a component belongs to as a rule."""
        if self.settings.component is not None:
            return str(parse_jid(self.settings.component).domain).partition(".")[2]
        return str(parse_jid(self.settings.jid or "").domain)

    async def logged_in(self) -> Session:
        """The session, for checks that need one.

        Raises:
            SkippedError: There is none.
        """
        return await self.session.get_or_skip("there is no XMPP login; see that check")

    async def connected(self) -> RunningPeer:
        """The peer once it is connected, for checks that need the overlay.

        Raises:
            SkippedError: It is not.
        """
        peer = await self.peer.get_or_skip("the overlay is not reached; see that check")
        with trio.move_on_at(self.deadline):
            await peer.wait_connected()
            if peer.contacts:
                return peer
        raise SkippedError("nobody of the overlay has answered; see that check")

    def check_router(self) -> None:
        """Make sure that there may be a router that is to open ports.

        Raises:
            SkippedError: There is none.
        """
        if not self.settings.maps_ports:
            raise SkippedError(
                "no router is asked: this machine has a public address, or --public-address or "
                "--port-mapping says not to"
            )

    async def ports_opened(self) -> bool:
        """Whether the router has opened the ports, once that is known."""
        try:
            mapping = await self.mapping.get_or_skip("no router is asked; see port mapping")
        except SkippedError:
            return False
        return mapping.status.state == "open"

    async def look(self) -> None:
        """Find out whether the node runs, and whether its port can be had."""
        directory = self.settings.state_directory_name()
        self.runs = await trio.to_thread.run_sync(is_in_use, directory / KEY_FILE)
        try:
            with closing(await open_udp("::", self.settings.port)):
                pass
        except OverlayError as error:
            self.port_error = error

    @asynccontextmanager
    async def open_session(self) -> AsyncIterator[Session]:
        """Log in beside the node if it runs, and not in its place."""
        account: Account | ComponentAccount
        if self.settings.component is None and self.settings.jid is not None:
            account = self.settings.account()
            bare = parse_jid(account.jid).bare
            resource = f"jingle-nodes-doctor-{secrets.token_hex(4)}"
            account = replace(account, jid=f"{bare}/{resource}")
        elif self.runs:
            raise SkippedError("the node that runs is this component, and there is but one")
        else:
            account = self.settings.xmpp_account()
        async with open_session(account, timeout=min(self.timeout, OPEN_TIMEOUT)) as session:
            yield session

    @asynccontextmanager
    async def open_peer(self) -> AsyncIterator[RunningPeer]:
        """Join the overlay as the node would, under a key of the moment."""
        async with self._open_peer(None if self.port_error else self.settings.port) as peer:
            yield peer

    @asynccontextmanager
    async def open_turn_peer(self) -> AsyncIterator[RunningPeer]:
        """Join it on the TURN server's port, too: so that strangers knock there."""
        port = self.settings.own_turn_port()
        if self.runs or not port:
            raise SkippedError("there is no port for a TURN server")
        await self.ports_opened()
        async with self._open_peer(port) as peer:
            if self._opened_at is not None:
                peer.opened(self._opened_at)
            yield peer

    @asynccontextmanager
    async def _open_peer(self, port: int | None) -> AsyncIterator[RunningPeer]:
        directory = self.settings.state_directory_name()
        cached = await trio.to_thread.run_sync(PeerCache(directory / PEERS_FILE).load)
        relays = self.settings.bootstrap_relays
        settings = PeerSettings(
            port=port or 0,
            bootstrap=(*self.settings.bootstrap_addresses, *cached),
            entered_later=bool(relays),
            public_address=self.settings.public_address,
            client=port is None,
        )
        async with open_peer(settings) as peer, open_background_nursery() as nursery:
            if relays:
                nursery.start_soon(self._enter_through_relays, peer)
            yield peer

    @asynccontextmanager
    async def open_mapping(self) -> AsyncIterator[PortMapping]:
        """Have the router open ports as it would for the node; what that has is left alone."""
        self.check_router()
        if self.runs or self.port_error is not None:
            raise SkippedError("the node's UDP port cannot be had; see ports")
        peer = await self.peer.get_or_skip("the overlay is not reached; see that check")
        async with open_port_mapping(
            peer.local_address[1],
            self.settings.relay_port_range(),
            1,
            await trio.to_thread.run_sync(self._mapping_secret),
            lambda host: self._opened(peer, host),
            self.settings.own_turn_port() or None,
        ) as mapping:
            with trio.move_on_at(self.deadline):
                await mapping.settled.wait()
            yield mapping

    def _opened(self, peer: RunningPeer, host: str) -> None:
        self._opened_at = host
        peer.opened(host)

    def _mapping_secret(self) -> bytes:
        """The node's own if it has one: so it gets back what it left on the router in a crash."""
        if (self.settings.state_directory_name() / KEY_FILE).exists():
            return self.settings.mapping_secret()
        return secrets.token_bytes(32)

    async def _enter_through_relays(self, peer: RunningPeer) -> None:
        try:
            session = await self.logged_in()
        except SkippedError:
            return  # the login's check says why
        await enter_overlay(session, peer, self.settings.bootstrap_relays)


@asynccontextmanager
async def open_patient(
    settings: RunSettings, s2s_domain: str | None, timeout: float
) -> AsyncIterator[Patient]:
    """Open what the checks share; what cannot be opened is found by the checks."""
    patient = Patient(settings, s2s_domain, timeout)
    await patient.look()
    async with open_background_nursery() as nursery:
        nursery.start_soon(patient.session.hold, patient.open_session)
        nursery.start_soon(patient.peer.hold, patient.open_peer)
        nursery.start_soon(patient.turn_peer.hold, patient.open_turn_peer)
        nursery.start_soon(patient.mapping.hold, patient.open_mapping)
        yield patient
