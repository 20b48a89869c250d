"""Figures as SVG that takes its colours from the page, so that they are right in light and dark."""

import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import matplotlib as mpl
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

# Drawn in these, and then replaced by the page's own.
_COLOURS: Final = {
    "#010203": "var(--text)",
    "#010204": "var(--muted)",
    "#010205": "var(--line)",
    "#010206": "var(--first)",
    "#010207": "var(--second)",
}
_TEXT, _MUTED, _LINE, *SERIES = _COLOURS

_STYLE: Final[Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 10,
    "text.color": _TEXT,
    "axes.labelcolor": _MUTED,
    "axes.edgecolor": _LINE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "axes.prop_cycle": cycler(color=SERIES),
    "figure.facecolor": "none",
    "grid.color": _LINE,
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.8,
    "xtick.color": _LINE,
    "ytick.color": _LINE,
    "xtick.labelcolor": _MUTED,
    "ytick.labelcolor": _MUTED,
    "legend.frameon": False,
    "legend.labelcolor": _TEXT,
}
_SIZE: Final = (5.6, 3.1)  # inches; the page scales it
_HALF_A_ROW: Final = 24  # letters of a legend, at most

Draw = Callable[[Axes], object]


def draw_svg(name: str, title: str, draw: Draw) -> str:
    """Return a drawing as an element of a page.

    Args:
        name: Tells its ids from those of others on the page.
        title: What it shows, for those who do not see it.
        draw: Draws on the axes.
    """
    with _style(name):
        figure = Figure(figsize=_SIZE, layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        draw(axes)
        handles, labels = axes.get_legend_handles_labels()
        if labels:
            # Above, where no line is.
            columns = 2 if max(map(len, labels)) <= _HALF_A_ROW else 1
            axes.legend(handles, labels, loc="lower left", bbox_to_anchor=(0, 1), ncols=columns)
        out = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(out, format="svg", metadata=nothing)
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    for drawn, shown in _COLOURS.items():
        svg = svg.replace(drawn, shown)
    # What is named in one drawing must not be found in another one.
    svg = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    label = f' role="img" aria-label="{title}"'
    return svg.replace("<svg", f"<svg{label}", 1)


@contextmanager
def _style(name: str) -> Iterator[None]:
    with mpl.rc_context():
        mpl.rcdefaults()  # whatever whoever runs this likes his own drawings to be
        mpl.rcParams.update(_STYLE)
        mpl.rcParams["svg.hashsalt"] = name
        yield


def cumulative(axes: Axes, values: Sequence[float], total: int, label: str, **style: str) -> None:
    """Draw what share of all is at most so much.

    Args:
        axes: Where.
        values: Those that came to an end.
        total: How many there were, those that did not with them.
        label: For the legend.
        style: Of the line.
    """
    ordered = sorted(values)
    shares = [100.0 * (at + 1) / total for at in range(len(ordered))]
    axes.step(ordered, shares, where="post", label=label, **style)  # type: ignore[arg-type]
    axes.set_ylim(0, 102)
