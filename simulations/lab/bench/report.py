"""The results of the bench, as tables for people and as one JSON document for programs."""

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from node.commands.output import as_text
from simulations.lab.bench.contenders import COTURN, TITLES
from simulations.lab.bench.cost import CAPACITY, DIRECT, Costs
from simulations.lab.bench.promises import Promise
from simulations.lab.bench.statistics import Figure


def as_document(
    costs: Costs | None, promises: list[Promise], missing: list[str], facts: dict[str, Any]
) -> dict[str, Any]:
    """All of it, as JSON has it; times per packet in microseconds, memory in bytes."""
    document: dict[str, Any] = {**facts, "missing": missing}
    if costs is not None:
        document["cost"] = [
            {
                "relay": relay,
                **asdict(setting),
                "us": _rounded(Figure.of(costs.cost(relay, setting))),
                "direct_us": _rounded(Figure.of(costs.rounds[DIRECT][setting])),
                "against_coturn": ratio and _rounded(ratio),
            }
            for relay in costs.relays
            for setting in sorted(costs.rounds[relay])
            if costs.has(relay, setting)
            for ratio in (costs.ratio(relay, setting),)
        ]
        document["lost_windows"] = costs.lost
        document["capacity"] = [
            {
                "relay": relay,
                "calls_per_core": costs.calls(relay),
                "bytes_per_channel": round(costs.memory[relay]),
            }
            for relay in costs.relays
        ]
    document["promises"] = [{**asdict(promise), "kept": promise.kept} for promise in promises]
    return document


def as_tables(costs: Costs | None, promises: list[Promise], console: Console) -> str:
    """All of it for people."""
    tables = []
    if costs is not None and costs.relays:
        tables += [_cost_table(costs), _capacity_table(costs)]
    if promises:
        tables.append(_promise_table(promises))
    return "\n\n".join(as_text(table, console) for table in tables)


def _cost_table(costs: Costs) -> Table:
    table = Table(
        title="Cost of a packet: microseconds of one core, without the direct path; "
        "in brackets the middle half of the rounds, and the median ratio to coturn",
        title_justify="left",
        box=None,
    )
    for name in ("bytes", "channels", "in flight", "direct path"):
        table.add_column(name, justify="right")
    for relay in costs.relays:
        table.add_column(TITLES[relay], justify="right")
    for setting in sorted(costs.rounds[DIRECT]):
        direct = Figure.of(costs.rounds[DIRECT][setting])
        row = [f"{setting.size:,}", f"{setting.channels:,}", str(setting.window)]
        row.append(f"{direct.median:.1f}")
        for relay in costs.relays:
            if not costs.has(relay, setting):
                row.append("-")
                continue
            cost, ratio = Figure.of(costs.cost(relay, setting)), costs.ratio(relay, setting)
            cell = f"{cost.median:.1f} ({cost.low:.1f}-{cost.high:.1f})"
            if ratio is not None and relay != COTURN:
                cell += f" {ratio.median:.2f} x"
            row.append(cell)
        table.add_row(*row)
    return table


def _capacity_table(costs: Costs) -> Table:
    table = Table(
        title=f"Capacity: calls of 50 packets/s each way ({CAPACITY.size} bytes), "
        "all work in the network included",
        title_justify="left",
        box=None,
    )
    table.add_column("relay")
    table.add_column("calls per core", justify="right")
    table.add_column("memory per channel", justify="right")
    for relay in costs.relays:
        memory = f"{costs.memory[relay] / 1024:.1f} KiB"
        calls = costs.calls(relay)
        table.add_row(TITLES[relay], "-" if calls is None else f"{calls:,}", memory)
    return table


def _promise_table(promises: list[Promise]) -> Table:
    table = Table(title="What the relay of jingle-nodes keeps to", title_justify="left", box=None)
    table.add_column("what")
    table.add_column("measured", justify="right")
    table.add_column("must be", justify="right")
    table.add_column("")
    for promise in promises:
        table.add_row(
            promise.what,
            f"{promise.value:,.{promise.digits}f} {promise.unit}".strip(),
            f"<= {promise.limit:,g} {promise.unit}".strip(),
            "kept" if promise.kept else "NOT KEPT",
        )
    return table


def _rounded(figure: Figure) -> dict[str, float]:
    return {name: round(value, 3) for name, value in asdict(figure).items()}
