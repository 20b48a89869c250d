"""Calls between NATs without a relay: where they cannot work, and where they can."""

import sys

import pytest

from simulations.lab.netns import Lab, NatKind
from simulations.lab.phones import phone

pytestmark = pytest.mark.lab

TIMEOUT = 5.0
"""Seconds; where a direct path exists ICE finds it within one."""


@pytest.mark.parametrize(("kind", "connects"), [("symmetric", False), ("port-restricted", True)])
async def test_ice_without_a_relay(lab: Lab, kind: NatKind, connects: bool) -> None:
    server = await lab.add_host("stun")
    stun = await lab.start(server, sys.executable, "-m", "simulations.lab.stun", "serve", "3478")
    await stun.line()
    alice = await lab.add_host("alice", behind=await lab.add_nat("nat-a", kind))
    bob = await lab.add_host("bob", behind=await lab.add_nat("nat-b", kind))
    options = ("--stun", f"{server.address}:3478", "--timeout", str(TIMEOUT), "--seconds", "1.5")
    ends = await phone(lab, alice, bob, None, *options)
    assert [end["connected"] for end in ends] == [connects, connects]
    if connects:
        assert [end["tone_hz"] for end in ends] == [660, 440]
        assert all(end["tone_share"] > 0.8 for end in ends)
