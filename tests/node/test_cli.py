"""The command line: exit status, one-line errors, settings from the environment."""

import importlib.metadata
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from node import cli
from node.cli import execute
from node.commands import simulated
from tests.node.complaints import complaint

PROJECT = Path(cli.__file__).parents[1]


@pytest.mark.parametrize("command", ["run", "find", "borrow", "call", "status", "doctor", "demo"])
def test_every_subcommand_helps_with_an_example(
    capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert execute([command, "--help"]) == 0
    out = capsys.readouterr().out
    assert f"jingle-nodes {command}" in out
    assert "Example:" in out
    assert "--json" in out


def test_init_helps_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["init", "--help"]) == 0
    assert "Example: jingle-nodes init" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--"],
        ["nothing"],
        ["run", "more"],
        ["run", "--no-such-option"],
        ["run", "--port"],
        ["run", "--port", "many"],
        ["find", "--count", "3.5"],
        ["run", "--jid", "a@b", "--component", "c"],
        ["find"],
        ["find", "--bootstrap", "127.0.0.1:0"],
        ["find", "--bootstrap", "xmpp:relay.example.org"],
        ["find", "--bootstrap", "127.0.0.1:9", "--count", "0"],
        ["find", "--bootstrap", "127.0.0.1:9", "--timeout", "nan"],
        ["run", "--status-address", "0.0.0.0:4279"],
        ["run", "--status-address", "[::]:0"],
        ["run", "--status-address", "relay.example.org:4279"],
        ["run", "--status-address", "on"],
        ["run", "--log-format", "xml"],
        ["status", "more"],
        ["borrow", "--jid", "a@b"],
        ["call"],
        ["call", "bob@b/c"],
        ["call", "bob@b", "--bootstrap", "127.0.0.1:9"],
        ["call", "@", "--bootstrap", "127.0.0.1:9"],
        ["call", "bob@b/c", "--bootstrap", "127.0.0.1:9"],
        ["call", "--answer", "--bootstrap", "127.0.0.1:9", "--tone", "440", "--play", "a.wav"],
        ["call", "--answer", "--bootstrap", "127.0.0.1:9", "--tone", "1"],
        ["borrow", "--bootstrap", "127.0.0.1:9"],
        ["borrow", "--bootstrap", "127.0.0.1:9", "--seconds", "-1"],
        ["borrow", "--bootstrap", "127.0.0.1:9", "--seconds", "inf"],
        ["borrow", "--bootstrap", "127.0.0.1:9", "--timeout", "nan"],
    ],
)
def test_usage(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    complaint(capsys, arguments, 2)


def test_a_call_does_not_ring_for_longer_than_others_let_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = ["call", "bob@b/c", "--bootstrap", "127.0.0.1:9", "--timeout"]
    assert "rings for 170 s at most" in complaint(capsys, [*line, "171"], 2)
    assert "an XMPP account is needed" in complaint(capsys, [*line, "170"], 2)


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        ([], "jingle-nodes --help"),
        (["nothing"], "jingle-nodes --help"),
        (["run", "--port"], "jingle-nodes run --help"),
        (["find", "more"], "jingle-nodes find --help"),
        (["borrow", "--xmpp-tls", "some"], "jingle-nodes borrow --help"),
    ],
)
def test_usage_errors_tell_where_help_is(
    capsys: pytest.CaptureFixture[str], arguments: list[str], advice: str
) -> None:
    assert complaint(capsys, arguments, 2).endswith(f"; see {advice}\n")


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("--port", ["-1", "65536", "4280.5", "1e3"]),
        ("--channels", ["0", "16385"]),
        ("--channels-per-jid", ["0", "16385"]),
        ("--channels-per-domain", ["0", "16385"]),
        ("--requests-per-minute", ["0", "10001"]),
        ("--maxkbps", ["0", "10000001", "9" * 5000]),
        ("--expire", ["nan", "inf", "-inf", "1e300", "604801", "0.0001", "0", "soon"]),
    ],
)
def test_numbers_have_bounds(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    option: str,
    values: list[str],
) -> None:
    for value in values:
        line = complaint(capsys, ["run", f"{option}={value}"], 2)
        assert f"{option}: " in line
        assert len(line) < 200
    variable = "JINGLE_NODES_" + option[2:].upper().replace("-", "_")
    monkeypatch.setenv(variable, values[0])
    assert f"{variable}: " in complaint(capsys, ["run"], 2)
    # A flag stands above the variable, and the variable above the file.
    assert f"{option}: " in complaint(capsys, ["run", f"{option}={values[1]}"], 2)
    config = tmp_path / "node.toml"
    config.write_text(f"{option[2:]} = 30\n")
    assert f"{variable}: " in complaint(capsys, ["run", "--config", str(config)], 2)


