"""The snapshot for a terminal."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from node.commands.output import printable
from node.status.status import Check, Result, Status, Turn

WIDE = 76
"""Columns from which there are two tables side by side."""

WIDEST = 110
"""Columns; a longer line is hard to follow."""

_LABEL = 15  # columns of what stands before a curve
_VALUE = 13  # and of what stands after it
_BARS, _ASCII_BARS = " ▁▂▃▄▅▆▇█", " .:-=+*#@"
_STYLES: Mapping[Result, str] = {
    "ok": "green",
    "warning": "yellow",
    "failed": "bold red",
    "unknown": "dim",
}


_ORDER: Sequence[Result] = ("failed", "warning", "unknown", "ok")
"""What is to be seen even if a terminal has no room for all of it comes first."""


@dataclass(frozen=True)
class Fitted:
    """As many lines of something as the terminal has; the last one says what is left out."""

    content: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The lines."""
        lines = console.render_lines(self.content, options.update(height=None), pad=False)
        room = options.size.height
        if len(lines) > room:
            left_out = len(lines) - room + 1
            hint = f"... {left_out} more lines: make the window taller, or use --once"
            text = Text(hint, "bold", no_wrap=True, overflow="crop")
            lines[room - 1 :] = console.render_lines(text, options.update(height=None), pad=False)
        for number, line in enumerate(lines):
            if number:
                yield Segment.line()
            yield from line


def render(status: Status, options: ConsoleOptions, trouble: str = "") -> RenderableType:
    """What to print.

    Args:
        status: Of the node.
        options: Of the terminal.
        trouble: Why there is nothing newer; empty if this is the latest.
    """
    width = min(options.max_width, WIDEST)
    bars = _ASCII_BARS if options.ascii_only else _BARS
    figures = _side_by_side(width, _pairs(_now(status)), _pairs(_volumes(status)))
    lists = _side_by_side(width, _pairs(_since(status)), _pairs(_node(status)))
    return Group(
        *_title(status, trouble),
        Text(),
        figures,
        Text(),
        *_curves(status, width, bars),
        Text(),
        _checks(status.checks, width),
        Text(),
        lists,
    )


def bits(rate: float) -> str:
    """A rate in bytes a second, as bits: 1.24 Mbit/s."""
    return _scaled(rate * 8, "bit/s")


def volume(size: float) -> str:
    """Bytes: 1.24 GB."""
    return _scaled(size, "B")


