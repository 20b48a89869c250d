"""The kernel carries steady media: real packets between hosts, rewritten by real rules."""

import json
import os
import re
import signal
import sys
from datetime import datetime
from typing import Any
from unittest.mock import ANY

import pytest
import trio

from node.relay.count_file import write_count
from node.relay.quota import MIN_SLICE
from simulations.lab.netns import Lab
from simulations.lab.phones import phone
from tests.lab import world
from tests.lab.rig import RELAY, build, call, is_carried
from tests.lab.sockets import open_sockets

pytestmark = pytest.mark.lab


@pytest.mark.parametrize("is_v6", [False, True], ids=["IPv4", "IPv6"])
async def test_the_kernel_takes_a_steady_call_over_and_it_is_counted(lab: Lab, is_v6: bool) -> None:
    rig = await build(lab)
    assert rig.said == ["kernel", ""]
    talk = await call(rig, host=rig.host.address6 if is_v6 else None)

    async def passes_by() -> bool:
        before = await rig.received()
        await talk.exchange(20, size=1200)
        return await rig.received() == before

    await talk.until(passes_by)
    await trio.sleep(0.5)
    status = await rig.status()
    assert status["requester_packets"] == status["peer_packets"] == talk.count + 1
    assert status["requester_bytes"] == status["peer_bytes"] == talk.size + len("hello")


async def test_what_the_kernel_must_not_pass_on_reaches_the_forwarder(lab: Lab) -> None:
    rig = await build(lab)
    outsider = await open_sockets(lab, await lab.add_host("outsider"), 1)
    talk = await call(rig)
    await talk.until(is_carried(rig))
    await talk.exchange(1, size=4000)  # in fragments
    for _ in range(5):
        await outsider.send(0, talk.local, "noise")
        await outsider.send(0, talk.remote, "noise")
        await talk.alice.send(0, talk.local, "")  # keeps the channel, and is not passed on
        await talk.exchange(1)
    assert await rig.paths() == 2
    assert await talk.bob.receive(1, timeout=0.2) == []


async def test_a_source_that_moves_is_latched_again_and_carried_again(lab: Lab) -> None:
    rig = await build(lab)
    talk = await call(rig)
    await talk.until(is_carried(rig))
    for attempt in range(100):  # another socket of bob's, as if his NAT had rebound
        await talk.alice.send(0, talk.local, f"to whom? {attempt}")
        await talk.bob.send(1, talk.remote, f"from anew {attempt}")
        if await talk.alice.receive(1, timeout=0.03):
            break
    else:
        pytest.fail("the new source was never latched")
    while (await talk.bob.receive(1, timeout=0.1))[:1]:
        pass  # what was on its way to either
    await talk.alice.send(0, talk.local, "found")
    assert await talk.bob.receive(1) == [(1, "found", 5)]

    received = None
    with trio.fail_after(10):
        while received != (received := await rig.received()):
            for _ in range(5):
                await talk.alice.send(0, talk.local, "more")
                await talk.bob.send(1, talk.remote, "more")
                assert await talk.bob.receive(1) == [(1, "more", 4)]
                assert await talk.alice.receive(1) == [(0, "more", 4)]


async def test_an_end_that_is_gone_for_a_while_ends_no_channel(lab: Lab) -> None:
    rig = await build(lab)
    talk = await call(rig)
    await talk.until(is_carried(rig))
    await talk.bob.stop()
    for _ in range(40):  # each is answered by an ICMP error
        await talk.alice.send(0, talk.local, "anybody?")
        await trio.sleep(0.05)
    talk.bob = await open_sockets(lab, rig.bob, 2)
    with trio.fail_after(10):
        while not await talk.alice.receive(1, timeout=0.05):
            await talk.bob.send(0, talk.remote, "back")
    await talk.exchange(3)
    await talk.until(is_carried(rig))


