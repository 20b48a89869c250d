"""What is noted of a run, so that the notes of shards can be put together."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from overlay.core.addresses import Address
from simulations.run.calls import Established
from simulations.run.nats import OPEN
from simulations.run.records import CallRecord, Lookup, SearchRecord
from simulations.run.results import Cell
from simulations.run.samples import Glance, MachineSample, Sampler
from simulations.run.world import World
from simulations.sybils.attackers import Sybil

NODE_COLUMNS = ("address", "behind", "relay", "verdict", "whole", "bytes_per_s", "requests")
RELAY_COLUMNS = (
    *("address", "behaviour", "alive", "channels", "most", "granted", "refused"),
    *("expired", "passed", "passed_bytes"),
)

Row = tuple[Cell, ...]


@dataclass(kw_only=True)
class Notes:
    """All that figures and tables are made of.

    Attributes:
        now: The clock of the scenario, seconds.
        lookups: Look-ups.
        searches: Searches.
        calls: Calls.
        established: Those that have come about.
        life: Nodes that arrived, left and failed.
        counters: Of the network.
        nodes: Nodes alive; columns are `NODE_COLUMNS`.
        relays: Relays, those that left with them, by when they came; columns `RELAY_COLUMNS`.
        observed: Nodes whose requests were read.
        levels: Of the directory.
        level_searches: Searches that they got, by level.
        level_stores: Adverts that they got, by level.
        level_of_peer: Both, by level and node.
        glances: What was looked at now and then.
        machine: What it took.
        memory_per_node: Bytes.
        trace: Sum over all datagrams; None if none was made.
    """

    now: float
    lookups: list[Lookup]
    searches: list[SearchRecord]
    calls: list[CallRecord]
    established: list[Established]
    life: tuple[int, int, int]
    counters: Counter[str]
    nodes: list[Row]
    relays: list[tuple[int, Row]]
    observed: int
    levels: int
    level_searches: Counter[int]
    level_stores: Counter[int]
    level_of_peer: Counter[tuple[int, Address]]
    glances: list[Glance]
    machine: list[MachineSample]
    memory_per_node: float
    trace: int | None


def take_notes(world: World, sampler: Sampler) -> Notes:
    """Note what a world has been through."""
    life, load = world.life, world.load
    return Notes(
        now=world.now,
        lookups=world.clients.lookups,
        searches=world.clients.searches,
        calls=world.clients.calls,
        established=world.clients.established,
        life=(life.arrived, life.left, life.failed),
        counters=world.network.counters,
        nodes=_node_rows(world),
        relays=_relay_rows(world),
        observed=len(world.observed),
        levels=load.levels,
        level_searches=load.searches,
        level_stores=load.stores,
        level_of_peer=load.of_peer,
        glances=sampler.glances,
        machine=sampler.machine,
        memory_per_node=world.memory_per_node,
        trace=None if world.trace is None else world.trace.total,
    )


def asked_paths(parts: Iterable[Notes]) -> list[tuple[float, int, int]]:
    """Return of which calls the best path is to be found out, as `World.best_paths` takes them."""
    return [(one.at, one.caller, one.callee) for part in parts for one in part.established]


def note_best_paths(parts: Iterable[Notes], best: Iterable[float]) -> None:
    """Note the best paths of these calls, in the same order."""
    calls = (one.record for part in parts for one in part.established)
    for record, path in zip(calls, best, strict=True):
        record.best = min(record.path, path)


def whole_notes(world: World, sampler: Sampler) -> Notes:
    """Note what a world has been through that is not divided."""
    notes = take_notes(world, sampler)
    note_best_paths([notes], world.best_paths(asked_paths([notes])))
    return notes


def put_together(parts: Sequence[Notes]) -> Notes:
    """Make one of the notes of all shards, in the order that a single process has them in."""

    def every(name: str) -> list[Any]:
        return [item for part in parts for item in getattr(part, name)]

    def total(name: str) -> Any:
        return sum((getattr(part, name) for part in parts), Counter())

    first = parts[0]
    traces = [part.trace for part in parts if part.trace is not None]
    return Notes(
        now=first.now,
        lookups=sorted(every("lookups"), key=_at),
        searches=sorted(every("searches"), key=_at),
        calls=sorted(every("calls"), key=_at),
        established=every("established"),
        life=first.life,  # which all shards live through alike
        counters=total("counters"),
        nodes=sorted(every("nodes")),
        relays=sorted(every("relays")),
        observed=sum(part.observed for part in parts),
        levels=first.levels,
        level_searches=total("level_searches"),
        level_stores=total("level_stores"),
        level_of_peer=total("level_of_peer"),
        glances=[
            _sum(glances, "at", "seconds")
            for glances in zip(*(part.glances for part in parts), strict=True)
        ],
        machine=[
            MachineSample(
                max(sample.at for sample in samples),
                max(sample.elapsed for sample in samples),
                sum(sample.memory for sample in samples),
            )
            for samples in zip(*(part.machine for part in parts), strict=True)
        ],
        memory_per_node=sum(part.memory_per_node for part in parts),
        trace=sum(traces) if traces else None,
    )


def _sum(glances: Sequence[Glance], *same: str) -> Glance:
    """Add up what shards saw at one time."""
    values = {
        field.name: getattr(glances[0], field.name)
        if field.name in same
        else sum(getattr(glance, field.name) for glance in glances)
        for field in fields(Glance)
    }
    return Glance(**values)


def _at(record: Lookup | SearchRecord | CallRecord) -> float:
    return record.at


def _node_rows(world: World) -> list[Row]:
    """All nodes alive; those that were there from the beginning have lived the `whole` time."""
    rows: list[Row] = []
    behind = world.population.hidden
    for peer in (*world.population.peers, *behind):
        if not peer.is_here:
            continue
        before = world.traffic.get(peer.address)
        counters: Counter[str] = peer.core.counters
        rows.append(
            (
                f"{peer.address[0]}:{peer.address[1]}",
                "hostile" if isinstance(peer, Sybil) else behind.get(peer, OPEN),
                peer.address in world.residents.lenders,
                peer.core.reachability.verdict.name.lower(),
                before is not None,
                0.0 if before is None else (peer.traffic - before) / max(world.now, 1e-9),
                counters["answered"] + counters["stun_answered"],
            )
        )
    return sorted(rows)


def _relay_rows(world: World) -> list[tuple[int, Row]]:
    return [
        (
            number,
            (
                f"{lender.address[0]}:{lender.address[1]}",
                lender.behaviour,
                lender.alive,
                lender.limits.channels,
                lender.most,
                lender.granted,
                lender.refused,
                lender.expired,
                lender.passed,
                lender.passed_bytes,
            ),
        )
        for number, lender in world.residents.all_lenders
    ]
