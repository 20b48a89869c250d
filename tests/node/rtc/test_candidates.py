"""Which of a channel's ports goes to whom, as candidates."""

from aioice.candidate import Candidate, candidate_priority

from node.client import BorrowedChannel
from node.rtc.candidates import (
    checked_candidates,
    has_relay,
    offered_candidates,
    raw_transport,
)
from node.xmpp import ChannelOffer, RawCandidate, RawTransport


def channel(host: str = "192.0.2.7", host6: str | None = None) -> BorrowedChannel:
    offer = ChannelOffer("relay@example.org/x", "id", host, 20000, 20002, None, 60, host6)
    return BorrowedChannel(offer, host, ("192.0.2.7", 20001))


def told(candidates: list[Candidate]) -> list[tuple[int, str, int, str]]:
    return [(one.component, one.host, one.port, one.type) for one in candidates]


def test_the_other_end_is_told_the_remote_port_and_we_check_towards_the_local_one() -> None:
    assert told(offered_candidates(channel())) == [(1, "192.0.2.7", 20002, "relay")]
    assert told(checked_candidates(channel())) == [(1, "192.0.2.7", 20000, "relay")]


def test_rtcp_has_the_ports_above() -> None:
    assert told(offered_candidates(channel(), 2))[1] == (2, "192.0.2.7", 20003, "relay")
    assert told(checked_candidates(channel(), 2))[1] == (2, "192.0.2.7", 20001, "relay")


def test_a_relay_of_both_families_is_told_with_both() -> None:
    both = offered_candidates(channel(host6="2001:db8::7"))
    assert told(both) == [(1, "192.0.2.7", 20002, "relay"), (1, "2001:db8::7", 20002, "relay")]
    assert both[0].foundation != both[1].foundation
    assert both[0].priority < both[1].priority < candidate_priority(1, "srflx")
    assert len({one.priority for one in offered_candidates(channel(host6="2001:db8::7"), 2)}) == 4


def test_a_name_is_told_as_the_address_that_it_has_here() -> None:
    assert told(offered_candidates(channel("relay.example.org")))[0][1] == "192.0.2.7"


def test_a_peer_without_ice_gets_the_relay_at_once() -> None:
    assert raw_transport(channel(host6="2001:db8::7")) == RawTransport(
        (
            RawCandidate(1, "192.0.2.7", 20002, "relay"),
            RawCandidate(2, "192.0.2.7", 20003, "relay"),
        )
    )


def test_one_relay_is_enough() -> None:
    relay = offered_candidates(channel())
    host = Candidate("1", 1, "udp", 1, "192.0.2.9", 9, "host")
    assert has_relay([host, *relay])
    assert not has_relay([host])
