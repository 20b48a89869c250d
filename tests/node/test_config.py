"""Settings: what people type, in flags and files, and what they are told when it is wrong."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.config import RunSettings, parse_host_port, read_secret
from node.errors import UsageError, UserError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("relay.example.net", ("relay.example.net", 9)),
        ("relay.example.net:4278", ("relay.example.net", 4278)),
        (" 127.0.0.1:1 ", ("127.0.0.1", 1)),
        ("[2001:db8::1]:65535", ("2001:db8::1", 65535)),
        ("[::1]", ("::1", 9)),
    ],
)
def test_host_and_port(text: str, expected: tuple[str, int]) -> None:
    assert parse_host_port("--bootstrap", text, 9) == expected


@pytest.mark.parametrize(
    "text",
    ["", ":1", "::1", "a:b", "a:0", "a:65536", "a:-1", "a:1:2", "[::1", "[::1]x", "u@a:1", "a/b:1"],
)
def test_what_is_not_host_and_port(text: str) -> None:
    with pytest.raises(UsageError, match="--bootstrap"):
        parse_host_port("--bootstrap", text, 9)


@given(st.text(max_size=30))
def test_host_and_port_of_anything(text: str) -> None:
    try:
        host, port = parse_host_port("--bootstrap", text, 9)
    except UsageError as error:
        assert "\n" not in str(error)
    else:
        assert host
        assert 0 < port < 65536


def test_port_range() -> None:
    assert RunSettings(relay_ports="1-65535").relay_port_range() == (1, 65535)


@pytest.mark.parametrize("text", ["", "5", "a-b", "-1-5", "²-9", "1-999999"])
def test_what_is_not_a_port_range(text: str) -> None:
    with pytest.raises(UsageError, match="--relay-ports"):
        RunSettings(relay_ports=text).relay_port_range()


def test_secret_is_the_first_line(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("correct horse \n# a comment\n")
    assert read_secret("--password-file", path) == "correct horse "


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", b"x" * 5000])
def test_what_is_not_a_secret(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "password"
    path.write_bytes(content)
    with pytest.raises(UserError, match="first line"):
        read_secret("--password-file", path)


def test_secret_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        read_secret("--password-file", tmp_path / "password")
    with pytest.raises(UserError, match="Is a directory"):
        read_secret("--password-file", tmp_path)


def test_a_node_needs_an_xmpp_address() -> None:
    with pytest.raises(UsageError, match=r"--jid .* --component"):
        RunSettings().xmpp_account()


def test_account_and_component_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="exclude"):
        RunSettings(jid="a@b", component="relay.b").xmpp_account()


def test_a_component_needs_its_server() -> None:
    with pytest.raises(UsageError, match="--server"):
        RunSettings(component="relay.b").xmpp_account()


@pytest.mark.parametrize("name", ["channels", "channels_per_jid", "requests_per_minute", "expire"])
def test_limits_are_positive(name: str) -> None:
    with pytest.raises(UsageError, match=name):
        RunSettings(**{name: 0}).relay_limits()  # type: ignore[arg-type]


def test_limits_are_those_given() -> None:
    limits = RunSettings(channels=3, maxkbps=64, allow_private_peers=True).relay_limits()
    assert (limits.channels, limits.maxkbps, limits.allow_private_peers) == (3, 64, True)


def test_public_address_is_an_address(tmp_path: Path) -> None:
    settings = RunSettings(public_address="relay.example.net", state_dir=tmp_path)
    with pytest.raises(UsageError, match="--public-address"):
        settings.peer_settings()


def test_state_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="--state-dir"):
        RunSettings(state_dir=tmp_path / "file" / "state").state_directory()
