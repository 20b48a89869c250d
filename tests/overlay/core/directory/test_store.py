import random
from collections import Counter
from dataclasses import replace

import pytest

from overlay.core.addresses import Address, network_of
from overlay.core.directory.records import sign_advert
from overlay.core.directory.store import (
    MAX_KEYS,
    MAX_PER_NETWORK,
    MAX_PER_NETWORK_AND_KEY,
    AdvertStore,
    Entry,
    StaleAdvertError,
)
from overlay.core.directory.tree import (
    EPOCH,
    SAMPLE_SIZE,
    SPREAD,
    deepest_level,
    directory_key,
    epoch_of,
    estimated_relays,
    sample_rank,
)
from overlay.core.directory.verification import (
    MAX_WAITING,
    MAX_WAITING_HANDED,
    MAX_WAITING_PER_HOST,
    MAX_WAITING_PER_NETWORK,
    Verifications,
)
from overlay.core.identity import Identity
from overlay.core.protocol.limits import RateLimiter
from overlay.core.protocol.messages import StoreResult
from overlay.core.protocol.tokens import LIFETIME, WriteTokens
from tests.overlay.core.network import UNIX_TIME, offer

RELAY_ID = bytes(20)
KEY = directory_key(0, RELAY_ID)
RNG = random.Random(5)


def entry(
    address: Address,
    *,
    seq: int = 1,
    identity: Identity | None = None,
    expires_at: float = 100.0,
    level: int = 0,
    relay: bytes = RELAY_ID,
) -> Entry:
    identity = identity or Identity(RNG.randbytes(32))
    advert = sign_advert(
        identity, offer("r"), seq=seq, expires=int(UNIX_TIME) + 3600, endpoints=(address,)
    )
    return Entry(advert, expires_at, level, relay)


def relay_id(number: int) -> bytes:
    """Ids of different prefixes at level 16."""
    return number.to_bytes(2, "big") + bytes(18)


def test_a_newer_advert_replaces_an_older_one_and_never_the_reverse() -> None:
    store = AdvertStore(bytes(20))
    key = Identity(bytes(32))
    old = entry(("8.8.8.8", 1), seq=1, identity=key)
    new = entry(("8.8.8.8", 1), seq=2, identity=key)
    assert store.put(old, UNIX_TIME) is StoreResult.LISTED
    assert store.put(old, UNIX_TIME) is StoreResult.LISTED
    assert store.put(new, UNIX_TIME) is StoreResult.LISTED
    assert store.get(KEY, UNIX_TIME) == [new]
    with pytest.raises(StaleAdvertError):
        store.put(old, UNIX_TIME)


def test_a_withdrawn_relay_stays_away() -> None:
    store = AdvertStore(bytes(20))
    key = Identity(bytes(32))
    listed = entry(("8.8.8.8", 1), seq=5, identity=key)
    store.put(listed, UNIX_TIME)
    for seq in (4, 5):
        stale = sign_advert(key, offer("r"), seq=seq, expires=int(UNIX_TIME), endpoints=())
        with pytest.raises(StaleAdvertError):
            store.withdraw(stale, 50.0)
    withdrawal = sign_advert(key, offer("r"), seq=6, expires=int(UNIX_TIME), endpoints=())
    store.withdraw(withdrawal, 50.0)
    assert store.get(KEY, UNIX_TIME) == []
    with pytest.raises(StaleAdvertError):
        store.put(listed, UNIX_TIME)
    again = entry(("8.8.8.8", 1), seq=7, identity=key)
    assert store.put(again, UNIX_TIME) is StoreResult.LISTED


def test_adverts_expire() -> None:
    store = AdvertStore(bytes(20))
    store.put(entry(("8.8.8.8", 1), expires_at=10.0), UNIX_TIME)
    store.put(entry(("9.9.9.9", 1), expires_at=20.0), UNIX_TIME)
    assert store.expire(9.9) == 0
    assert store.expire(10.0) == 1
    assert len(store) == 1
    assert store.expire(20.0) == 1
    assert store.get(KEY, UNIX_TIME) == []