async def test_one_way_media_keeps_a_channel_and_its_end_is_told_with_all_it_carried(
    lab: Lab,
) -> None:
    rig = await build(lab, expire=2)
    talk = await call(rig)
    await talk.until(is_carried(rig))
    carried = talk.count + 1
    before = 0
    for number in range(100):  # 5 s
        await talk.alice.send(0, talk.local, f"one way {number}")
        await trio.sleep(0.05)
        if number == 50:  # when bob is silent for long
            before = await rig.received()
    assert len(await talk.bob.receive(100)) == 100
    assert await rig.received() < before + 25  # the rest was the kernel's
    reason, stats = await rig.ask("ended")
    assert reason == "expired"
    assert (stats["requester_packets"], stats["peer_packets"]) == (carried + 100, carried)
    assert 2 <= stats["idle"] < 3
    assert await rig.paths() == 0


@pytest.mark.parametrize("limit", ["maxkbps", "node_kbps"])
async def test_a_bandwidth_is_kept_and_all_of_it_can_be_had(lab: Lab, limit: str) -> None:
    limits: dict[str, Any] = {limit: 160}
    rig = await build(lab, **limits)
    talk = await call(rig)
    await talk.until(is_carried(rig))
    began = trio.current_time()
    with trio.move_on_after(5):
        while True:  # some 700 kbit/s
            await talk.alice.send(0, talk.local, "much", 1000)
            await trio.sleep(0.01)
    seconds = trio.current_time() - began
    arrived = 1000 * len(await talk.bob.receive(10_000, timeout=0.5))
    assert 0.9 * 20_000 * seconds < arrived < 20_000 * (seconds + 2.5)
    assert (await rig.status())["drops"][limit.replace("_", "-")] > 0
    assert await rig.paths() == 1  # bob has fallen silent


async def test_a_quota_is_kept_to_the_byte(lab: Lab) -> None:
    left, size = 300_000, 1200
    file = lab.directory / "quota.json"
    evening = datetime.now().astimezone().replace(hour=23, minute=50)  # when most may be used up
    write_count(file, evening, 100_000_000 - left)
    rig = await build(lab, quota="100MB/day", quota_file=str(file), now=evening.isoformat())
    talk = await call(rig)
    await talk.until(is_carried(rig))
    before = await rig.received()
    sent = 0
    while (await rig.ask("used"))[0] < 100_000_000 - 66_000:
        for _ in range(10):
            await talk.alice.send(0, talk.local, "much", size)
            sent += 1
            await trio.sleep(0.02)
    assert await rig.received() - before < 0.8 * sent  # the rest was the kernel's
    with trio.fail_after(10):
        for _ in range(200):
            await talk.alice.send(0, talk.local, "much", size)
        reason, stats = await rig.ask("ended")
    assert reason == "quota"
    passed = stats["requester_bytes"] + stats["peer_bytes"]
    # Less than a slice is never handed out, and what the kernel was granted may be left over.
    assert left - 1.5 * MIN_SLICE < passed <= left
    used, carried = await rig.ask("used")
    assert passed == carried
    assert used <= 100_000_000
    assert len(await talk.bob.receive(10_000, timeout=0.5)) * size <= left


async def test_a_channel_between_ipv4_and_ipv6_stays_in_userspace(lab: Lab) -> None:
    rig = await build(lab)
    assert rig.host.address6 is not None
    talk = await call(rig, bobs=rig.host.address6)
    for _ in range(30):
        await talk.exchange(1)
        await trio.sleep(0.1)
    assert "jingle_nodes" not in await rig.rules()


async def test_no_rule_is_left_after_the_end_however_it_comes(lab: Lab) -> None:
    rig = await build(lab, processes=2)
    settings = {"forwarder": "kernel", "processes": 2, "host": rig.host.address}
    for end in (signal.SIGTERM, signal.SIGKILL):
        talk, other = await call(rig), await call(rig)
        with trio.fail_after(10):
            while await rig.paths() < 4:
                await talk.exchange(1)
                await other.exchange(1)
        assert len(set(re.findall(r"table inet (\w+)", await rig.rules()))) == 2
        rig.program.signal(end)
        await rig.program.wait()
        with trio.fail_after(5):
            while await rig.rules():
                await trio.sleep(0.05)
        rig.program = await lab.start(rig.host, sys.executable, RELAY, json.dumps(settings))
        assert await rig.program.json() == ["kernel", ""]
        assert await rig.rules() == ""


