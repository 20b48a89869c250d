"""Peers on loopback sockets."""

import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from overlay import OverlayError, bootstrap, discovery
from overlay.core.ids import distance
from overlay.core.kademlia import joining
from overlay.core.protocol import transactions
from overlay.dht import RunningPeer, open_peer
from overlay.discovery import Relay, RelayDescription, advertise, find_relays
from overlay.settings import PeerSettings
from overlay.sockets import DatagramSocket, open_udp
from overlay.troubles import Troubles

pytestmark = pytest.mark.trio

LOOPBACK = "127.0.0.1"


def describe(name: str, free: float = 1.0) -> Callable[[], RelayDescription]:
    offer = RelayDescription(f"{name}@example.org", ("channel",), "public", 512, 8, free)
    return lambda: offer


@asynccontextmanager
async def peer_of(*others: RunningPeer, client: bool = False) -> AsyncIterator[RunningPeer]:
    addresses = tuple(other.local_address for other in others)
    settings = PeerSettings(host=LOOPBACK, bootstrap=addresses, client=client)
    async with open_peer(settings) as peer:
        yield peer


def jids(relays: list[Relay]) -> set[str]:
    return {relay.jid for relay in relays}


async def test_three_peers_find_each_other() -> None:
    with trio.fail_after(10):
        async with peer_of() as one, peer_of(one) as two, peer_of(one) as three:
            for peer in (one, two, three):
                await peer.wait_joined()
            found = await three.find_node(two.peer_id)
            assert found[0].id == two.peer_id
            assert found[0].address == two.local_address
            assert two.public_address == LOOPBACK
            assert two.counters["answered"] > 0


async def test_a_cold_client_finds_a_fresh_relay_by_one_bootstrap_address() -> None:
    with trio.fail_after(20):
        async with (
            peer_of() as first,
            peer_of(first) as relay,
            trio.open_nursery() as nursery,
        ):
            await nursery.start(advertise, relay, describe("r"))
            for _ in range(40):  # the storing peer verifies the relay first
                async with peer_of(first, client=True) as client:
                    found = await find_relays(client)
                if found:
                    break
                await trio.sleep(0.02)
            (it,) = found
            assert it.jid == "r@example.org"
            assert it.endpoints == (relay.local_address,)
            assert it.peer_id == relay.peer_id
            assert it.public_key == relay.public_key
            assert it.rtt is not None
            assert it.rtt < 1
            nursery.cancel_scope.cancel()


async def test_a_relay_of_both_address_families_is_one_relay_to_all() -> None:
    def at(peer: RunningPeer, host: str) -> tuple[tuple[str, int], ...]:
        return ((host, peer.local_address[1]),)

    with trio.fail_after(20):
        async with (
            open_peer(PeerSettings()) as first,
            open_peer(PeerSettings(host=LOOPBACK, bootstrap=at(first, LOOPBACK))),
            open_peer(PeerSettings(host="::1", bootstrap=at(first, "::1"))),
            open_peer(PeerSettings(bootstrap=at(first, LOOPBACK) + at(first, "::1"))) as relay,
            trio.open_nursery() as nursery,
        ):
            await nursery.start(advertise, relay, describe("r"))
            port = relay.local_address[1]
            ends = ((LOOPBACK, port), ("::1", port))
            for host, expected in ((LOOPBACK, {ends[0]}), ("::1", {ends[1]}), ("::", {*ends})):
                hosts = (LOOPBACK, "::1") if host == "::" else (host,)
                entrances = tuple((one, first.local_address[1]) for one in hosts)
                found: set[object] = set()
                while found != expected:  # the storing peers verify the relay first
                    async with open_peer(
                        PeerSettings(host=host, bootstrap=entrances, client=True)
                    ) as client:
                        relays = await find_relays(client)
                    assert len(relays) <= 1
                    found = {end for one in relays for end in one.endpoints}
                    await trio.sleep(0.05)
                assert relays[0].public_key == relay.public_key
            assert relay.endpoints == ends
            nursery.cancel_scope.cancel()


async def test_a_relay_alone_is_found_and_withdraws_when_it_stops() -> None:
    with trio.fail_after(20):
        async with peer_of() as relay, peer_of(relay, client=True) as client:
            async with trio.open_nursery() as nursery:
                await nursery.start(advertise, relay, describe("r"))
                assert jids(await find_relays(client)) == {"r@example.org"}
                nursery.cancel_scope.cancel()
            assert await find_relays(client) == []