def test_replicas_keep_the_same_sample_whatever_the_order() -> None:
    entries = [entry((f"{n + 11}.1.1.1", 4000)) for n in range(150)]
    samples = []
    for seed in range(3):
        store = AdvertStore(bytes(20))
        for one in random.Random(seed).sample(entries, len(entries)):
            store.put(one, UNIX_TIME)
        samples.append(store.get(KEY, UNIX_TIME))
    assert samples[0] == samples[1] == samples[2]
    epoch = epoch_of(UNIX_TIME)
    expected = sorted(entries, key=lambda e: sample_rank(e.address, epoch))[:SAMPLE_SIZE]
    assert samples[0] == expected
    assert store.judge(expected[0], UNIX_TIME) is StoreResult.LISTED
    rejected = next(e for e in entries if e not in expected)
    assert store.put(rejected, UNIX_TIME) is StoreResult.OUTSIDE_SAMPLE


def test_another_epoch_is_another_order() -> None:
    store = AdvertStore(bytes(20))
    for n in range(20):
        store.put(entry((f"{n + 11}.1.1.1", 4000)), UNIX_TIME)
    today = store.get(KEY, UNIX_TIME)
    tomorrow = store.get(KEY, UNIX_TIME + EPOCH)
    assert today != tomorrow
    assert {e.address for e in today} == {e.address for e in tomorrow}


def test_keys_of_one_network_do_not_fill_a_sample() -> None:
    store = AdvertStore(bytes(20))
    for n in range(30):
        store.put(entry(("8.8.8.8", 4000 + n)), UNIX_TIME)
    assert len(store.get(KEY, UNIX_TIME)) == MAX_PER_NETWORK_AND_KEY


def test_one_network_has_a_quota_over_all_keys() -> None:
    store = AdvertStore(bytes(20))
    for n in range(2 * MAX_PER_NETWORK):
        store.put(entry(("8.8.8.8", 4000 + n), level=16, relay=relay_id(n)), UNIX_TIME)
    assert len(store) == MAX_PER_NETWORK


def test_a_renewal_takes_no_further_place() -> None:
    rng = random.Random(12)
    store = AdvertStore(bytes(20))
    keys = [Identity(rng.randbytes(32)) for _ in range(3 * SAMPLE_SIZE)]
    places = [(f"9.{n % 50}.1.1", 4000 + n) for n in range(len(keys))]
    for seq in range(1, 4):
        offered = [
            entry(place, seq=seq, identity=key) for place, key in zip(places, keys, strict=True)
        ]
        for one in rng.sample(offered, len(offered)):
            store.put(one, UNIX_TIME)
        assert store.get(KEY, UNIX_TIME) == sample_of(offered, UNIX_TIME)
    assert len(store) == SAMPLE_SIZE


def test_a_relay_that_has_moved_gets_the_place_of_its_new_address() -> None:
    store = AdvertStore(bytes(20))
    key = Identity(bytes(32))
    store.put(entry(("8.8.8.8", 4000), identity=key), UNIX_TIME)
    others = [entry(("9.9.9.9", 4000 + n)) for n in range(2)]
    for other in others:
        store.put(other, UNIX_TIME)
    moved = entry(("9.9.9.8", 4000), seq=2, identity=key)
    store.put(moved, UNIX_TIME)
    assert store.get(KEY, UNIX_TIME) == sample_of([*others, moved], UNIX_TIME)
    for n in range(MAX_PER_NETWORK - 2):  # nothing is left of the old place in the quota
        store.put(entry(("8.8.8.8", 5000 + n), level=16, relay=relay_id(n)), UNIX_TIME)
    late = entry(("8.8.8.8", 6000), level=16, relay=relay_id(900))
    assert store.put(late, UNIX_TIME) is StoreResult.LISTED


def test_when_there_are_too_many_keys_the_nearest_to_oneself_stay() -> None:
    store = AdvertStore(bytes(20))
    ids = [relay_id(n) for n in range(MAX_KEYS + 2)]
    ids.sort(key=lambda one: directory_key(16, one))
    *_, near, furthest, far = ids
    for n, one in enumerate(ids):
        if one not in (near, far):
            place = (f"{n % 200 + 11}.1.{n // 200}.1", 1)
            store.put(entry(place, level=16, relay=one), UNIX_TIME)
    late = entry(("9.9.9.9", 1), level=16, relay=far)
    assert store.put(late, UNIX_TIME) is StoreResult.OUTSIDE_SAMPLE
    late = entry(("9.9.9.9", 1), level=16, relay=near)
    assert store.put(late, UNIX_TIME) is StoreResult.LISTED
    assert store.get(directory_key(16, furthest), UNIX_TIME) == []
    assert store.get(late.key, UNIX_TIME) == [late]
    assert len(store) == MAX_KEYS


