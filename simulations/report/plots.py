"""What is drawn of one or two runs; the second one is what the first is compared with."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from simulations.report.drawing import SERIES, cumulative, draw_svg
from simulations.run.nats import KINDS
from simulations.run.results import Results

_MIB: Final = 2**20
_LINES: Final = ("solid", "dashed")


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawing.

    Attributes:
        title: What it shows.
        note: What one should know to read it.
        svg: The drawing itself; empty if there is nothing to draw.
    """

    title: str
    note: str
    svg: str


@dataclass(frozen=True, slots=True)
class Run:
    """A run, as it is drawn.

    Attributes:
        results: What came of it.
        label: What it is called in legends; empty if there is only one.
        colour: Of its lines.
    """

    results: Results
    label: str
    colour: str

    def named(self, what: str = "") -> str:
        """What to call one of its lines."""
        return ", ".join(filter(None, (self.label, what)))

    def column(self, table: str, name: str) -> list[float]:
        """Return the numbers of a column."""
        return [float(value) for value in self.results.tables[table].column(name)]


def runs_of(results: Sequence[Results]) -> list[Run]:
    """Give runs their labels and colours."""
    if len(results) == 1:
        return [Run(results[0], "", SERIES[0])]
    kinds = {result.real for result in results}
    labels = [
        f"{result.name}, seed {result.seed}"
        + (f", {'real' if result.real else 'simulated'}" if len(kinds) > 1 else "")
        for result in results
    ]
    if len(set(labels)) < len(labels):
        labels[1] += " (compared)"
    return [Run(*run) for run in zip(results, labels, SERIES, strict=False)]


def draw_plots(results: Sequence[Results]) -> Iterator[Plot]:
    """Draw all that can be said of one run or two."""
    runs = runs_of(results)
    has_nats = any(run.results.scenario["nats"]["open"] < 1.0 for run in runs)
    for number, (title, note, draw) in enumerate(_PLOTS):
        if draw is _nats and not has_nats:
            continue

        def on(axes: Axes, draw: Draw = draw) -> None:
            for run in runs:
                draw(axes, run)
            # Not before all are drawn: it ends the scaling.
            axes.set_ylim(bottom=0)
            if draw not in (_directory, _nats):
                axes.set_xlim(left=0)
            axes.yaxis.set_major_locator(MaxNLocator(5, integer=draw is _relays))

        has_something = any(_rows(run, draw) for run in runs)
        yield Plot(title, note, draw_svg(f"plot{number}", title, on) if has_something else "")


Draw = Callable[[Axes, Run], None]


def _lookups(axes: Axes, run: Run) -> None:
    for name, style in zip(("known", "ended"), _LINES, strict=True):
        values = run.column("lookups", name)
        finite = [1000.0 * value for value in values if value < math.inf]
        label = run.named({"known": "closest known", "ended": "over"}[name])
        cumulative(axes, finite, len(values), label, linestyle=style, color=run.colour)
    axes.set(xlabel="milliseconds", ylabel="% of look-ups")


def _success(axes: Axes, run: Run) -> None:
    """The share of searches and calls that came to a good end, by when they began."""
    interval = float(run.results.scenario["measure"]["interval"])
    searches = zip(run.column("searches", "at"), run.column("searches", "relays"), strict=True)
    series = {"searches": [(at, relays > 0) for at, relays in searches]}
    outcomes = run.results.tables["calls"].column("outcome")
    calls = zip(run.column("calls", "at"), outcomes, strict=True)
    series["calls"] = [(at, end == "done") for at, end in calls if end != "unfinished"]
    for (name, points), style in zip(series.items(), _LINES, strict=True):
        if points:
            xs, ys = _binned(points, max(interval, run.results.simulated / 40))
            axes.plot(xs, ys, label=run.named(name), linestyle=style, color=run.colour)
    axes.set(xlabel="seconds", ylabel="% successful", ylim=(0, 102))


def _waits(axes: Axes, run: Run) -> None:
    pairs = (("searches", "first", "first relay answers"), ("calls", "setup", "call set up"))
    for (table, name, what), style in zip(pairs, _LINES, strict=True):
        values = run.column(table, name)
        finite = [value for value in values if value < math.inf]
        if values:
            label = run.named(what)
            cumulative(axes, finite, len(values), label, linestyle=style, color=run.colour)
    axes.set(xlabel="seconds", ylabel="% of clients")


