"""What is noted of each look-up, search and call; rows of the tables of the results."""

import math
from dataclasses import dataclass, field
from typing import Final

from simulations.overlay_figures.experiments import LookupRecord
from simulations.run.nats import OPEN

OUTCOMES: Final = ("unfinished", "no relay", "refused", "failed", "lost", "done")


@dataclass(slots=True)
class Lookup:
    """A look-up of a random id.

    Attributes:
        at: When it began, seconds on the clock of the scenario.
        record: What came of it.
    """

    at: float
    record: LookupRecord = field(default_factory=LookupRecord)


@dataclass(slots=True)
class SearchRecord:
    """A search for relays by a client that came for it.

    Attributes:
        at: When it began, seconds on the clock of the scenario.
        first: Seconds until a first relay had answered; infinite if none did.
        relays: How many answered in time.
        crowd: Whether the client was one of a crowd.
        behind: What the client was behind, one of `NatSettings.shares`.
    """

    at: float
    first: float = math.inf
    relays: int = 0
    crowd: bool = False
    behind: str = OPEN


@dataclass(slots=True)
class CallRecord:
    """A call through a relay.

    Attributes:
        at: When the caller came, seconds on the clock of the scenario.
        outcome: One of `OUTCOMES`. done: it lasted as long as it was to. lost: its relay was, and
            no other was found. failed: no media came through any relay.
        setup: Seconds until both ends heard each other; infinite if they never did.
        asked: Requests for a channel.
        refused: Of those, refused or unanswered.
        failovers: Relays that were given up for another one in the middle of the call.
        interrupted: Seconds that the caller heard nothing, at these.
        direct: Round trip between the ends, seconds.
        path: Round trip by way of the first relay that carried it, seconds.
        best: Round trip by way of the best relay that had room then, seconds.
        caller: What the caller was behind, one of `NatSettings.shares`.
        callee: What the callee was behind.
    """

    at: float
    outcome: str = "unfinished"
    setup: float = math.inf
    asked: int = 0
    refused: int = 0
    failovers: int = 0
    interrupted: float = 0.0
    direct: float = math.nan
    path: float = math.nan
    best: float = math.nan
    caller: str = OPEN
    callee: str = OPEN