async def test_a_relay_that_stops_is_gone_from_all_peers() -> None:
    with trio.fail_after(20):
        async with (
            peer_of() as first,
            peer_of(first) as second,
            peer_of(first, second) as third,
            peer_of(first) as relay,
            peer_of(second, client=True) as client,
        ):
            for peer in (second, third, relay):
                await peer.wait_joined()
            async with trio.open_nursery() as nursery:
                await nursery.start(advertise, relay, describe("r"))
                while not await find_relays(client):
                    await trio.sleep(0.02)  # the storing peers verify the relay first
                nursery.cancel_scope.cancel()
            for peer in (second, third, client):
                assert (await peer.collect_adverts(8, 1.0)).adverts == ()
            assert await find_relays(client) == []


async def test_a_relay_that_is_cancelled_with_its_peer_does_not_wait_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(discovery, "_WITHDRAW_TIMEOUT", 60.0)
    with trio.fail_after(20):
        async with peer_of() as first:
            with trio.CancelScope() as node:
                async with peer_of(first) as relay, trio.open_nursery() as nursery:
                    await nursery.start(advertise, relay, describe("r"))
                    node.cancel()
                    await trio.sleep_forever()
            assert node.cancelled_caught


@pytest.mark.parametrize("free", [None, 1.0])
async def test_who_has_taken_the_port_of_a_relay_is_not_taken_for_it(free: float | None) -> None:
    with trio.fail_after(20):
        async with peer_of() as first, peer_of(first, client=True) as client:
            async with peer_of(first) as relay:
                port = relay.local_address[1]
                relay.set_free_share(1.0)
                await relay.wait_joined()
                await relay.register(describe("r")())
                while not await find_relays(client):
                    await trio.sleep(0.02)  # the storing peer verifies the relay first
            heir = PeerSettings(host=LOOPBACK, port=port, bootstrap=(first.local_address,))
            async with open_peer(heir) as other:
                other.set_free_share(free)
                await other.wait_joined()
                assert (await client.collect_adverts(8, 1.0)).adverts
                assert await find_relays(client) == []


async def test_relays_without_free_channels_come_last_and_oneself_not_at_all() -> None:
    with trio.fail_after(20):
        async with (
            peer_of() as full,
            peer_of(full) as free,
            peer_of(full) as third,
            trio.open_nursery() as nursery,
        ):
            await nursery.start(advertise, full, describe("full", free=0.0))
            await nursery.start(advertise, free, describe("free"))
            await nursery.start(advertise, third, describe("third"))
            order: list[str] = []
            while len(order) < 2:
                order = [relay.jid for relay in await find_relays(third)]
                await trio.sleep(0.02)
            assert order == ["free@example.org", "full@example.org"]
            assert len(await find_relays(third, count=1)) == 1
            nursery.cancel_scope.cancel()


async def test_nobody_there_is_said_in_one_line() -> None:
    dead = await open_udp(LOOPBACK, 0)
    try:
        settings = PeerSettings(host=LOOPBACK, bootstrap=(dead.getsockname(),), client=True)
        with trio.fail_after(10):
            with pytest.raises(OverlayError, match="check the bootstrap addresses") as caught:
                async with open_peer(settings) as client:
                    await find_relays(client, timeout=0.2)
            assert "\n" not in str(caught.value)
    finally:
        dead.close()


async def test_an_offer_that_does_not_fit_is_said() -> None:
    with trio.fail_after(10):
        async with peer_of() as relay:
            with pytest.raises(OverlayError, match="cannot advertise"):
                await advertise(relay, describe("x" * 200))


@pytest.mark.parametrize("address", [("", 5), ("host", 0), ("host", 70_000)])
async def test_impossible_bootstrap_addresses_are_refused(address: tuple[str, int]) -> None:
    with pytest.raises(OverlayError, match="is impossible"):
        async with open_peer(PeerSettings(host=LOOPBACK, bootstrap=(address,))):
            pytest.fail("opened")


async def test_key_and_good_peers_outlive_a_restart(tmp_path: Path) -> None:
    with trio.fail_after(20):
        async with peer_of() as other:
            settings = PeerSettings(
                host=LOOPBACK,
                bootstrap=(other.local_address,),
                key_file=tmp_path / "key",
                cache_file=tmp_path / "peers.json",
            )
            async with open_peer(settings) as peer:
                await peer.wait_joined()
                peer_id = peer.peer_id
            dead = await open_udp(LOOPBACK, 0)
            try:
                again = PeerSettings(
                    host=LOOPBACK,
                    bootstrap=(dead.getsockname(),),
                    key_file=settings.key_file,
                    cache_file=settings.cache_file,
                )
                async with open_peer(again) as peer:
                    await peer.wait_joined()
                    assert distance(peer.peer_id, peer_id) == 0
                    assert (await peer.find_node(other.peer_id))[0].id == other.peer_id
            finally:
                dead.close()


