"""The page of a sweep: what its figures are at each combination of values."""

from collections.abc import Iterator, Sequence
from html import escape

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from simulations.report.drawing import SERIES, draw_svg
from simulations.report.page import HEADLINES, name_and_unit, named, page_of, shown
from simulations.sweep.summary import PointSummary, Spread


def sweep_page(
    name: str, summaries: Sequence[PointSummary], version: str, failures: Sequence[str]
) -> str:
    """Return the page.

    Args:
        name: Of the scenario.
        summaries: Of all points.
        version: Of the project.
        failures: What is to be said of the runs that failed.
    """
    title = f"{name}: a sweep"
    planned = sum(one.planned for one in summaries)
    done = sum(one.done for one in summaries)
    notes = [f"{done} of {planned} runs", f"{len(summaries)} points", f"jingle-nodes {version}"]
    warnings = "".join(f'<p class="warning">{escape(failure)}</p>' for failure in failures)
    figures = list(dict.fromkeys(figure for one in summaries for figure in one.figures))
    return page_of(
        title,
        (
            f"<header><h1>{escape(title)}</h1>",
            f'<p class="note">{escape(" · ".join(notes))}</p>',
            '<p class="note">Each cell is the median over the seeds, and in brackets the lowest '
            f"and the highest.</p>{warnings}</header>",
            _table("What matters most", summaries, list(HEADLINES)),
            f'<div class="plots">{"".join(_plots(summaries))}</div>',
            _table("All figures", summaries, figures),
        ),
    )


def _table(title: str, summaries: Sequence[PointSummary], figures: Sequence[str]) -> str:
    """Points side by side, a figure in each line."""
    heads = "".join(f"<th>{escape(_label(one))}</th>" for one in summaries)
    runs = "".join(f"<td>{one.done} of {one.planned}</td>" for one in summaries)
    rows = [f"<tr><th>runs</th>{runs}</tr>"]
    for figure in figures:
        cells = (one.figures.get(figure, Spread(0)) for one in summaries)
        row = "".join(f"<td>{_cell(figure, spread)}</td>" for spread in cells)
        rows.append(f"<tr><th>{escape(HEADLINES.get(figure) or named(figure))}</th>{row}</tr>")
    return (
        f'<section class="card"><h2>{escape(title)}</h2><div class="wide"><table>'
        f"<thead><tr><th></th>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
        "</section>"
    )


def _label(one: PointSummary) -> str:
    return ", ".join(f"{key} = {value}" for key, value in one.point.values) or "as it is"


def _cell(figure: str, spread: Spread) -> str:
    text = shown(figure, spread.median)
    if spread.runs > 1:
        text += f" ({shown(figure, spread.lowest)} – {shown(figure, spread.highest)})"
    return escape(text)


def _plots(summaries: Sequence[PointSummary]) -> Iterator[str]:
    """The figures that matter most, over the points in their order."""
    if len(summaries) < 2:
        return
    for number, (figure, title) in enumerate(HEADLINES.items()):
        spreads = [one.figures.get(figure, Spread(0)) for one in summaries]
        measured = [(at, spread) for at, spread in enumerate(spreads) if spread.runs]
        if not measured:
            continue

        def draw(
            axes: Axes, figure: str = figure, measured: list[tuple[int, Spread]] = measured
        ) -> None:
            places = [at for at, _ in measured]
            medians = [spread.median or 0.0 for _, spread in measured]
            below = [(one.median or 0.0) - (one.lowest or 0.0) for _, one in measured]
            above = [(one.highest or 0.0) - (one.median or 0.0) for _, one in measured]
            axes.errorbar(
                places, medians, yerr=[below, above], fmt="o-", capsize=3, color=SERIES[0]
            )
            labels = [", ".join(str(value) for _, value in one.point.values) for one in summaries]
            axes.set_xticks(range(len(labels)), labels)
            axes.set_ylim(bottom=0)
            axes.yaxis.set_major_locator(MaxNLocator(5))
            keys = [key for key, _ in summaries[0].point.values]
            axes.set(xlabel=", ".join(keys), ylabel=name_and_unit(figure)[1])

        svg = draw_svg(f"sweep{number}", title, draw)
        yield f'<figure class="card"><h2>{escape(title)}</h2>{svg}</figure>'
