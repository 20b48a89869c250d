"""Runs a scenario on real sockets; what came of it is as of one that is simulated."""

import logging
import math
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Final

import trio

from overlay.nursery import lone_errors
from simulations import events
from simulations.errors import SimulationError
from simulations.real.clock import PatientClock
from simulations.real.world import RealWorld
from simulations.run.figures import TAIL
from simulations.run.notes import whole_notes
from simulations.run.results import Results
from simulations.run.runner import Stop, Tell, hashes_of, results_of, steps
from simulations.run.samples import Sampler
from simulations.scenario.settings import Scenario

_STEP: Final = 1.0  # seconds between two looks at whether to stop
_MOST_NODES: Final = 2000  # more would take one process many times as long as real time
_SPARE_SOCKETS: Final = 300  # of searches, and of nodes that verify relays
_SOCKETS_OF_CALL: Final = 8  # two peers, two ends, two ports of the relay's, and probes


def run_real(name: str, scenario: Scenario, tell: Tell, stop: Stop) -> Results:
    """Run a scenario on real sockets.

    Args:
        name: What it is called.
        scenario: What it is; `check_real` has nothing against it.
        tell: Is told how far it is.
        stop: Whether to end before its time, with what was measured until then.

    Raises:
        SimulationError: It cannot be run, or was to end before anything was measured.
    """
    with _quiet(), lone_errors():
        clock = PatientClock()
        return trio.run(_run, name, scenario, tell, stop, clock, clock=clock)


def check_real(scenario: Scenario) -> None:
    """Make sure that loopback and this process can do what the scenario says.

    Raises:
        SimulationError: They cannot.
    """
    if not events.__file__.endswith(".py"):
        raise SimulationError(
            "--real: what is compiled only simulates; run it where nothing is, as `make venv` "
            "installs it"
        )
    if scenario.nats.open < 1.0:
        raise SimulationError(
            f"nats.open: is {scenario.nats.open:g}, but there are no NATs on loopback; set it to 1 "
            "for --real, or simulate"
        )
    if scenario.nodes > _MOST_NODES:
        raise SimulationError(
            f"nodes: is {scenario.nodes}, but one process runs at most {_MOST_NODES} on real "
            "sockets; pass --nodes 200"
        )
    needed, limit = sockets_for(scenario), _open_files()
    if needed > limit:
        raise SimulationError(
            f"nodes: {scenario.nodes} and all that they and their clients do take {needed} "
            f"sockets, and this process may have {limit} files open; choose fewer, or raise the "
            "limit (ulimit -n)"
        )


def sockets_for(scenario: Scenario) -> int:
    """Return how many sockets a scenario has open at once, about."""
    clients = scenario.clients
    calls = clients.calls_per_minute * clients.call.mean / 60.0
    calls += sum(crowd.clients for crowd in scenario.life.crowds)
    # Twice the calls: how many there are at once varies.
    return scenario.nodes + _SPARE_SOCKETS + math.ceil(2.0 * calls) * _SOCKETS_OF_CALL


def _open_files() -> int:
    """Raise the limit of open files as far as it may be, and return it."""
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # some containers forbid it
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        limit = most
    return limit


@contextmanager
def _quiet() -> Iterator[None]:
    """Have the overlay log nothing: that peers are cut off, or dead, the scenario says."""
    log = logging.getLogger("overlay")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)


async def _run(
    name: str, scenario: Scenario, tell: Tell, stop: Stop, clock: PatientClock
) -> Results:
    started = time.perf_counter()
    files = hashes_of(scenario)
    with stop.noticed():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(clock.run)
            tell("building the network", None)
            world = RealWorld(scenario, nursery)
            try:
                world.create()
                nursery.start_soon(world.network.pump.run)
                await _join(world, tell, stop)
                sampler, reached = await _happen(world, tell, stop)
                machine = {"total_s": time.perf_counter() - started}
                notes = whole_notes(world, sampler)
                results = results_of(name, scenario, files, notes, reached, machine)
            finally:
                world.network.close_all()
            nursery.cancel_scope.cancel()
    return replace(results, real=True, trace=None)


async def _join(world: RealWorld, tell: Tell, stop: Stop) -> None:
    async with trio.open_nursery() as nursery:

        async def watch() -> None:
            while not stop.wanted:
                tell("joining", world.population.joined / world.scenario.nodes)
                await trio.sleep(_STEP)
            nursery.cancel_scope.cancel()

        nursery.start_soon(watch)
        await world.population.join_all()
        nursery.cancel_scope.cancel()
    if stop.wanted:
        raise SimulationError("interrupted while nodes joined: nothing was measured")


async def _happen(world: RealWorld, tell: Tell, stop: Stop) -> tuple[Sampler, float]:
    """Let the scenario happen; returns what has looked at it, and how far it came."""
    scenario = world.scenario
    began = trio.current_time()
    world.warm_up()
    for passed in steps(scenario.warmup):
        await trio.sleep_until(began + passed)
        tell("warming up", passed / scenario.warmup)
        if stop.wanted:
            raise SimulationError("interrupted while warming up: nothing was measured")
    world.network.pump.catch_up()
    world.start()
    sampler = Sampler(world)
    sampler.start()
    reached = 0.0
    for passed in steps(scenario.duration):
        await trio.sleep_until(world.began + passed)
        reached = passed
        tell("running", reached / scenario.duration)
        if stop.wanted:
            return sampler, reached
    tell("finishing", None)
    world.finish()
    for waited in steps(TAIL):
        if stop.wanted:
            return sampler, scenario.duration + waited - _STEP
        if world.is_idle:
            break
        await trio.sleep_until(world.began + scenario.duration + waited)
    return sampler, scenario.duration + TAIL
