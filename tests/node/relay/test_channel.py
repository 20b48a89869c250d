from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.relay.budget import Budget
from node.relay.channel import MAX_HELD, PORTS, Channel, ChannelRules
from node.relay.drop import Drop

REQUESTER = ("198.41.0.4", 4000)
PEER = ("199.7.83.42", 5000)
PEER_REBOUND = (PEER[0], 5001)
STRANGER = ("193.0.14.129", 6000)

RTP, RTCP, PEER_RTP, PEER_RTCP = range(PORTS)


def latched(rules: ChannelRules | None = None) -> Channel:
    """A channel whose RTP ports have latched at 0 s."""
    channel = Channel(rules or ChannelRules(), now=0)
    channel.receive(RTP, b"first", REQUESTER, 0)
    channel.receive(PEER_RTP, b"second", PEER, 0)
    return channel


def test_packets_go_out_at_the_other_leg() -> None:
    channel = latched()
    assert channel.receive(RTP, b"to peer", REQUESTER, 1) == [(PEER_RTP, b"to peer")]
    assert channel.receive(PEER_RTP, b"back", PEER, 1) == [(RTP, b"back")]


def test_components_latch_on_their_own() -> None:
    channel = latched()
    assert channel.receive(RTCP, b"report", STRANGER, 1) == []
    assert channel.receive(PEER_RTCP, b"answer", PEER, 1) == [
        (PEER_RTCP, b"report"),
        (RTCP, b"answer"),
    ]
    assert [port.source for port in channel.ports] == [REQUESTER, STRANGER, PEER, PEER]


def test_the_packet_before_the_other_leg_latches_is_kept() -> None:
    channel = Channel(ChannelRules(), now=0)
    assert channel.receive(RTP, b"old", REQUESTER, 0) == []
    assert channel.receive(RTP, b"latest", REQUESTER, 0) == []
    assert channel.receive(RTP, bytes(MAX_HELD + 1), REQUESTER, 0) == []
    assert channel.receive(PEER_RTP, b"hello", PEER, 1) == [(PEER_RTP, b"latest"), (RTP, b"hello")]
    assert channel.receive(PEER_RTP, b"more", PEER, 1) == [(RTP, b"more")]
    assert channel.drops == {Drop.NO_PEER: 2}


def test_a_stranger_does_not_take_a_live_port() -> None:
    channel = latched()
    assert channel.receive(PEER_RTP, b"steal", STRANGER, 1.99) == []
    assert channel.receive(PEER_RTP, b"steal", PEER_REBOUND, 0.49) == []
    assert channel.receive(RTP, b"media", REQUESTER, 1.99) == [(PEER_RTP, b"media")]
    assert channel.ports[PEER_RTP].source == PEER
    assert channel.drops == {Drop.LOCKED: 2}


def test_a_rebound_nat_is_followed_sooner_than_a_new_host() -> None:
    channel = latched()
    assert channel.receive(PEER_RTP, b"moved", PEER_REBOUND, 0.5) == [(RTP, b"moved")]
    assert channel.receive(PEER_RTP, b"not yet", STRANGER, 2.4) == []
    assert channel.receive(PEER_RTP, b"now", STRANGER, 2.5) == [(RTP, b"now")]


@given(
    st.lists(
        st.tuples(st.floats(0, 1.0), st.sampled_from([PEER, PEER_REBOUND, STRANGER])), max_size=60
    )
)
def test_only_silence_opens_the_lock(packets: list[tuple[float, tuple[str, int]]]) -> None:
    rules = ChannelRules()
    channel, port = latched(rules), PEER_RTP
    now = heard = 0.0
    for gap, source in packets:
        now += gap
        holder = channel.ports[port].source
        assert holder is not None
        lock = rules.rebind_after if source[0] == holder[0] else rules.relatch_after
        passed = channel.receive(port, b"x", source, now)
        assert bool(passed) == (source == holder or now - heard >= lock)
        if passed:
            heard = now


@pytest.mark.parametrize("source", [("192.168.1.1", 53), ("::1", 53), ("224.0.0.1", 5)])
def test_private_sources_are_not_latched_unless_allowed(source: tuple[str, int]) -> None:
    channel = Channel(ChannelRules(), now=0)
    channel.receive(RTP, b"x", source, 1)
    channel.receive(RTP, b"", source, 1)
    assert channel.ports[RTP].source is None
    assert channel.expires_at == 60
    assert channel.drops == {Drop.PRIVATE: 2}
    lab = Channel(ChannelRules(allow_private_peers=True), now=0)
    lab.receive(RTP, b"x", source, 1)
    assert lab.ports[RTP].source == source


