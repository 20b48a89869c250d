"""What is measured among hostile peers, one experiment after the other in one world."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from overlay.core.addresses import Address
from overlay.core.events import LookupEnded, RelaysFound
from overlay.core.ids import ID_LENGTH
from overlay.core.kademlia.lookup import LOOKUP_K
from overlay.discovery import SAMPLE
from simulations.peers import SimulatedPeer
from simulations.relays import COUNT, TIMEOUT, Outcome, Visitor
from simulations.sybils.world import World

_TAIL: Final = 15.0  # seconds after the last start until everything has ended
_JOINING: Final = 30.0  # seconds for which a client that stays gets to know the network
_RATE: Final = 10.0  # searches a second
_PATIENCE: Final = TIMEOUT * 2 / 3  # seconds for collecting adverts
_RESIDENTS: Final = 40  # so that none of them has two searches at once


@dataclass
class Visits:
    """Searches by fresh clients, who stay only for one.

    Attributes:
        searches: How many.
        found: Of those, in how many an honest relay was among the relays returned.
        first: In how many it was the first.
        returned: Relays returned, all of which have answered.
        hostile: Of those, hostile ones.
        requests: Requests sent, Binding requests left out.
        delays: Seconds until the first relay had answered; infinite where none did.
    """

    searches: int = 0
    found: int = 0
    first: int = 0
    returned: int = 0
    hostile: int = 0
    requests: int = 0
    delays: list[float] = field(default_factory=list)


def visits(world: World, count: int) -> Visits:
    """Have fresh clients come, search relays, and go."""
    result = Visits()
    honest = {relay.address for relay in world.relays}

    def visit() -> None:
        Visitor(world.population, world.population.some_addresses(), ended)
        clients.append(world.population.clients[-1])

    def ended(outcome: Outcome) -> None:
        returned = relays_returned(outcome)
        result.searches += 1
        result.found += not honest.isdisjoint(returned)
        result.first += bool(returned) and returned[0] in honest
        result.delays.append(outcome.first)
        result.returned += len(returned)
        result.hostile += sum(address not in honest for address in returned)

    clients: list[SimulatedPeer] = []
    for at in range(count):
        world.heap.after(at / _RATE, visit)
    world.heap.run(count / _RATE + _TAIL)
    result.requests = sum(client.core.counters["sent"] for client in clients)
    return result


def relays_returned(outcome: Outcome) -> list[Address]:
    """Return the relays that a client gets, the fastest first."""
    in_time = [pair for pair in outcome.answered.items() if pair[1] <= outcome.started + TIMEOUT]
    return [address for address, _ in sorted(in_time, key=lambda pair: pair[1])][:COUNT]


class AimedRandom(random.Random):
    """Aims a client's searches at one prefix of the directory: `prefix`, if there is one."""

    prefix: bytes | None = None

    def randbytes(self, n: int) -> bytes:
        """Return random bytes; as many as an id has, and it is `prefix`."""
        return self.prefix if self.prefix and n == ID_LENGTH else super().randbytes(n)


@dataclass
class Samples:
    """Searches of random prefixes, by clients who stay.

    Attributes:
        searches: How many.
        seen: How often each honest relay was among their adverts.
        others: All other adverts.
    """

    searches: int = 0
    seen: Counter[bytes] = field(default_factory=Counter)
    others: int = 0


@dataclass
class Aimed:
    """Searches, by clients who stay, of the prefix of one honest relay each.

    Attributes:
        searches: How many.
        found: Those that have found its advert.
    """

    searches: int = 0
    found: int = 0


class Residents:
    """Clients who stay, and search in turn.

    Args:
        world: Where.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._clients: list[tuple[SimulatedPeer, AimedRandom]] = []
        for _ in range(_RESIDENTS):
            rng = AimedRandom(world.rng.getrandbits(64))
            client = world.population.add_client(rng=rng)
            client.bootstrap(world.population.some_addresses())
            self._clients.append((client, rng))
        world.heap.run(_JOINING)

    def sample(self, searches: int) -> Samples:
        """Search random prefixes."""
        result = Samples()
        honest = {relay.core.public_key for relay in self._world.relays}

        def found(_: bytes | None, adverts: RelaysFound) -> None:
            named = {advert.public_key for advert in adverts.adverts}
            result.searches += 1
            result.seen.update(named & honest)
            result.others += len(named - honest)

        self._search([None] * searches, found)
        return result

    def aim(self, relays: Sequence[SimulatedPeer]) -> Aimed:
        """Search the prefix of each of these relays."""
        result = Aimed()
        keys = {relay.core.peer_id: relay.core.public_key for relay in relays}

        def found(prefix: bytes | None, adverts: RelaysFound) -> None:
            result.searches += 1
            result.found += any(
                prefix is not None and advert.public_key == keys[prefix]
                for advert in adverts.adverts
            )

        self._search([relay.core.peer_id for relay in relays], found)
        return result

    def _search(
        self,
        prefixes: Sequence[bytes | None],
        found: Callable[[bytes | None, RelaysFound], None],
    ) -> None:
        heap = self._world.heap

        def start(client: SimulatedPeer, rng: AimedRandom, prefix: bytes | None) -> None:
            rng.prefix = prefix
            client.find_relays(SAMPLE, _PATIENCE, lambda adverts: found(prefix, adverts))

        for at, prefix in enumerate(prefixes):
            client, rng = self._clients[at % _RESIDENTS]
            heap.after(at / _RATE, start, client, rng, prefix)
        heap.run(len(prefixes) / _RATE + _TAIL)


@dataclass
class Lookups:
    """Look-ups of random ids by honest peers.

    Attributes:
        closest: Honest ones among the k peers that are closest in truth.
        found: Those of them that are in the result.
        lookups: How many.
        denied: Look-ups that brought none of the honest ones that are closest.
    """

    closest: int = 0
    found: int = 0
    lookups: int = 0
    denied: int = 0


def look_up(world: World, count: int) -> Lookups:
    """Look up random ids."""
    result = Lookups()
    honest = world.population.honest
    places = {peer.address for peer in honest}

    def start() -> None:
        target, asker = world.rng.randbytes(ID_LENGTH), world.rng.choice(honest)
        closest = set(world.population.closest(target, LOOKUP_K)) & places - {asker.address}
        asker.find_node(target, partial(ended, closest))

    def ended(closest: set[Address], lookup: LookupEnded) -> None:
        found = closest & {contact.address for contact in lookup.contacts}
        result.lookups += 1
        result.closest += len(closest)
        result.found += len(found)
        result.denied += bool(closest) and not found

    for at in range(count):
        world.heap.after(at / _RATE, start)
    world.heap.run(count / _RATE + _TAIL)
    return result