def _relays(axes: Axes, run: Run) -> None:
    for name, style in zip(("granted", "refused"), _LINES, strict=True):
        values = sorted(run.column("relays", name), reverse=True)
        places = [100.0 * at / max(1, len(values) - 1) for at in range(len(values))]
        axes.plot(places, values, label=run.named(name), linestyle=style, color=run.colour)
    axes.set(xlabel="% of relays, the busiest first", ylabel="requests")


def _stretch(axes: Axes, run: Run) -> None:
    paths = run.column("calls", "path")
    for name, style in zip(("best", "direct"), _LINES, strict=True):
        pairs = zip(paths, run.column("calls", name), strict=True)
        ratios = [path / other for path, other in pairs if path == path and other > 0]
        if ratios:
            what = run.named({"best": "to the best relay's", "direct": "to the direct path"}[name])
            cumulative(axes, ratios, len(ratios), what, linestyle=style, color=run.colour)
    axes.set(xlabel="ratio of round-trip times", ylabel="% of calls", xlim=(0, 4))


def _nats(axes: Axes, run: Run) -> None:
    """The share that came to a good end, by what the client, or an end of the call, is behind."""
    tables = run.results.tables
    searches = zip(
        tables["searches"].column("behind"), run.column("searches", "relays"), strict=True
    )
    ends: dict[str, defaultdict[str, list[bool]]] = {
        "searches": defaultdict(list),
        "calls": defaultdict(list),
    }
    for kind, relays in searches:
        ends["searches"][kind].append(relays > 0)
    columns = map(tables["calls"].column, ("caller", "callee", "outcome"))
    for caller, callee, outcome in zip(*columns, strict=True):
        for kind in {caller, callee} if outcome != "unfinished" else ():
            ends["calls"][kind].append(outcome == "done")
    bars = 4 if run.label else 2
    first = 2 if run.colour == SERIES[1] else 0
    for number, (name, good) in enumerate(ends.items(), first):
        shift = (number - (bars - 1) / 2) * 0.8 / bars
        at = [place + shift for place, kind in enumerate(KINDS) if kind in good]
        shares = [100.0 * fmean(good[kind]) for kind in KINDS if kind in good]
        alpha = 1.0 if name == "searches" else 0.4
        axes.bar(at, shares, 0.75 / bars, color=run.colour, alpha=alpha, label=run.named(name))
    axes.set(ylabel="% successful", ylim=(0, 102))
    axes.set_xticks(range(len(KINDS)), [kind.replace("_", "-\n") for kind in KINDS], fontsize=8)


def _directory(axes: Axes, run: Run) -> None:
    levels = run.column("directory", "level")
    searches = run.column("directory", "searches_per_minute")
    adverts = run.column("directory", "adverts_per_minute")
    used = max(
        (at + 1 for at, pair in enumerate(zip(searches, adverts, strict=True)) if any(pair)),
        default=1,
    )
    levels, searches, adverts = levels[:used], searches[:used], adverts[:used]
    width, shift = (0.38, 0.2 * (1 if run.colour == SERIES[1] else -1)) if run.label else (0.7, 0.0)
    at = [level + shift for level in levels]
    axes.bar(at, searches, width, color=run.colour, label=run.named("searches"))
    axes.bar(
        at, adverts, width, bottom=searches, color=run.colour, alpha=0.4, label=run.named("adverts")
    )
    axes.set(xlabel="level of the key, 0 is the root", ylabel="requests a minute and node")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _traffic(axes: Axes, run: Run) -> None:
    whole = run.results.tables["nodes"].column("whole")
    rates = zip(run.column("nodes", "bytes_per_s"), whole, strict=True)
    values = [rate for rate, of_whole in rates if of_whole]
    if values:
        cumulative(axes, values, len(values), run.named(), color=run.colour)
    axes.set(xlabel="bytes a second, sent and received", ylabel="% of nodes")


