"""What a whole node opens, what keeps it from that, and what it shows of itself."""

import socket
import urllib.request
from pathlib import Path

import msgspec
import pytest
import trio

from node.errors import UsageError, UserError
from node.nat.behaviour import Behaviour
from node.relay_node import Ready
from node.service import open_node
from node.settings import RunSettings
from node.status.status import Status
from node.xmpp import Account, open_session
from overlay import OverlayError
from tests.node.nodes import borrower, changed, exchange, running
from tests.node.prosody import DOMAIN, Prosody, free_ports


async def test_what_keeps_a_node_from_serving_is_one_line(
    node_settings: RunSettings, prosody: Prosody, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("not the password")
    unreadable = tmp_path / "unreadable-state"
    unreadable.mkdir()
    (unreadable / "identity.key").mkdir()
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as taken:
        taken.bind(("::", 0))
        port = taken.getsockname()[1]
        [silent] = free_ports(1)
        for values, expected in (
            ({"password_file": wrong}, "password"),
            ({"xmpp_host": f"127.0.0.1:{silent}"}, "cannot connect"),
            ({"port": port}, f"UDP port {port}"),
            ({"relay_ports": "7-8"}, "four ports"),
            ({"relay_ports": "9-3"}, "FIRST"),
            ({"relay_ports": f"{port & ~1}-{(port & ~1) + 3}"}, "no ports left"),
            ({"state_dir": unreadable}, "identity.key"),
            ({"public_address": "elsewhere"}, "--public-address"),
        ):
            with pytest.raises((UserError, OverlayError)) as raised:
                async with running(changed(node_settings, **values)):
                    pass
            assert expected in str(raised.value)
            assert "\n" not in str(raised.value)


async def test_an_unreachable_bootstrap_keeps_no_node_from_serving(
    node_settings: RunSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.service.REGISTER_TIMEOUT", 0.3)
    [silent] = free_ports(1)
    with trio.fail_after(5):
        async with running(changed(node_settings, bootstrap=(f"127.0.0.1:{silent}",))) as ready:
            assert ready.jid


async def test_a_node_whose_public_address_has_changed_logs_in_again(
    node_settings: RunSettings, romeo: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.relay_node.ADDRESS_POLL", 0.05)
    settings = changed(node_settings, public_address=None, port_mapping="off")
    async with open_node(settings) as node, open_session(romeo) as session:
        jid = node.ready.jid
        node._peer.opened("45.1.0.2")
        await trio.sleep(0.15)  # until that is what was before
        node._peer.opened("45.1.0.77")
        with trio.fail_after(5):
            while node._session.connected:
                await trio.sleep(0.01)
            while not node._session.connected:
                await trio.sleep(0.01)
        assert (await session.request_channel(jid)).host == "45.1.0.77"


async def test_settings_are_checked_before_anything_is_opened(node_settings: RunSettings) -> None:
    with pytest.raises(UsageError):
        async with running(changed(node_settings, jid=None)):
            pass


async def test_nodes_tell_each_other_what_their_nats_do(
    node_settings: RunSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """On loopback there is no NAT, and of a second node with two addresses that is learnt."""
    caplog.set_level("INFO", "node.nat.watch")
    with trio.fail_after(30):
        async with open_node(changed(node_settings, stun_alternate="127.0.0.2")) as first:
            assert first.describe().services == ("channel", "stun", "stun-behavior")
            assert first.stun_server is not None
            other = changed(
                node_settings,
                jid=f"juliet@{DOMAIN}",
                state_dir=tmp_path / "other",
                bootstrap=(first.ready.overlay,),
            )
            async with open_node(other) as second:
                assert second.describe().services == ("channel", "stun")
                while not second.nat:
                    await trio.sleep(0.05)
                behaviour = second.nat[False]
            assert behaviour.mapping is Behaviour.NONE
            assert behaviour.filtering is Behaviour.ENDPOINT_INDEPENDENT
            assert first.stun_server.counters["redirected"] >= 2
    assert "over IPv4: no NAT, and no firewall: everybody is let in" in caplog.messages


async def test_a_second_address_that_is_none_keeps_a_node_from_serving(
    node_settings: RunSettings,
) -> None:
    for alternate, expected in (
        ("127.0.0.1", "another IP address"),
        ("192.0.2.77:5000", "this machine has no such address"),
        ("nowhere", "--stun-alternate"),
    ):
        with pytest.raises((UserError, OverlayError), match=expected) as caught:
            async with running(changed(node_settings, stun_alternate=alternate)):
                pass
        assert "\n" not in str(caught.value)


async def test_a_node_shows_what_it_does(node_settings: RunSettings, romeo: Account) -> None:
    async def shown(ready: Ready) -> Status:
        with trio.fail_after(5):
            fetched = await trio.to_thread.run_sync(
                lambda: urllib.request.urlopen(f"{ready.status}status.json").read()
            )
        return msgspec.json.decode(fetched, type=Status)

    async with running(node_settings) as ready, borrower(romeo, ready) as client:
        async with client.borrow() as channel:
            await exchange((channel.requester_address, channel.peer_address), b"four")
            with trio.fail_after(5):
                while (status := await shown(ready)).traffic.to_peers.bytes < 4:
                    await trio.sleep(0.1)
        assert status.jid == ready.jid
        assert (status.channels.open, status.channels.granted) == (1, 1)
        assert status.overlay.peer_id == ready.peer_id
        assert "romeo" not in repr(status)
        assert {check.name: check.result for check in status.checks}["XMPP"] == "ok"
    async with running(node_settings) as again:
        assert (await shown(again)).lifetime.bytes == 8


async def test_two_nodes_on_one_machine_serve_though_one_has_no_page(
    node_settings: RunSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(node_settings) as first:
        assert first.status is not None
        other = changed(
            node_settings,
            jid=f"juliet@{DOMAIN}",
            state_dir=tmp_path / "other",
            status_address=first.status.removeprefix("http://").removesuffix("/"),
        )
        async with running(other) as second:
            assert second.status is None
    assert "there is no status page" in caplog.text


async def test_a_page_for_others_is_refused_before_anything_is_opened(
    node_settings: RunSettings,
) -> None:
    settings = changed(node_settings, status_address="0.0.0.0:0", password_file=None)
    with pytest.raises(UsageError, match="--allow-remote-status"):
        async with open_node(settings):
            pass


async def test_a_node_with_several_processes_lends_and_takes_no_limit_of_all_channels(
    node_settings: RunSettings,
) -> None:
    settings = changed(node_settings, forwarder_processes=2)
    async with open_node(settings) as node:
        ports = {(await node.request_channel("a@b/c", "udp")).localport for _ in range(2)}
        assert len(ports) == 2
        with pytest.raises(UserError, match="takes a single process, and 2 carry media"):
            await node.change(changed(settings, node_kbps=64))
        assert node.settings == settings
        await node.change(changed(settings, maxkbps=64))
        assert node.settings.maxkbps == 64
    with pytest.raises(UsageError, match="leave --forwarder-processes out"):
        async with open_node(changed(settings, quota="1GB/day")):
            pytest.fail("it opened")
