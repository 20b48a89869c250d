"""What ``find`` shows of adverts that anybody may have written."""

import io

import pytest
from rich.console import Console

from node.commands.find import as_text
from overlay.discovery import Relay

LONG_JID = f"relay@{'domain.' * 40}example/resource"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(jid: str, file: io.StringIO | None = None, width: int | None = None) -> str:
    endpoints = (("192.0.2.1", 65535), ("2001:db8:1111:2222:3333:4444:5555:6666", 65535))
    relay = Relay(jid, bytes(20), endpoints, 0.01, 1.0, None, "public", b"", ())
    console = Console(file=file or io.StringIO(), width=width, force_terminal=False)  # no colours
    return as_text([relay], console)


def test_for_a_program_a_relay_is_one_whole_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    head, line = shown(LONG_JID).splitlines()
    assert head.split()[0] == "relay"
    assert line.split()[0] == LONG_JID
    assert line.endswith("192.0.2.1:65535 [2001:db8:1111:2222:3333:4444:5555:6666]:65535")


def test_on_a_terminal_nothing_is_cut_and_no_line_too_long() -> None:
    lines = shown(LONG_JID, Terminal(), 60).splitlines()
    assert max(map(len, lines)) <= 60
    width = lines[0].index("round trip") - 1
    assert "".join(line[:width].strip() for line in lines[1:]) == LONG_JID


def test_markup_in_a_jid_is_shown_and_not_obeyed() -> None:
    for jid in ("a[/]@x", "a[link=http://evil.example]relay.example[/link]"):
        assert jid in shown(jid)


def test_control_characters_do_not_reach_the_terminal() -> None:
    text = shown("a\u009b31m\u202e\x1b[31m@x")
    assert not set("\u009b\u202e\x1b") & set(text)
