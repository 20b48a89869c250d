from dataclasses import replace

import pytest

from node.nat.behaviour import Behaviour, NatBehaviour
from node.nat.mapping import MappingStatus
from node.relay.forwarders.use import IN_USERSPACE, KernelUse
from node.status import checks
from node.status.status import Check, QuotaUse, Reach
from tests.node.status.snapshots import BUSY

QUOTA = QuotaUse(name="1GB/day", bytes=10**9, used=10**9 - 60_000, ends="2026-11-28T00:00:00+00:00")
"""Used up: so little is left that no slice can be made of it."""


def reach(verdict: str, heard: int, missed: int) -> Reach:
    return Reach(family="IPv6", verdict=verdict, heard=heard, missed=missed)


OPENED = MappingStatus("open", protocol="PCP", relay_ports=(20000, 20004))
FAILED = MappingStatus("closed", error="no answer", remedy="forward them")
NO_ROOT = KernelUse(possible=False, lacks="root")
ALWAYS = replace(BUSY.limits, hours=None)


@pytest.mark.parametrize(
    ("check", "result", "said"),
    [
        (checks.check_xmpp("a@b/c", connected=True), "ok", "a@b/c"),
        (checks.check_xmpp("a@b/c", connected=False), "failed", "nobody can ask"),
        (checks.check_overlay(0, ""), "unknown", "first peer"),
        (checks.check_overlay(1, ""), "ok", "1 peer in"),
        (checks.check_overlay(40, ""), "ok", "40 peers in"),
        (checks.check_overlay(0, "no bootstrap peer answered"), "failed", "no bootstrap"),
        (checks.check_overlay(3, "no bootstrap peer answered"), "warning", "no bootstrap"),
        (checks.check_reach(reach("reachable", 3, 1)), "ok", "3 of 4"),
        (checks.check_reach(reach("unreachable", 0, 5)), "failed", "0 of 5"),
        (checks.check_reach(reach("unknown", 0, 0)), "unknown", "too few"),
        (checks.check_nat(False, NatBehaviour()), "unknown", "no STUN server answered"),
        (checks.check_nat(True, NatBehaviour(Behaviour.NONE, mapped=("::1", 1))), "ok", "no NAT"),
        (checks.check_mapping(MappingStatus("trying")), "unknown", "is asked"),
        (checks.check_mapping(OPENED), "ok", "2 channels open (PCP)"),
        (checks.check_mapping(replace(FAILED, state="open")), "warning", "no answer"),
        (checks.check_mapping(FAILED), "warning", "no answer"),
        (checks.check_turn(offered=True), "ok", "browsers"),
        (checks.check_turn(offered=False), "warning", "cannot be had"),
        (checks.check_address(private=False, allowed=False), "ok", "known"),
        (checks.check_address(private=True, allowed=True), "ok", "laboratory"),
        (checks.check_address(private=True, allowed=False), "failed", "private"),
        (checks.check_forwarder(IN_USERSPACE, ready=True), "ok", "calls in userspace"),
        (
            checks.check_forwarder(NO_ROOT, ready=True),
            "ok",
            "in userspace; for the kernel to carry them, this machine lacks root",
        ),
        (
            checks.check_forwarder(KernelUse(possible=True, lacks="IPv6"), ready=True),
            "ok",
            "once they are steady; for the kernel to carry all of them, this machine lacks IPv6",
        ),
        (checks.check_forwarder(KernelUse(possible=True), ready=True), "ok", "in the kernel"),
        (checks.check_forwarder(IN_USERSPACE, ready=False), "failed", "is down"),
        (checks.check_lending(0.42, ALWAYS, None), "ok", "42%"),
        (checks.check_lending(0.0, ALWAYS, None), "warning", "full"),
        (checks.check_lending(0.0, ALWAYS, QUOTA), "warning", "1GB/day is used up"),
        (checks.check_lending(0.0, BUSY.limits, None), "warning", "22:00-07:00"),
    ],
)
def test_a_check_says_what_it_means_and_what_to_do(check: Check, result: str, said: str) -> None:
    assert check.result == result
    assert said in check.meaning
    if result in ("warning", "failed"):
        assert check.remedy
