"""Settings: what people type, in flags and files, and what they are told when it is wrong."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.errors import UsageError, UserError
from node.settings import AccountSettings, RunSettings
from node.settings.run import default_state_dir
from node.settings.values import parse_host_port, read_secret
from node.xmpp import Account, TlsPolicy
from simulations.lab.certificates import Authority


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("relay.example.net", ("relay.example.net", 9)),
        ("relay.example.net:4278", ("relay.example.net", 4278)),
        (" 127.0.0.1:1 ", ("127.0.0.1", 1)),
        ("[2001:db8::1]:65535", ("2001:db8::1", 65535)),
        ("[::1]", ("::1", 9)),
        ("[fe80::1%eth0]:7", ("fe80::1%eth0", 7)),
        ("bücher.example.", ("bücher.example.", 9)),
    ],
)
def test_host_and_port(text: str, expected: tuple[str, int]) -> None:
    assert parse_host_port("--bootstrap", text, 9) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", ":1", "::1", "a:b", "a:0", "a:65536", "a:-1", "a:1:2", "[::1", "[::1]x", "u@a:1"),
        *("a/b:1", "a..b:1", "a" * 64, "\udcff:1"),
    ],
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


def test_bootstrap_takes_addresses_and_relays() -> None:
    settings = RunSettings(bootstrap=("a.example", "xmpp:relay.example", "192.0.2.1:5"))
    assert settings.bootstrap_addresses == (("a.example", 4278), ("192.0.2.1", 5))
    assert settings.bootstrap_relays == ("relay.example",)
    with pytest.raises(UsageError, match="--bootstrap xmpp: '@@' is not an XMPP address"):
        _ = RunSettings(bootstrap=("xmpp:@@",)).bootstrap_relays


@pytest.mark.parametrize(
    ("own_host", "values", "maps"),
    [
        ("192.168.1.7", {}, True),
        ("192.168.1.7", {"port_mapping": "off"}, False),
        ("192.168.1.7", {"public_address": "45.1.0.2"}, False),  # forwarded by hand
        ("100.64.0.9", {}, True),
        ("45.1.0.2", {}, False),
    ],
)
def test_a_router_is_asked_for_ports_only_where_there_may_be_one(
    own_host: str, values: dict[str, Any], maps: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.settings.run.source_host", lambda: own_host)
    assert RunSettings(**values).maps_ports is maps


def test_the_secret_of_port_mapping_lasts(tmp_path: Path) -> None:
    secrets = [
        RunSettings(state_dir=tmp_path / name).mapping_secret() for name in ("one", "one", "two")
    ]
    assert secrets[0] == secrets[1] != secrets[2]


def test_port_range() -> None:
    assert RunSettings(relay_ports="1-65535").relay_port_range() == (1, 65535)


@pytest.mark.parametrize("text", ["", "5", "a-b", "-1-5", "²-9", "1-999999"])
def test_what_is_not_a_port_range(text: str) -> None:
    with pytest.raises(UsageError, match="--relay-ports"):
        RunSettings(relay_ports=text).relay_port_range()


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text("correct horse \n# a comment\n")
    path.chmod(0o600)
    return path


def test_secret_is_the_first_line(password_file: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert read_secret("--password-file", password_file) == "correct horse "
    # As editors of another system write it.
    password_file.write_bytes(b"\xef\xbb\xbfcorrect horse \r\n")
    assert read_secret("--password-file", password_file) == "correct horse "
    assert not caplog.records


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"\r\n", b"\xff\xfe", b"a\0b\n", b"a\x1bb", b"a\x0bb", b"a\x7f", b"a\xc2\x85b"],
)
def test_what_is_not_a_secret(password_file: Path, content: bytes) -> None:
    password_file.write_bytes(content)
    with pytest.raises(UserError, match="first line, as UTF-8 text without control characters"):
        read_secret("--password-file", password_file)


def test_secret_that_cannot_be_read(tmp_path: Path) -> None:
    long, pipe = tmp_path / "long", tmp_path / "pipe"
    long.write_bytes(b"x" * 5000)
    os.mkfifo(pipe)
    for path, reason in [
        (tmp_path / "none", "No such file"),
        (tmp_path, "Is a directory"),
        (Path("a\0b"), "null byte"),
        (long, "more than 4096 bytes"),
        (pipe, "not a regular file"),
        (Path("/dev/zero"), "not a regular file"),
    ]:
        with pytest.raises(UserError, match=f"^cannot read --password-file .*: .*{reason}"):
            read_secret("--password-file", path)


def test_secret_that_everybody_can_read(
    password_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    password_file.chmod(0o644)
    assert read_secret("--password-file", password_file) == "correct horse "
    [record] = caplog.records
    assert f"everybody on this machine can read --password-file {password_file}" in record.message
    assert "correct horse" not in record.message


def test_what_cannot_be_read_is_not_left_open(tmp_path: Path) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = descriptors()
    for path in (tmp_path, Path("/dev/zero")):
        with pytest.raises(UserError):
            read_secret("--password-file", path)
    assert descriptors() == before


def test_certificates_to_trust_are_checked_with_the_settings(
    password_file: Path, tmp_path: Path
) -> None:
    good, bad = Authority(tmp_path).ca_file, tmp_path / "bad.pem"
    bad.write_text("no certificate")

    def account(ca_file: Path, tls: TlsPolicy = "auto") -> Account:
        return AccountSettings(
            jid="a@localhost", password_file=password_file, xmpp_tls=tls, xmpp_ca_file=ca_file
        ).account()

    assert account(good).ca_file == good
    for path in (bad, tmp_path / "none", tmp_path):
        with pytest.raises(UserError, match=r"cannot read certificates from .*; give a PEM file"):
            account(path)
    with pytest.raises(UsageError, match="--xmpp-tls off"):
        account(good, "off")
    with pytest.raises(UsageError, match="--xmpp-tls unverified"):
        account(good, "unverified")


def test_a_node_keeps_its_resource(password_file: Path, tmp_path: Path) -> None:
    def jid_of(state: str, jid: str = "relay@example.org") -> str:
        settings = RunSettings(jid=jid, password_file=password_file, state_dir=tmp_path / state)
        return settings.xmpp_account().jid

    first = jid_of("one")
    assert first.startswith("relay@example.org/jingle-nodes-")
    assert jid_of("one") == first
    assert jid_of("two") != first
    assert jid_of("one", "relay@example.org/mine") == "relay@example.org/mine"


def test_a_node_needs_an_xmpp_address() -> None:
    with pytest.raises(UsageError, match=r"--jid .* --component"):
        RunSettings().xmpp_account()


def test_account_and_component_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="exclude"):
        RunSettings(jid="a@b", component="relay.b").xmpp_account()


def test_a_component_needs_its_server() -> None:
    with pytest.raises(UsageError, match="--server"):
        RunSettings(component="relay.b").xmpp_account()


def test_a_component_has_no_tls(password_file: Path) -> None:
    for settings in (
        RunSettings(component="relay.b", secret_file=password_file, server="b", xmpp_tls="verify"),
        RunSettings(
            component="relay.b", secret_file=password_file, server="b", xmpp_ca_file=password_file
        ),
    ):
        with pytest.raises(UsageError, match="no TLS"):
            settings.xmpp_account()


def test_a_component_has_no_roster(password_file: Path) -> None:
    settings = RunSettings(
        component="relay.b", secret_file=password_file, server="b", policy="roster"
    )
    with pytest.raises(UsageError, match=r"--component has no roster: .* --allow"):
        settings.xmpp_account()
    assert replace(settings, allow=("b",)).xmpp_account()


def test_public_address_is_an_address(tmp_path: Path) -> None:
    settings = RunSettings(public_address="relay.example.net", state_dir=tmp_path)
    with pytest.raises(UsageError, match="--public-address"):
        settings.peer_settings()


def test_state_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="--state-dir"):
        RunSettings(state_dir=tmp_path / "file" / "state").state_directory()


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_such_user(uid: int) -> None:
        raise KeyError(uid)

    for variable in ("HOME", "XDG_STATE_HOME", "STATE_DIRECTORY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("pwd.getpwuid", no_such_user)
    with pytest.raises(UserError, match="no home directory; pass --state-dir DIR"):
        default_state_dir()
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/a:/var/lib/b")
    assert default_state_dir() == Path("/var/lib/a")


@pytest.mark.parametrize(
    ("text", "port", "expected"),
    [
        ("203.0.113.8", 4278, ("203.0.113.8", 4279)),
        ("203.0.113.8:3478", 4278, ("203.0.113.8", 3478)),
        ("2001:db8::8", 4278, ("2001:db8::8", 4279)),
        ("[2001:db8::8]", 65535, ("2001:db8::8", 0)),
        ("[2001:db8::8]:1", 0, ("2001:db8::8", 1)),
        ("203.0.113.8", 0, ("203.0.113.8", 0)),
    ],
)
def test_second_address_for_stun(text: str, port: int, expected: tuple[str, int]) -> None:
    settings = RunSettings(stun_alternate=text, port=port)
    assert settings.stun_alternate_address() == expected
    assert RunSettings().stun_alternate_address() is None


@pytest.mark.parametrize(
    "text",
    ["", "relay.example.net", "224.0.0.1", "0.0.0.0", "1.2.3.4:0", "1.2.3.4:4278", "1::2::3"],
)
def test_what_is_no_second_address(text: str) -> None:
    with pytest.raises(UsageError, match="--stun-alternate") as caught:
        RunSettings(stun_alternate=text).stun_alternate_address()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("127.0.0.1:4279", ("127.0.0.1", 4279)),
        ("127.9.9.9", ("127.9.9.9", 4279)),
        ("[::1]:80", ("::1", 80)),
        ("localhost:0", ("127.0.0.1", 0)),
        ("[::1]:0", ("::1", 0)),
        ("off", None),
    ],
)
def test_a_status_page_is_for_this_machine(text: str, endpoint: tuple[str, int] | None) -> None:
    assert RunSettings(status_address=text).status_page() == endpoint


@pytest.mark.parametrize("text", ["0.0.0.0:4279", "192.0.2.7:0", "[::]:1", "[2001:db8::7]:80"])
def test_a_status_page_for_others_has_to_be_asked_for(text: str) -> None:
    with pytest.raises(UsageError, match="--allow-remote-status"):
        RunSettings(status_address=text).status_page()
    assert RunSettings(status_address=text, allow_remote_status=True).status_page() is not None


@pytest.mark.parametrize("limit", [{"node_kbps": 64}, {"quota": "1GB/day"}])
def test_what_limits_all_channels_takes_one_process(limit: dict[str, Any]) -> None:
    RunSettings(forwarder_processes=4).check()
    RunSettings(forwarder_processes=1, **limit).check()
    RunSettings(**limit).check()
    with pytest.raises(UsageError, match="leave --forwarder-processes out"):
        RunSettings(forwarder_processes=2, **limit).check()


def test_the_port_of_turn() -> None:
    assert RunSettings().own_turn_port() == 3478
    assert RunSettings(turn_port=" 0 ").own_turn_port() == 0
    assert RunSettings(turn_port="off").own_turn_port() is None
    for text in ("", "x", "-1", "65536", "٣", "1e3"):
        with pytest.raises(UsageError, match=r"--turn-port .* is not a port"):
            RunSettings(turn_port=text).own_turn_port()


def test_a_turn_server_that_is_there_already(password_file: Path) -> None:
    settings = RunSettings(turn_server="turn.example.org", turn_secret_file=password_file)
    assert settings.other_turn_server() == (
        ("turn.example.org", 3478),
        read_secret("--turn-secret-file", password_file).encode(),
    )
    assert settings.own_turn_port() is None
    assert settings.turn_wanted
    assert not RunSettings(turn_port="off").turn_wanted
    assert RunSettings().other_turn_server() is None
    for one in ({"turn_server": "a.example"}, {"turn_secret_file": password_file}):
        with pytest.raises(UsageError, match="go together"):
            RunSettings(**one).check()


def test_the_secrets_of_a_node_have_one_purpose_each(tmp_path: Path) -> None:
    settings = RunSettings(state_dir=tmp_path)
    assert settings.own_turn_secret() == RunSettings(state_dir=tmp_path).own_turn_secret()
    assert settings.own_turn_secret() != settings.mapping_secret()
