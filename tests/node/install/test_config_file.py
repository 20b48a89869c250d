"""The file that init writes says what was set, to people and to run."""

import re
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.cli import app
from node.install.config_file import render
from node.settings import RunSettings

NAMES = [field.name for field in fields(RunSettings)]
HELPS = {name: f"Help of {name}." for name in NAMES}
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)


def read(path: Path) -> RunSettings:
    _, bound, _ = app.parse_args(["run", "--config", str(path)])
    settings: RunSettings = bound.arguments.get("settings", RunSettings())
    return settings


def test_run_takes_what_was_set(tmp_path: Path) -> None:
    settings = RunSettings(
        jid="romeo@ä.example",
        password_file=Path('/a "b"\\c'),
        bootstrap=("a.example:4278", "xmpp:relay.example"),
        quota="2.5GB/day",
        allow=("a.example",),
        channels=7,
        expire=2.5,
        allow_private_peers=True,
        policy="roster",
    )
    path = tmp_path / "node.toml"
    path.write_text(render(settings, HELPS))
    assert read(path) == settings


def test_every_setting_is_explained_and_what_is_by_default_is_a_comment(tmp_path: Path) -> None:
    text = render(RunSettings(), HELPS)
    assert tomllib.loads(text) == {}
    for name in NAMES:
        assert f"\n# Help of {name}.\n#{name} =" in text
    # What the comments show are the defaults.
    path = tmp_path / "node.toml"
    path.write_text(re.sub(r"^#(\w+ = \S)", r"\1", text, flags=re.M))
    assert "port = 4278\n" in path.read_text()
    assert read(path) == RunSettings()


@given(TEXT, st.lists(TEXT, max_size=3))
def test_any_text_comes_back(text: str, texts: list[str]) -> None:
    settings = RunSettings(xmpp_host=text or None, bootstrap=tuple(texts))
    told = tomllib.loads(render(settings, HELPS))
    assert told.get("xmpp_host", "") == text
    assert told.get("bootstrap", []) == texts


def test_only_what_a_setting_can_be_is_written() -> None:
    wrong: dict[str, Any] = dict.fromkeys(["jid"], 1j)
    with pytest.raises(TypeError, match="complex"):
        render(RunSettings(**wrong), HELPS)
