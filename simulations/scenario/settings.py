"""What a scenario may say. Times are seconds of the simulated clock, shares are 0 to 1."""

from dataclasses import dataclass, field
from typing import Annotated, Final

from msgspec import Meta

from overlay.core.kademlia.contact import K
from simulations.scenario.hostile import AdversarySettings
from simulations.scenario.life import ClientSettings, LifeSettings, RelaySettings
from simulations.scenario.network import NatSettings, NetworkSettings
from simulations.scenario.table import WrongValueError
from simulations.scenario.values import Count, Seconds

MOST_NODES: Final = 1_000_000
_LONGEST: Final = 366 * 86_400.0  # seconds
_MOST_ARRIVALS: Final = 1000.0  # a second


@dataclass(frozen=True, kw_only=True)
class MeasureSettings:
    """What is measured, and how often."""

    lookups_per_minute: Annotated[float, Meta(ge=0.0, le=100_000.0)] = 60.0
    """Look-ups of random ids by random nodes, in the whole network."""

    interval: Annotated[float, Meta(ge=1.0, le=86_400.0)] = 10.0
    """Seconds between two points of what is drawn over time."""

    observed: Count = 1000
    """Nodes, at most, whose requests are read to tell the levels of the directory apart."""

    trace: bool = True
    """Hash every datagram that is delivered, so that two runs can be told to be the same."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A simulation."""

    title: str = ""
    """In a few words, for the report."""

    nodes: Annotated[int, Meta(gt=K, le=MOST_NODES)]
    """Nodes at the beginning, behind NATs or not, hostile ones with them."""

    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 1
    """Decides everything random."""

    warmup: Seconds = 60.0
    """Seconds in which those behind NATs join, until the clock of the scenario starts at 0. All
    others have known each other for long, and list the relays."""

    duration: Annotated[float, Meta(gt=0.0, le=_LONGEST)]
    """Seconds that are simulated then."""

    network: NetworkSettings = field(default_factory=NetworkSettings)
    nats: NatSettings = field(default_factory=NatSettings)
    life: LifeSettings = field(default_factory=LifeSettings)
    clients: ClientSettings = field(default_factory=ClientSettings)
    relays: RelaySettings = field(default_factory=RelaySettings)
    adversaries: AdversarySettings = field(default_factory=AdversarySettings)
    measure: MeasureSettings = field(default_factory=MeasureSettings)

    def __post_init__(self) -> None:
        if self.measure.interval > self.duration:
            interval, duration = self.measure.interval, self.duration
            reason = f"is {interval:g} s, but duration only {duration:g} s; choose less"
            raise WrongValueError("measure.interval", reason)
        self._check_nodes()
        for name in ("failures", "crowds"):
            for at, event in enumerate(getattr(self.life, name)):
                self._check_time(f"life.{name}.{at}.at", event.at)
        for at, partition in enumerate(self.network.partitions):
            self._check_time(f"network.partitions.{at}.at", partition.at)

    def _check_nodes(self) -> None:
        """Make sure that shares of the nodes come to somebody, and that not too many come."""
        hostile, hidden = self.adversaries.share, 1.0 - self.nats.open
        reached = self.nodes * (1.0 - hostile) * (1.0 - hidden)
        if round(reached) <= K:
            reason = f"leaves {reached:.0f} honest nodes without a NAT; choose more than {K}"
            raise WrongValueError("nodes", reason)
        if hostile and not round(hostile * self.nodes):
            reason = f"is {hostile:g}; of {self.nodes} nodes that is none; choose more"
            raise WrongValueError("adversaries.share", reason)
        for at, failure in enumerate(self.life.failures):
            if failure.only == "nodes" and not round(failure.share * self.nodes * (1.0 - hostile)):
                reason = f"is {failure.share:g}; of the nodes that is none; choose more"
                raise WrongValueError(f"life.failures.{at}.share", reason)
        sessions = self.life.sessions
        if sessions is not None and self.nodes / sessions.mean > _MOST_ARRIVALS:
            reason = (
                f"is {sessions.mean:g} s; of {self.nodes} nodes more than {_MOST_ARRIVALS:g} come "
                "in a second then; choose more"
            )
            raise WrongValueError("life.sessions.mean", reason)

    def _check_time(self, name: str, at: float) -> None:
        if at >= self.duration:
            reason = f"is {at:g} s, but the scenario ends at {self.duration:g} s; choose less"
            raise WrongValueError(name, reason)
