"""What a search keeps of all that replicas have named."""

import random
from collections import Counter

from overlay.core.directory.records import MAX_LIFETIME, Advert, Offer, sign_advert
from overlay.core.directory.sample import MAX_PER_SOURCE, AdvertSample
from overlay.core.directory.tree import SAMPLE_SIZE
from overlay.core.peer import PeerConfig
from overlay.core.rpc import Rpc
from simulations.identity import SimulatedIdentity

NOW = 1000.0


def advert(number: int, seq: int = 1, network: int | None = None) -> Advert:
    network = number if network is None else network
    offer = Offer(f"{number}@relay.example", ("channel",), "public", None, 8, 1.0)
    endpoint = (f"20.{network // 200}.{network % 200}.1", 4000)
    identity = SimulatedIdentity(number.to_bytes(32, "big"))
    return sign_advert(
        identity, offer, seq=seq, expires=int(NOW + MAX_LIFETIME), endpoints=(endpoint,)
    )


def make_sample() -> AdvertSample:
    rpc = Rpc(
        SimulatedIdentity(b"reader"),
        PeerConfig().host,
        client=True,
        is_ipv6=False,
        rng=random.Random(1),
        counters=Counter(),
    )
    return AdvertSample(rpc, SAMPLE_SIZE, 0.0)


def test_what_was_found_first_is_returned_after_what_counts() -> None:
    """A replica that names a fair share of adverts, and then a whole further key."""
    sample = make_sample()
    share = 4 * MAX_PER_SOURCE
    for number in range(share + 2):
        sample.take(advert(number).encoded, b"replica", NOW)
    for number in range(20, 100):
        sample.take(advert(number).encoded, f"other {number}".encode(), NOW)
    found = [one.public_key for one in sample.adverts(random.Random(2))]
    assert set(found) == {advert(number).public_key for number in (*range(share), *range(20, 100))}
    others = {advert(number).public_key for number in range(MAX_PER_SOURCE, share)}
    assert set(found[-len(others) :]) == others


def test_whoever_floods_first_does_not_push_out_what_others_name_within_their_share() -> None:
    sample = make_sample()
    for number in range(SAMPLE_SIZE):
        sample.take(advert(number).encoded, b"flood", NOW)
    for number in range(SAMPLE_SIZE, 2 * SAMPLE_SIZE):
        sample.take(advert(number).encoded, f"honest {number % 4}".encode(), NOW)
    found = {one.public_key for one in sample.adverts(random.Random(2))}
    honest = {advert(number).public_key for number in range(SAMPLE_SIZE, 2 * SAMPLE_SIZE)}
    assert len(found & honest) > SAMPLE_SIZE / 2
    assert len(found - honest) == 4 * MAX_PER_SOURCE


def test_what_does_not_count_and_comes_late_is_left_out() -> None:
    sample = make_sample()
    for number in range(SAMPLE_SIZE - 10):
        sample.take(advert(number).encoded, f"other {number}".encode(), NOW)
    for number in range(SAMPLE_SIZE - 10, SAMPLE_SIZE + 30):
        sample.take(advert(number).encoded, b"flood", NOW)
    found = {one.public_key for one in sample.adverts(random.Random(2))}
    assert found == {advert(number).public_key for number in range(SAMPLE_SIZE)}


def test_what_one_network_alone_has_named_comes_last() -> None:
    sample = make_sample()
    for number in range(10):
        sample.take(advert(number).encoded, f"alone {number}".encode(), NOW)
    for number in range(10, 150):
        for replica in range(2):
            sample.take(advert(number).encoded, f"both {number} {replica}".encode(), NOW)
    found = [one.public_key for one in sample.adverts(random.Random(2))]
    assert len(found) == 2 * SAMPLE_SIZE + 10
    assert set(found[-10:]) == {advert(number).public_key for number in range(10)}


def test_two_relays_of_a_network_are_taken_and_one_that_moves_makes_room() -> None:
    sample = make_sample()
    first, second, third = (advert(number, network=7) for number in range(3))
    assert sample.take(first.encoded, b"a", NOW)
    assert sample.take(second.encoded, b"a", NOW)
    assert not sample.take(third.encoded, b"b", NOW)
    assert sample.take(advert(0, seq=2, network=7).encoded, b"b", NOW)  # a later word of the first
    assert not sample.take(third.encoded, b"c", NOW)
    assert sample.take(advert(0, seq=3, network=8).encoded, b"b", NOW)
    assert sample.take(third.encoded, b"c", NOW)
    assert not sample.take(advert(0, seq=4, network=7).encoded, b"b", NOW)
    assert len(sample) == 3
