import pytest

from node.relay.channel import ChannelRules, ChannelStats, Traffic
from node.relay.drop import Drop
from node.relay.forwarders.control import (
    MAX_MESSAGE,
    STATS_PER_REPORT,
    Allow,
    AskStats,
    AskTotals,
    Close,
    Closed,
    Limit,
    Message,
    Open,
    Opened,
    Ping,
    Spent,
    StatsReport,
    TotalsReport,
    decode,
    encode,
)

LONG_ID = "0" * 32
MUCH = ChannelStats(
    requester_packets=2**63,
    requester_bytes=2**63,
    peer_packets=2**63,
    peer_bytes=2**63,
    idle=59.9,
    drops={reason.value: 2**63 for reason in Drop},
)


@pytest.mark.parametrize(
    "message",
    [
        Open(LONG_ID, ChannelRules(maxkbps=64, expire=0.5, allow_private_peers=True)),
        Close(LONG_ID, "released"),
        Limit(64),
        Limit(None),
        Allow(2, 2**40),
        Allow(3, None),
        Spent(2, 2**40, ended=True),
        AskStats(7),
        AskTotals(8),
        TotalsReport(8, 0.25, Traffic(peer_bytes=2**63, drops={Drop.OWN.value: 1})),
        Ping(),
        Opened(LONG_ID, 24),
        Closed(LONG_ID, "expired", MUCH),
        Closed(LONG_ID, "crashed", None),
        StatsReport(7, {}, last=True),
        StatsReport(7, {"a": MUCH, "b": MUCH}, last=False),
    ],
)
def test_messages_arrive_as_they_were_sent(message: Message) -> None:
    assert decode(encode(message)) == message


def test_the_longest_message_fits() -> None:
    channels = {f"{number:032x}": MUCH for number in range(STATS_PER_REPORT)}
    assert len(encode(StatsReport(2**63, channels, last=False))) <= MAX_MESSAGE
