"""The network of a scenario: delays, what goes wrong on the way, and what hosts are behind."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from simulations.addresses import HOSTS_PER_NETWORK
from simulations.latency import SYNTHETIC_SITES
from simulations.nat import IDLE
from simulations.scenario.table import WrongValueError
from simulations.scenario.values import SHARES_ADD_UP, Kbps, Positive, Seconds, Share, need_file


@dataclass(frozen=True, kw_only=True)
class AccessSettings:
    """The line between a host, or all behind one home's NAT, and the network."""

    up_kbps: Kbps = 10_000
    """Kilobits a second, datagrams' payload."""

    down_kbps: Kbps = 50_000
    queue: Positive = 0.2
    """Seconds that a datagram may wait for the line; what would wait longer is dropped."""


@dataclass(frozen=True, kw_only=True)
class PartitionSettings:
    """A time for which some sites and all others do not reach each other."""

    at: Seconds
    seconds: Positive
    share: Annotated[float, Meta(gt=0.0, lt=1.0)]
    """Of all sites, that are cut off together."""


@dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """How datagrams travel."""

    rtt: Path | None = None
    """Matrix of round-trip times: lines of tab-separated numbers. Without it they come from a
    model with a median of 135 ms and a 95th percentile of 330 ms."""

    rtt_unit: Literal["ms", "s"] | None = None
    """What the numbers of the matrix count."""

    sites: Annotated[int, Meta(ge=2, le=10_000)] = SYNTHETIC_SITES
    """Of the model; hosts are put on random ones."""

    jitter: Annotated[float, Meta(ge=0.0, lt=1.0)] = 0.05
    """Largest deviation of a delay, as a share of it."""

    loss: Share = 0.02
    """Of all datagrams."""

    duplication: Share = 0.0
    """Of the datagrams that arrive twice."""

    reordering: Share = 0.0
    """Of the datagrams that are held up, so that later ones overtake them."""

    reordering_delay: Positive = 0.05
    """Seconds that they are held up."""

    hosts_per_network: Annotated[int, Meta(ge=1, le=200)] = HOSTS_PER_NETWORK
    """Hosts in a /24, on average."""

    access: AccessSettings | None = None
    """Without it lines have no limit."""

    partitions: tuple[PartitionSettings, ...] = ()

    def __post_init__(self) -> None:
        if self.rtt is not None:
            need_file("rtt", self.rtt)
            if self.rtt_unit is None:
                raise WrongValueError("rtt", "needs rtt-unit: the numbers count ms, or s?")
        elif self.rtt_unit is not None:
            raise WrongValueError("rtt_unit", "there is no rtt that it is the unit of")

    @property
    def is_plain(self) -> bool:
        """Whether nothing but delay, jitter and loss happens to a datagram."""
        happens = self.duplication or self.reordering or self.partitions
        return self.access is None and not happens


@dataclass(frozen=True, kw_only=True)
class NatSettings:
    """What hosts are behind, nodes and clients alike; the shares add up to 1."""

    open: Share = 1.0
    """Nothing."""

    full_cone: Share = 0.0
    """One outer port for all, and whoever sends there is let in."""

    address_restricted: Share = 0.0
    """One outer port for all; those are let in whose address was sent to."""

    port_restricted: Share = 0.0
    """One outer port for all; those are let in whose address and port were sent to."""

    symmetric: Share = 0.0
    """An outer port for each destination, which alone is let in."""

    carrier_grade: Share = 0.0
    """A port-restricted NAT at home, behind a symmetric one of the provider's."""

    hairpin: Share = 0.0
    """Of the NATs, that let those behind them reach each other by their outer addresses."""

    mapping_timeout: Positive = IDLE
    """Seconds without a datagram from within after which a NAT forgets (RFC 4787: 120)."""

    hosts_per_nat: Annotated[int, Meta(ge=1, le=1000)] = 1
    """Hosts behind one home's NAT."""

    homes_per_carrier: Annotated[int, Meta(ge=1, le=1000)] = 32
    """Homes behind one NAT of a provider's."""

    def __post_init__(self) -> None:
        total = sum(self.shares.values())
        if abs(total - 1.0) > SHARES_ADD_UP:
            names = ", ".join(name.replace("_", "-") for name in self.shares)
            raise WrongValueError("", f"the shares {names} add up to {total:g}; they must to 1")

    @property
    def shares(self) -> dict[str, float]:
        """The share of the hosts behind each kind."""
        names = [field.name for field in fields(self)]
        return {name: getattr(self, name) for name in names[: names.index("hairpin")]}
