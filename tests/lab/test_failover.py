"""Calls outlive their relays, relays that are none, and their direct path."""

import signal
import sys

import pytest
import trio

from simulations.lab.failover import START_TIMEOUT, build
from simulations.lab.netns import Lab

pytestmark = pytest.mark.lab

WRONG_ADDRESS = "simulations.lab.wrong_address"
CUT = """table ip cut {{ chain forward {{ type filter hook forward priority 0;
    ip saddr {0} ip daddr {1} drop; ip saddr {1} ip daddr {0} drop; }}; }}"""


async def test_a_call_outlives_its_relays(lab: Lab) -> None:
    stage = await build(lab)
    await stage.start_call()
    carriers = []
    for failure in ("kill", "drain"):
        carriers.append(await stage.standby())
        assert await stage.fail(carriers[-1], failure, 2.0) < 2.0
    for end in await stage.look():
        assert end["source"] in stage.nodes  # the third, and last
        assert end["source"] not in carriers
    alice, bob = stage.ends
    alice.signal(signal.SIGINT)
    report = await alice.json()
    assert (report["moves"], report["reason"]) == (2, "success")
    assert report["relay"].partition("@")[0] in {host.name for host in stage.relays}
    with trio.fail_after(10):
        assert (await alice.wait(), await bob.wait()) == (0, 0)


async def test_a_channel_that_leads_nowhere_is_not_the_end(lab: Lab) -> None:
    stage = await build(lab, 3)
    hole, wrong, good = stage.relays
    await stage.drop(hole)
    await stage.nodes.pop(wrong.address).stop()
    await stage.start_relay(wrong, sys.executable, "-m", WRONG_ADDRESS, stage.peer)
    jids = [stage.jids[host.address] for host in stage.relays]
    await stage.start_call(*(option for jid in jids for option in ("--relay", jid)))
    assert await stage.carrier() == good.address
    alice, bob = stage.ends
    alice.signal(signal.SIGINT)
    report = await alice.json()
    assert (report["relay"], report["moves"]) == (jids[2], 0)
    with trio.fail_after(10):
        assert (await alice.wait(), await bob.wait()) == (0, 0)


async def test_a_direct_path_that_ends_is_replaced_by_a_relay(lab: Lab) -> None:
    stage = await build(lab, 1, "port-restricted")
    await stage.start_call()
    ends = stage.ends
    with trio.fail_after(START_TIMEOUT):
        while any(end["source"] is None for end in await stage.look()):
            await trio.sleep(0.2)
    await trio.sleep(1)
    (relay,) = stage.relays
    assert relay.address not in [end["source"] for end in await stage.look()]
    assert await stage.granted(relay) == 0
    hosts = stage.alice.behind, stage.bob.behind
    first, second = (host.address for host in hosts if host is not None)
    assert (await lab.run(None, "nft", CUT.format(first, second)))[0] == 0
    assert await stage.carrier(first, second) == relay.address
    ends[0].signal(signal.SIGINT)
    report = await ends[0].json()
    assert (report["moves"], report["reason"]) == (1, "success")