async def test_a_process_that_is_killed_takes_its_rules_along_and_the_next_has_new_ones(
    lab: Lab,
) -> None:
    rig = await build(lab, expire=5)
    talk = await call(rig)
    await talk.until(is_carried(rig))
    table = re.findall(r"table inet (\w+)", await rig.rules())
    os.kill(rig.worker, signal.SIGKILL)
    assert await rig.ask("ended") == ["crashed", None]
    assert await rig.rules() == ""
    with trio.fail_after(10):
        while not await rig.ask("ready"):
            await trio.sleep(0.1)
    again = await call(rig)
    await again.until(is_carried(rig))
    assert re.findall(r"table inet (\w+)", await rig.rules()) != table


async def test_a_firewall_that_forbids_forwarding_leaves_it_to_the_forwarder(lab: Lab) -> None:
    rig = await build(lab)
    forbid = (
        "add table inet wall; add chain inet wall forward "
        "{ type filter hook forward priority filter; policy drop; }"
    )
    assert (await lab.run(rig.host, "nft", forbid))[0] == 0
    talk = await call(rig)
    lost = 0
    with trio.fail_after(10):
        while (await rig.ask("use"))[0] == "kernel":
            await talk.alice.send(0, talk.local, "hello?")
            await talk.bob.send(0, talk.remote, "hello?")
            lost += not await talk.bob.receive(1, timeout=0.05)
            lost += not await talk.alice.receive(1, timeout=0.05)
    assert "firewall" in (await rig.ask("use"))[1]
    assert 0 < lost < 40
    assert "jingle_nodes" not in await rig.rules()
    while await talk.bob.receive(1, timeout=0.1) or await talk.alice.receive(1, timeout=0.1):
        pass
    await talk.exchange(50)


async def test_where_the_kernel_cannot_forward_the_reason_is_said(lab: Lab) -> None:
    rig = await build(lab, forwarding=False)
    assert rig.said == [
        "userspace",
        "forwarding of IPv4 (sysctl net.ipv4.ip_forward=1)",
    ]
    await (await call(rig)).exchange(5)
    weak = ("setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin")
    settings = {"host": rig.host.address, "forwarder": "auto"}
    program = await lab.start(rig.host, *weak, sys.executable, RELAY, json.dumps(settings))
    assert await program.json() == ["userspace", ANY]
    settings["forwarder"] = "kernel"
    program = await lab.start(rig.host, *weak, sys.executable, RELAY, json.dumps(settings))
    await program.wait()
    assert "CAP_NET_ADMIN" in program.last_words()
    assert "--forwarder auto" in program.last_words()


async def test_a_call_between_symmetric_nats_goes_through_the_kernel_of_a_whole_node(
    lab: Lab,
) -> None:
    built = await world.build(lab, "--forwarder", "kernel", component=False, forwarding=True)
    assert built.forwarder == "kernel"
    carried = False

    async def look() -> None:
        nonlocal carried
        while not carried:
            _, rules = await lab.run(built.node_host, "nft", "list", "ruleset")
            carried = rules.count("notrack accept") >= 2
            await trio.sleep(0.1)

    async with world.borrowed(built) as channel, trio.open_nursery() as nursery:
        nursery.start_soon(look)
        ends = await phone(lab, built.alice, built.bob, channel, "--seconds", "5")
        nursery.cancel_scope.cancel()
    assert carried
    assert all(end["tone_share"] > 0.8 for end in ends)
    assert all(end["received"] >= 200 and end["lost"] <= 2 for end in ends)
