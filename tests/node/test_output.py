"""What a command has to say, and an output that takes nothing."""

import sys
from pathlib import Path

import pytest

from node.commands.output import say
from node.errors import UserError


def test_a_line_is_printed_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "out"
    with path.open("w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        say("ready")
        assert path.read_text() == "ready\n"


def test_a_full_disk_is_an_error_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OSError, match="No space"), Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(UserError, match="cannot write to standard output: No space"):
            say("ready")
