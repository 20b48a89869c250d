"""Who lives in a scenario: nodes that come and go, relays that lend, clients that call."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from node.relay.quota import Quota
from simulations.scenario.table import WrongValueError
from simulations.scenario.values import (
    DurationSettings,
    Kbps,
    Positive,
    Rate,
    Seconds,
    Share,
    need_file,
)


@dataclass(frozen=True, kw_only=True)
class RhythmSettings:
    """Arrivals and what clients do are more at one time of the day than at another."""

    amplitude: Share
    """By what share they are more at the peak, and less half a period later."""

    period: Positive = 86_400.0
    peak: Seconds = 0.0
    """When it is, on the clock of the scenario."""


@dataclass(frozen=True, kw_only=True)
class FailureSettings:
    """Many nodes are gone at once, silently."""

    at: Seconds
    share: Annotated[float, Meta(gt=0.0, le=0.95)]
    """Of the nodes; hostile ones are spared."""

    only: Literal["nodes", "relays"] = "nodes"
    """Whether it meets all nodes alike, or relays alone."""


@dataclass(frozen=True, kw_only=True)
class CrowdSettings:
    """Many clients come at nearly the same time."""

    at: Seconds
    seconds: Positive
    """Over which they come."""

    clients: Annotated[int, Meta(gt=0, le=1_000_000)]
    call: bool = False
    """Whether they place a call each, or only search relays."""


@dataclass(frozen=True, kw_only=True)
class LifeSettings:
    """How nodes come and go."""

    sessions: DurationSettings | None = None
    """How long a node stays; without it all stay."""

    arrivals: DurationSettings | None = None
    """Time between two that come; without it as many come as leave, as a Poisson process."""

    trace: Path | None = None
    """File of sessions, instead of both: lines of start and end, seconds, separated by a tab. Those
    that start at 0 are of the nodes at the beginning; the rest of these stay."""

    rhythm: RhythmSettings | None = None
    failures: tuple[FailureSettings, ...] = ()
    crowds: tuple[CrowdSettings, ...] = ()

    def __post_init__(self) -> None:
        if self.trace is not None:
            need_file("trace", self.trace)
            if self.sessions is not None or self.arrivals is not None:
                raise WrongValueError("trace", "says it all; remove sessions and arrivals")


@dataclass(frozen=True, kw_only=True)
class ClientSettings:
    """Clients: they come, search relays, some of them place a call, and leave."""

    searches_per_minute: Rate = 30.0
    """Searches without a call, in the whole network."""

    calls_per_minute: Rate = 0.0
    call: DurationSettings = field(default_factory=lambda: DurationSettings(mean=180.0))
    """How long a call lasts."""

    choice: Literal["nearest", "both-ends", "random"] = "nearest"
    """How a caller chooses its relay. nearest: the shortest round trip from the caller. both-ends:
    the shortest path from caller to callee, which probes the same relays. random: any."""

    packets_per_second: Annotated[float, Meta(gt=0.0, le=50.0)] = 2.0
    """Media packets of either end; real ones would be 50, which costs accordingly."""

    packet_bytes: Annotated[int, Meta(ge=16, le=1400)] = 172
    silence: Positive = 3.0
    """Seconds without a packet from the other end after which a caller takes the next relay."""


@dataclass(frozen=True, kw_only=True)
class RelaySettings:
    """Nodes that lend channels."""

    share: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.2
    """Of the honest nodes that are behind no NAT."""

    channels: Annotated[int, Meta(gt=0, le=16_384)] = 16
    """Most channels of a relay, at the least."""

    channels_up_to: Annotated[int, Meta(gt=0, le=16_384)] | None = None
    """At the most: relays differ, evenly by their logarithm. Without it all have `channels`."""

    expire: Annotated[float, Meta(ge=1.0, le=3600.0)] = 60.0
    """Seconds without a packet after which a channel ends."""

    maxkbps: Kbps | None = None
    """Of a channel and direction; not limited if not given."""

    quota: str | None = None
    """What a relay passes on in a day or a month, such as 50GB/month; not limited if not given."""

    lying: Share = 0.0
    """Of the relays: they say that all is free, and refuse."""

    dropping: Share = 0.0
    """They lend channels, and pass nothing on."""

    vanishing: Share = 0.0
    """They are gone some seconds after they lent a channel."""

    vanish_after: Positive = 10.0

    def __post_init__(self) -> None:
        if self.channels_up_to is not None and self.channels_up_to < self.channels:
            reason = f"is {self.channels_up_to}, less than channels; choose {self.channels} or more"
            raise WrongValueError("channels_up_to", reason)
        if self.quota is not None:
            try:
                Quota.parse(self.quota)
            except ValueError as error:
                raise WrongValueError("quota", str(error)) from None
        bad = self.lying + self.dropping + self.vanishing
        if bad > 1.0:
            reason = f"the shares lying, dropping and vanishing add up to {bad:g}; at most 1"
            raise WrongValueError("", reason)
