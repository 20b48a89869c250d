"""The figures and tables of a run, from what was noted of it. Keys have their unit at the end."""

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Final

from overlay.core.reachability.verdict import Verdict
from simulations.overlay_figures.experiments import LookupRecord
from simulations.overlay_figures.report import percentile
from simulations.relays import COUNT
from simulations.run.nats import OPEN
from simulations.run.notes import NODE_COLUMNS, RELAY_COLUMNS, Notes
from simulations.run.records import OUTCOMES, CallRecord, Lookup, SearchRecord
from simulations.run.results import Table, table_of
from simulations.run.samples import MachineSample, Sample

TAIL: Final = 15.0  # seconds after which every look-up and search is over
GOOD: Final = 1.1  # times the best path
_MS: Final = 1e3
_KIB, _MIB = 2**10, 2**20
_OF_LOOKUP: Final = tuple(field.name for field in fields(LookupRecord))

# Of each table.
COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "timeline": tuple(field.name for field in fields(Sample)),
    "machine": tuple(field.name for field in fields(MachineSample)),
    "lookups": ("at", *_OF_LOOKUP),
    "searches": tuple(field.name for field in fields(SearchRecord)),
    "calls": tuple(field.name for field in fields(CallRecord)),
    "nodes": NODE_COLUMNS,
    "relays": RELAY_COLUMNS,
    "directory": ("level", "searches_per_minute", "adverts_per_minute", "busiest_per_minute"),
}

# NATs behind which strangers reach a peer that keeps its mapping alive.
_REACHABLE: Final = frozenset({OPEN, "full_cone"})


class Judge:
    """Makes figures and tables of what was noted of a run.

    Args:
        notes: What was noted.
        until: What began later is left out, seconds: it is not over.
    """

    def __init__(self, notes: Notes, until: float) -> None:
        self._notes = notes
        self.lookups = [lookup for lookup in notes.lookups if lookup.at <= until]
        self.searches = [search for search in notes.searches if search.at <= until]
        self.calls = [call for call in notes.calls if call.at <= until]
        self._nodes = Table(NODE_COLUMNS, notes.nodes)

    def figures(self) -> dict[str, float]:
        """Return all figures that hang on the seed alone; NaN where nothing was measured."""
        counters = self._notes.counters
        arrived, left, failed = self._notes.life
        traffic = [
            rate
            for rate, of_whole in zip(
                self._nodes.column("bytes_per_s"), self._nodes.column("whole"), strict=True
            )
            if of_whole
        ]
        return {
            **_lookup_figures(self.lookups),
            **_search_figures(self.searches),
            **_call_figures(self.calls),
            "traffic_mean_bytes_per_s": _mean(traffic),
            "traffic_busiest_bytes_per_s": max(traffic, default=math.nan),
            "busiest_node_multiple": _busiest(self._nodes.column("requests")),
            "verdicts_right_percent": self._verdicts_right(),
            "nodes_arrived": arrived,
            "nodes_left": left,
            "nodes_failed": failed,
            **{f"datagrams_{name}": counters[name] for name in sorted(counters)},
        }

    def machine(self) -> dict[str, float]:
        """Return what it took, until it was last looked at."""
        last = self._notes.machine[-1]
        first = self._notes.machine[0]
        return {
            "elapsed_s": last.elapsed,
            "simulated_s_per_s": last.at / last.elapsed if last.at else math.nan,
            "memory_mib": last.memory / _MIB,
            "memory_at_start_mib": first.memory / _MIB,
            "memory_per_node_kib": self._notes.memory_per_node / _KIB,
        }

    def tables(self) -> dict[str, Table]:
        """Return all tables, by name."""
        return {
            "timeline": table_of(
                COLUMNS["timeline"], [glance.sample() for glance in self._notes.glances]
            ),
            "machine": table_of(COLUMNS["machine"], self._notes.machine),
            "lookups": Table(
                COLUMNS["lookups"],
                [
                    (lookup.at, *(getattr(lookup.record, name) for name in _OF_LOOKUP))
                    for lookup in self.lookups
                ],
            ),
            "searches": table_of(COLUMNS["searches"], self.searches),
            "calls": table_of(COLUMNS["calls"], self.calls),
            "nodes": self._nodes,
            "relays": Table(COLUMNS["relays"], [row for _, row in self._notes.relays]),
            "directory": self._directory_table(),
        }

    def _directory_table(self) -> Table:
        """Requests that the observed nodes got, by the level of the key."""
        notes = self._notes
        observed = max(1, notes.observed)
        busiest: Counter[int] = Counter()
        for (level, _), requests in notes.level_of_peer.items():
            busiest[level] = max(busiest[level], requests)
        minutes = max(notes.now, 1e-9) / 60.0
        rows = [
            (
                level,
                notes.level_searches[level] / observed / minutes,
                notes.level_stores[level] / observed / minutes,
                busiest[level] / minutes,
            )
            for level in range(notes.levels)
        ]
        return Table(COLUMNS["directory"], rows)

    def _verdicts_right(self) -> float:
        """The share of the nodes that know whether strangers reach them."""
        right = [
            (verdict == Verdict.REACHABLE.name.lower()) == (behind in _REACHABLE)
            for behind, verdict in zip(
                self._nodes.column("behind"), self._nodes.column("verdict"), strict=True
            )
            if behind != "hostile" and verdict != Verdict.UNKNOWN.name.lower()
        ]
        return 100.0 * _mean(right)


