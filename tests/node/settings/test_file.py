"""Settings from a file: one for every command, and mistakes in it are told with their line."""

import os
from pathlib import Path

import pytest

from node.cli import app
from tests.node.complaints import complaint


def test_settings_from_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    config = tmp_path / "node.toml"
    config.write_text(
        'jid = "a@b"\npassword-file = "/nowhere/at-all"\nbootstrap = ["c:1", "d:2"]\n'
    )
    assert "/nowhere/at-all" in complaint(capsys, ["run", "--config", str(config)], 1)
    # A flag stands above the file.
    flags = ["--config", str(config), "--password-file", "/else/where"]
    assert "/else/where" in complaint(capsys, ["run", *flags], 1)


@pytest.mark.parametrize("command", ["run", "find", "borrow", "call"])
def test_one_file_serves_every_command(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str
) -> None:
    config = tmp_path / "node.toml"
    config.write_text(
        'password_file = "/nowhere/at-all"\njid = "a@b"\nchannels = 5\nbootstrap = ["c:0"]\n'
    )
    # What a command has no use for is passed over.
    assert "'c:0'" in complaint(capsys, [command, "--config", str(config)], 2)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("prot = 1\n", "line 1: there is no setting 'prot'; did you mean port?"),
        ("drian = 1\n", "did you mean drain?"),
        ("zzz = 1\n", "'zzz'; see jingle-nodes run --help"),
        ("config = 'other.toml'\n", "'config'"),
        ("settings = 1\n", "'settings'"),
        ("[run]\nport = 1\n", "'run'; write settings at the top of the file"),
        ("[find]\n", "'find'"),
        ("relay-ports = '1-5'\nrelay_ports = '2-6'\n", "relay-ports is set twice"),
        ('port = "many"\n', "port must be a whole number"),
        ("port = 4280.5\n", "port must be a whole number"),
        ("port = true\n", "port must be a whole number"),
        ("port = 65536\n", "65536"),
        ("turn_port = true\n", "turn_port must be a whole number, or text in quotes"),
        ("turn_port = 1.5\n", "turn_port must be a whole number, or text in quotes"),
        ("expire = '60'\n", "expire must be a number"),
        ("expire = nan\n", "nan"),
        ("allow_private_peers = 'yes'\n", "allow_private_peers must be true or false"),
        ("allow-private-peers = 1\n", "allow-private-peers must be true or false"),
        ("jid = 1\n", "jid must be text"),
        ("jid = ['a@b']\n", "jid must be text"),
        ("state_dir = 1979-05-27\n", "state_dir must be text"),
        ('state_dir = "a\\u0000b"\n', "state_dir must be text"),
        ("bootstrap = [1]\n", "bootstrap must be a list of texts"),
        ("bootstrap = {a = 1}\n", "bootstrap must be a list of texts"),
        ("xmpp_tls = 'some'\n", "xmpp_tls"),
        ("port =\n", "line 1"),
        ("a = " + "[" * 5000, "recursion"),
        ("\xff", "is no TOML file: line 1 is not UTF-8 text; save it as UTF-8"),
        ("port = 1\r\n# caf\xe9\n\xff", "is no TOML file: line 2 is not UTF-8 text"),
    ],
)
def test_mistakes_in_a_file_name_the_file_and_the_key(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, content: str, named: str
) -> None:
    config = tmp_path / "node.toml"
    config.write_text(content, "latin-1")
    line = complaint(capsys, ["run", "--config", str(config)], 2)
    assert str(config) in line
    assert named in line
    assert "Error" not in line  # the name of a class


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ('quota = "50XB/month"', "no quota such as 50GB/month"),
        ("hours = '9'", "no part of a day such as 22:00-07:00"),
        ("relay-ports = 'some'", "not a range of ports such as 20000-29999"),
        ("relay-ports = '9-3'", "1 <= FIRST <= LAST <= 65535"),
        ("relay-ports = '7-8'", "at least five ports"),
        ("public_address = '0.0.0.0'", "not the IP address of one machine"),
        ("bootstrap = [\n'a:1', 'b:0']", "'b:0' is not host:port"),
        ("bootstrap = 'xmpp:@@'", "not an XMPP address"),
        ("allow = ['a@b/c']", "give user@domain, or a domain"),
        ("deny = ['@@']", "neither a JID such as user@example.org nor a domain"),
        ("allow = ['a.example', 'domain!!']", "'domain!!' is neither a JID"),
        ("jid = '@@'", "not an XMPP address"),
        ("component = '@@'", "not an XMPP address"),
        ("server = ':1'", "not host:port"),
        ("xmpp_host = 'a:b'", "not host:port"),
        ("port = 65536", "not a whole number from 0 to 65535"),
        ("turn_port = 99999", "'99999' is not a port from 0 to 65535, and not off"),
        ("turn_port = 'on'", "'on' is not a port from 0 to 65535, and not off"),
        ("'policy' = 'all'", '"public", "roster"'),
        ('"channels" = true', "a whole number"),
    ],
)
def test_a_wrong_value_is_told_with_its_key_and_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, setting: str, expected: str
) -> None:
    config = tmp_path / "node.toml"
    config.write_text(f"# port = 1\ndrain = 1\n\n  {setting}\n")
    line = complaint(capsys, ["run", "--config", str(config)], 2)
    assert setting.split()[0].strip("'\"") in line
    assert f"{config}, line 4" in line
    assert expected in line


