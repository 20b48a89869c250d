"""A whole node against a real XMPP server on loopback, and a client that finds and borrows it."""

import socket
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import trio

from node.client import Client, NoRelayError, open_client
from node.errors import UsageError, UserError
from node.nat.behaviour import Behaviour
from node.service import Node, Ready, open_node
from node.settings import RunSettings
from node.status.status import Status
from node.xmpp import Account, ServiceEntry, Session, XmppRefused, open_session
from overlay import OverlayError
from overlay.core.addresses import Address
from overlay.dht import open_peer
from overlay.discovery import find_relays
from overlay.settings import PeerSettings
from tests.node.prosody import COMPONENT, DOMAIN, PASSWORD, SECRET, Prosody, free_ports


@pytest.fixture
def node_settings(prosody: Prosody, tmp_path: Path) -> RunSettings:
    """A node with an account, in a laboratory."""
    password = tmp_path / "password"
    password.write_text(PASSWORD)
    return RunSettings(
        jid=f"relay@{DOMAIN}",
        password_file=password,
        xmpp_host=f"127.0.0.1:{prosody.c2s_port}",
        port=0,
        state_dir=tmp_path / "state",
        public_address="127.0.0.1",
        allow_private_peers=True,
        status_address="127.0.0.1:0",
        turn_port="off",
    )


def changed(settings: RunSettings, **values: object) -> RunSettings:
    return RunSettings(**{**vars(settings), **values})


def entrance(ready: Ready) -> Address:
    host, _, port = ready.overlay.rpartition(":")
    return host, int(port)


@asynccontextmanager
async def running(settings: RunSettings) -> AsyncIterator[Ready]:
    async with open_node(settings) as node:
        yield node.ready


@asynccontextmanager
async def borrower(account: Account, ready: Ready) -> AsyncIterator[Client]:
    async with open_client(account, (entrance(ready),)) as client:
        yield client


def udp_socket() -> trio.socket.SocketType:
    return trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


async def exchange(channel_ends: tuple[Address, Address], payload: bytes) -> tuple[bytes, bytes]:
    """Send a payload through a channel in either direction; return what arrived."""
    with trio.fail_after(5), udp_socket() as here, udp_socket() as there:
        ends = (here, there)
        for end, address in zip(ends, channel_ends, strict=True):
            await end.connect(address)
        await here.send(payload)
        await there.send(payload[::-1])
        return await here.recv(2048), await there.recv(2048)


async def test_a_client_that_knows_a_bootstrap_address_gets_a_channel(
    node_settings: RunSettings, romeo: Account
) -> None:
    async with running(node_settings) as ready, borrower(romeo, ready) as client:
        assert [relay.jid for relay in await client.find()] == [ready.jid]
        async with client.borrow() as channel:
            assert channel.relay == ready.jid
            assert channel.offer.host == ready.public_address
            payload = bytes(range(256)) * 5 + bytes(192)
            assert len(payload) == 1472
            ends = (channel.requester_address, channel.peer_address)
            assert await exchange(ends, payload) == (payload[::-1], payload)


