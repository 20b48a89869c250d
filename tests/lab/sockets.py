"""Sockets on the lab's hosts, under remote control."""

import sys

from simulations.lab.netns import Host, Lab
from simulations.lab.program import Program


class Sockets:
    """A host's sockets under remote control."""

    def __init__(self, program: Program) -> None:
        self._program = program

    async def send(self, index: int, to: tuple[str, int], text: str, size: int = 0) -> None:
        await self._program.send({"send": [index, *to, text, size]})
        await self._program.json()

    async def receive(self, count: int, timeout: float = 5.0) -> list[tuple[int, str, int]]:
        """The socket, the text and the size of what arrived."""
        await self._program.send({"receive": count, "timeout": timeout})
        return [(index, text, size) for index, _, _, text, size in await self._program.json()]

    async def stop(self) -> None:
        """Close them all."""
        await self._program.stop()


async def open_sockets(lab: Lab, host: Host, count: int) -> Sockets:
    program = await lab.start(
        host, sys.executable, "-m", "simulations.lab.udp", *("0" for _ in range(count))
    )
    await program.json()
    return Sockets(program)
