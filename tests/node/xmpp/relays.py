"""Relays as simple as they can be."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from node.xmpp import ServiceEntry, StanzaError


@dataclass(frozen=True)
class Granted:
    id: str = "Zm9vYmFy"
    host: str = "192.0.2.7"
    localport: int = 20000
    remoteport: int = 20002
    maxkbps: int | None = None
    expire: int = 60
    host6: str | None = None


@dataclass(frozen=True)
class Turn:
    host: str = "192.0.2.7"
    port: int = 3478
    username: str = "2000000000:romeo@example.org"
    password: str = "c2VjcmV0"
    expires: int = 2_000_000_000


@dataclass
class FakeRelay:
    """Grants the same channel to everyone, or raises what it is told to."""

    granted: Granted = field(default_factory=Granted)
    entries: Sequence[ServiceEntry] = ()
    error: Exception | None = None
    owner: str | None = None
    turns: Sequence[Turn] = ()

    async def request_channel(self, requester: str, protocol: str) -> Granted:
        if self.error is not None:
            raise self.error
        self.owner = requester
        return self.granted

    async def services(self, requester: str) -> Sequence[ServiceEntry]:
        return self.entries

    @property
    def offers_turn(self) -> bool:
        return bool(self.turns)

    async def turn(self, requester: str) -> Sequence[Turn]:
        if self.error is not None:
            raise self.error
        if not self.turns:
            raise StanzaError("item-not-found", "cancel", "no TURN server here")
        return self.turns

    async def holds(self, requester: str, channel_id: str) -> bool:
        return (requester, channel_id) == (self.owner, self.granted.id)

    async def release(self, requester: str, channel_id: str) -> bool:
        return await self.holds(requester, channel_id)


FULL = StanzaError("resource-constraint", "wait", "this relay is full")