async def test_a_component_is_found_and_borrowed(
    node_settings: RunSettings, prosody: Prosody, romeo: Account, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    settings = changed(
        node_settings,
        jid=None,
        component=COMPONENT,
        secret_file=secret,
        server=f"127.0.0.1:{prosody.component_port}",
    )
    async with (
        running(settings) as ready,
        borrower(romeo, ready) as client,
        client.borrow() as channel,
    ):
        assert channel.relay == COMPONENT


async def test_the_overlay_is_entered_through_a_relay_known_over_xmpp(
    node_settings: RunSettings, romeo: Account, tmp_path: Path
) -> None:
    async with running(node_settings) as first:
        other = changed(
            node_settings,
            jid=f"juliet@{DOMAIN}",
            state_dir=tmp_path / "other",
            bootstrap=(f"xmpp:{first.jid}",),
        )
        async with (
            running(other) as second,
            open_client(romeo, relays=[f"juliet@{DOMAIN}/gone", second.jid]) as client,
        ):
            found = {relay.jid for relay in await client.find()}
            assert found == {first.jid, second.jid}


async def test_only_contacts_see_and_borrow_a_relay_of_policy_roster(
    node_settings: RunSettings, prosody: Prosody, romeo: Account
) -> None:
    prosody.subscribe("friend", to="relay")
    settings = changed(node_settings, policy="roster")
    friend = replace(romeo, jid=f"friend@{DOMAIN}")
    async with running(settings) as ready:
        async with borrower(friend, ready) as client, client.borrow() as channel:
            assert channel.relay == ready.jid
            [found] = await client.find()
            assert found.policy == "roster"
        async with open_session(friend) as session:
            assert ServiceEntry("relay", ready.jid, "roster") in await session.request_services(
                ready.jid
            )
        async with open_session(romeo) as session:
            assert {entry.kind for entry in await session.request_services(ready.jid)} == {"stun"}
            with pytest.raises(XmppRefused, match="forbidden") as refused:
                await session.request_channel(ready.jid)
            assert refused.value.kind == "auth"


async def test_channels_that_are_given_back_do_not_count(
    node_settings: RunSettings, romeo: Account
) -> None:
    settings = changed(node_settings, channels_per_jid=1)
    async with running(settings) as ready, borrower(romeo, ready) as client:
        for _ in range(3):
            async with client.borrow():
                pass
        async with client.borrow():
            with pytest.raises(NoRelayError, match="resource-constraint"):
                async with client.borrow():
                    pass


async def test_the_next_relay_lends_when_the_nearest_is_full(
    node_settings: RunSettings, romeo: Account, prosody: Prosody, tmp_path: Path
) -> None:
    async with running(changed(node_settings, channels_per_jid=1)) as first:
        other = changed(
            node_settings,
            jid=f"juliet@{DOMAIN}",
            state_dir=tmp_path / "other",
            bootstrap=(first.overlay,),
            channels_per_jid=1,
        )
        async with (
            running(other) as second,
            borrower(romeo, first) as client,
            client.borrow() as one,
            client.borrow() as two,
        ):
            assert {one.relay, two.relay} == {first.jid, second.jid}


async def test_a_borrower_is_told_when_the_node_leaves(
    node_settings: RunSettings, romeo: Account, nursery: trio.Nursery
) -> None:
    leave = trio.Event()

    async def serve(*, task_status: trio.TaskStatus[Ready]) -> None:
        async with running(node_settings) as ready:
            task_status.started(ready)
            await leave.wait()

    ready = await nursery.start(serve)
    async with open_client(romeo, ()) as client, client.borrow(ready.jid) as channel:
        leave.set()
        with trio.fail_after(5):
            await channel.lost.wait()


async def test_a_node_that_drains_lets_channels_end_and_takes_no_new_ones(
    node_settings: RunSettings, romeo: Account
) -> None:
    async with (
        open_node(changed(node_settings, drain=60.0)) as node,
        open_client(romeo, (entrance(node.ready),)) as client,
        open_session(romeo) as session,
        open_peer(PeerSettings(client=True, bootstrap=(entrance(node.ready),))) as peer,
        trio.open_nursery() as nursery,
    ):
        async with client.borrow(node.ready.jid) as channel:
            drained = trio.Event()

            async def drain() -> None:
                await node.drain()
                drained.set()

            nursery.start_soon(drain)
            await trio.sleep(0)
            refused = await session_refusal(session, node)
            assert (refused.condition, refused.kind) == ("service-unavailable", "cancel")
            with trio.fail_after(5):
                while await find_relays(peer, timeout=0.5):
                    pass
            ends = (channel.requester_address, channel.peer_address)
            assert await exchange(ends, b"still here") == (b"ereh llits", b"still here")
            assert not drained.is_set()
        with trio.fail_after(5):
            await drained.wait()


async def session_refusal(session: Session, node: Node) -> XmppRefused:
    with pytest.raises(XmppRefused) as refused:
        await session.request_channel(node.ready.jid)
    return refused.value


async def test_a_running_node_takes_new_limits_and_says_what_it_cannot_change(
    node_settings: RunSettings, romeo: Account, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        open_node(node_settings) as node,
        open_client(romeo, ()) as client,
        client.borrow(node.ready.jid) as channel,
        open_session(romeo) as session,
        open_peer(PeerSettings(client=True, bootstrap=(entrance(node.ready),))) as peer,
    ):
        caplog.clear()
        new = changed(node_settings, policy="roster", maxkbps=64, quota="1GB/day", port=1)
        await node.change(new)
        assert [record.getMessage() for record in caplog.records if record.levelno > 20] == [
            "to change --port, start the node again"
        ]
        assert (node.describe().policy, node.describe().maxkbps) == ("roster", 64)
        assert (await session_refusal(session, node)).condition == "forbidden"
        with trio.fail_after(5):
            while {relay.policy for relay in await find_relays(peer, timeout=0.5)} != {"roster"}:
                pass
        with pytest.raises(UserError, match="--quota"):
            await node.change(changed(node_settings, quota="much"))
        assert node.describe().policy == "roster"
        ends = (channel.requester_address, channel.peer_address)
        assert await exchange(ends, b"still here") == (b"ereh llits", b"still here")


async def test_draining_has_an_end(
    node_settings: RunSettings, romeo: Account, nursery: trio.Nursery
) -> None:
    async with (
        open_node(changed(node_settings, drain=0.1)) as node,
        open_client(romeo, ()) as client,
        client.borrow(node.ready.jid) as channel,
    ):
        with trio.fail_after(5):
            await node.drain()
        assert not channel.lost.is_set()


async def test_nobody_waits_for_an_empty_node(node_settings: RunSettings) -> None:
    async with open_node(changed(node_settings, drain=1000.0)) as node:
        with trio.fail_after(1):
            await node.drain()


async def test_an_idle_channel_is_kept_alive_while_it_is_held(
    node_settings: RunSettings, romeo: Account
) -> None:
    settings = changed(node_settings, expire=1)
    async with (
        running(settings) as ready,
        borrower(romeo, ready) as client,
        client.borrow() as channel,
    ):
        with trio.move_on_after(1.7):  # the forwarder's clock is the system's
            await channel.lost.wait()
        assert not channel.lost.is_set()


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
    monkeypatch.setattr("node.service.ADDRESS_POLL", 0.05)
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
        ("192.0.2.77:5000", "choose another port or address"),
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
