"""How peers judge whether strangers reach them: `python -m simulations.reachability --help`.

Every second host stands behind a NAT or firewall, of one of three kinds. A tenth of all datagrams
is lost, so every witness is one that loses; in the worlds of liars a fifth of all peers says that
it has sent somebody, or has knocked, and has not. Newcomers join at the beginning. In the end some
hosts get a NAT that keeps strangers out, and later lose it again.
"""

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from overlay.core.addresses import Address
from overlay.core.events import Connected, Event, ReachabilityChanged
from overlay.core.kademlia.contact import K
from overlay.core.reachability.verdict import Verdict
from simulations.events import EventHeap
from simulations.latency import SyntheticLatency
from simulations.nat import Dependence, Firewall
from simulations.network import Conditions, Network
from simulations.options import amount, count
from simulations.overlay_figures.report import percentile
from simulations.peers import SimulatedPeer
from simulations.population import BOOTSTRAP, Population
from simulations.sybils.attackers import FalseWitness

LOSS: Final = 0.1
LIARS: Final = 0.2
PEERS: Final = 100
HOURS: Final = 24.0
NEWCOMERS: Final = 1 / 4  # of all peers
CHANGED: Final = 10  # hosts that get a NAT, and lose it
_HOUR: Final = 3600.0
_LOOK: Final = 5.0  # seconds between two looks at who has changed its role
_PATIENCE: Final = 3000.0  # seconds that a change may take
_SETTLING: Final = 600.0  # seconds until all have found out

# What hosts stand behind, and how many of them; None for nothing.
GATES: Final[tuple[tuple[Dependence | None, float], ...]] = (
    (None, 0.5),
    (Dependence.ENDPOINT_INDEPENDENT, 0.1),
    (Dependence.ADDRESS_DEPENDENT, 0.2),
    (Dependence.PORT_DEPENDENT, 0.2),
)


@dataclass
class Figures:
    """What came of a run.

    Attributes:
        first: Seconds from a newcomer's first answer to its first verdict, by what it is behind.
        right: Share of the looks at all peers, once settled, at which a verdict was right.
        flaps: Changes of a verdict without a reason.
        undecided: Peers without a verdict at the end.
        closed: Seconds from the closing of a NAT until the peer became a client.
        left: Share of the routing tables with such a peer that still have it an hour later.
        opened: Seconds from the opening until it served again.
        rate: Bytes a second that a peer sends and receives, mean.
    """

    first: dict[str, list[float]] = field(default_factory=dict)
    right: float = 0.0
    flaps: int = 0
    undecided: int = 0
    closed: list[float] = field(default_factory=list)
    left: float = 0.0
    opened: list[float] = field(default_factory=list)
    rate: float = 0.0


class _Population(Population):
    """Peers that join by way of those that can be reached, as bootstrap peers can."""

    def some_addresses(self) -> list[Address]:
        open_peers = [peer.address for peer in self.peers if peer.host.gate is None]
        return self.rng.sample(open_peers, min(BOOTSTRAP, len(open_peers)))


