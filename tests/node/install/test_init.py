"""``jingle-nodes init``: on a terminal with somebody who answers, and without."""

import os
import pty
import re
import select
import signal
import stat
import subprocess
import sys
import termios
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from node.cli import execute
from node.install import written
from node.service import open_node
from node.settings import RunSettings
from node.settings.values import read_secret
from tests.node.install.test_config_file import read
from tests.node.prosody import DOMAIN, PASSWORD, Prosody

COMMAND = Path(sys.executable).with_name("jingle-nodes")
EOF = "\x04"
COLOUR = re.compile(r"\x1b\[[\d;]*m")
PATIENCE = 20.0
ACCOUNT = ("--jid", "a@b", "--password-file", "../password")


class Person:
    """Somebody at a terminal in front of the command."""

    def __init__(self, terminal: int, process: subprocess.Popen[bytes]) -> None:
        self._terminal = terminal
        self._process = process
        self.seen = ""
        self._unread = ""

    def reads(self, text: str) -> None:
        """Wait until a text, however it is folded, is on the screen after what was read before."""
        pattern = re.compile(r"\s+".join(map(re.escape, text.split())))
        while not (found := pattern.search(self._unread)):
            self._read()
        self._unread = self._unread[found.end() :]

    def types(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def types_unseen(self, text: str) -> None:
        """The same once the terminal shows nothing: what comes before is thrown away."""
        deadline = time.monotonic() + PATIENCE
        while termios.tcgetattr(self._terminal)[3] & termios.ECHO:
            assert time.monotonic() < deadline, self.seen
            time.sleep(0.005)
        self.types(text)

    def interrupts(self) -> None:
        """As Ctrl-C does at a terminal that controls the process."""
        self._process.send_signal(signal.SIGINT)

    def is_left(self) -> int:
        """Read on until the command has ended; returns its status."""
        try:
            while True:
                self._read()
        except OSError:
            pass  # EIO: nobody has the terminal open any more
        return self._process.wait(20)

    def _read(self) -> None:
        ready, _, _ = select.select([self._terminal], [], [], PATIENCE)
        assert ready, self.seen
        text = COLOUR.sub("", os.read(self._terminal, 65536).decode())
        self.seen += text
        self._unread += text


@contextmanager
def person(directory: Path, *arguments: str) -> Iterator[Person]:
    terminal, its_end = pty.openpty()
    process = subprocess.Popen(
        [COMMAND, "init", *arguments],
        stdin=its_end,
        stdout=its_end,
        stderr=its_end,
        start_new_session=True,
        cwd=directory,
    )
    os.close(its_end)
    try:
        yield Person(terminal, process)
    finally:
        os.close(terminal)
        process.kill()
        process.wait()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_the_answers_make_a_node_that_serves(prosody: Prosody, tmp_path: Path) -> None:
    with person(tmp_path, "--xmpp-host", f"127.0.0.1:{prosody.c2s_port}", "--port", "0") as someone:
        someone.reads("1. XMPP address of the relay")
        someone.types("@@\n")
        someone.reads("'@@' is not an XMPP address")
        someone.types("node\n")
        someone.reads("'node' lacks a domain: an account reads user@example.org, a component")
        someone.types(f"relay@{DOMAIN}\n")
        someone.reads("Password of the account")
        someone.types_unseen("\n")
        someone.reads("a password has at least one character")
        someone.types_unseen(f"{PASSWORD}\n")
        someone.reads("2. How much")
        someone.types("50XB\n")
        someone.reads("'50XB' is no quota such as 50GB/month")
        someone.types("\n")
        someone.reads("3. Whom")
        for nonsense in ("domain!!", "a.example,b.example", "*"):
            someone.types(f"{nonsense}\n")
            someone.reads(f"'{nonsense}' is neither a JID such as user@example.org nor a domain")
        someone.types("everybody\n")
        someone.reads("'everybody' is no answer: public, roster, or JIDs and domains")
        someone.types(f"{DOMAIN} friend@else.example\n")
        someone.reads("4. A peer")
        someone.types("\n")
        assert someone.is_left() == 0
        assert "jingle-nodes run --config node.toml" in someone.seen
        assert PASSWORD not in someone.seen
    config, secret = tmp_path / "node.toml", tmp_path / "node.secret"
    assert (mode(config), mode(secret)) == (0o644, 0o600)
    assert PASSWORD not in config.read_text()
    assert read_secret("--password-file", secret) == PASSWORD
    settings = read(config)
    assert settings == RunSettings(
        jid=f"relay@{DOMAIN}",
        password_file=secret,
        xmpp_host=f"127.0.0.1:{prosody.c2s_port}",
        quota="100GB/month",
        allow=(DOMAIN, "friend@else.example"),
        port=0,
    )
    lab = {"state_dir": tmp_path / "state", "public_address": "127.0.0.1", "turn_port": "0"}
    async with open_node(RunSettings(**{**vars(settings), **lab})) as node:
        assert node.ready.jid.startswith(f"relay@{DOMAIN}/")


def test_a_component_is_asked_for_its_server_and_has_no_roster(tmp_path: Path) -> None:
    with person(tmp_path) as someone:
        someone.reads("1. XMPP address of the relay")
        someone.types("relay.example.org\n")
        someone.reads("Its secret")
        someone.types_unseen("geheim\n")
        someone.reads("Where the server listens")
        someone.types("secret\n")
        someone.reads("'secret' is one word: give host:port, or a whole name such as")
        someone.types("\n")
        someone.reads("2. How much")
        someone.types("none\n")
        someone.reads("3. Whom")
        someone.types("roster\n")
        someone.reads("a component has no roster")
        someone.types("\n")
        someone.reads("4. A peer")
        someone.types("nonsense\n")
        someone.reads("'nonsense' is one word: give host:port, or a whole name such as")
        someone.types("xmpp:relay.example.net\n")
        assert someone.is_left() == 0
    assert tomllib.loads((tmp_path / "node.toml").read_text()) == {
        "component": "relay.example.org",
        "secret_file": str(tmp_path / "node.secret"),
        "server": "localhost:5347",
        "bootstrap": ["xmpp:relay.example.net"],
    }


@pytest.mark.parametrize(
    "answer", ["peer:4278", "localhost", "peer.example", "192.0.2.7", "[2001:db8::7]", "xmpp:relay"]
)
def test_a_peer_may_be_named_in_any_whole_way(here: Path, password: Path, answer: str) -> None:
    flags = ("--jid", "a@b", "--password-file", str(password), "--quota", "1GB/day")
    with person(here, *flags, "--policy", "roster") as someone:
        someone.reads("4. A peer")
        someone.types(f"{answer}\n")
        assert someone.is_left() == 0
    assert read(here / "node.toml").bootstrap == (answer,)


@pytest.mark.parametrize(("key", "said"), [(EOF, "nothing was written"), (None, "interrupted")])
def test_whoever_leaves_leaves_nothing(tmp_path: Path, key: str | None, said: str) -> None:
    with person(tmp_path, "--jid", "a@b.example") as someone:
        someone.reads("Password of the account")
        someone.types_unseen("geheim\n")
        someone.reads("2. How much")
        if key is None:
            someone.interrupts()
        else:
            someone.types(key)
        assert someone.is_left() == 1
        assert said in someone.seen
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def password(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text("geheim")
    path.chmod(0o600)
    return path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "here"
    directory.mkdir()
    monkeypatch.chdir(directory)
    return directory


def test_flags_need_no_terminal(
    here: Path, password: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    flags = ["--jid", "a@b.example", "--password-file", "../password", "--hours", "22:00-07:00"]
    assert execute(["init", *flags, "--file", "sub/n.toml"]) == 0
    assert [path.name for path in here.rglob("*.*")] == ["n.toml"]
    settings = read(here / "sub/n.toml")
    assert (settings.jid, settings.hours) == ("a@b.example", "22:00-07:00")
    assert settings.password_file is not None
    assert settings.password_file.samefile(password)
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == "written: sub/n.toml"
    assert err == ""


@pytest.mark.parametrize(
    ("flags", "status", "said"),
    [
        ([], 2, "standard input is no terminal"),
        (["--jid", "a@b"], 2, "--password-file FILE"),
        (["--component", "a.b", "--password-file", "../password"], 2, "no terminal"),
        (["--component", "a.b", "--secret-file", "../password"], 2, "--server host:port"),
        (["--jid", "a@b", "--component", "a.b"], 2, "exclude each other"),
        (["--jid", "a@b", "--password-file", "none"], 1, "cannot read --password-file none"),
        ([*ACCOUNT, "--file", "."], 1, "is a directory; name a file"),
        (
            ["--jid", "a@b", "--password-file", "../password", "--file", "/proc/x"],
            1,
            "cannot write",
        ),
        (["--file", "node.secret"], 1, "call it node.toml"),
        (["--quota", "1XB"], 2, "no quota such as"),
    ],
)
def test_what_cannot_be_is_one_line(
    here: Path,
    password: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
    status: int,
    said: str,
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert execute(["init", *flags]) == status
    out, err = capsys.readouterr()
    assert said in err
    assert err.count("\n") == 1
    assert out == ""
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("taken", ["node.toml", "node.secret"])
def test_nothing_is_overwritten_unasked(
    here: Path, password: Path, capsys: pytest.CaptureFixture[str], taken: str
) -> None:
    (here / taken).symlink_to("nowhere")
    arguments = ["init", "--jid", "a@b"]
    if taken == "node.toml":
        arguments += ["--password-file", str(password)]
    assert execute(arguments) == 1
    assert f"{taken} is there already; keep it, or overwrite it with --force" in (
        capsys.readouterr().err
    )
    assert str((here / taken).readlink()) == "nowhere"


def test_a_password_that_is_there_may_be_used(
    here: Path, password: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    password.rename(here / "node.secret")
    assert execute(["init", "--jid", "a@b", "--password-file", "node.secret"]) == 0
    assert read(here / "node.toml").password_file == here / "node.secret"


def test_force_overwrites(here: Path, password: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    (here / "node.toml").write_text("old")
    (here / "node.toml").chmod(0o600)
    arguments = ["init", "--jid", "a@b", "--password-file", str(password), "--force"]
    assert execute(arguments) == 0
    assert read(here / "node.toml").jid == "a@b"
    assert mode(here / "node.toml") == 0o644


def test_a_service_must_see_its_program(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(written, "UNSEEN", (Path(sys.executable).resolve().parent,))
    assert execute(["init", "--systemd", "--file", "node.toml"]) == 1
    assert "a service does not see" in capsys.readouterr().err