def _population(axes: Axes, run: Run) -> None:
    at = run.column("timeline", "at")
    pairs = zip(run.column("timeline", "nodes"), run.column("timeline", "hidden"), strict=True)
    nodes = [open_ones + hidden for open_ones, hidden in pairs]
    relays = run.column("timeline", "relays")
    for (name, values), style in zip((("nodes", nodes), ("relays", relays)), _LINES, strict=True):
        axes.plot(at, values, label=run.named(name), linestyle=style, color=run.colour)
    axes.set(xlabel="seconds", ylabel="alive")


def _channels(axes: Axes, run: Run) -> None:
    at = run.column("timeline", "at")
    for (name, what), style in zip(
        (("channels", "lent"), ("capacity", "there are")), _LINES, strict=True
    ):
        values = run.column("timeline", name)
        axes.plot(at, values, label=run.named(what), linestyle=style, color=run.colour)
    axes.set(xlabel="seconds", ylabel="channels")


def _traffic_over_time(axes: Axes, run: Run) -> None:
    at, rates = run.column("timeline", "at"), run.column("timeline", "traffic")
    axes.plot(at, rates, label=run.label or None, color=run.colour)
    axes.set(xlabel="seconds", ylabel="bytes a second and node")


def _memory(axes: Axes, run: Run) -> None:
    at = run.column("machine", "at")
    memory = [value / _MIB for value in run.column("machine", "memory")]
    axes.plot(at, memory, label=run.label or None, color=run.colour)
    axes.set(xlabel="seconds", ylabel="MiB")


def _speed(axes: Axes, run: Run) -> None:
    at, elapsed = run.column("machine", "at"), run.column("machine", "elapsed")
    axes.plot(elapsed, at, label=run.label or None, color=run.colour)
    axes.set(xlabel="seconds of real time", ylabel="seconds simulated")


# What of a run each drawing is made of: without a row there is nothing to draw.
_TABLES: Final[dict[Draw, str]] = {
    _lookups: "lookups",
    _waits: "searches",
    _success: "searches",
    _relays: "relays",
    _stretch: "calls",
    _nats: "searches",
    _directory: "directory",
    _traffic: "nodes",
    _memory: "machine",
    _speed: "machine",
}

_PLOTS: Final[tuple[tuple[str, str, Draw], ...]] = (
    (
        "Look-up latency",
        "Of random ids. Known: the asker knows each of the live peers closest to the id. Over: all "
        "of them have answered.",
        _lookups,
    ),
    (
        "Success over time",
        "Searches in which a relay was found and answered in time, and calls that lasted as long "
        "as they were to, by when they began.",
        _success,
    ),
    (
        "Waiting",
        "From a client's coming until a first relay has answered, or until both ends of a call "
        "hear each other. What never happened keeps the line below 100 %.",
        _waits,
    ),
    (
        "Path stretch",
        "Round trip through the relay of a call, to the one through the best relay that had room "
        "then, and to the direct one between the ends.",
        _stretch,
    ),
    (
        "Success by NAT",
        "Searches by what the client is behind, and calls by what either of their ends is.",
        _nats,
    ),
    ("Relay load", "Requests for channels that each relay granted and refused.", _relays),
    ("Channels", "Lent at each time, and how many there are.", _channels),
    (
        "Directory load by level",
        "Requests that a node gets, on average, for keys of each level.",
        _directory,
    ),
    ("Traffic of nodes", "Of those that lived through the whole scenario.", _traffic),
    ("Traffic over time", "Of all nodes alive, on average.", _traffic_over_time),
    ("Nodes", "Alive at each time, behind NATs or not.", _population),
    ("Memory", "Of the process that simulates them all.", _memory),
    ("Speed", "Of the simulation, on the machine that it ran on.", _speed),
)


def _rows(run: Run, draw: Draw) -> int:
    tables = run.results.tables
    rows = len(tables[_TABLES.get(draw, "timeline")].rows)
    return rows or (len(tables["calls"].rows) if draw in (_waits, _success, _nats) else 0)


def _binned(points: Sequence[tuple[float, bool]], width: float) -> tuple[list[float], list[float]]:
    bins: dict[int, list[bool]] = defaultdict(list)
    for at, good in points:
        bins[int(at / width)].append(good)
    order = sorted(bins)
    return (
        [(number + 0.5) * width for number in order],
        [100.0 * sum(bins[number]) / len(bins[number]) for number in order],
    )
