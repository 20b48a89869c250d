"""The honest nodes of a scenario, and which of them lend channels."""

import math
import random
from typing import Final

from node.relay.admission import RelayLimits
from node.relay.quota import Quota
from overlay.core.addresses import Address
from simulations.peers import SimulatedPeer
from simulations.post import Post
from simulations.relays import Relay
from simulations.run.desk import Desk
from simulations.run.lending import Behaviour, Lender
from simulations.run.past import FirstAdverts
from simulations.run.population import ScenarioPopulation
from simulations.scenario.life import RelaySettings

_VANISH: Final = "vanish"
_ADVERTISING: Final = 60.0  # seconds over which the first relays register, at the most


class Residents:
    """Makes relays of some nodes, and takes away who leaves.

    Args:
        population: All peers.
        post: Brings the relays requests.
        settings: What relays lend.
        rng: Which nodes are relays, and of what kind.

    Attributes:
        population: All peers.
        relays: Relays alive, in all shards.
        lenders: Those of this process, by their address.
        all_lenders: Those that have left, too, with a number that tells when they came.
    """

    def __init__(
        self,
        population: ScenarioPopulation,
        post: Post,
        settings: RelaySettings,
        rng: random.Random,
    ) -> None:
        self.population = population
        self.lenders: dict[Address, Lender] = {}
        self.relays: dict[Address, SimulatedPeer] = {}
        self.all_lenders: list[tuple[int, Lender]] = []
        self._post = post
        post.open(_VANISH, self._vanish)
        self._desks: dict[Address, Desk] = {}
        self._appointed = 0
        self._settings = settings
        self._rng = rng
        self._quota = None if settings.quota is None else Quota.parse(settings.quota)

    def appoint(self, within: float, *, registered: bool = False) -> None:
        """Make relays of a share of the nodes, and of those that come later.

        Args:
            within: Seconds in which they get listed.
            registered: They did so long ago, and others remember it.
        """
        nodes = self.population.honest()
        count = max(1, round(self._settings.share * len(nodes)))
        victim = [peer for peer in nodes if peer.peer_id == self.population.victim_id]
        others = [peer for peer in nodes if peer not in victim]
        chosen = [*victim, *self._rng.sample(others, count - len(victim))]
        lent = [relay for peer in chosen if (relay := self._lend(peer)) is not None]
        if registered:
            FirstAdverts(self.population, self._post).register(self.relays, lent, within)
            return
        for relay in lent:
            relay.start(self._rng.uniform(0.0, min(_ADVERTISING, within)))

    def add(self) -> SimulatedPeer:
        """Let a newcomer join."""
        peer = self.population.add_node()
        is_open = peer not in self.population.hidden
        if is_open and self._rng.random() < self._settings.share:
            relay = self._lend(peer)
            if relay is not None:
                relay.start()
        return peer

    def remove(self, peer: SimulatedPeer) -> None:
        """Have a node leave, silently, and all that it lends with it."""
        self.relays.pop(peer.address, None)
        lender = self.lenders.pop(peer.address, None)
        if lender is not None:
            self._desks.pop(peer.address).close()
            lender.gone()
        self.population.kill(peer)

    def mortal(self, *, relays_only: bool = False) -> list[SimulatedPeer]:
        """Return the nodes alive, but for the one that an eclipse is about."""
        nodes = list(self.relays.values()) if relays_only else self.population.nodes()
        return [peer for peer in nodes if peer.peer_id != self.population.victim_id]

    def _lend(self, peer: SimulatedPeer) -> Relay | None:
        """Make a relay of a node; None if it is in another shard."""
        behaviour = self._behaviour()
        limits = RelayLimits(
            channels=self._channels(),
            channels_per_jid=1,
            channels_per_domain=1,
            expire=self._settings.expire,
            maxkbps=self._settings.maxkbps,
            quota=self._quota,
        )
        self._appointed += 1
        self.relays[peer.address] = peer
        if not peer.is_here:
            return None
        lender = Lender(self.population.network, peer, limits, behaviour)
        relay = Relay(self.population, peer, lender.describe)
        lender.on_change = relay.changed
        if behaviour == "vanishing":
            lender.on_grant = lambda: self._vanish_later(peer)
        self.lenders[peer.address] = lender
        self._desks[peer.address] = Desk(self._post, lender)
        self.all_lenders.append((self._appointed, lender))
        return relay

    def _vanish_later(self, peer: SimulatedPeer) -> None:
        self._post.announce(peer.host, self._settings.vanish_after, _VANISH, peer.address)

    def _vanish(self, address: Address) -> None:
        peer = self.relays.get(address)
        if peer is not None:
            self.remove(peer)

    def _behaviour(self) -> Behaviour:
        settings = self._settings
        drawn = self._rng.random()
        shares: list[tuple[Behaviour, float]] = [
            ("lying", settings.lying),
            ("dropping", settings.dropping),
            ("vanishing", settings.vanishing),
        ]
        for behaviour, share in shares:
            if drawn < share:
                return behaviour
            drawn -= share
        return "honest"

    def _channels(self) -> int:
        least, most = self._settings.channels, self._settings.channels_up_to
        if most is None:
            return least
        return round(least * math.pow(most / least, self._rng.random()))