@pytest.mark.parametrize(
    ("content", "number"),
    [
        ('state_dir = """\nport = 0\n"""\nport = 65536', 4),
        ("port.number = 3", 1),
        ("drain = 1\n[ port ]\na = 1", 2),
        ("\ndrain = 1\n[[port]]\na = 1", 3),
        ("drain = 1\n[port.a]\nb = 1", 2),
        ("drain = 1\r\nport = 'x'", 2),
        ('drain = 1\n"p\\u006Frt" = "x"', 2),  # a key with escapes
    ],
)
def test_the_line_is_that_of_the_key(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, content: str, number: int
) -> None:
    config = tmp_path / "node.toml"
    config.write_bytes(content.encode())
    line = complaint(capsys, ["run", "--config", str(config)], 2)
    assert f"{config}, line {number}" in line
    assert "port" in line


@pytest.mark.parametrize("value", ["4478", '"4478"', '"off"', "0"])
def test_the_port_of_turn_is_a_number_or_a_word(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, value: str
) -> None:
    config = tmp_path / "node.toml"
    config.write_text(f"turn_port = {value}\njid = 'a@b'\npassword_file = '/nowhere/at-all'\n")
    assert "/nowhere/at-all" in complaint(capsys, ["run", "--config", str(config)], 1)
    _, given, _ = app.parse_args(["run", "--config", str(config)])
    port = None if value == '"off"' else int(value.strip('"'))
    assert given.arguments["settings"].own_turn_port() == port


def test_keys_that_do_not_fit_together_are_told_with_their_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "node.toml"
    arguments = ["run", "--config", str(config)]
    config.write_text("component = 'a.b'\n\njid = 'a@b'\nport = 4278\n")
    line = complaint(capsys, arguments, 2)
    assert line.endswith(f"pass one of them ({config}: component: line 1, jid: line 3)\n")
    config.write_text("port = 4278\n")
    assert complaint(capsys, arguments, 2).endswith("asks for what it takes\n")
    config.write_text("jid = 'a@b'\npassword_file = '/nowhere'\n")
    assert f"({config}: password_file: line 2)" in complaint(capsys, arguments, 1)
    # Not where the file is overridden.
    assert str(config) not in complaint(capsys, [*arguments, "--password-file=/else"], 1)
    monkeypatch.setenv("JINGLE_NODES_PASSWORD_FILE", "/else")
    assert str(config) not in complaint(capsys, arguments, 1)


def test_a_bootstrap_peer_in_a_file_needs_no_list(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    config = tmp_path / "node.toml"
    config.write_text('bootstrap = "c:0"\n')
    assert "'c:0'" in complaint(capsys, ["find", "--config", str(config)], 2)


def test_files_that_cannot_be_read(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    large, pipe = tmp_path / "large", tmp_path / "pipe"
    with large.open("wb") as file:
        file.truncate(300_000_000)
    os.mkfifo(pipe)
    for path in (tmp_path / "none", tmp_path, large, pipe, Path("/dev/zero")):
        line = complaint(capsys, ["run", "--config", str(path)], 1)
        assert f"cannot read --config {path}: " in line
