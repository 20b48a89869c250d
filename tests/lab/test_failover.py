"""A call between symmetric NATs outlives its relays: one that is killed, and one that leaves."""

import signal

import pytest
import trio

from simulations.lab.failover import build
from simulations.lab.netns import Lab

pytestmark = pytest.mark.lab


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
