"""What the checks make of what they see."""

import resource

import pytest

from node.doctor.findings import failure
from node.doctor.machine import judge_files, judge_kernel
from node.doctor.overlay import judge_reachability
from node.doctor.xmpp import judge_clock
from node.errors import UserError
from node.relay.forwarders.use import IN_USERSPACE, KernelUse, Wanted
from overlay.core.reachability.verdict import Reachability, Verdict


@pytest.mark.parametrize(
    ("ahead", "result", "meaning"),
    [
        (0.4, "ok", "agrees with example.org's"),
        (-20.0, "ok", "20 s ahead of example.org's"),
        (45.0, "warning", "45 s behind example.org's"),
        (-45.0, "warning", "45 s ahead of example.org's"),
        (601.0, "failed", "601 s behind example.org's: no peer takes an advert"),
        (-1e9, "failed", "1000000000 s ahead"),
    ],
)
def test_clock(ahead: float, result: str, meaning: str) -> None:
    finding = judge_clock(ahead, "example.org")
    assert finding.result == result
    assert meaning in finding.meaning
    assert bool(finding.remedy) == (result != "ok")


@pytest.mark.parametrize(
    ("v4", "v6", "result", "meaning"),
    [
        (Verdict.REACHABLE, Verdict.UNKNOWN, "ok", "over IPv4 (3 knocks"),
        (Verdict.REACHABLE, Verdict.REACHABLE, "ok", "over IPv4 and IPv6"),
        (Verdict.UNREACHABLE, Verdict.REACHABLE, "warning", "over IPv6, but not over IPv4"),
        (Verdict.UNREACHABLE, Verdict.UNKNOWN, "failed", "do not reach this node over IPv4"),
        (Verdict.UNKNOWN, Verdict.UNKNOWN, "skipped", "too few witnesses"),
    ],
)
def test_reachability(v4: Verdict, v6: Verdict, result: str, meaning: str) -> None:
    evidence = {False: Reachability(v4, 3, 1, 0), True: Reachability(v6, 0, 0, 2)}
    finding = judge_reachability(evidence, "this node", "let UDP port 4278 through")
    assert finding.result == result
    assert meaning in finding.meaning
    assert ("UDP port 4278" in finding.remedy) == (result in ("warning", "failed"))


@pytest.mark.parametrize(
    ("most", "result"),
    [
        (resource.RLIM_INFINITY, "ok"),
        (540, "ok"),
        (539, "warning"),
        (45, "warning"),
        (44, "failed"),
    ],
)
def test_files(most: int, result: str) -> None:
    finding = judge_files(most, 100)
    assert finding.result == result
    assert bool(finding.remedy) == (result != "ok")


def test_an_error_is_what_failed_and_what_to_do() -> None:
    finding = failure(UserError("cannot read a: denied; still not;\ncheck its mode"))
    assert finding.meaning == "cannot read a: denied; still not"
    assert finding.remedy == "check its mode"
    assert failure(UserError("no remedy")).meaning == "no remedy"


@pytest.mark.parametrize(
    ("wanted", "use", "result", "meaning"),
    [
        ("userspace", IN_USERSPACE, "skipped", "as --forwarder says"),
        ("auto", KernelUse(possible=True), "ok", "once they are steady"),
        ("kernel", KernelUse(possible=True, lacks="IPv6"), "ok", "it takes IPv6"),
        ("auto", KernelUse(possible=False, lacks="root"), "skipped", "it takes root"),
        ("kernel", KernelUse(possible=False, lacks="root"), "failed", "it takes root"),
    ],
)
def test_kernel(wanted: Wanted, use: KernelUse, result: str, meaning: str) -> None:
    finding = judge_kernel(wanted, use)
    assert finding.result == result
    assert meaning in finding.meaning
    assert bool(finding.remedy) == (result == "failed")
