"""A relay of one server, borrowed by users of another, for calls between symmetric NATs."""

import pytest
import trio

from simulations.lab.netns import Host, Lab
from simulations.lab.phones import phone
from tests.lab.sockets import open_sockets
from tests.lab.world import EXPIRE, borrowed, build

pytestmark = pytest.mark.lab


@pytest.mark.parametrize("component", [False, True], ids=["account", "component"])
async def test_a_call_between_symmetric_nats_through_a_borrowed_relay(
    lab: Lab, component: bool
) -> None:
    world = await build(lab, component=component)
    async with borrowed(world) as channel:
        ends = await phone(lab, world.alice, world.bob, channel, "--seconds", "4")
    assert [end["connected"] for end in ends] == [True, True]
    assert [end["tone_hz"] for end in ends] == [660, 440]
    assert all(end["tone_share"] > 0.8 for end in ends)
    assert all(end["received"] >= 150 and end["lost"] <= 2 for end in ends)
    # The round trip is known from the other end's RTCP.
    assert all(end["rtt_ms"] is not None for end in ends)


async def test_a_channel_carries_rtp_and_rtcp_whole_and_only_between_its_ends(lab: Lab) -> None:
    world = await build(lab, component=False)
    async with borrowed(world) as channel:
        host, local, remote = channel["host"], channel["localport"], channel["remoteport"]
        alice = await open_sockets(lab, world.alice, 2)
        bob = await open_sockets(lab, world.bob, 2)
        for component in (0, 1):  # RTP, RTCP
            await alice.send(component, (host, local + component), "hello")
            await bob.send(component, (host, remote + component), "hello too")
            await alice.receive(1)  # bob's, and with it both ends are latched
            await alice.send(component, (host, local + component), "from alice", 1472)
            assert await bob.receive(2) == [
                (component, "hello", 5),  # the relay kept it until bob was there
                (component, "from alice", 1472),
            ]
            await bob.send(component, (host, remote + component), "from bob", 1472)
            assert await alice.receive(1) == [(component, "from bob", 1472)]

        outsider = await open_sockets(lab, world.outsider, 1)
        for port in range(local, remote + 2):
            await outsider.send(0, (host, port), "noise")
        await alice.send(0, (host, local), "still from alice")
        await bob.send(0, (host, remote), "still from bob")
        assert await bob.receive(2, timeout=0.5) == [(0, "still from alice", 16)]
        assert await alice.receive(2, timeout=0.5) == [(0, "still from bob", 14)]
        assert await outsider.receive(1, timeout=0.1) == []

        # Bob is silent for more than the channel's expiry: one-way media is no idle channel.
        for n in range(2 * EXPIRE * 5):
            await alice.send(0, (host, local), f"one way {n}")
            await trio.sleep(0.2)
        assert len(await bob.receive(2 * EXPIRE * 5)) == 2 * EXPIRE * 5


async def add_host_of_one_family(lab: Lab, name: str, *, is_v6: bool) -> Host:
    host = await lab.add_host(name)
    gone = ("-4", "address", "flush", "dev", "eth0")
    if not is_v6:
        gone = ("-6", *gone[1:])
    assert (await lab.run(host, "ip", *gone))[0] == 0
    return host


async def test_a_channel_between_ipv6_and_ipv4(lab: Lab) -> None:
    """The borrower has no IPv4, the other end no IPv6, and the relay has both."""
    world = await build(lab, component=False)
    six = await add_host_of_one_family(lab, "six", is_v6=True)
    four = await add_host_of_one_family(lab, "four", is_v6=False)
    async with borrowed(world, six) as channel:
        assert ":" in channel["host6"]
        assert ":" not in channel["host"]
        assert channel["send_to"] == channel["host6"]
        alice, bob = await open_sockets(lab, six, 2), await open_sockets(lab, four, 2)
        for component in (0, 1):  # RTP, RTCP
            to_alice = (channel["host6"], channel["localport"] + component)
            to_bob = (channel["host"], channel["remoteport"] + component)
            await alice.send(component, to_alice, "hello")
            await bob.send(component, to_bob, "hello too")
            assert await alice.receive(1) == [(component, "hello too", 9)]
            assert await bob.receive(1) == [(component, "hello", 5)]
            await alice.send(component, to_alice, "from alice", 1452)
            await bob.send(component, to_bob, "from bob", 1452)
            assert await bob.receive(1) == [(component, "from alice", 1452)]
            assert await alice.receive(1) == [(component, "from bob", 1452)]