@pytest.mark.parametrize("peers", [200, 1000, 10_000])
@pytest.mark.parametrize("share", [1.0, 0.2, 0.05, 0.02])
def test_how_many_relays_there_are_follows_from_what_each_peer_holds(
    peers: int, share: float
) -> None:
    relays = round(peers * share)
    held = 0.0  # as the directory is laid out, by all peers together
    for level in range(deepest_level(SPREAD * peers) + 1):
        below = [0] * (1 << level)
        for _ in range(relays):
            below[RNG.randrange(1 << level)] += 1
        held += sum(20 * min(SAMPLE_SIZE, count) for count in below)
    estimate = estimated_relays(peers, held / peers)
    assert 0.7 * relays < estimate < 1.4 * relays


def test_directory_keys() -> None:
    low, high = bytes(20), b"\xff" * 20
    assert directory_key(0, low) == directory_key(0, high)
    assert directory_key(1, low) != directory_key(1, high)
    assert directory_key(1, low) != directory_key(2, low)
    assert directory_key(8, low) == directory_key(8, bytes(1) + high[1:])
    for level in (3, 8):  # spread evenly, each in a part of its own
        ids = [(prefix << 160 - level).to_bytes(20, "big") for prefix in range(1 << level)]
        parts = {int.from_bytes(directory_key(level, one), "big") >> 160 - level for one in ids}
        assert len(parts) == 1 << level
    assert [deepest_level(n) for n in (1, 64, 127, 128, 100_000)] == [0, 0, 0, 1, 10]


def test_tokens() -> None:
    tokens = WriteTokens(random.Random(1))
    here, there = ("8.8.8.8", 1), ("8.8.8.8", 2)
    token = tokens.issue(here, 0.0)
    assert tokens.accepts(token, here, 0.0)
    assert not tokens.accepts(token, there, 0.0)
    assert not tokens.accepts(bytes(8), here, 0.0)
    assert not WriteTokens(random.Random(2)).accepts(token, here, 0.0)
    assert tokens.accepts(token, here, LIFETIME)
    assert not tokens.accepts(token, here, 2 * LIFETIME)


def test_an_old_token_is_worthless_after_silence() -> None:
    tokens = WriteTokens(random.Random(1))
    token = tokens.issue(("8.8.8.8", 1), 0.0)
    assert not tokens.accepts(token, ("8.8.8.8", 1), 10 * LIFETIME)


def test_a_source_gets_a_burst_and_then_its_rate() -> None:
    limiter = RateLimiter(rate=2.0, burst=5.0)
    source = ("8.8.8.8", 1)
    assert [limiter.admit(source, 0.0) for _ in range(6)] == [True] * 5 + [False]
    assert not limiter.admit(("8.8.8.8", 2), 0.0)
    assert limiter.admit(("9.9.9.9", 1), 0.0)
    assert limiter.admit(source, 0.5)
    assert not limiter.admit(source, 0.5)


def test_an_ipv6_source_is_its_64_bit_prefix() -> None:
    limiter = RateLimiter(rate=1.0, burst=1.0)
    assert limiter.admit(("2a00:1:2:3::1", 1), 0.0)
    assert not limiter.admit(("2a00:1:2:3:ffff::2", 1), 0.0)
    assert limiter.admit(("2a00:1:2:4::1", 1), 0.0)


def test_the_table_of_sources_is_bounded() -> None:
    limiter = RateLimiter(sources=100)
    for n in range(200):
        limiter.admit(("10.0.0.1", n + 1), 0.0)
    assert len(limiter) == 100


def test_verifications() -> None:
    verifications = Verifications()
    endpoint = ("8.8.8.8", 1)
    identity = Identity(bytes(32))
    one = entry(endpoint, identity=identity)
    other = entry(endpoint, identity=identity, level=1)
    assert verifications.wait(one) is True
    assert verifications.wait(one) is False
    assert verifications.wait(other) is False
    assert verifications.conclude(endpoint) == [one, other]
    assert verifications.conclude(endpoint) == []
    assert verifications.wait(one) is True


