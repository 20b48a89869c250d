"""The command: sets the network up, measures, and prints."""

import json as json_format
import os
import platform
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio
from rich.console import Console
from rich.status import Status

from node.commands.output import say
from node.commands.signals import interruptible
from node.errors import UserError
from overlay.nursery import lone_error
from simulations.lab.bench.contenders import NAMES, build
from simulations.lab.bench.cost import Costs, Note, make_plan, measure_cost
from simulations.lab.bench.promises import MEASURES, Promise, cost_promises, measure_promises
from simulations.lab.bench.report import as_document, as_tables
from simulations.lab.netns import Lab, LabUnavailableError, open_lab, open_loopback
from simulations.lab.program import ProgramError

COST = "cost"
WHAT = (COST, *MEASURES)
"""What can be measured."""

RELAYS = NAMES

ROUNDS, QUICK_ROUNDS = 7, 3

TIME_LIMIT = 3600.0
"""Seconds after which whatever still runs is given up."""


def parse_names(text: str, known: Sequence[str]) -> list[str]:
    """Names in a list that is separated by commas, each once and in the order of `known`.

    Raises:
        ValueError: one of them is not known, or there are none.
    """
    given = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in given if name not in known]
    if unknown or not given:
        what = repr(unknown[0][:40]) if unknown else "an empty list"
        raise ValueError(f"{what} is none of {', '.join(known)}")
    return [name for name in known if name in given]


async def bench(
    what: Sequence[str], relays: Sequence[str], rounds: int | None, quick: bool, as_json: bool
) -> None:
    """Measure and print.

    Args:
        what: of `WHAT`.
        relays: of `RELAYS`: whose cost.
        rounds: how often the cost is measured; None: as often as it takes.
        quick: measure less, and for a shorter time.
        as_json: print one JSON document.

    Raises:
        UserError: nothing could be measured, or it was interrupted.
    """
    errors = Console(stderr=True)
    missing: list[str] = []
    costs: Costs | None = None
    promises: list[Promise] = []
    try:
        with errors.status("setting up") as status, trio.fail_after(TIME_LIMIT):
            async with interruptible(), _open(missing) as lab:
                note = _teller(status)
                site = await build(lab, max(os.sched_getaffinity(0)))
                if not site.real_time:
                    missing.append("an undisturbed CPU takes root; what else runs counts, too")
                if COST in what:
                    plan = make_plan(
                        quick=quick, rounds=rounds or (QUICK_ROUNDS if quick else ROUNDS)
                    )
                    costs = await measure_cost(site, relays, plan, note)
                    missing += costs.missing
                    promises += cost_promises(costs)
                others = [name for name in what if name != COST]
                found, unmeasured = await measure_promises(
                    lab, site, others, quick=quick, note=note
                )
                promises += found
                missing += unmeasured
                facts = {"namespaces": lab.namespaces, "cpus": os.cpu_count(), **_facts()}
    except trio.TooSlowError:
        raise UserError(f"not done within {TIME_LIMIT:.0f} s; try --quick") from None
    except BaseException as exception:
        error = lone_error(exception)
        if isinstance(error, ProgramError | LabUnavailableError):
            raise UserError(f"the bench failed: {error}") from exception
        raise
    for line in missing:
        print(f"not measured: {line}", file=sys.stderr)
    if not promises and (costs is None or not costs.relays):
        raise UserError("nothing could be measured; see the lines above")
    if as_json:
        say(json_format.dumps(as_document(costs, promises, missing, facts)))
    else:
        say(as_tables(costs, promises, Console()))


@asynccontextmanager
async def _open(missing: list[str]) -> AsyncIterator[Lab]:
    """A network of namespaces or, if there can be none, loopback."""
    try:
        async with open_lab() as lab:
            yield lab
            return
    except LabUnavailableError as error:
        missing.append(f"network namespaces: {error}; all that was measured went over loopback")
    async with open_loopback() as lab:
        yield lab


def _teller(status: Status) -> Note:
    """Tells what is done now: on a terminal alone."""

    def tell(text: str) -> None:
        status.update(text)

    return tell


def _facts() -> dict[str, str]:
    return {"kernel": platform.release(), "python": platform.python_version()}
