"""TURN of a whole node with a real XMPP server: credentials, and what they are good for."""

import socket
from pathlib import Path
from typing import Any

import pytest
import trio

from node.client import NoTurnError, open_client
from node.errors import UserError
from node.relay.access import Access
from node.relay.admission import Refused
from node.service import open_node
from node.settings import RunSettings
from node.turn.credentials import MAX_USERNAME, password_of
from node.turn.server import STRANGERS_BURST
from node.turn.service import TurnService, open_turn_port, open_turn_server
from node.turn.stun import Class, Method, encode
from node.xmpp import Account, XmppRefused, open_session
from simulations.lab.turn_client import TurnClient
from tests.node.prosody import DOMAIN, PASSWORD, Prosody
from tests.node.relay.loopback import PATIENCE, loopback_relay


def settings(prosody: Prosody, directory: Path, **values: Any) -> RunSettings:
    password = directory / "password"
    password.write_text(PASSWORD)
    password.chmod(0o600)
    given: dict[str, Any] = {
        "jid": f"relay@{DOMAIN}",
        "password_file": password,
        "xmpp_host": f"127.0.0.1:{prosody.c2s_port}",
        "port": 0,
        "state_dir": directory / "state",
        "public_address": "127.0.0.1",
        "allow_private_peers": True,
        "status_address": "off",
        "turn_port": "0",
    }
    return RunSettings(**(given | values))


async def test_a_client_finds_a_turn_server_and_allocates(
    prosody: Prosody, romeo: Account, tmp_path: Path
) -> None:
    async with open_node(settings(prosody, tmp_path)) as node:
        assert node.describe().services == ("channel", "stun", "turn")
        host, _, port = (node.ready.turn or "").rpartition(":")
        bootstrap = ("127.0.0.1", int(node.ready.overlay.rpartition(":")[2]))
        async with open_client(romeo, [bootstrap]) as client:
            (server,) = await client.turn()
            assert (server.host, server.port) == (host, int(port))
            assert server.uri == f"turn:127.0.0.1:{port}?transport=udp"
            assert (server.username or "").endswith(f":romeo@{DOMAIN}")
            (named,) = await client.turn(node.ready.jid)
            assert named.host == host
        turn = TurnClient((host, int(port)), server.username or "", server.password or "")
        try:
            assert (await trio.to_thread.run_sync(turn.allocate))[0] == "127.0.0.1"
            assert [check.result for check in node.checks() if check.name == "TURN"] == ["ok"]
        finally:
            turn.close()


async def test_credentials_outlive_a_restart_of_the_node(prosody: Prosody, tmp_path: Path) -> None:
    grants = []
    for _ in range(2):
        async with open_node(settings(prosody, tmp_path)) as node:
            (grant,) = await node.turn("romeo@montague.example/orchard")
            grants.append(grant)
    secret = settings(prosody, tmp_path).own_turn_secret()
    for grant in grants:
        assert grant.password == password_of(secret, grant.username)


async def test_credentials_for_a_coturn_that_is_there(
    prosody: Prosody, romeo: Account, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("north\n")
    secret.chmod(0o600)
    given = settings(
        prosody,
        tmp_path,
        turn_server="turn.example.org",
        turn_secret_file=secret,
        deny=("capulet.example",),
        requests_per_minute=2,
    )
    async with open_node(given) as node, open_session(romeo) as session:
        assert node.ready.turn == "turn.example.org:3478"
        (server,) = await session.request_turn(node.ready.jid)
        assert server.uri == "turn:turn.example.org:3478?transport=udp"
        assert server.password == password_of(b"north", server.username or "")
        with pytest.raises(Refused, match="does not lend to you"):
            await node.turn("juliet@capulet.example/balcony")
        await session.request_turn(node.ready.jid)
        with pytest.raises(XmppRefused, match="more than 2 requests in a minute"):
            await session.request_turn(node.ready.jid)


async def test_without_turn(prosody: Prosody, romeo: Account, tmp_path: Path) -> None:
    async with open_node(settings(prosody, tmp_path, turn_port="off")) as node:
        assert node.ready.turn is None
        assert node.describe().services == ("channel", "stun")
        assert not [check for check in node.checks() if check.name == "TURN"]
        bootstrap = ("127.0.0.1", int(node.ready.overlay.rpartition(":")[2]))
        async with open_client(romeo, [bootstrap]) as client:
            with pytest.raises(NoTurnError, match="no relay was found that offers TURN"):
                await client.turn()
            with pytest.raises(NoTurnError, match="item-not-found"):
                await client.turn(node.ready.jid)


async def test_a_port_that_is_taken_costs_only_turn(
    prosody: Prosody, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as taken:
        taken.bind(("::", 0))
        port = taken.getsockname()[1]
        async with open_node(settings(prosody, tmp_path, turn_port=str(port))) as node:
            assert not node.offers_turn
            (check,) = (check for check in node.checks() if check.name == "TURN")
            assert check.result == "warning"
    assert f"cannot use UDP port {port}: Address already in use" in caplog.text


async def test_what_strangers_ask_too_often_is_counted() -> None:
    many = 3 * int(STRANGERS_BURST)
    async with open_turn_port(0) as listener, loopback_relay() as relay:
        assert listener is not None
        port = listener.getsockname()[1]
        async with open_turn_server(relay.service, listener, b"north", list):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                for number in range(many):
                    request = encode(Method.BINDING, Class.REQUEST, number.to_bytes(12, "big"), ())
                    stranger.sendto(request, ("127.0.0.1", port))
            dropped = 0
            with trio.fail_after(PATIENCE):
                while dropped < many / 3:
                    await trio.sleep(0.01)
                    drops = (await relay.service.totals()).carried.drops
                    dropped = drops.get("turn-strangers", 0)
        assert dropped < many


async def test_a_secret_that_cannot_be_read_is_told_before_anything_opens(
    prosody: Prosody, tmp_path: Path
) -> None:
    given = settings(prosody, tmp_path, turn_server="a.example", turn_secret_file=tmp_path / "none")
    with pytest.raises(UserError, match="--turn-secret-file"):
        async with open_node(given):
            pass


async def test_who_gets_no_credentials() -> None:
    async with loopback_relay(access=Access(allow=frozenset({"montague.example"}))) as relay:
        turn = TurnService(relay.service, b"north", lambda: [("192.0.2.1", 3478)])
        assert len(turn.grant("romeo@montague.example/orchard")) == 1
        with pytest.raises(Refused) as forbidden:
            turn.grant("juliet@capulet.example/balcony")
        assert (forbidden.value.condition, forbidden.value.kind) == ("forbidden", "auth")
        with pytest.raises(Refused) as too_long:
            turn.grant(f"{'r' * MAX_USERNAME}@montague.example")
        assert too_long.value.condition == "not-acceptable"
        relay.service.drain()
        with pytest.raises(Refused) as draining:
            turn.grant("romeo@montague.example/orchard")
        assert draining.value.condition == "service-unavailable"
        assert turn.issued == 1
        nowhere = TurnService(relay.service, b"north", list)
        with pytest.raises(Refused) as absent:
            nowhere.grant("romeo@montague.example/orchard")
        assert absent.value.condition == "item-not-found"
