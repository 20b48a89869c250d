"""A peer of a scenario in the overlay's own shell: Trio tasks, real timers, Ed25519.

`Driver` and `Port` run it, as they do in `overlay.dht`; for the rest of a scenario it is called as
one that is simulated.
"""

import logging
import random
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

import trio

from overlay.core.addresses import Address
from overlay.core.events import Connected, Event, Joined
from overlay.core.identity import Identity
from overlay.core.peer import PeerConfig
from overlay.driver import Driver
from overlay.port import Port
from overlay.probing import Answer, measure
from overlay.troubles import Troubles
from simulations.network import Host
from simulations.peers import UNIX_TIME, SimulatedPeer
from simulations.real.network import LoopbackNetwork
from simulations.real.sockets import LoopbackSocket, opener

Job = Callable[[], Awaitable[None]]

_MOST_JOBS: Final = 1000


class RealPeer(SimulatedPeer):
    """A peer on a host of a loopback network; it runs from when it is made until it leaves.

    Args:
        network: Carries its datagrams.
        host: Its machine.
        port: Of its socket.
        config: How it takes part.
        rng: Everything random about it; one generator may serve all peers.
    """

    __slots__ = ("_datagrams", "_driver", "_jobs", "_next_job", "_pump", "_scope")

    def __init__(
        self,
        network: LoopbackNetwork,
        host: Host,
        port: int,
        config: PeerConfig,
        rng: random.Random,
    ) -> None:
        super().__init__(network, host, port, config, rng, Identity)
        self._pump = network.pump
        self._datagrams = LoopbackSocket(network, self._socket)
        self._socket.receive = self._receive
        # Whatever is wrong is what the scenario is about.
        entrance = Troubles(logging.DEBUG)
        self._driver = Driver(
            self.core, self._datagrams, self._measure, _unix_time, entrance, "on loopback"
        )
        self._scope = trio.CancelScope()
        self._jobs, self._next_job = trio.open_memory_channel[Job](_MOST_JOBS)
        network.nursery.start_soon(self._run)

    def bootstrap(self, addresses: Iterable[Address]) -> None:
        """Join by way of some addresses."""
        self._driver.bootstrap(list(addresses))

    def leave(self) -> None:
        """Be gone, without a word."""
        super().leave()
        self._scope.cancel()

    def _receive(self, data: bytes, source: Address) -> None:
        for observe in self.observers:
            observe(data, source, [])
        self._datagrams.receive(data, source)

    def _ask(
        self,
        start: Callable[[float], int],
        done: Callable[[Any], None],
        timeout: float | None = None,
    ) -> None:
        async def job() -> None:
            result = await self._driver.result(start, timeout)
            self._pump.catch_up()
            if self.alive:
                done(result)

        self._jobs.send_nowait(job)

    async def _run(self) -> None:
        port = Port(self._datagrams, {False: self._driver})
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._driver.run)
                nursery.start_soon(port.receive)
                nursery.start_soon(self._tell, self._driver.connected, Connected())
                nursery.start_soon(self._tell, self._driver.joined, Joined())
                async for job in self._next_job:
                    nursery.start_soon(job)

    async def _tell(self, happened: trio.Event, event: Event) -> None:
        await happened.wait()
        self._pump.catch_up()
        if self.alive and self.on_event is not None:
            self.on_event(event)

    async def _measure(self, endpoints: list[Address]) -> dict[Address, Answer]:
        open_socket = opener(self._network, self.host)
        return await measure(endpoints, open_socket=open_socket, host=self.host.name, rng=self.rng)


def _unix_time() -> float:
    return UNIX_TIME + trio.current_time()
