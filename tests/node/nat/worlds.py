"""A simulated network with STUN servers, and hosts that find out what is before them."""

import random
from collections.abc import Callable, Sequence
from typing import Final

import trio

from node.nat.behaviour import NatBehaviour
from node.nat.discover import discover
from node.nat.server import Addresses, StunResponder
from overlay.core.addresses import Address
from overlay.core.protocol import stun
from overlay.core.protocol.behaviour import SAME, Change
from simulations.events import EventHeap
from simulations.latency import FlatLatency
from simulations.network import Conditions, Host, Network, Receive, Socket
from simulations.sockets import Pump

PLACES: Final = tuple(Change(host, port) for host in (False, True) for port in (False, True))
PLAIN: Final = tuple((f"11.0.{n}.1", 4278) for n in range(1, 5))
FULL: Final = (("21.0.0.1", 3478), ("22.0.0.1", 3478))
OTHER: Final = (("31.0.0.1", 3479), ("32.0.0.1", 3479))
PLAIN6: Final = tuple((f"2a00:{n}::1", 4278) for n in range(1, 5))
FULL6: Final = (("2a01::1", 3478),)
OTHER6: Final = (("2a02::1", 3479),)

Answer = Callable[[bytes, Address], bytes | None]


def binding(data: bytes, source: Address) -> bytes | None:
    """What a plain server answers."""
    request = stun.parse_stun_untrusted(data)
    if stun.attributes_not_understood(data):
        return None
    return stun.binding_response(request, source)


class World:
    """The network; must be made in Trio."""

    def __init__(self, nursery: trio.Nursery, *, loss: float = 0.0) -> None:
        self.rng = random.Random(7)
        heap = EventHeap(trio.current_time())
        self.network = Network(heap, FlatLatency(0.03), self.rng, Conditions(loss))
        self.pump = Pump(self.network)
        nursery.start_soon(self.pump.run)
        for address in (*PLAIN, *PLAIN6):
            self.serve(address, binding)
        self.responders = [
            self.serve_fully(Addresses(first, other))
            for first, other in zip((*FULL, *FULL6), (*OTHER, *OTHER6), strict=True)
        ]

    def serve(self, address: Address, answer: Answer) -> Socket:
        """Put a server on the network that answers by a function."""

        def receive(data: bytes, source: Address) -> None:
            if (response := answer(data, source)) is not None:
                self.network.send(socket, response, source)

        socket = self.network.bind(Host(address[0], 0), address[1], receive)
        return socket

    def serve_fully(
        self, addresses: Addresses, alive: Sequence[Change] = PLACES, obeys: bool = True
    ) -> StunResponder:
        """Put a server with two addresses on the network.

        Args:
            addresses: Its addresses.
            alive: The sockets that it really has.
            obeys: Whether it answers from elsewhere if asked.
        """
        responder = StunResponder()
        sockets: dict[Change, Socket] = {}

        def receiver(place: Change) -> Receive:
            def receive(data: bytes, source: Address) -> None:
                now = trio.current_time()
                answer = responder.answer(data, source, place, addresses, now)
                if answer is not None and answer[0] in sockets and (obeys or answer[0] == place):
                    self.network.send(sockets[answer[0]], answer[1], source)

            return receive

        for place in alive:
            host, port = addresses.at(place)
            sockets[place] = self.network.bind(Host(host, 0), port, receiver(place))
        assert SAME in sockets
        return responder

    async def discover(
        self, host: Host, servers: Sequence[Address], reached: bool | None = None
    ) -> NatBehaviour:
        """Have a host find out."""
        return await discover(
            servers,
            open_socket=self.pump.opener(host),
            host=host.name,
            rng=self.rng,
            reached=reached,
        )