def duration(seconds: float) -> str:
    """The two largest units: 3 d 4 h."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days} d {hour} h"
    if hours:
        return f"{hours} h {minute} min"
    return f"{minutes} min {second} s" if minutes else f"{second} s"


def sparkline(values: Sequence[float], width: int, most: float, bars: str = _BARS) -> str:
    """The latest values as bars, each as high as its share of ``most``; right-aligned."""
    steps = len(bars) - 1
    line = "".join(
        bars[min(steps, -int(-steps * value // most))] if most > 0 else bars[0]
        for value in values[-width:]
    )
    return line.rjust(width)


def _scaled(value: float, unit: str) -> str:
    prefix, *larger = ("", "k", "M", "G", "T", "P")
    while value >= 999.5 and larger:
        value /= 1000
        prefix = larger.pop(0)
    digits = 0 if not prefix or value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{value:.{digits}f} {prefix}{unit}"


def _title(status: Status, trouble: str) -> Iterable[RenderableType]:
    yield Text.assemble(("Jingle Nodes relay ", "bold"), printable(status.jid), overflow="fold")
    if trouble:
        yield Text(printable(trouble), "bold red")
    else:
        yield Text(f"up {duration(status.uptime)}, version {printable(status.version)}", "dim")


def _now(status: Status) -> dict[str, str]:
    traffic, channels = status.traffic, status.channels
    return {
        "passing on": bits(traffic.to_peers.rate + traffic.to_requesters.rate),
        "channels": f"{channels.open} of {channels.capacity}, {channels.free:.0%} offered",
    }


def _volumes(status: Status) -> dict[str, str]:
    quota = "none"
    if status.quota is not None:
        share = status.quota.used / max(1, status.quota.bytes)
        quota = f"{share:.1%} of {printable(status.quota.name)} used"
    return {
        "given in all": f"{volume(status.lifetime.bytes)} since {status.lifetime.since[:10]}",
        "quota": quota,
    }


def _curves(status: Status, width: int, bars: str) -> Iterable[RenderableType]:
    history = status.history
    room = max(8, width - _LABEL - _VALUE)
    most = max([*history.to_peers[-room:], *history.to_requesters[-room:]], default=0)
    open_most = max([1, *history.channels[-room:]])
    channels = status.channels.open
    for name, values, top, latest, style in (
        ("to peers", history.to_peers, most, bits(status.traffic.to_peers.rate), "cyan"),
        (
            "to requesters",
            history.to_requesters,
            most,
            bits(status.traffic.to_requesters.rate),
            "magenta",
        ),
        ("open channels", history.channels, open_most, f"{channels}", "cyan"),
    ):
        yield Text.assemble(
            (name.ljust(_LABEL), "dim"),
            (sparkline(values, room, top, bars), style),
            latest.rjust(_VALUE),
            no_wrap=True,
            overflow="crop",
        )


def _checks(checks: Iterable[Check], width: int) -> Table:
    table = Table.grid(padding=(0, 2))
    table.width = width
    table.add_column(no_wrap=True, min_width=7)
    table.add_column(max_width=24)
    table.add_column(overflow="fold", ratio=1)
    for check in sorted(checks, key=lambda check: _ORDER.index(check.result)):
        meaning = Text(printable(check.meaning))
        if check.remedy:
            meaning.append(f"\n{printable(check.remedy)}", "dim")
        result = Text(check.result, _STYLES[check.result])
        table.add_row(result, Text(printable(check.name)), meaning)
    return table


def _since(status: Status) -> dict[str, str]:
    channels, traffic = status.channels, status.traffic
    return {
        "granted": f"{channels.granted}",
        "refused": _counts(channels.refused),
        "ended": _counts(channels.ended),
        "packets dropped": _counts(traffic.dropped),
        "to peers": volume(traffic.to_peers.bytes),
        "to requesters": volume(traffic.to_requesters.bytes),
    }


def _node(status: Status) -> dict[str, str]:
    limits = status.limits
    return {
        "overlay": printable(status.public_address),
        "channel ports": printable(status.relay_ports),
        **_turn(status.turn),
        "neighbours": f"{status.overlay.neighbours}",
        "forwarder": printable(status.forwarder.name),
        "lends to": f"{printable(limits.policy)}, {printable(limits.hours or 'at any hour')}",
        "each channel": _kbps(limits.maxkbps),
        "in all": _kbps(limits.node_kbps),
    }


def _turn(turn: Turn | None) -> dict[str, str]:
    if turn is None:
        return {"TURN": "not offered"}
    return {
        "TURN": printable(turn.address),
        "lent by TURN": f"{turn.allocations} open, {turn.credentials} credentials",
    }


def _kbps(limit: int | None) -> str:
    return "not limited" if limit is None else f"up to {limit} kbit/s"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{printable(name)} {count}" for name, count in counts.items()) or "0"


def _pairs(pairs: Mapping[str, str]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="dim", min_width=_LABEL - 2)
    table.add_column(overflow="fold")
    for name, value in pairs.items():
        table.add_row(name, Text(value))
    return table


def _side_by_side(width: int, left: Table, right: Table) -> RenderableType:
    if width < WIDE:
        return Group(left, right)
    columns = Table.grid(padding=(0, 2))
    columns.width = width
    columns.add_column(ratio=1)
    columns.add_column(ratio=1)
    columns.add_row(left, right)
    return columns