def test_version_is_the_distributions(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    version = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
    assert execute(["--version"]) == 0
    assert capsys.readouterr().out == f"{version}\n"

    def not_installed(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", not_installed)
    assert execute(["--version"]) == 0
    assert capsys.readouterr().out == f"{version}\n"


def test_run_without_an_account_tells_how_to_get_one(capsys: pytest.CaptureFixture[str]) -> None:
    line = complaint(capsys, ["run"], 2)
    assert "--jid" in line
    assert "--component" in line
    assert "jingle-nodes init" in line


def test_what_fails_is_json_where_the_log_is() -> None:
    status, out, err = started(["run", "--log-format", "json"], "")
    assert (status, out) == (2, "")
    assert "--component" in json.loads(err)["message"]


def test_settings_from_the_environment(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JINGLE_NODES_JID", "a@b")
    monkeypatch.setenv("JINGLE_NODES_PASSWORD_FILE", "/nowhere/at-all")
    assert "/nowhere/at-all" in complaint(capsys, ["run"], 1)


def test_the_demo_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulated, "_DEMO_PACKAGES", ("trio", "not_there"))
    line = complaint(capsys, ["demo"], 1)
    assert "(not_there): pip install 'jingle-nodes[demo]'" in line


# Outputs that take nothing


def started(arguments: list[str], redirection: str, **environment: str) -> tuple[int, str, str]:
    """A command in a shell: its exit status, and what it said on both outputs."""
    reader, broken = os.pipe()
    os.close(reader)
    script = f'"$@" {redirection.format(broken=broken)}'
    done = subprocess.run(
        ["bash", "-c", script, "bash", sys.executable, "-m", "node", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        pass_fds=[broken],
        cwd=PROJECT,
        env={**os.environ, "PYTHONUNBUFFERED": "", **environment},
        check=False,
    )
    os.close(broken)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("redirection", [">&{broken}", ">&-", ">/dev/full"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_an_output_that_takes_nothing(redirection: str, unbuffered: str) -> None:
    status, _, err = started(["--version"], redirection, PYTHONUNBUFFERED=unbuffered)
    assert status == 1
    assert err.startswith("jingle-nodes: ")
    assert "standard output" in err or "No space left on device" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full", "2>&{broken}"])
def test_an_error_output_that_takes_nothing(redirection: str) -> None:
    assert started(["run"], redirection) == (2, "", "")


def test_characters_that_an_output_does_not_have(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def show(arguments: object) -> int:
        print("r\xe9lay@example.org")
        return 0

    monkeypatch.setattr(cli, "execute", show)
    with (tmp_path / "out").open("w", encoding="ascii") as out:
        monkeypatch.setattr(sys, "stdout", out)
        with pytest.raises(SystemExit):
            cli.main()
    assert (tmp_path / "out").read_text() == "r\\xe9lay@example.org\n"


# What nobody has foreseen


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(24, "Too many open files"), "Too many open files; "),
        (PermissionError(13, "Permission denied", "/a/b"), "/a/b: Permission denied; "),
        (MemoryError(), "no memory"),
        (ExceptionGroup("", [OSError(24, "Too many open files")]), "Too many open files; "),
    ],
)
def test_the_system_refuses(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    said: str,
) -> None:
    def refuse(*arguments: object) -> None:
        raise error

    monkeypatch.setattr("trio.run", refuse)
    assert said in complaint(capsys, ["find", "--bootstrap", "127.0.0.1:9"], 1)


def test_a_defect_of_the_program_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("trio.run", fail)
    with pytest.raises(ZeroDivisionError):
        execute(["find", "--bootstrap", "127.0.0.1:9"])
