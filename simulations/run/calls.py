"""Calls through relays: a caller finds one, borrows a channel, and takes another when it fails.

The request for a channel and what the ends tell each other go over XMPP, which is not simulated:
they take a round trip, or the way, between the hosts in question. Media are datagrams.
"""

import math
import random
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from node.client.client import PATIENCE
from node.relay.admission import Refused
from overlay.core.addresses import Address
from overlay.core.choice.selection import NEARLY_FULL
from overlay.core.events import Connected, Event, Joined
from simulations.network import Host, Network, Socket
from simulations.population import Population
from simulations.probe import Probe
from simulations.relays import TIMEOUT, Outcome, RelaySearch
from simulations.run.lending import Lender, LentChannel
from simulations.run.records import CallRecord
from simulations.scenario.life import ClientSettings

_STAMP: Final = struct.Struct("!Q")  # of a packet: its number
_MOST_SEARCHES: Final = 3  # of one call


@dataclass(frozen=True, slots=True)
class CallWorld:
    """Where calls take place.

    Attributes:
        population: Where clients come from.
        lenders: Relays, by the address of their peer.
        rng: What is random about calls.
        settings: How clients call.
    """

    population: Population
    lenders: Mapping[Address, Lender]
    rng: random.Random
    settings: ClientSettings

    def rtt(self, one: Host, other: Host) -> float:
        """Return the round trip between two hosts without jitter, seconds."""
        latency = self.population.network.latency
        return latency.one_way(one.site, other.site) + latency.one_way(other.site, one.site)

    def best(self, caller: Host, callee: Host) -> float:
        """Return the round trip by way of the best relay that has room, seconds."""
        hosts = (lender.peer.host for lender in self.lenders.values() if lender.has_room)
        paths = (self.rtt(caller, host) + self.rtt(host, callee) for host in hosts)
        return min(paths, default=math.inf)


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
        self.host = host
        self.heard = -math.inf
        self._on_heard = on_heard
        self._network = network
        self._settings = settings
        self._rng = rng
        self._socket: Socket | None = None
        self._sent = 0

    def send_to(self, address: Address) -> None:
        """Send there from now on, from a fresh socket."""
        self.stop()
        self._socket = self._network.bind(self.host, 0, self._receive)
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


