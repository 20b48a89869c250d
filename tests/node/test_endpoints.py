"""Which endpoints a node names."""

from types import SimpleNamespace
from typing import cast

import pytest

from node.endpoints import served_endpoints
from overlay.core.addresses import Address
from overlay.core.reachability.verdict import Reachability, Verdict
from overlay.dht import RunningPeer

IPV4, IPV6 = ("192.0.2.1", 4278), ("2001:db8::1", 4278)


@pytest.mark.parametrize(
    ("endpoints", "unreachable", "expected"),
    [
        ((IPV4,), (), [IPV4]),
        ((IPV6,), (), [IPV6]),
        ((IPV4, IPV6), (), [IPV4, IPV6]),
        ((IPV4, IPV6), (True,), [IPV4]),
        ((IPV4, IPV6), (False,), [IPV6]),
        ((IPV4, IPV6), (False, True), [IPV4, IPV6]),
    ],
)
def test_those_that_strangers_reach_or_else_all(
    endpoints: tuple[Address, ...], unreachable: tuple[bool, ...], expected: list[Address]
) -> None:
    verdicts = {
        is_v6: Reachability(
            Verdict.UNREACHABLE if is_v6 in unreachable else Verdict.UNKNOWN, 0, 0, 0
        )
        for is_v6 in (False, True)
    }
    peer = SimpleNamespace(endpoints=endpoints, reachability=verdicts)
    assert served_endpoints(cast(RunningPeer, peer)) == expected
