"""The filter of hosts that a peer has sent to."""

import random

from overlay.core.reachability.contacted import FILTER_LENGTH, Contacted, is_contacted


def test_a_filter_knows_its_hosts_until_the_second_rotation() -> None:
    rng = random.Random(7)
    contacted = Contacted()
    hosts = [
        f"{rng.randint(1, 223)}.{rng.randrange(256)}.{rng.randrange(256)}.1" for _ in range(300)
    ]
    for one in (*hosts, "2001:db8::1"):
        contacted.add(one)
    contacted.rotate()
    packed = contacted.pack()
    assert len(packed) == FILTER_LENGTH
    assert all(is_contacted(packed, one) for one in (*hosts, "2001:db8::1"))
    others = [
        f"{rng.randint(1, 223)}.{rng.randrange(256)}.{rng.randrange(256)}.2" for _ in range(999)
    ]
    assert sum(is_contacted(packed, one) for one in others) < 60
    contacted.rotate()
    assert contacted.pack() == bytes(FILTER_LENGTH)
