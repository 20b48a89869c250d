"""The doctor with a real XMPP server and overlay on loopback, alone and beside a running node."""

import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from node.cli import execute
from node.client import open_client
from node.doctor import Finding, diagnose
from node.doctor.turn import TURN_CHECKS
from node.relay_node import Node
from node.service import open_node
from node.settings import RunSettings
from node.xmpp import Account, open_session
from overlay.core.addresses import format_address
from overlay.dht import open_peer
from overlay.settings import PeerSettings
from tests.node.prosody import COMPONENT, DOMAIN, PASSWORD, SECRET, Prosody


def free_port() -> int:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.bind(("::", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.fixture
def settings(prosody: Prosody, tmp_path: Path) -> RunSettings:
    password = tmp_path / "password"
    password.write_text(PASSWORD)
    password.chmod(0o600)
    return RunSettings(
        jid=f"relay@{DOMAIN}",
        password_file=password,
        xmpp_host=f"127.0.0.1:{prosody.c2s_port}",
        port=free_port(),
        state_dir=tmp_path / "state",
        public_address="127.0.0.1",
        allow_private_peers=True,
        turn_port="0",
    )


@pytest.fixture
def component(settings: RunSettings, prosody: Prosody, tmp_path: Path) -> RunSettings:
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    server = f"127.0.0.1:{prosody.component_port}"
    account = {"jid": None, "component": COMPONENT, "secret_file": secret, "server": server}
    return RunSettings(**{**vars(settings), **account})


@asynccontextmanager
async def overlay() -> AsyncIterator[str]:
    """Two peers that know each other; host:port of one."""
    loopback = PeerSettings(host="127.0.0.1")
    async with open_peer(loopback) as first:
        address = first.local_address
        async with open_peer(replace(loopback, bootstrap=(address,))) as second:
            await second.wait_joined()
            yield format_address(address)


def results(findings: dict[str, Finding]) -> dict[str, str]:
    return {name: finding.result for name, finding in findings.items()}


async def test_a_machine_on_which_all_is_well(settings: RunSettings) -> None:
    async with overlay() as entrance:
        found = await diagnose(replace(settings, bootstrap=(entrance,)), s2s_domain=DOMAIN)
    names = ("XMPP login", "s2s", "clock", "overlay", "ports", "file limits", "state")
    assert {name: found[name] for name in names if found[name].result != "ok"} == {}
    assert "private network" in found["reachability"].meaning
    assert settings.state_dir is not None
    assert not settings.state_dir.exists()


async def test_a_component(component: RunSettings) -> None:
    found = await diagnose(component, s2s_domain="plain.test")
    assert f"logged in as {COMPONENT}" in found["XMPP login"].meaning
    assert (found["s2s"].result, found["clock"].result) == ("ok", "ok")


@pytest.mark.parametrize("serving_as", ["settings", "component"])
async def test_a_node_that_runs_is_recognised_and_not_disturbed(
    serving_as: str, request: pytest.FixtureRequest, romeo: Account
) -> None:
    settings: RunSettings = request.getfixturevalue(serving_as)
    async with overlay() as entrance:
        settings = replace(settings, bootstrap=(entrance,))
        async with open_node(settings) as node, open_client(romeo, ()) as client:
            async with client.borrow(node.ready.jid) as channel:
                found = await diagnose(settings, timeout=20)
                assert not channel.lost.is_set()
            await _still_lends(node, romeo)
    assert "failed" not in results(found).values()
    assert "node that runs is in the overlay's directory" in found["reachability"].meaning
    for name in ("ports", "state"):
        assert "in use by the node that runs here" in found[name].meaning
    login = found["XMPP login"]
    if serving_as == "component":
        assert (login.result, found["s2s"].result) == ("skipped", "skipped")
        assert "the node that runs is this component" in login.meaning
    else:
        assert "jingle-nodes-doctor" in login.meaning


async def _still_lends(node: Node, romeo: Account) -> None:
    async with open_session(romeo) as session:
        await session.request_channel(node.ready.jid)


async def test_what_is_wrong_is_said_with_a_remedy(settings: RunSettings, tmp_path: Path) -> None:
    password = tmp_path / "wrong"
    password.write_text("wrong")
    password.chmod(0o600)
    state = tmp_path / "file"
    state.write_text("")
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as taken:
        taken.bind(("::", settings.port))
        wrong = replace(
            settings,
            password_file=password,
            state_dir=state / "state",
            bootstrap=(f"127.0.0.1:{free_port()}",),
        )
        found = await diagnose(wrong, timeout=3)
    assert results(found) == {
        "XMPP login": "failed",
        "s2s": "skipped",
        "clock": "skipped",
        "overlay": "failed",
        "reachability": "skipped",
        "port mapping": "skipped",
        "TURN": "skipped",
        "NAT behaviour": "skipped",
        "ports": "failed",
        "file limits": "ok",
        "state": "failed",
        "kernel forwarding": "skipped",
    }
    assert all(finding.remedy for finding in found.values() if finding.result == "failed")
    assert "check the JID and the password" in found["XMPP login"].remedy
    assert "--state-dir" not in found["ports"].remedy


async def test_a_node_with_state_elsewhere_may_be_who_has_the_port(
    settings: RunSettings, tmp_path: Path
) -> None:
    async with open_node(settings):
        found = await diagnose(replace(settings, state_dir=tmp_path / "other"), timeout=3)
    assert found["ports"].result == "failed"
    assert "a node that runs here has UDP port" in found["ports"].meaning
    assert str(tmp_path / "other") in found["ports"].meaning
    assert "pass the --state-dir that it was started with" in found["ports"].remedy


async def test_turn_of_a_node_that_runs_and_at_a_port_that_is_taken(settings: RunSettings) -> None:
    turned = replace(settings, turn_port=str(free_port()))
    async with overlay() as entrance:
        turned = replace(turned, bootstrap=(entrance,))
        async with open_node(turned):
            running = (await diagnose(turned, checks=TURN_CHECKS))["TURN"]
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as taken:
            taken.bind(("::", int(turned.turn_port)))
            async with open_node(turned):
                unlucky = (await diagnose(turned, checks=TURN_CHECKS))["TURN"]
            stopped = (await diagnose(turned, checks=TURN_CHECKS))["TURN"]
        free = (await diagnose(turned, checks=TURN_CHECKS))["TURN"]
    assert running.result == "ok"
    assert "the node that runs answers" in running.meaning
    assert [unlucky.result, stopped.result] == ["warning", "warning"]
    assert "though the node runs" in unlucky.meaning
    assert f"cannot open UDP port {turned.turn_port}" in stopped.meaning
    assert "--turn-port" in stopped.remedy
    assert (free.result, "private network" in free.meaning) == ("skipped", True)


async def test_another_turn_server(
    settings: RunSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def look_up(host: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        if host == "nowhere.invalid":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("127.0.0.1", 0))]

    monkeypatch.setattr(trio.socket, "getaddrinfo", look_up)
    secret = tmp_path / "turn"
    secret.write_text("north")
    secret.chmod(0o600)
    found = []
    async with open_peer(PeerSettings(host="127.0.0.1")) as server:  # it answers STUN as well
        for host, port in (
            server.local_address,
            ("localhost", server.local_address[1]),
            ("127.0.0.1", free_port()),
            ("nowhere.invalid", 3478),
        ):
            other = replace(settings, turn_server=f"{host}:{port}", turn_secret_file=secret)
            found.append((await diagnose(other, checks=TURN_CHECKS))["TURN"])
    assert [one.result for one in found] == ["ok", "ok", "warning", "warning"]
    assert "does not answer over UDP" in found[2].meaning
    assert "nowhere.invalid:3478 is not found" in found[3].meaning


async def test_ports_that_overlap(settings: RunSettings) -> None:
    ports = f"{settings.port - 8}-{settings.port + 8}"
    found = await diagnose(replace(settings, relay_ports=ports), timeout=3)
    assert found["ports"].result == "warning"


async def test_the_overlay_is_entered_through_a_relay_known_over_xmpp(
    settings: RunSettings, tmp_path: Path
) -> None:
    async with overlay() as entrance, open_node(replace(settings, bootstrap=(entrance,))) as node:
        other = replace(
            settings,
            jid=f"juliet@{DOMAIN}",
            port=free_port(),
            state_dir=tmp_path / "other",
            bootstrap=(f"xmpp:{node.ready.jid}",),
        )
        found = await diagnose(other, timeout=20)
    assert found["overlay"].result == "ok"


def test_the_command(
    settings: RunSettings, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    config = tmp_path / "node.toml"
    keys = ("jid", "password_file", "xmpp_host", "state_dir")
    config.write_text("".join(f'{key} = "{getattr(settings, key)}"\n' for key in keys))
    arguments = ["doctor", "--config", str(config), "--port", str(settings.port), "--timeout", "5"]
    arguments += ["--port-mapping", "off", "--turn-port", "off"]

    assert execute([*arguments, "--json"]) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert told["healthy"] is True
    fields = {"name", "result", "meaning", "remedy"}
    assert [set(check) for check in told["checks"]] == [fields] * 12
    assert err == ""

    assert execute([*arguments, "--s2s-domain", "else.example"]) == 1
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert len(lines) == 12  # for a program, one for each check
    [s2s] = [line for line in lines if "s2s" in line.split()[1]]
    assert s2s.split()[0] == "failed"
    assert err == ""

    assert execute([*arguments, "--policy", "some"]) == 2
