"""Which tests tell what a NAT does (RFC 5780 section 4): no I/O, no clock.

Three rounds, the tests of each at once:

1. Several servers tell where they see one socket, and their other address if they have one.
2. From a second socket, which has sent to nobody else, servers with two addresses are asked to
   answer from the other one, or from the other port. What comes shows the filtering.
3. The first socket asks at those addresses too, which shows the mapping closer, and that somebody
   is there. And it and a third socket send to each other's outer addresses: hairpinning.
"""

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from node.nat.behaviour import (
    Behaviour,
    FilterTest,
    NatBehaviour,
    judge_filtering,
    judge_mapping,
)
from overlay.core.addresses import Address
from overlay.core.protocol.behaviour import SAME, Change, Discovered

MAX_SERVERS: Final = 8
MAX_FILTER_SERVERS: Final = 2
"""Servers that are asked to answer from elsewhere: a broken one may be among them."""


class From(Enum):
    """The sockets of a discovery."""

    MAPPING = "mapping"
    FILTERING = "filtering"
    HAIRPINNING = "hairpinning"


@dataclass(frozen=True, slots=True)
class Test:
    """One Binding request.

    Attributes:
        sender: The socket that sends it.
        to: Where to.
        answer_from: Where the answer comes from.
        change: What the server is asked for.
        hears: The socket that is to receive the request itself; None if an answer is expected.
    """

    sender: From
    to: Address
    answer_from: Address
    change: Change = SAME
    hears: From | None = None


# What came of the tests of a round: nothing for those that had no answer, and None for those
# whose answer was an error, or which were to be heard themselves.
Answers = Mapping[Test, Discovered | None]


def discovery(
    servers: Sequence[Address], local: Address
) -> Generator[list[Test], Answers, NatBehaviour]:
    """Plan the tests, round by round; each round is sent what came of it. Returns the verdict.

    Args:
        servers: Whom to ask, all of one address family; the first `MAX_SERVERS` count.
        local: The address of the socket `From.MAPPING`.
    """
    answers = yield [plain(From.MAPPING, server) for server in servers[:MAX_SERVERS]]
    answered = {test.to: answer for test, answer in answers.items() if answer is not None}
    if not answered:
        return NatBehaviour(local=local)
    seen = {server: answer.mapped for server, answer in answered.items()}
    others = _with_two_addresses(answered)
    mapping, mapped = judge_mapping(seen, local)
    translated = mapping is not Behaviour.NONE

    tests = [test for server, other in others.items() for test in _filter_tests(server, other)]
    own = plain(From.HAIRPINNING, next(server for server in seen if seen[server] == mapped))
    first = yield [*tests, own] if translated else tests

    tests = [
        plain(From.MAPPING, to)
        for server, other in others.items()
        for to in _elsewhere(server, other)
    ]
    neighbour = first.get(own)
    hairpins = []
    if neighbour is not None and neighbour.mapped[0] == mapped[0]:  # else it aims us at somebody
        hairpins = _hairpin_tests(mapped, neighbour.mapped)
    second = yield [*tests, *hairpins]

    seen |= {test.to: answer.mapped for test in tests if (answer := second.get(test)) is not None}
    mapping, mapped = judge_mapping(seen, local)
    filtering = judge_filtering(list(_filter_results(others, first, second)))
    return NatBehaviour(
        mapping=mapping,
        filtering=filtering,
        hairpinning=_judge_hairpinning(hairpins, second, mapping, filtering),
        local=local,
        mapped=mapped,
    )


def plain(sender: From, to: Address) -> Test:
    """Ask a server for nothing but its view."""
    return Test(sender, to, to)


def _with_two_addresses(answered: Mapping[Address, Discovered]) -> dict[Address, Address]:
    """Servers and their other addresses, no host twice: what was sent to one opens the filter."""
    others: dict[Address, Address] = {}
    hosts: set[str] = set()
    for server, answer in answered.items():
        if answer.other is not None and not {server[0], answer.other[0]} & hosts:
            others[server] = answer.other
            hosts |= {server[0], answer.other[0]}
    return dict(list(others.items())[:MAX_FILTER_SERVERS])


def _filter_tests(server: Address, other: Address) -> list[Test]:
    other_port = (server[0], other[1])
    return [
        plain(From.FILTERING, server),
        Test(From.FILTERING, server, other, Change(host=True, port=True)),
        Test(From.FILTERING, server, other_port, Change(port=True)),
    ]


def _elsewhere(server: Address, other: Address) -> list[Address]:
    """A server's other three addresses: port, host, both."""
    return [(server[0], other[1]), (other[0], server[1]), other]


def _filter_results(
    others: Mapping[Address, Address], first: Answers, second: Answers
) -> Iterable[FilterTest]:
    for server, other in others.items():
        asked, both, port = _filter_tests(server, other)
        if first.get(asked) is None or any(
            test in first and first[test] is None for test in (both, port)
        ):
            continue  # silent, or it refuses to answer from elsewhere
        other_port, _, other_host = (plain(From.MAPPING, to) for to in _elsewhere(server, other))
        yield FilterTest(
            from_other_host=both in first,
            from_other_port=port in first,
            other_host_lives=second.get(other_host) is not None,
            other_port_lives=second.get(other_port) is not None,
        )


def _hairpin_tests(mapped: Address, neighbour: Address) -> list[Test]:
    """Have two sockets send to each other's outer addresses, so that each lets the other in."""
    return [
        Test(From.HAIRPINNING, mapped, mapped, hears=From.MAPPING),
        Test(From.MAPPING, neighbour, neighbour, hears=From.HAIRPINNING),
    ]


def _judge_hairpinning(
    tests: list[Test], answers: Answers, mapping: Behaviour, filtering: Behaviour
) -> bool | None:
    if any(test in answers for test in tests):
        return True
    # Else what was sent may have come around, from a port that the filter did not know.
    told = Behaviour.ENDPOINT_INDEPENDENT in (mapping, filtering)
    return False if tests and told else None