def test_a_relay_that_is_held_under_one_key_is_verified_under_all() -> None:
    store = AdvertStore(bytes(20))
    identity = Identity(bytes(32))
    held = replace(entry(("8.8.8.8", 1), identity=identity), verified_until=9.0)
    assert store.verified_until(held, 5.0) == 0.0
    store.put(held, UNIX_TIME)
    other = entry(("8.8.8.8", 1), identity=identity, level=1)
    assert store.verified_until(other, 5.0) == 9.0
    assert store.verified_until(entry(("8.8.8.8", 2), identity=identity), 5.0) == 0.0, "elsewhere"
    assert store.verified_until(entry(("8.8.8.8", 1)), 5.0) == 0.0, "another relay there"
    store.put(replace(other, verified_until=7.0), UNIX_TIME)
    assert store.verified_until(other, 5.0) == 7.0, "what is held under its own key suffices"
    assert store.verified_until(other, 8.0) == 9.0, "by now it does not"


def test_what_is_handed_over_leaves_room_for_relays_that_come_themselves() -> None:
    verifications = Verifications()
    places = [(f"{n + 11}.8.8.8", 1) for n in range(MAX_WAITING_HANDED + 1)]
    taken = [place for place in places if verifications.wait(entry(place), handed=True)]
    assert taken == places[:-1]
    assert verifications.wait(entry(places[-1]))


def test_waiting_endpoints_are_bounded() -> None:
    verifications = Verifications()
    for n in range(MAX_WAITING):
        assert verifications.wait(entry((f"{n // 10 + 11}.{n % 10}.8.8", 1)))
    assert verifications.wait(entry(("9.9.9.9", 1))) is None


@pytest.mark.parametrize(
    ("places", "limit"),
    [
        ([("8.8.8.8", n) for n in range(1, 300)], MAX_WAITING_PER_HOST),
        ([("10.0.0.8", n) for n in range(1, 300)], MAX_WAITING_PER_HOST),
        ([("2a00:1:2:3::" + f"{n:x}", 1) for n in range(1, 300)], MAX_WAITING_PER_HOST),
        ([(f"8.8.8.{n}", 1) for n in range(1, 200)], MAX_WAITING_PER_NETWORK),
    ],
)
def test_one_party_does_not_keep_others_from_being_verified(
    places: list[Address], limit: int
) -> None:
    verifications = Verifications()
    taken = [place for place in places if verifications.wait(entry(place))]
    assert len(taken) == limit
    assert verifications.wait(entry(("9.9.9.9", 1)))
    verifications.conclude(taken[0])
    assert verifications.wait(entry(places[-1]))


def test_what_stays_is_what_a_sort_of_all_would_leave() -> None:
    rng = random.Random(11)
    store = AdvertStore(bytes(20))
    offered = [entry((f"9.9.{rng.randrange(60)}.{rng.randrange(1, 9)}", 4000)) for _ in range(300)]
    for one in offered:
        store.put(one, UNIX_TIME)
    assert store.get(KEY, UNIX_TIME) == sample_of(offered, UNIX_TIME)
    assert len(store) == SAMPLE_SIZE
    # The next day all stay, in another order.
    held = list(store.get(KEY, UNIX_TIME))
    assert store.get(KEY, UNIX_TIME + EPOCH) == sample_of(held, UNIX_TIME + EPOCH) != held


def sample_of(entries: list[Entry], unix_time: float) -> list[Entry]:
    """By brute force: all in order, two of a network, 64 in all."""
    taken: Counter[bytes] = Counter()
    sample = []
    epoch = epoch_of(unix_time)
    for one in sorted(entries, key=lambda one: (sample_rank(one.address, epoch), relay_key(one))):
        taken[network_of(one.address)] += 1
        if taken[network_of(one.address)] <= MAX_PER_NETWORK_AND_KEY:
            sample.append(one)
    return sample[:SAMPLE_SIZE]


def relay_key(one: Entry) -> bytes:
    return one.advert.public_key
