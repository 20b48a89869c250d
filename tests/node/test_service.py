"""A whole node against a real XMPP server on loopback, and a client that finds and borrows it."""

from dataclasses import replace
from pathlib import Path

import pytest
import trio

from node.client import NoRelayError, open_client
from node.errors import UserError
from node.relay_node import Node, Ready
from node.service import open_node
from node.settings import RunSettings
from node.xmpp import Account, ServiceEntry, Session, XmppRefused, open_session
from overlay.dht import open_peer
from overlay.discovery import Relay, find_relays
from overlay.settings import PeerSettings
from tests.node.nodes import borrower, changed, entrance, exchange, running
from tests.node.prosody import COMPONENT, DOMAIN, SECRET, Prosody


def as_component(settings: RunSettings, prosody: Prosody, directory: Path) -> RunSettings:
    """The same node as a component."""
    secret = directory / "secret"
    secret.write_text(SECRET)
    server = f"127.0.0.1:{prosody.component_port}"
    return changed(settings, jid=None, component=COMPONENT, secret_file=secret, server=server)


def another(
    settings: RunSettings, directory: Path, bootstrap: str, **values: object
) -> RunSettings:
    """A second node, of another account, that joins through a peer."""
    given = {"state_dir": directory / "other", "bootstrap": (bootstrap,), **values}
    return changed(settings, jid=f"juliet@{DOMAIN}", **given)


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
    settings = as_component(node_settings, prosody, tmp_path)
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
        other = another(node_settings, tmp_path, f"xmpp:{first.jid}")
        async with (
            running(other) as second,
            open_client(romeo, relays=[f"juliet@{DOMAIN}/gone", second.jid]) as client,
        ):
            found = {relay.jid for relay in await client.find()}
            assert found == {first.jid, second.jid}


async def test_a_client_that_knows_only_its_own_account_finds_the_overlay(
    node_settings: RunSettings, prosody: Prosody, romeo: Account, tmp_path: Path
) -> None:
    beside_the_server = as_component(node_settings, prosody, tmp_path)
    async with running(beside_the_server) as first:
        elsewhere = changed(
            node_settings, state_dir=tmp_path / "other", bootstrap=(f"xmpp:{first.jid}",)
        )
        async with running(elsewhere) as second, open_client(romeo) as client:
            async with client.borrow() as channel:
                assert channel.relay in (first.jid, second.jid)
            with trio.fail_after(10):
                # By way of the one beside the server it comes to know the other.
                while {one.jid for one in await client.find() if isinstance(one, Relay)} != {
                    first.jid,
                    second.jid,
                }:
                    await trio.sleep(0.05)


async def test_a_node_tells_of_others_that_it_has_verified(
    node_settings: RunSettings, romeo: Account, tmp_path: Path
) -> None:
    async with running(node_settings) as first:
        other = another(node_settings, tmp_path, f"xmpp:{first.jid}")
        async with running(other) as second, open_session(romeo) as session:
            with trio.fail_after(10):
                while True:
                    entries = await session.request_services(second.jid)
                    relays = [entry for entry in entries if entry.kind == "relay"]
                    if len(relays) == 2:
                        break
                    await trio.sleep(0.05)
            assert relays == [ServiceEntry("relay", second.jid), ServiceEntry("relay", first.jid)]


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
        other = another(node_settings, tmp_path, first.overlay, channels_per_jid=1)
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
        # There is time to move a call elsewhere.
        ends = (channel.requester_address, channel.peer_address)
        assert await exchange(ends, b"bye") == (b"eyb", b"bye")


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
            "the settings were read again: --policy roster (was public), --maxkbps 64 (was none), "
            "--quota 1GB/day (was none); to change --port, start the node again"
        ]
        caplog.clear()
        await node.change(changed(new, port=node_settings.port))
        (record,) = caplog.records
        assert record.getMessage() == "the settings were read again: no limit has changed"
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