async def test_garbage_from_the_network_is_counted_and_survived() -> None:
    with trio.fail_after(10):
        async with peer_of() as one, peer_of(one) as two:
            await two.wait_joined()
            noise = await open_udp(LOOPBACK, 0)
            try:
                for data in (b"", b"\xff" * 2000, b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12)):
                    await noise.sendto(data, one.local_address)
                answer, _ = await noise.recvfrom(100)
                assert answer[:2] == b"\x01\x01"
            finally:
                noise.close()
            assert one.counters["malformed"] == 2
            assert (await two.find_node(one.peer_id))[0].id == one.peer_id


async def test_every_socket_is_closed() -> None:
    opened: list[DatagramSocket] = []

    async def open_and_note(host: str, port: int) -> DatagramSocket:
        sock = await open_udp(host, port)
        opened.append(sock)
        return sock

    with trio.fail_after(20):
        async with peer_of() as other, trio.open_nursery() as nursery:
            settings = PeerSettings(host=LOOPBACK, bootstrap=(other.local_address,))
            async with open_peer(settings, open_socket=open_and_note) as relay:
                await nursery.start(advertise, other, describe("r"))
                while not await find_relays(relay):
                    await trio.sleep(0.02)
                nursery.cancel_scope.cancel()
    assert len(opened) >= 2
    for sock in opened:
        with pytest.raises(OSError, match="Bad file descriptor"):
            sock.getsockname()


async def test_a_name_that_does_not_resolve_is_said_once_and_tried_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    failure = socket.gaierror(socket.EAI_NONAME, "no such name")
    answers: list[OSError | None] = [failure, failure, None]

    async def getaddrinfo(host: str, port: int, **_: object) -> list[object]:
        answer = answers.pop(0)
        if answer is not None:
            raise answer
        return [(0, 0, 0, "", (LOOPBACK, port)), (0, 0, 0, "", (LOOPBACK, port))]

    monkeypatch.setattr(trio.socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(bootstrap, "_FIRST_RETRY", 0.01)
    with trio.fail_after(10):
        troubles = Troubles()
        assert await bootstrap.resolve("peer.example", 7, troubles) == [(LOOPBACK, 7)]
    assert str(troubles) == ""
    first, second, third = caplog.records
    expected = "cannot resolve bootstrap peer peer.example (no such name); trying again in 0 s"
    assert (first.levelno, first.getMessage()) == (logging.WARNING, expected)
    assert second.levelno == third.levelno == logging.INFO


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]


async def test_bootstrap_peers_that_are_dead_are_said_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactions, "INITIAL_RTO", 0.01)
    monkeypatch.setattr(joining, "_FIRST_RETRY", 0.01)
    dead = [await open_udp(LOOPBACK, 0) for _ in range(2)]
    caplog.set_level(logging.INFO)
    try:
        addresses = tuple(sock.getsockname() for sock in dead)
        with trio.fail_after(20):
            async with open_peer(PeerSettings(host=LOOPBACK, bootstrap=addresses)) as peer:
                while len(caplog.records) < 3:
                    await trio.sleep(0.01)
                assert peer.trouble == "no bootstrap peer answered over IPv4"
    finally:
        for sock in dead:
            sock.close()
    (line,) = warnings_of(caplog)
    assert line.startswith("no bootstrap peer answered over IPv4; trying again in")


async def test_a_client_leaves_it_to_the_error_to_say_what_is_wrong(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def getaddrinfo(host: str, port: int, **_: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    monkeypatch.setattr(trio.socket, "getaddrinfo", getaddrinfo)
    settings = PeerSettings(host=LOOPBACK, bootstrap=(("peer.example", 7),), client=True)
    with trio.fail_after(20):
        with pytest.raises(OverlayError) as caught:
            async with open_peer(settings) as client:
                await find_relays(client, timeout=0.1)
    assert str(caught.value) == (
        "cannot resolve bootstrap peer peer.example (no such name) within 0.1 s; "
        "check the bootstrap addresses and that UDP is not blocked"
    )
    assert warnings_of(caplog) == []


async def test_a_cache_that_is_of_no_use_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    cache = tmp_path / "peers"
    cache.mkdir()
    with trio.fail_after(20):
        async with peer_of() as other:
            bootstrap = (other.local_address,)
            settings = PeerSettings(host=LOOPBACK, bootstrap=bootstrap, cache_file=cache)
            async with open_peer(settings) as peer:
                await peer.wait_joined()
                peer.save_cache()
    (line,) = warnings_of(caplog)
    assert line.startswith(f"cannot read the peer cache {cache}: it is no regular file; ")
    assert "cannot write" in caplog.text


async def test_a_key_serves_one_peer_at_a_time(tmp_path: Path) -> None:
    settings = PeerSettings(host=LOOPBACK, key_file=tmp_path / "key")
    with trio.fail_after(20):
        async with open_peer(settings):
            with pytest.raises(OverlayError, match="another process runs with it"):
                async with open_peer(settings):
                    pytest.fail("opened")
        async with open_peer(settings):
            pass
