"""Which addresses a grant names."""

from types import SimpleNamespace
from typing import cast

import pytest

from node.service import _channel_hosts
from overlay.core.addresses import Address
from overlay.core.reachability.verdict import Reachability, Verdict
from overlay.dht import RunningPeer

IPV4, IPV6 = ("192.0.2.1", 4278), ("2001:db8::1", 4278)


@pytest.mark.parametrize(
    ("endpoints", "unreachable", "expected"),
    [
        ((IPV4,), (), ["192.0.2.1"]),
        ((IPV6,), (), ["2001:db8::1"]),
        ((IPV4, IPV6), (), ["192.0.2.1", "2001:db8::1"]),
        ((IPV4, IPV6), (True,), ["192.0.2.1"]),
        ((IPV4, IPV6), (False,), ["2001:db8::1"]),
        ((IPV4, IPV6), (False, True), ["192.0.2.1", "2001:db8::1"]),
    ],
)
def test_channels_are_at_the_addresses_that_strangers_reach(
    endpoints: tuple[Address, ...], unreachable: tuple[bool, ...], expected: list[str]
) -> None:
    verdicts = {
        is_v6: Reachability(
            Verdict.UNREACHABLE if is_v6 in unreachable else Verdict.UNKNOWN, 0, 0, 0
        )
        for is_v6 in (False, True)
    }
    peer = SimpleNamespace(endpoints=endpoints, reachability=verdicts)
    assert _channel_hosts(cast(RunningPeer, peer)) == expected
