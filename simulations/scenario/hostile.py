"""The adversary of a scenario: Sybils, as `simulations.sybils` has them."""

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from simulations.scenario.table import WrongValueError

Attack = Literal["drop", "lie", "flood", "lure", "mask", "eclipse", "all"]


@dataclass(frozen=True, kw_only=True)
class AdversarySettings:
    """Hostile peers."""

    share: Annotated[float, Meta(ge=0.0, le=0.9)] = 0.0
    """Of the nodes."""

    attack: Attack = "all"
    """drop: answer pings alone. lie: name only each other, and forget what they store. flood: hand
    out bad adverts without end. lure: name only the attacker's relays. mask: under ids made up to
    be close. eclipse: hide one relay, and be honest else. all: some of each."""

    networks: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    """The /24s that they are in; if not given, as many as so many honest hosts are in."""

    def __post_init__(self) -> None:
        if self.networks is not None and not self.share:
            raise WrongValueError("networks", "there are no hostile nodes; give their share, too")