class World:
    """A network of peers behind NATs.

    Args:
        peers: How many.
        liars: Share of them that lie.
        rng: All that is random.
    """

    def __init__(self, peers: int, liars: float, rng: random.Random) -> None:
        self.figures = Figures()
        self.heap = EventHeap()
        network = Network(self.heap, SyntheticLatency(rng), rng, Conditions(LOSS, 0.05))
        self.population = _Population(network, rng, peers)
        self.population.on_join = self._equip
        newcomers = round(NEWCOMERS * peers)
        self._changing: set[Address] = set()
        self._is_settled = False
        self._rng = rng
        self._liars = liars
        self.population.build(peers - newcomers)
        self.heap.run(_SETTLING)
        for _ in range(newcomers):
            self.population.add_peer()
        self.heap.run(_SETTLING)

    def is_reachable(self, peer: SimulatedPeer) -> bool:
        """Whether strangers reach a peer: what it has to find out."""
        gate = peer.host.gate
        return not isinstance(gate, Firewall) or gate.filtering is Dependence.ENDPOINT_INDEPENDENT

    def is_right(self, peer: SimulatedPeer) -> bool:
        """Whether a peer knows."""
        verdict = Verdict.REACHABLE if self.is_reachable(peer) else Verdict.UNREACHABLE
        return peer.core.reachability.verdict is verdict

    def watch(self, seconds: float) -> list[float]:
        """Let time pass; returns the share of right verdicts at each look."""
        shares = []
        self._is_settled = True
        for _ in range(round(seconds / 60.0)):
            self.heap.run(60.0)
            peers = self.population.peers
            shares.append(sum(map(self.is_right, peers)) / len(peers))
        return shares

    def change(self, peers: Iterable[SimulatedPeer], filtering: Dependence | None) -> list[float]:
        """Put other gates before some hosts; returns when each has changed its role, seconds."""
        waiting = list(peers)
        self._changing = {peer.address for peer in waiting}
        for peer in waiting:
            peer.host.gate = None if filtering is None else Firewall(filtering)
        times: list[float] = []
        began = self.heap.now
        while waiting and self.heap.now < began + _PATIENCE:
            self.heap.run(_LOOK)
            late = [peer for peer in waiting if peer.core.serves is not self.is_reachable(peer)]
            times += [self.heap.now - began] * (len(waiting) - len(late))
            waiting = late
        self._changing = set()
        return times + [float("inf")] * len(waiting)

    def holders(self, peers: Iterable[SimulatedPeer]) -> dict[Address, int]:
        """Count in how many tables each of some peers is."""
        count = {peer.address: 0 for peer in peers}
        for holder in self.population.peers:
            for contact in holder.core.contacts():
                if contact.address in count:
                    count[contact.address] += 1
        return count

    def _equip(self, peer: SimulatedPeer) -> None:
        (filtering,) = self._rng.choices(*zip(*GATES, strict=True))
        peer.host.gate = None if filtering is None else Firewall(filtering)
        if self._rng.random() < self._liars:
            # The core has no call for this: no real peer has a choice of its own.
            responder = peer.core._responder
            responder.witnessing = FalseWitness(peer.core._rpc)
        peer.on_event = self._observer(peer, "none" if filtering is None else filtering.value)

    def _observer(self, peer: SimulatedPeer, gate: str) -> Callable[[Event], None]:
        connected = 0.0  # not so for those who were there already
        known = False

        def observe(event: Event) -> None:
            nonlocal connected, known
            if isinstance(event, Connected):
                connected = self.heap.now
            if not isinstance(event, ReachabilityChanged):
                return
            if connected and not known:
                known = True
                self.figures.first.setdefault(gate, []).append(self.heap.now - connected)
            elif self._is_settled and peer.address not in self._changing:
                self.figures.flaps += 1

        return observe


def measure(peers: int, hours: float, liars: float, seed: int) -> Figures:
    """Run one world."""
    rng = random.Random(seed)
    world = World(peers, liars, rng)
    figures = world.figures
    population = world.population.peers
    before = sum(peer.traffic for peer in population)
    shares = world.watch(hours * _HOUR)
    used = sum(peer.traffic for peer in population) - before
    figures.rate = used / len(population) / (hours * _HOUR)
    figures.right = statistics.fmean(shares)
    figures.undecided = sum(
        peer.core.reachability.verdict is Verdict.UNKNOWN for peer in population
    )
    chosen = [peer for peer in population if peer.host.gate is None][:CHANGED]
    held = world.holders(chosen)
    began = world.heap.now
    figures.closed = world.change(chosen, Dependence.ADDRESS_DEPENDENT)
    world.heap.run(began + _HOUR - world.heap.now)
    figures.left = sum(world.holders(chosen).values()) / sum(held.values())
    figures.opened = world.change(chosen, None)
    return figures


def _seconds(values: list[float]) -> str:
    if not values:
        return "none"
    return f"{percentile(values, 0.5):.1f} / {percentile(values, 0.95):.1f} / {max(values):.1f} s"


def _print(seed: int, liars: float, figures: Figures) -> None:
    print(f"seed {seed}, {liars:.0%} of all peers lie:")
    print(f"  right verdicts            {figures.right:.3%}")
    print(f"  flaps                     {figures.flaps}")
    print(f"  peers without a verdict   {figures.undecided}")
    for gate, times in sorted(figures.first.items()):
        print(f"  first verdict (median / 95th / last), {gate}: {_seconds(times)}")
    print(f"  NAT closed, now a client  {_seconds(figures.closed)}")
    print(f"  … still in tables, 1 hour {figures.left:.0%}")
    print(f"  NAT opened, serves again  {_seconds(figures.opened)}")
    print(f"  bytes/s of a peer         {figures.rate:.0f}", flush=True)


def main(argv: list[str]) -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="python -m simulations.reachability",
        description="How peers judge whether strangers reach them.",
        epilog="example: python -m simulations.reachability --seeds 3 --hours 24",
    )
    parser.add_argument("--peers", type=count(K + 1), default=PEERS)
    parser.add_argument("--hours", type=amount, default=HOURS, help="simulated")
    parser.add_argument("--seeds", type=count(1), default=3, help="worlds of each kind")
    parser.add_argument("--first-seed", type=count(0), default=1, help="the seed of the first")
    args = parser.parse_args(argv)
    for liars in (0.0, LIARS):
        for seed in range(args.first_seed, args.first_seed + args.seeds):
            started = time.perf_counter()
            _print(seed, liars, measure(args.peers, args.hours, liars, seed))
            print(f"({time.perf_counter() - started:.0f} s)", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
