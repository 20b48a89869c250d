import random
from collections import Counter

from hypothesis import example, given
from hypothesis import strategies as st

from overlay.core.directory.reading import AdvertSearch, Pages
from overlay.core.directory.records import Advert, sign_advert
from overlay.core.directory.sample import AdvertSample
from overlay.core.directory.tree import SAMPLE_SIZE, directory_key
from overlay.core.identity import Identity
from overlay.core.kademlia.contact import Contact
from overlay.core.peer import Peer, PeerConfig
from overlay.core.protocol.messages import MAX_START, Relays, Reply
from tests.overlay.core.network import UNIX_TIME, offer

KEY = directory_key(0, bytes(20))
NOW = 1000.0


def replica(number: int) -> Contact:
    return Contact((number + 1).to_bytes(20, "big"), (f"{number + 11}.1.1.1", 4000))


def starts(pages: Pages, *replicas: bytes) -> list[int | None]:
    return [pages.next_start(one) for one in replicas]


def test_each_replica_is_asked_for_another_page() -> None:
    pages = Pages(0)
    assert pages.next_start(b"a") == 0
    pages.answered(b"a", 7, 0, 3)
    assert starts(pages, b"b", b"c") == [2, 4], "and they overlap"
    pages.answered(b"b", 7, 2, 3)
    pages.answered(b"c", 7, 4, 3)
    assert set(starts(pages, b"a", b"a")) == {2, 4}, "what others were asked for, in the end"
    assert pages.next_start(b"a") is None


def test_readers_that_begin_anywhere_see_all_alike() -> None:
    total = 20
    seen = Counter[int]()
    for turn in range(MAX_START):
        pages = Pages(turn)
        for one in (b"a", b"b"):
            start = pages.next_start(one)
            assert start is not None
            seen.update((start + offset) % total for offset in range(3))
            pages.answered(one, total, start, 3)
    mean = seen.total() / total
    assert all(0.7 * mean < seen[place] < 1.3 * mean for place in range(total)), seen


@given(turn=st.integers(0, MAX_START - 1), total=st.integers(1, MAX_START))
@example(turn=1, total=3)
def test_wherever_it_begins_a_reader_sees_all_in_the_end(turn: int, total: int) -> None:
    pages = Pages(turn)
    seen = set[int]()
    asked = 0
    while (start := pages.next_start(b"a")) is not None:
        asked += 1
        page = [(start + offset) % total for offset in range(min(3, total))]
        seen.update(page)
        pages.answered(b"a", total, start, len(page))
    assert seen == set(range(total))
    assert asked == 1 if total <= 3 else asked <= total // 2 + 1


def test_what_did_not_fit_into_a_page_is_asked_for() -> None:
    pages = Pages(0)
    pages.next_start(b"a")
    pages.answered(b"a", 3, 0, 2)
    assert pages.next_start(b"a") == 2


def test_a_page_that_is_lost_is_asked_of_another() -> None:
    pages = Pages(0)
    pages.next_start(b"a")
    pages.answered(b"a", 5, 0, 3)
    assert pages.next_start(b"b") == 2
    pages.lost(b"b", 2)
    assert pages.next_start(b"a") == 2


def test_one_who_claims_more_than_the_others_does_not_say_what_strangers_are_asked_for() -> None:
    pages = Pages(0)
    for honest in (b"a", b"b"):
        pages.next_start(honest)
        pages.answered(honest, 4, 0, 3)
    pages.next_start(b"liar")
    pages.answered(b"liar", 255, 3, 3)
    for number in range(10):
        start = pages.next_start(bytes([number]))
        assert start is not None
        assert start < 4


class Rig:
    """A search that is handed replies."""

    def __init__(self) -> None:
        config = PeerConfig(client=True, host="8.8.8.8", clock_offset=UNIX_TIME)
        self.peer = Peer(Identity(bytes(32)), config, random.Random(1))
        rpc = self.peer._rpc
        self.sample = AdvertSample(rpc, SAMPLE_SIZE, UNIX_TIME)
        self.search = AdvertSearch(rpc, KEY, lambda _: None, self.sample, random.Random(1))
        self.serial = 0

    def forge(self, count: int) -> list[Advert]:
        """Adverts of relays that nobody else knows."""
        self.serial += count
        return [relay(1000 + self.serial - number) for number in range(count)]

    def answer(self, number: int, total: int, adverts: list[Advert]) -> None:
        contact = replica(number)
        self.search.lookup.hear([contact])
        while self.search.lookup.next_query() is not None:
            pass
        self.search._starts[contact.id] = self.search._pages.next_start(contact.id) or 0
        start = self.search._starts[contact.id]
        body = Relays((), bytes(8), total, start, tuple(one.encoded for one in adverts))
        reply = Reply(bytes(8), contact.id, ("8.8.8.8", 1), None, None, body)
        self.search.answered(contact, reply, NOW)

    @property
    def is_over(self) -> bool:
        return self.search._is_done


def relay(number: int, seq: int = 1) -> Advert:
    host = f"{number % 200 + 20}.{number // 200 + 1}.2.2"
    return sign_advert(
        Identity(number.to_bytes(32, "big")),
        offer(f"r{number}"),
        seq=seq,
        expires=int(UNIX_TIME + NOW) + 3000,
        endpoints=((host, 4000),),
    )


HONEST = [relay(number) for number in range(6)]


def test_three_replicas_that_hold_no_more_end_the_reading() -> None:
    rig = Rig()
    rig.answer(0, 6, HONEST[:3])
    rig.answer(1, 6, HONEST[3:])
    assert not rig.is_over
    rig.answer(2, 6, HONEST[:3])
    assert rig.is_over
    assert rig.search.found == 6


def test_a_relay_that_renews_its_advert_meanwhile_is_one_relay() -> None:
    rig = Rig()
    rig.answer(0, 6, HONEST[:3])
    rig.answer(1, 6, [relay(number, seq=2) for number in range(3)])
    rig.answer(2, 6, HONEST[:3])
    rig.answer(3, 6, HONEST[:3])
    assert rig.search.found == 3
    assert not rig.is_over, "nobody has sent the other three"
    rig.answer(4, 6, HONEST[3:])
    assert rig.is_over


def test_a_flood_does_not_pass_for_what_honest_replicas_hold() -> None:
    rig = Rig()
    for number in (10, 11):
        rig.answer(number, 255, rig.forge(3))
    rig.answer(0, 6, [])
    rig.answer(1, 6, [])
    rig.answer(2, 6, [])
    assert not rig.is_over, "six adverts were collected, but none of theirs"
    rig.answer(3, 6, HONEST[:3])
    rig.answer(4, 6, HONEST[3:])
    assert rig.is_over


def test_one_replica_alone_is_not_believed_to_know_all() -> None:
    rig = Rig()
    rig.answer(0, 6, HONEST)
    rig.answer(1, 6, [])
    rig.answer(2, 6, [])
    assert not rig.is_over
    rig.answer(3, 6, HONEST[:3])
    assert rig.is_over


def test_a_replica_that_waits_for_its_turn_is_waited_for() -> None:
    """All who are under way are strangers, who may hold nothing or be dead."""
    rig = Rig()
    rig.answer(0, 40, rig.forge(3))
    rig.search._starts = {replica(number).id: 0 for number in range(1, 5)}
    rig.search._replicas.clear()
    assert not rig.search._goes_on(NOW)
    rig.search._replicas.append(replica(0))
    assert rig.search._goes_on(NOW)
    rig.search._starts.clear()
    assert not rig.search._goes_on(NOW), "nobody is left whose answer would give it its turn"
