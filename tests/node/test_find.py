"""What ``find`` shows of adverts that anybody may have written."""

import io

from rich.console import Console

from node.commands.find import as_table
from overlay.discovery import Relay


def shown(jid: str) -> str:
    relay = Relay(jid, bytes(20), (("192.0.2.1", 9),), 0.01, 1.0, None, "public", b"", ())
    console = Console(file=io.StringIO(), width=120)
    console.print(as_table([relay]))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_markup_in_a_jid_is_shown_and_not_obeyed() -> None:
    for jid in ("a[/]@x", "a[link=http://evil.example]relay.example[/link]"):
        assert jid in shown(jid)


def test_control_characters_do_not_reach_the_terminal() -> None:
    text = shown("a\u009b31m\u202e\x1b[31m@x")
    assert not set("\u009b\u202e\x1b") & set(text)
