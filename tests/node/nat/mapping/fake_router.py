"""A router as good or bad as a test wants, on a simulated clock."""

import trio

from node.nat.mapping.router import (
    LEASE,
    Mapping,
    MappingError,
    MappingLostError,
    PortTakenError,
)

OUTSIDE = "45.1.0.2"


class FakeRouter:
    """Opens ports, and notes which."""

    protocol = "PCP"
    host = "192.168.1.1"

    def __init__(self) -> None:
        self.external = OUTSIDE
        self.ports: set[int] = set()
        self.requests: list[int] = []
        self.taken: set[int] = set()
        self.room = 1000
        self.lifetime: float = LEASE
        self.dead = False
        self.lost = False

    async def map(self, port: int) -> Mapping:
        await self._answer()
        self.requests.append(port)
        if port in self.taken:
            raise PortTakenError("another has it")
        if port not in self.ports and len(self.ports) >= self.room:
            raise MappingError("no room")
        self.ports.add(port)
        return Mapping((self.external, port), self.lifetime)

    async def unmap(self, port: int) -> None:
        await self._answer()
        self.ports.discard(port)

    async def check(self, port: int) -> str:
        await self._answer()
        if self.lost:
            self.lost = False
            raise MappingLostError("it has started anew")
        return self.external

    def reboot(self) -> None:
        self.ports.clear()
        self.lost = True

    async def _answer(self) -> None:
        await trio.sleep(0.01)
        if self.dead:
            raise MappingError("no answer")
