"""The ends of a call: who sends packets, and who is called."""

import math
import random
import struct
from collections.abc import Callable, Sequence
from typing import Any, Final

from overlay.core.addresses import Address
from simulations.network import Host, Network, Socket
from simulations.peers import SimulatedPeer
from simulations.post import Post
from simulations.probe import Probe
from simulations.run.desk import CALLER
from simulations.scenario.life import ClientSettings

CALLEE: Final = "callee"
_STAMP: Final = struct.Struct("!Q")  # of a packet: its number


class End:
    """One end of a call: sends packets, and knows when it last heard the other one.

    Args:
        network: Carries them.
        host: Where it is.
        settings: How many, and how long.
        rng: How regularly.
        on_heard: Is called with each packet that comes.

    Attributes:
        heard: When the last packet came.
    """

    def __init__(
        self,
        network: Network,
        host: Host,
        settings: ClientSettings,
        rng: random.Random,
        on_heard: Callable[[], None],
    ) -> None:
        self.heard = -math.inf
        self._host = host
        self._on_heard = on_heard
        self._network = network
        self._settings = settings
        self._rng = rng
        self._socket: Socket | None = None
        self._sent = 0

    def send_to(self, address: Address) -> None:
        """Send there from now on, from a fresh socket."""
        self.stop()
        self._socket = self._network.bind(self._host, 0, self._receive)
        self._send(self._socket, address)

    def stop(self) -> None:
        """Send no more, and hear nothing."""
        if self._socket is not None:
            self._network.close(self._socket)
        self._socket = None

    def _send(self, socket: Socket, address: Address) -> None:
        if socket is self._socket:
            self._sent += 1
            packet = _STAMP.pack(self._sent).ljust(self._settings.packet_bytes, b"\0")
            self._network.send(socket, packet, address)
            interval = self._rng.uniform(0.9, 1.1) / self._settings.packets_per_second
            self._network.heap.after(interval, self._send, socket, address)

    def _receive(self, _: bytes, __: Address) -> None:
        self.heard = self._network.heap.now
        self._on_heard()


class Callee:
    """Does what the caller's letters ask for.

    Args:
        network: Carries the media.
        post: Brings the letters.
        settings: How clients call.
        call: The number of the call.
        peer: Who is called.
        caller: The site of the caller.
    """

    def __init__(
        self,
        network: Network,
        post: Post,
        settings: ClientSettings,
        call: int,
        peer: SimulatedPeer,
        caller: int,
    ) -> None:
        self._network = network
        self._post = post
        self._call = call
        self._peer = peer
        self._caller = caller
        self._end = End(network, peer.host, settings, peer.rng, self._heard)
        self._attempt = 0
        self._has_told = True
        post.open((CALLEE, call), self._take)

    def _take(self, what: str, *content: Any) -> None:
        match what:
            case "where":
                self._tell("there", self._peer.core.coordinate)
            case "probe":
                self._probe(*content)
            case "offer":
                self._attempt, remoteport = content
                self._has_told = False
                self._end.send_to(remoteport)
            case "stop":
                self._end.stop()
            case "bye":
                self._end.stop()
                self._post.close((CALLEE, self._call))
                self._peer.leave()

    def _tell(self, what: str, *content: object) -> None:
        self._post.send(self._peer.host, self._caller, (CALLER, self._call), what, *content)

    def _probe(self, search: int, relays: Sequence[Address]) -> None:
        def probed(probe: Probe) -> None:
            self._tell("probed", search, probe.rtts)

        Probe(self._network, self._peer.host, relays, self._peer.rng, probed, len(relays))

    def _heard(self) -> None:
        """Tell the caller of the first packet by each relay."""
        if not self._has_told:
            self._has_told = True
            self._tell("heard", self._attempt, self._network.heap.now)
