"""Calls through relays: a caller finds one, borrows a channel, and takes another when it fails.

The request for a channel and what the ends tell each other go over XMPP, as letters. Media are
datagrams.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from node.client.client import PATIENCE
from overlay.core.addresses import Address
from overlay.core.choice.coordinates import Coordinate
from overlay.core.choice.selection import NEARLY_FULL
from overlay.core.events import Connected, Event, Joined
from simulations.peers import PORT, SimulatedPeer
from simulations.population import Population
from simulations.post import Post
from simulations.relays import TIMEOUT, Outcome, RelaySearch
from simulations.run.callee import CALLEE, Callee, End
from simulations.run.desk import CALLER, desk_of
from simulations.run.nats import kind_behind
from simulations.run.records import CallRecord
from simulations.scenario.life import ClientSettings

_MOST_SEARCHES: Final = 3  # of one call
_LINGERING: Final = 2 * PATIENCE  # seconds for which a channel that comes too late is given back


@dataclass(frozen=True, slots=True)
class Established:
    """A call that has come about.

    Attributes:
        record: What is noted of it.
        at: When, seconds on the clock of the heap.
        caller: The site of the caller.
        callee: That of the callee.
    """

    record: CallRecord
    at: float
    caller: int
    callee: int


@dataclass(frozen=True, slots=True)
class CallWorld:
    """Where calls take place.

    Attributes:
        population: Where clients come from.
        post: What they tell relays and each other.
        settings: How clients call.
        established: Calls that have come about.
    """

    population: Population
    post: Post
    settings: ClientSettings
    established: list[Established] = field(default_factory=list)

    def begin_call(self, number: int, lasts: float, record: CallRecord) -> bool:
        """Have a caller and a callee come; returns whether the caller is in this shard.

        Args:
            number: Of the call.
            lasts: Seconds that it is to last once both ends hear each other.
            record: Where to note what comes of it.
        """
        caller, callee = self.population.add_client(), self.population.add_client()
        bootstrap = self.population.some_addresses()
        record.caller, record.callee = kind_behind(caller.host), kind_behind(callee.host)
        if callee.is_here:
            network = self.population.network
            Callee(network, self.post, self.settings, number, callee, caller.host.site)
            if self.settings.choice == "both-ends":
                callee.bootstrap(bootstrap)
        if caller.is_here:
            Caller(self, number, caller, callee.host.site, lasts, record)
            caller.bootstrap(bootstrap)
        return caller.is_here


class Caller:
    """Who calls, from the moment that it comes.

    Args:
        world: Where the call takes place.
        number: Of the call.
        peer: The caller.
        callee: The site of the callee.
        lasts: Seconds that it is to last once both ends hear each other.
        record: Where to note what comes of it.
    """

    def __init__(
        self,
        world: CallWorld,
        number: int,
        peer: SimulatedPeer,
        callee: int,
        lasts: float,
        record: CallRecord,
    ) -> None:
        self._world = world
        self._number = number
        self._peer = peer
        self._callee = callee
        self._lasts = lasts
        self._record = record
        self._network = world.population.network
        self._heap = self._network.heap
        self._began = self._heap.now
        self._both_ends = world.settings.choice == "both-ends"
        self._there: Coordinate | None = None  # where the callee is
        self._media = End(self._network, peer.host, world.settings, peer.rng, self._heard)
        self._searches = 0
        self._outcome = Outcome(self._began)
        self._to_ask: list[Address] = []
        self._request = 0
        self._asked: Address | None = None  # who has not answered yet
        self._borrowed: Address | None = None
        self._tried_at = self._began
        self._granted_any = False
        self._mine: float | None = None  # when the caller first heard something by this relay
        self._theirs: float | None = None  # when the callee did
        self._is_through = False
        self._silent_since: float | None = None
        self._failed: set[Address] = set()
        self._over = False
        record.direct = world.post.rtt(peer.host.site, callee)
        peer.on_event = self._event
        world.post.open((CALLER, number), self._take)
        self._heap.after(TIMEOUT, self._give_up_search, 0)

    def _take(self, what: str, *content: Any) -> None:
        match what:
            case "there":
                (self._there,) = content
            case "probed":
                self._probed(*content)
            case "refused":
                self._refused(*content)
            case "granted":
                self._granted(*content)
            case "heard":
                self._callee_heard(*content)

    def _tell_callee(self, what: str, *content: object) -> None:
        self._world.post.send(self._peer.host, self._callee, (CALLEE, self._number), what, *content)

    def _tell_relay(self, relay: Address, what: str, request: int) -> None:
        host, site = self._peer.host, self._site_of(relay)
        name = desk_of(relay)
        self._world.post.send(host, site, name, what, self._number, request, host.name, host.site)

    def _site_of(self, relay: Address) -> int:
        site = self._network.site_of(relay[0])
        return self._peer.host.site if site is None else site

    def _event(self, event: Event) -> None:
        if isinstance(event, Connected | Joined) and not self._searches:
            self._search()

    def _search(self) -> None:
        self._searches += 1
        self._outcome = Outcome(self._heap.now)
        if self._both_ends:
            self._tell_callee("where")
        RelaySearch(
            self._world.population, self._peer, self._outcome, self._found, lambda: self._there
        )

    def _give_up_search(self, searches: int) -> None:
        if self._searches == searches and not self._over:
            self._end("no relay")

    def _found(self, outcome: Outcome) -> None:
        if self._over:
            return
        if self._both_ends:
            self._tell_callee("probe", self._searches, list(outcome.rtts))
        else:
            self._choose(outcome.rtts)

    def _probed(self, search: int, far: Mapping[Address, float]) -> None:
        if search == self._searches and not self._over:
            rtts = self._outcome.rtts
            self._choose({at: rtt + far[at] for at, rtt in rtts.items() if at in far})

    def _choose(self, rtts: Mapping[Address, float]) -> None:
        """Order the relays that answered, those without room last, as `overlay.discovery` does."""
        rtts = {at: rtt for at, rtt in rtts.items() if at not in self._failed}
        if self._world.settings.choice == "random":
            self._to_ask = self._peer.rng.sample(list(rtts), len(rtts))
        else:
            full = {at: self._outcome.free.get(at, 0.0) < NEARLY_FULL for at in rtts}
            self._to_ask = sorted(rtts, key=lambda at: (full[at], rtts[at]))
        self._ask_next()

    def _ask_next(self) -> None:
        """Ask the next relay for a channel, or search again."""
        self._request += 1
        if not self._to_ask:
            if self._searches < _MOST_SEARCHES and self._peer.alive:
                self._search()
            else:
                self._end(self._failure())
            return
        self._asked = self._to_ask.pop(0)
        self._record.asked += 1
        self._tell_relay(self._asked, "request", self._request)
        self._heap.after(PATIENCE, self._refused, self._request)

    def _refused(self, request: int) -> None:
        if request == self._request and self._asked is not None and not self._over:
            self._record.refused += 1
            self._asked = None
            self._ask_next()

    def _granted(self, request: int, localport: Address, remoteport: Address) -> None:
        relay = self._asked
        if self._over or request != self._request or relay is None:
            self._give_back_late(request, localport)
            return
        self._asked = None
        self._borrowed = relay
        self._granted_any = True
        self._mine = self._theirs = None
        self._is_through = False
        self._tried_at = self._heap.now
        self._media.send_to(localport)
        self._tell_callee("offer", request, remoteport)
        self._heap.after(self._world.settings.silence, self._watch, request)

    def _heard(self) -> None:
        if self._mine is None:
            self._mine = self._heap.now
            self._check_through()

    def _callee_heard(self, request: int, when: float) -> None:
        if request == self._request:
            self._theirs = when
            self._check_through()

    def _check_through(self) -> None:
        """Note when both ends have heard each other by this relay."""
        if self._is_through or self._mine is None or self._theirs is None or self._over:
            return
        self._is_through = True
        at = max(self._mine, self._theirs)
        if self._borrowed is not None and not self._established:
            self._begin(self._borrowed, at)
        self._end_silence(at)

    @property
    def _established(self) -> bool:
        return self._record.setup < math.inf

    def _begin(self, relay: Address, at: float) -> None:
        rtt, record = self._world.post.rtt, self._record
        caller, between = self._peer.host.site, self._site_of(relay)
        record.setup = at - self._began
        record.path = rtt(caller, between) + rtt(between, self._callee)
        self._world.established.append(Established(record, at, caller, self._callee))
        self._heap.at(at + self._lasts, self._hang_up)

    def _end_silence(self, at: float) -> None:
        if self._silent_since is not None:
            self._record.interrupted += at - self._silent_since
        self._silent_since = None

    def _watch(self, request: int) -> None:
        """Take the next relay once the caller has heard nothing for too long."""
        if self._over or request != self._request or self._borrowed is None:
            return
        last = max(self._tried_at, self._media.heard)
        # As a time, not a delay: what is left of that may be too little to be felt.
        patience_ends = last + self._world.settings.silence
        if self._heap.now < patience_ends:
            self._heap.at(patience_ends, self._watch, request)
            return
        if self._established:
            self._record.failovers += 1
            if self._silent_since is None:
                self._silent_since = last
        self._failed.add(self._borrowed)
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
        self._media.stop()
        self._tell_callee("stop")
        if self._borrowed is not None:
            self._tell_relay(self._borrowed, "release", self._request)
        self._borrowed = None

    def _give_back_late(self, request: int, localport: Address) -> None:
        """Give back a channel of a relay that took too long; its peer has the port of all."""
        self._tell_relay((localport[0], PORT), "release", request)

    def _end(self, outcome: str) -> None:
        self._over = True
        self._record.outcome = outcome
        self._end_silence(self._heap.now)
        self._give_back()
        self._tell_callee("bye")
        self._peer.leave()
        self._heap.after(_LINGERING, self._world.post.close, (CALLER, self._number))
