"""What is printed of a run, beside another one if there are two."""

from typing import Any, Final

from rich.console import Console
from rich.table import Table

from node.commands import output
from simulations.report.page import HEADLINES, shown
from simulations.report.plots import runs_of
from simulations.run.results import Figures, Results

# Besides those that matter most, where two runs are compared.
_COMPARED: Final = {
    "lookup_hops_median": "look-up, hops",
    "lookup_hops_mean": "look-up, hops on average",
    "lookup_requests_median": "look-up, requests",
    "lookup_requests_mean": "look-up, requests on average",
    "lookup_ended_median_ms": "look-up, over",
    "lookup_found_percent": "look-up, closest found",
}

# What of the machine's figures is printed.
_MACHINE: Final = {
    "total_s": "took",
    "simulated_s_per_s": "simulated in a second",
    "memory_per_node_kib": "memory of a node",
}


def results_as_text(results: Results, other: Results | None) -> str:
    """Return the figures of a run that matter, and how many times those of another one they are."""
    runs = [results] if other is None else [results, other]
    table = Table(box=None, show_header=other is not None, header_style="")
    table.add_column(no_wrap=True)
    for run in runs_of(runs):
        table.add_column(run.label, justify="right", no_wrap=True)
    if other is not None:
        table.add_column("ratio", justify="right", no_wrap=True)
    for key, name in (HEADLINES if other is None else {**HEADLINES, **_COMPARED}).items():
        _add(table, key, name, [run.figures for run in runs])
    for key, name in _MACHINE.items():
        _add(table, key, name, [run.machine for run in runs])
    traces = [run.trace or "–" for run in runs]
    if any(run.trace for run in runs):
        table.add_row("trace", *traces)
    return output.as_text(table, Console())


def results_as_json(results: Results, other: Results | None) -> dict[str, Any]:
    """Return the same for programs, with all figures."""
    summary = results.summary()
    if other is not None:
        summary["compared"] = other.summary()
        summary["ratios"] = {
            key: _ratio(value, other.figures.get(key)) for key, value in results.figures.items()
        }
    return summary


def _add(table: Table, key: str, name: str, figures: list[Figures]) -> None:
    values = [one.get(key) for one in figures]
    if values == [None] * len(values) and not any(key in one for one in figures):
        return
    cells = [shown(key, value) for value in values]
    if len(values) > 1:
        ratio = _ratio(*values)
        cells.append("–" if ratio is None else f"{ratio:.3f}")
    table.add_row(name, *cells)


def _ratio(value: float | None, other: float | None) -> float | None:
    return value / other if value is not None and other else None
