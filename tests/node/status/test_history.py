from node.relay.channel import Traffic
from node.relay.forwarders.base import Totals
from node.status.history import LENGTH, Samples


def totals(at: float, to_peers: int, to_requesters: int = 0) -> Totals:
    return Totals(at, Traffic(requester_bytes=to_peers, peer_bytes=to_requesters))


def test_rates_are_over_the_time_that_was_between() -> None:
    samples = Samples()
    assert samples.history().to_peers == ()
    samples.add(totals(5.0, 1000), 3)
    assert samples.history().channels == ()
    samples.add(totals(6.0, 1500, 10), 4)
    samples.add(totals(8.0, 1500, 30), 5)  # a second is missing
    history = samples.history()
    assert history.to_peers == (500.0, 0.0)
    assert history.to_requesters == (10.0, 10.0)
    assert history.channels == (4, 5)


def test_nothing_new_is_no_sample() -> None:
    samples = Samples()
    samples.add(totals(1.0, 0), 0)
    samples.add(totals(1.0, 0), 9)
    assert samples.history().channels == ()
    samples.add(totals(2.0, 7), 1)
    assert samples.history().to_peers == (7.0,)


def test_five_minutes_are_kept() -> None:
    samples = Samples()
    for second in range(2 * LENGTH):
        samples.add(totals(second, second * second), second)
    history = samples.history()
    assert len(history.to_peers) == len(history.to_requesters) == len(history.channels) == LENGTH
    assert history.channels[-1] == 2 * LENGTH - 1
    assert history.to_peers[-1] == (2 * LENGTH - 1) ** 2 - (2 * LENGTH - 2) ** 2
