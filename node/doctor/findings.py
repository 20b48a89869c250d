"""What a check found: a result, what it means, and what to do about it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from node.doctor.patient import Patient

Result = Literal["ok", "warning", "failed", "skipped"]
"""``warning``: the node serves, but not as well as it could. ``failed``: it does not, or nobody
finds it. ``skipped``: nothing could be learnt, or nothing was to be; the meaning says why."""


@dataclass(frozen=True)
class Finding:
    """What came of one check."""

    result: Result
    """How it went."""
    meaning: str
    """What was found, in one line."""
    remedy: str = ""
    """What to do; empty if there is nothing to do."""


@dataclass(frozen=True)
class Check:
    """One thing that a node needs."""

    name: str
    """What it is called, for people and in JSON."""
    find: Callable[[Patient], Awaitable[Finding]]
    """Looks at it. A UserError or OverlayError that it raises is a failure, and what it says is
    the finding; SkippedError is none."""


def ok(meaning: str) -> Finding:
    """All is well."""
    return Finding("ok", meaning)


def warning(meaning: str, remedy: str) -> Finding:
    """It could be better."""
    return Finding("warning", meaning, remedy)


def failed(meaning: str, remedy: str) -> Finding:
    """The node cannot do without."""
    return Finding("failed", meaning, remedy)


def skipped(meaning: str, remedy: str = "") -> Finding:
    """Nothing was learnt."""
    return Finding("skipped", meaning, remedy)


def failure(error: Exception) -> Finding:
    """What an error says that is made for people: what failed and why; what to do."""
    meaning, _, remedy = " ".join(str(error).split()).rpartition("; ")
    return failed(meaning, remedy) if meaning else failed(remedy, "")
