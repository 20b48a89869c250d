"""The command line: exit status, one-line errors, settings from file and environment."""

from pathlib import Path

import pytest

from node.cli import execute


def complaint(capsys: pytest.CaptureFixture[str], arguments: list[str], status: int) -> str:
    """Run a command line that must fail with ``status`` and return its only line."""
    assert execute(arguments) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("jingle-nodes: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    return err


@pytest.mark.parametrize("command", ["run", "find", "borrow", "demo"])
def test_every_subcommand_helps_with_an_example(
    capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert execute([command, "--help"]) == 0
    out = capsys.readouterr().out
    assert f"jingle-nodes {command}" in out
    assert "Example:" in out
    assert "--json" in out


@pytest.mark.parametrize(
    "arguments",
    [
        ["nothing"],
        ["run", "--no-such-option"],
        ["run", "--port", "many"],
        ["run", "--jid", "a@b", "--component", "c"],
        ["find"],
        ["find", "--bootstrap", "127.0.0.1:0"],
        ["find", "--bootstrap", "127.0.0.1:9", "--count", "0"],
        ["find", "--bootstrap", "127.0.0.1:9", "--timeout", "nan"],
        ["borrow", "--jid", "a@b"],
        ["borrow", "--bootstrap", "127.0.0.1:9"],
        ["borrow", "--bootstrap", "127.0.0.1:9", "--seconds", "-1"],
    ],
)
def test_usage(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    complaint(capsys, arguments, 2)


def test_run_without_an_account_tells_how_to_get_one(capsys: pytest.CaptureFixture[str]) -> None:
    line = complaint(capsys, ["run"], 2)
    assert "--jid" in line
    assert "--component" in line


def test_settings_from_the_environment(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JINGLE_NODES_JID", "a@b")
    monkeypatch.setenv("JINGLE_NODES_PASSWORD_FILE", "/nowhere/at-all")
    assert "/nowhere/at-all" in complaint(capsys, ["run"], 1)


def test_settings_from_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    config = tmp_path / "node.toml"
    config.write_text(
        'jid = "a@b"\npassword-file = "/nowhere/at-all"\nbootstrap = ["c:1", "d:2"]\n'
    )
    assert "/nowhere/at-all" in complaint(capsys, ["run", "--config", str(config)], 1)
    # A flag stands above the file.
    flags = ["--config", str(config), "--password-file", "/else/where"]
    assert "/else/where" in complaint(capsys, ["run", *flags], 1)


@pytest.mark.parametrize(
    ("content", "named"),
    [("prot = 1\n", "prot"), ('port = "many"\n', "port"), ("port =\n", "line 1")],
)
def test_mistakes_in_a_file_name_the_file_and_the_key(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, content: str, named: str
) -> None:
    config = tmp_path / "node.toml"
    config.write_text(content)
    line = complaint(capsys, ["run", "--config", str(config)], 2)
    assert str(config) in line
    assert named in line


def test_a_file_that_is_not_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "--config" in complaint(capsys, ["run", "--config", str(tmp_path / "none")], 1)
