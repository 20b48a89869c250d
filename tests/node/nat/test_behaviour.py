"""Verdicts from what was seen, and in words."""

from itertools import product

import pytest

from node.nat.behaviour import (
    Behaviour,
    FilterTest,
    NatBehaviour,
    judge_filtering,
    judge_mapping,
)
from overlay.core.addresses import Address

LOCAL: Address = ("192.168.1.2", 5000)
ONE, TWO, THREE = ("1.0.0.1", 1), ("2.0.0.1", 1), ("3.0.0.1", 1)
ONE_AGAIN, TWO_AGAIN = ("1.0.0.1", 2), ("2.0.0.1", 2)
A, B, C, D = (("9.9.9.9", port) for port in (1, 2, 3, 4))


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ({ONE: LOCAL}, Behaviour.NONE),
        ({ONE: LOCAL, TWO: LOCAL, THREE: A}, Behaviour.NONE),
        ({ONE: LOCAL, TWO: A, THREE: A}, Behaviour.ENDPOINT_INDEPENDENT),
        ({ONE: LOCAL, TWO: A}, Behaviour.UNKNOWN),  # one of them lies
        ({ONE: A}, Behaviour.UNKNOWN),
        ({ONE: A, ONE_AGAIN: A}, Behaviour.UNKNOWN),  # as two of three kinds would
        ({ONE: A, ONE_AGAIN: B}, Behaviour.ADDRESS_AND_PORT_DEPENDENT),
        ({ONE: A, TWO: A}, Behaviour.ENDPOINT_INDEPENDENT),
        ({ONE: A, TWO: A, THREE: B}, Behaviour.ENDPOINT_INDEPENDENT),
        ({ONE: A, TWO: A, THREE: B, ("4.0.0.1", 1): C}, Behaviour.UNKNOWN),
        ({ONE: A, TWO: B}, Behaviour.DEPENDENT),
        ({ONE: A, ONE_AGAIN: A, TWO: B}, Behaviour.ADDRESS_DEPENDENT),
        ({ONE: A, ONE_AGAIN: B, TWO: C}, Behaviour.ADDRESS_AND_PORT_DEPENDENT),
        ({ONE: A, ONE_AGAIN: A, TWO: B, TWO_AGAIN: C}, Behaviour.DEPENDENT),
    ],
)
def test_what_servers_see_tells_the_mapping(
    seen: dict[Address, Address], expected: Behaviour
) -> None:
    behaviour, mapped = judge_mapping(seen, LOCAL)
    assert behaviour is expected
    assert mapped in seen.values()
    # Nothing depends on the order of the servers.
    assert judge_mapping(dict(reversed(seen.items())), LOCAL)[0] is expected


def shown(*facts: bool) -> FilterTest:
    return FilterTest(*facts)


@pytest.mark.parametrize(
    ("tests", "expected"),
    [
        ([], Behaviour.UNKNOWN),
        ([shown(True, True, True, True)], Behaviour.ENDPOINT_INDEPENDENT),
        ([shown(True, False, False, False)], Behaviour.ENDPOINT_INDEPENDENT),
        ([shown(False, True, True, True)], Behaviour.ADDRESS_DEPENDENT),
        ([shown(False, True, False, True)], Behaviour.UNKNOWN),
        ([shown(False, False, True, True)], Behaviour.ADDRESS_AND_PORT_DEPENDENT),
        ([shown(False, False, True, False)], Behaviour.DEPENDENT),
        ([shown(False, False, False, True)], Behaviour.UNKNOWN),
        (
            [shown(False, False, True, True), shown(False, True, True, True)],
            Behaviour.ADDRESS_DEPENDENT,
        ),
    ],
)
def test_what_comes_in_tells_the_filtering(tests: list[FilterTest], expected: Behaviour) -> None:
    assert judge_filtering(tests) is expected


def test_every_verdict_has_one_line_in_words() -> None:
    lines = {}
    for mapping, filtering, hairpinning in product(Behaviour, Behaviour, (None, True, False)):
        if filtering is Behaviour.NONE:
            continue
        behaviour = NatBehaviour(mapping, filtering, hairpinning, LOCAL, A)
        line = str(behaviour)
        assert "\n" not in line
        assert 10 < len(line) < 200
        lines[mapping, filtering, hairpinning] = line
    assert lines[Behaviour.NONE, Behaviour.ENDPOINT_INDEPENDENT, None] == (
        "no NAT, and no firewall: everybody is let in"
    )
    assert lines[Behaviour.ENDPOINT_INDEPENDENT, Behaviour.ADDRESS_DEPENDENT, True] == (
        "a NAT that keeps one port for all destinations; it lets in only hosts that were sent to; "
        "hosts behind it reach each other by their outer addresses"
    )
    assert str(NatBehaviour()) == "no STUN server answered, so nothing is known of a NAT"


def test_reachability_tells_what_was_not_known_and_nothing_else() -> None:
    unknown = NatBehaviour(Behaviour.ENDPOINT_INDEPENDENT, mapped=A)
    known = NatBehaviour(filtering=Behaviour.ADDRESS_DEPENDENT, mapped=A)
    assert unknown.with_reachability(None) == unknown
    assert unknown.with_reachability(True).filtering is Behaviour.ENDPOINT_INDEPENDENT
    assert unknown.with_reachability(False).filtering is Behaviour.DEPENDENT
    assert known.with_reachability(True) == known
