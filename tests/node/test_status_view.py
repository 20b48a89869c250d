"""The status for a terminal: wide, narrow, plain, and hostile."""

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console
from rich.live import Live

from node.commands.status_view import Fitted, bits, duration, render, sparkline, volume
from node.status.status import Check, Status
from tests.node.status.snapshots import BUSY, EMPTY

CONTROL = re.compile(r"\x1b\[[\d;?]*[A-Za-z]")


def shown(status: Status, width: int, trouble: str = "", encoding: str = "utf-8") -> list[str]:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=file, width=width)
    with console.capture() as captured:
        console.print(render(status, console.options, trouble))
    return [line.rstrip() for line in captured.get().splitlines()]


@pytest.mark.parametrize("width", [20, 40, 76, 80, 200])
@pytest.mark.parametrize("status", [BUSY, EMPTY])
def test_no_line_is_longer_than_the_terminal(status: Status, width: int) -> None:
    assert max(map(len, shown(status, width))) <= width


def test_what_matters_is_there() -> None:
    text = "\n".join(shown(BUSY, 100))
    for part in (
        *("relay@example.org/jingle-nodes-1a2b3c4d", "up 3 d 4 h", "2.35 Mbit/s"),
        *("12 of 100, 88% offered", "1.24 TB since 2025-03-02", "12.4% of 50GB/month used"),
        *("failed", "0 of 9 strangers", "let the node's UDP ports through", "█"),
        *("resource-constraint 17", "forbidden 2", "released 400", "no-peer 120", "9.12 GB"),
        *("148", "203.0.113.7:4278", "up to 512 kbit/s", "not limited", "22:00-07:00"),
    ):
        assert part in text


def on_screen(status: Status, height: int, width: int = 80) -> list[str]:
    """What a terminal of that size shows."""
    console = Console(
        file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None
    )
    with (
        console.capture() as captured,
        Live(console=console, screen=True, auto_refresh=False) as live,
    ):
        live.update(Fitted(render(status, console.options)), refresh=True)
    return [line.rstrip() for line in CONTROL.sub("", captured.get()).splitlines()]


CROWDED = replace(
    BUSY,
    checks=(
        *(Check(name=f"check {number}", result="ok", meaning="fine") for number in range(20)),
        Check(name="behind", result="warning", meaning="less"),
        *BUSY.checks,
    ),
)


def test_what_a_terminal_has_no_room_for_is_counted() -> None:
    whole = shown(CROWDED, 80)
    lines = on_screen(CROWDED, 24)
    assert len(lines) == 24
    assert lines[:23] == whole[:23]
    hint = f"... {len(whole) - 23} more lines: make the window taller, or use --once"
    assert lines[23] == hint
    text = "\n".join(lines)
    # What has failed is seen even so, and stands first.
    assert text.index("0 of 9 strangers") < text.index("behind") < text.index("check 0")
    assert on_screen(CROWDED, 24, width=20)[23].startswith("... ")
    assert len(on_screen(CROWDED, 1)) == 1


@pytest.mark.parametrize("more", [0, 1])
def test_what_a_terminal_has_room_for_is_all_there(more: int) -> None:
    whole = shown(CROWDED, 80)
    screen = on_screen(CROWDED, len(whole) + more)
    assert screen[: len(whole)] == whole
    assert not any(screen[len(whole) :])


def test_turn_is_told_of() -> None:
    text = "\n".join(shown(BUSY, 100))
    assert "203.0.113.7:3478" in text
    assert "3 open, 57 credentials" in text
    assert "not offered" in "\n".join(shown(EMPTY, 80))


def test_trouble_stands_where_it_is_seen() -> None:
    assert shown(BUSY, 80, "no node there")[1] == "no node there"


def test_a_plain_terminal_gets_plain_characters() -> None:
    text = "\n".join(shown(BUSY, 100, encoding="ascii"))
    assert text.isascii()
    assert "@" * 5 in text


def test_nothing_that_a_node_says_moves_the_cursor() -> None:
    evil = "\x1b[2J\x9b2J\r\n[bold]"
    status = replace(
        BUSY,
        jid=evil,
        version=evil,
        public_address=evil,
        relay_ports=evil,
        forwarder=replace(BUSY.forwarder, name=evil),
        checks=(Check(name=evil, result="failed", meaning=evil, remedy=evil),),
        channels=replace(BUSY.channels, refused={evil: 1}),
        limits=replace(BUSY.limits, policy=evil, hours=evil),
        overlay=replace(BUSY.overlay, peer_id=evil),
    )
    text = "\n".join(shown(status, 100, trouble=evil))
    assert not set(text) & {"\x1b", "\x9b", "\r"}
    assert "[bold]" in text


@pytest.mark.parametrize(
    ("values", "width", "most", "line"),
    [
        ([], 4, 0, "    "),
        ([0, 0], 4, 0, "    "),
        ([0, 1, 4, 8], 4, 8, " ▁▄█"),
        ([0, 1, 4, 8], 2, 8, "▄█"),
        ([8], 3, 8, "  █"),
        ([0.001], 1, 8, "▁"),
    ],
)
def test_a_curve(values: list[float], width: int, most: float, line: str) -> None:
    assert sparkline(values, width, most) == line


def test_figures() -> None:
    assert [bits(0), bits(124), bits(125_000), bits(1e9)] == [
        *("0 bit/s", "992 bit/s", "1.00 Mbit/s", "8.00 Gbit/s"),
    ]
    assert [volume(999), volume(12_340), volume(9.996e11), volume(1e18)] == [
        *("999 B", "12.3 kB", "1.00 TB", "1000 PB"),
    ]
    assert [duration(59.9), duration(60), duration(3600), duration(90_000)] == [
        *("59 s", "1 min 0 s", "1 h 0 min", "1 d 1 h"),
    ]