def test_empty_packets_keep_the_channel_and_do_nothing_else() -> None:
    channel = Channel(ChannelRules(expire=10), now=0)
    assert channel.receive(RTCP, b"", REQUESTER, 9) == []
    assert channel.expires_at == 19
    assert channel.ports[RTCP].source is None
    channel = latched()
    assert channel.receive(RTP, b"", REQUESTER, 1) == []
    assert not channel.drops


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(0, PORTS - 1)), max_size=30))
def test_a_packet_from_either_side_on_any_component_puts_expiry_off(
    packets: list[tuple[float, int]],
) -> None:
    channel = Channel(ChannelRules(expire=5), now=100)
    now = 100.0
    for gap, offset in packets:
        now += gap
        channel.receive(offset, b"x", REQUESTER if offset < 2 else PEER, now)
        channel.receive(offset, b"x", STRANGER, now)  # locked out, so it puts nothing off
    assert channel.expires_at == now + 5
    assert channel.stats(now + 1).idle == pytest.approx(1)


def test_maxkbps_holds_for_each_direction_and_recovers() -> None:
    channel = latched(ChannelRules(maxkbps=64))  # 8,000 bytes a second
    full = [channel.receive(RTP, bytes(1000), REQUESTER, 0) for _ in range(20)]
    assert sum(map(len, full)) == 7  # the first packets of the call took the rest
    assert channel.receive(PEER_RTP, bytes(1000), PEER, 0)
    assert channel.receive(RTCP, bytes(1000), REQUESTER, 0) == []  # held, not yet counted
    assert channel.drops[Drop.MAXKBPS] == 13
    steady = [
        bool(channel.receive(RTP, bytes(100), REQUESTER, 1 + i / 160)) for i in range(10 * 160)
    ]
    rates = [sum(steady[i : i + 160]) * 100 for i in range(320, len(steady) - 160)]
    assert all(7900 <= rate <= 8100 for rate in rates)
    assert all(abs(a - b) <= 100 for a, b in pairwise(rates))


def test_the_bandwidth_of_the_node_is_that_of_all_channels_together() -> None:
    budget = Budget()
    budget.limit(64, 0)  # 8,000 bytes a second
    channels = [Channel(ChannelRules(), 0, budget) for _ in range(3)]
    for channel in channels:
        channel.receive(RTP, b"1", REQUESTER, 0)
        channel.receive(PEER_RTP, b"1", PEER, 0)
    passed = 0
    for _ in range(10):
        for channel in channels:
            passed += len(channel.receive(RTP, bytes(1000), REQUESTER, 0))
            passed += len(channel.receive(PEER_RTP, bytes(1000), PEER, 0))
    assert passed == 7
    assert sum(channel.drops[Drop.NODE_KBPS] for channel in channels) == 60 - 7
    assert channels[2].receive(RTP, bytes(1000), REQUESTER, 1)
    budget.limit(None, 1)
    assert all(channels[0].receive(RTP, bytes(1000), REQUESTER, 1) for _ in range(100))


def test_statistics_count_what_was_passed_on() -> None:
    channel = latched()
    channel.receive(RTP, b"12345", REQUESTER, 1)
    channel.receive(PEER_RTP, b"x", STRANGER, 1)
    stats = channel.stats(now=4)
    assert (stats.requester_packets, stats.requester_bytes) == (2, len("first") + 5)
    assert (stats.peer_packets, stats.peer_bytes) == (1, len("second"))
    assert stats.idle == 3
    assert stats.drops == {"locked": 1}


@pytest.mark.parametrize(
    "wrong",
    [
        {"expire": 0},
        {"maxkbps": 0},
        {"maxkbps": -5},
        {"rebind_after": 0},
        {"rebind_after": 3, "relatch_after": 2},
    ],
)
def test_rules_that_make_no_sense_are_rejected(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ChannelRules(**wrong)  # type: ignore[arg-type]


def test_what_the_kernel_has_passed_on_is_counted_and_held_against_the_limit() -> None:
    channel = latched(ChannelRules(maxkbps=8))  # 1,000 bytes a second
    channel.ports[RTP].count(3, 3000)
    stats = channel.stats(1)
    assert (stats.requester_packets, stats.requester_bytes) == (4, 3005)
    assert channel.receive(RTP, b"too much", REQUESTER, 1) == []
    assert channel.drops[Drop.MAXKBPS] == 1
    assert channel.receive(RTP, b"in time", REQUESTER, 2.6) == [(PEER_RTP, b"in time")]