class Call:
    """A call, from the moment that the caller comes.

    Args:
        world: Where it takes place.
        lasts: Seconds that it is to last once both ends hear each other.
        record: Where to note what comes of it.
    """

    def __init__(self, world: CallWorld, lasts: float, record: CallRecord) -> None:
        self._world = world
        self._lasts = lasts
        self._record = record
        self._network = world.population.network
        self._heap = self._network.heap
        self._began = self._heap.now
        self._caller = world.population.add_client()
        self._callee = world.population.add_client()
        self._both_ends = world.settings.choice == "both-ends"
        self._ends = tuple(
            End(self._network, peer.host, world.settings, world.rng, self._heard)
            for peer in (self._caller, self._callee)
        )
        self._searches = 0
        self._to_ask: list[Address] = []
        self._borrowed: tuple[Lender, LentChannel] | None = None
        self._request = 0
        self._tried_at = self._began
        self._granted_any = False
        self._is_through = False  # both ends have heard each other by the relay of the moment
        self._silent_since: float | None = None
        self._failed: set[Address] = set()
        self._over = False
        record.direct = world.rtt(self._caller.host, self._callee.host)
        self._caller.on_event = self._event
        bootstrap = world.population.some_addresses()
        if self._both_ends:
            self._callee.bootstrap(bootstrap)
        self._heap.after(TIMEOUT, self._give_up_search, 0)
        self._caller.bootstrap(bootstrap)

    def _event(self, event: Event) -> None:
        if isinstance(event, Connected | Joined) and not self._searches:
            self._search()

    def _search(self) -> None:
        self._searches += 1
        callee = self._callee if self._both_ends else None
        outcome = Outcome(self._heap.now)
        RelaySearch(self._world.population, self._caller, outcome, self._found, callee)

    def _give_up_search(self, searches: int) -> None:
        if self._searches == searches and not self._over:
            self._end("no relay")

    def _found(self, outcome: Outcome) -> None:
        if self._over:
            return
        if not self._both_ends:
            self._choose(outcome, outcome.rtts)
            return

        def probed(probe: Probe) -> None:
            if not self._over:
                far = probe.rtts
                both = {at: rtt + far[at] for at, rtt in outcome.rtts.items() if at in far}
                self._choose(outcome, both)

        host = self._callee.host
        Probe(self._network, host, list(outcome.rtts), self._world.rng, probed, len(outcome.rtts))

    def _choose(self, outcome: Outcome, rtts: Mapping[Address, float]) -> None:
        """Order the relays that answered, those without room last, as `overlay.discovery` does."""
        rtts = {at: rtt for at, rtt in rtts.items() if at not in self._failed}
        if self._world.settings.choice == "random":
            self._to_ask = self._world.rng.sample(list(rtts), len(rtts))
        else:
            full = {at: outcome.free.get(at, 0.0) < NEARLY_FULL for at in rtts}
            self._to_ask = sorted(rtts, key=lambda at: (full[at], rtts[at]))
        self._ask_next()

    def _ask_next(self) -> None:
        """Ask the next relay for a channel, or search again."""
        self._request += 1
        if not self._to_ask:
            if self._searches < _MOST_SEARCHES and self._caller.alive:
                self._search()
            else:
                self._end(self._failure())
            return
        address = self._to_ask.pop(0)
        lender = self._world.lenders.get(address)
        self._record.asked += 1
        if lender is None or not lender.peer.alive:
            self._heap.after(PATIENCE, self._refused, self._request)
            return
        way = self._world.rtt(self._caller.host, lender.peer.host) / 2
        self._heap.after(way, self._asked, lender, way, self._request)

    def _asked(self, lender: Lender, way: float, request: int) -> None:
        if self._over:
            return
        if not lender.peer.alive:
            self._heap.after(PATIENCE, self._refused, request)
            return
        try:
            lent = lender.request(f"caller@{self._caller.host.name}.client.example")
        except Refused:
            self._heap.after(way, self._refused, request)
            return
        self._heap.after(way, self._granted, lender, lent, request)

    def _refused(self, request: int) -> None:
        if request == self._request and not self._over:
            self._record.refused += 1
            self._ask_next()

    def _granted(self, lender: Lender, lent: LentChannel, request: int) -> None:
        if self._over or request != self._request:
            lender.release(lent)
            return
        self._borrowed = lender, lent
        self._granted_any = True
        self._is_through = False
        self._tried_at = self._heap.now
        caller, callee = self._ends
        caller.send_to(lent.localport)
        way = self._world.rtt(self._caller.host, self._callee.host) / 2
        self._heap.after(way, self._offered, callee, lent, request)
        self._heap.after(self._world.settings.silence, self._watch, request)

    def _offered(self, callee: End, lent: LentChannel, request: int) -> None:
        if request == self._request and not self._over:
            callee.send_to(lent.remoteport)

    def _heard(self) -> None:
        """Note when both ends have heard each other by this relay."""
        if self._is_through or any(end.heard < self._tried_at for end in self._ends):
            return
        self._is_through = True
        if self._borrowed is not None and not self._established:
            self._begin(self._borrowed[0].peer.host)
        self._end_silence()

    @property
    def _established(self) -> bool:
        return self._record.setup < math.inf

    def _begin(self, relay: Host) -> None:
        record, caller, callee = self._record, self._caller.host, self._callee.host
        record.setup = self._heap.now - self._began
        record.path = self._world.rtt(caller, relay) + self._world.rtt(relay, callee)
        record.best = min(record.path, self._world.best(caller, callee))
        self._heap.after(self._lasts, self._hang_up)

    def _end_silence(self) -> None:
        if self._silent_since is not None:
            self._record.interrupted += self._heap.now - self._silent_since
        self._silent_since = None

    def _watch(self, request: int) -> None:
        """Take the next relay once the caller has heard nothing for too long."""
        if self._over or request != self._request or self._borrowed is None:
            return
        last = max(self._tried_at, self._ends[0].heard)
        silent = self._heap.now - last
        if silent < self._world.settings.silence:
            self._heap.after(self._world.settings.silence - silent, self._watch, request)
            return
        if self._established:
            self._record.failovers += 1
            if self._silent_since is None:
                self._silent_since = last
        self._failed.add(self._borrowed[0].peer.address)
        self._give_back()
        self._ask_next()

    def _hang_up(self) -> None:
        if not self._over:
            self._end("lost" if self._silent_since is not None else "done")

    def _failure(self) -> str:
        if self._established:
            return "lost"
        if not self._record.asked:
            return "no relay"
        return "failed" if self._granted_any else "refused"

    def _give_back(self) -> None:
        for end in self._ends:
            end.stop()
        if self._borrowed is not None:
            lender, lent = self._borrowed
            lender.release(lent)
        self._borrowed = None

    def _end(self, outcome: str) -> None:
        self._over = True
        self._record.outcome = outcome
        self._end_silence()
        self._give_back()
        for peer in (self._caller, self._callee):
            peer.leave()
