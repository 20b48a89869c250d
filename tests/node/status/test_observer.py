"""A relay and a peer on loopback, and what is seen of them."""

from datetime import datetime
from pathlib import Path

import pytest
import trio

from node.relay.admission import Refused
from node.relay.quota import SLICES, Quota
from node.status import observer as observing
from node.status.status import Check
from tests.node.relay.loopback import open_end, talk
from tests.node.status.observed import observed


async def test_what_channels_carry_is_seen(tmp_path: Path) -> None:
    quota = Quota.parse("1GB/day")
    async with observed(tmp_path, channels=4, channels_per_jid=2, quota=quota) as (
        relay,
        observer,
        _,
    ):
        before = observer.snapshot()
        assert (before.channels.open, before.channels.capacity, before.channels.free) == (0, 4, 1)
        assert before.lifetime.bytes == 0
        kept = await relay.channel()
        given_back = await relay.channel()
        with pytest.raises(Refused):
            await relay.channel()
        async with open_end(kept.localport) as requester, open_end(kept.remoteport) as peer:
            await talk(requester, peer, 5)
        assert await relay.service.release(given_back.id, "romeo@montague.example/orchard")
        await observer.look()
        status = observer.snapshot()
        assert (status.channels.open, status.channels.granted) == (1, 2)
        assert status.channels.refused == {"resource-constraint": 1}
        assert status.channels.ended == {"released": 1}
        assert (status.traffic.to_peers.bytes, status.traffic.to_peers.packets) == (10, 6)
        assert status.traffic.to_requesters.bytes == 10
        assert status.traffic.to_requesters.packets == 6
        assert status.lifetime.bytes == 20
        assert len(status.history.channels) == len(status.history.to_peers) >= 1
        assert status.history.channels[-1] == 1
        assert sum(status.history.to_peers) > 0
        assert status.quota is not None
        assert (status.quota.name, status.quota.bytes) == ("1GB/day", 10**9)
        assert (status.quota.used, status.quota.reserved) == (0, 10**9 // SLICES)
        assert datetime.fromisoformat(status.quota.ends) > datetime.fromisoformat(status.time)
        assert status.limits.channels_per_jid == 2
        assert {check.name for check in status.checks} >= {"XMPP", "overlay", "forwarder"}


async def test_what_was_given_outlives_the_node(tmp_path: Path) -> None:
    async with observed(tmp_path) as (relay, _, _):
        grant = await relay.channel()
        async with open_end(grant.localport) as requester, open_end(grant.remoteport) as peer:
            await talk(requester, peer, 5)
    async with observed(tmp_path) as (_, observer, _):
        assert observer.snapshot().lifetime.bytes == 20
        assert observer.snapshot().traffic.to_peers.bytes == 0


async def test_a_sample_comes_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observing, "INTERVAL", 0.02)
    async with observed(tmp_path) as (_, observer, _):
        with trio.fail_after(5):
            while len(observer.snapshot().history.channels) < 3:
                await trio.sleep(0.01)


async def test_checks_of_others_stand_beside_our_own(tmp_path: Path) -> None:
    async with observed(tmp_path) as (_, observer, session):
        mapping = Check(name="port mapping", result="warning", meaning="none", remedy="see doctor")
        observer.more_checks.append(lambda: [mapping])
        session.connected = False
        checks = {check.name: check for check in observer.snapshot().checks}
        assert checks["port mapping"] is mapping
        assert checks["XMPP"].result == "failed"
