"""The page: one file, with everything in it and no script."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Final

from simulations.report.plots import Plot, draw_plots, runs_of
from simulations.run.results import Results

_STYLE: Final = Path(__file__).with_name("style.css")

# The figures that matter most, with what they are called where they stand alone.
HEADLINES: Final = {
    "lookup_known_median_ms": "look-up, closest known",
    "search_success_percent": "searches that find a relay",
    "search_first_median_ms": "until a relay answers",
    "calls_done_percent": "calls that last to their end",
    "path_good_percent": "paths within 10 % of the best",
    "traffic_mean_bytes_per_s": "traffic of a node",
}

# What the end of a figure's key says of its unit.
_UNITS: Final = {
    "_bytes_per_s": "bytes/s",
    "_s_per_s": "s/s",
    "_percent": "%",
    "_ms": "ms",
    "_mib": "MiB",
    "_kib": "KiB",
    "_s": "s",
}


def report_page(results: Sequence[Results]) -> str:
    """Return the page of a run, beside another one if there are two.

    Args:
        results: Of the run, and of the one that it is compared with.
    """
    run = results[0]
    title = f"{run.name}: {run.scenario['title']}" if run.scenario["title"] else run.name
    return page_of(
        title,
        (
            f"<header><h1>{escape(title)}</h1>{''.join(_runs(results))}</header>",
            f'<div class="tiles">{"".join(_tiles(results))}</div>',
            f'<div class="plots">{"".join(map(_plot, draw_plots(results)))}</div>',
            _table("All figures", results, [one.figures for one in results]),
            _table("On this machine", results, [one.machine for one in results]),
            *map(_scenario, results),
        ),
    )


def page_of(title: str, parts: Iterable[str]) -> str:
    """Return a page that needs nothing else.

    Args:
        title: As text.
        parts: What is on it, as HTML.
    """
    return "\n".join(
        (
            "<!doctype html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>",
            f"<style>{_STYLE.read_text(encoding='utf-8')}</style>",
            "</head>",
            "<body><main>",
            *parts,
            "</main></body>",
            "</html>\n",
        )
    )


def _runs(results: Sequence[Results]) -> Iterator[str]:
    """Which runs these are, and whether one of them was interrupted."""
    for number, (one, run) in enumerate(zip(results, runs_of(results), strict=True)):
        key = f'<i class="key key{number}"></i>' if run.label else ""
        told = [
            f"{run.label or one.name}",
            f"{one.scenario['nodes']:,} nodes",
            f"{one.simulated:g} s {'on real sockets' if one.real else 'simulated'}",
            f"seed {one.seed}",
            f"jingle-nodes {one.version}",
            f"Python {one.python}",
            f"trace {one.trace}" if one.trace else "no trace",
        ]
        yield f'<p class="note">{key}{escape(" · ".join(told))}</p>'
        if not one.complete:
            whole = one.scenario["duration"]
            yield (
                f'<p class="warning">Interrupted after {one.simulated:g} of {whole:g} s: '
                "what was measured until then.</p>"
            )


def _tiles(results: Sequence[Results]) -> Iterator[str]:
    for key, name in HEADLINES.items():
        values = "".join(
            f'<b class="value value{number}">{shown(key, one.figures.get(key))}</b>'
            for number, one in enumerate(results)
        )
        yield f'<div class="card"><h2>{escape(name)}</h2>{values}</div>'


def _plot(plot: Plot) -> str:
    drawn = plot.svg or '<p class="note">Nothing of the kind happened.</p>'
    return (
        f'<figure class="card"><h2>{escape(plot.title)}</h2>{drawn}'
        f'<figcaption class="note">{escape(plot.note)}</figcaption></figure>'
    )


def _table(
    title: str, results: Sequence[Results], figures: Sequence[Mapping[str, float | None]]
) -> str:
    labels = [run.label or "value" for run in runs_of(results)]
    heads = "".join(
        f"<th>{escape(label)}</th>" for label in (*labels, *["change"][: len(labels) - 1])
    )
    rows = []
    for key in dict.fromkeys(key for one in figures for key in one):
        values = [one.get(key) for one in figures]
        cells = "".join(f"<td>{shown(key, value)}</td>" for value in values)
        if len(values) > 1:
            cells += f"<td>{_change(values[0], values[1])}</td>"
        rows.append(f"<tr><th>{escape(named(key))}</th>{cells}</tr>")
    return (
        f'<section class="card"><h2>{escape(title)}</h2><div class="wide"><table>'
        f"<thead><tr><th></th>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></div></section>"
    )


def _scenario(one: Results) -> str:
    text = json.dumps(one.scenario, indent=2, ensure_ascii=False)
    return (
        f'<details class="card"><summary>Scenario {escape(one.name)}, seed {one.seed}</summary>'
        f"<pre>{escape(text)}</pre></details>"
    )


def name_and_unit(key: str) -> tuple[str, str]:
    """Return the name of a figure, and its unit."""
    for end, unit in _UNITS.items():
        if key.endswith(end):
            return key.removesuffix(end), unit
    return key, ""


def named(key: str) -> str:
    """Return what a figure is called, without its unit."""
    return name_and_unit(key)[0].replace("_", " ").replace("lookup", "look-up")


def shown(key: str, value: float | None) -> str:
    """Return a figure with its unit, in as many digits as one reads."""
    if value is None:
        return "–"
    unit = name_and_unit(key)[1]
    digits = f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
    return f"{digits} {unit}".strip()


def _change(value: float | None, other: float | None) -> str:
    """How much more the first is than the one that it is compared with."""
    if value is None or other is None or not other:
        return "–"
    return f"{100.0 * (value / other - 1.0):+.1f} %"