def _lookup_figures(lookups: Sequence[Lookup]) -> dict[str, float]:
    records = [lookup.record for lookup in lookups]
    known = [record.known for record in records]
    ended = [record.ended for record in records]
    over = [record for record in records if record.ended < math.inf]
    hops, requests = [one.hops for one in over], [one.requests for one in over]
    live = sum(record.live for record in records)
    found = sum(record.found for record in records)
    return {
        "lookups": len(records),
        "lookup_known_median_ms": _MS * percentile(known, 0.5),
        "lookup_known_95th_ms": _MS * percentile(known, 0.95),
        "lookup_ended_median_ms": _MS * percentile(ended, 0.5),
        "lookup_ended_95th_ms": _MS * percentile(ended, 0.95),
        "lookup_found_percent": 100.0 * found / live if live else math.nan,
        "lookup_hops_median": percentile(hops, 0.5),
        "lookup_hops_mean": _mean(hops),
        "lookup_requests_median": percentile(requests, 0.5),
        "lookup_requests_mean": _mean(requests),
    }


def _search_figures(searches: Sequence[SearchRecord]) -> dict[str, float]:
    first = [search.first for search in searches]
    return {
        "searches": len(searches),
        "search_success_percent": 100.0 * _mean(search.relays > 0 for search in searches),
        "search_complete_percent": 100.0 * _mean(search.relays >= COUNT for search in searches),
        "search_first_median_ms": _MS * percentile(first, 0.5),
        "search_first_95th_ms": _MS * percentile(first, 0.95),
    }


def _call_figures(calls: Sequence[CallRecord]) -> dict[str, float]:
    over = [call for call in calls if call.outcome != "unfinished"]
    through = [call for call in calls if call.setup < math.inf]
    setups = [call.setup for call in over]
    moved = [call.interrupted for call in through if call.failovers and call.outcome != "lost"]
    return {
        "calls": len(calls),
        **{
            f"calls_{outcome.replace(' ', '_')}_percent": 100.0
            * _mean(call.outcome == outcome for call in over)
            for outcome in OUTCOMES[1:]
        },
        "call_setup_median_ms": _MS * percentile(setups, 0.5),
        "call_setup_95th_ms": _MS * percentile(setups, 0.95),
        "call_refusals_mean": _mean(call.refused for call in over),
        "call_failovers": sum(call.failovers for call in calls),
        "call_interruption_median_ms": _MS * percentile(moved, 0.5),
        "path_good_percent": 100.0 * _mean(call.path <= GOOD * call.best for call in through),
        "path_over_direct_median_ms": _MS
        * percentile([call.path - call.direct for call in through], 0.5),
        "path_stretch_median": percentile([call.path / call.direct for call in through], 0.5),
    }


def _busiest(requests: Sequence[int]) -> float:
    mean = _mean(requests)
    return max(requests) / mean if requests and mean else math.nan


def _mean(values: Iterable[float]) -> float:
    kept = list(values)
    return statistics.fmean(kept) if kept else math.nan
