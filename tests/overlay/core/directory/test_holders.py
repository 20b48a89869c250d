from overlay.core.directory.holders import Holders
from overlay.core.kademlia.contact import Contact

ONE, OTHER = (Contact(bytes([n]) * 20, (f"8.8.{n}.8", 4000)) for n in (1, 2))


def test_whoever_is_asked_again_is_one_holder() -> None:
    holders = Holders()
    holders.add(3, ONE, b"old", 100)
    holders.add(3, ONE, b"new", 200)
    holders.add(2, ONE, b"up", 200)
    assert sorted(holders) == [(2, ONE, b"up"), (3, ONE, b"new")]
    assert holders.by_level() == {2: 1, 3: 1}
    holders.drop(3, ONE)
    assert list(holders) == [(2, ONE, b"up")]


def test_those_whose_advert_has_expired_hold_nothing() -> None:
    holders = Holders()
    holders.add(3, ONE, b"token", 100)
    holders.add(3, OTHER, b"token", 200)
    assert list(holders.unexpired(100)) == [(3, OTHER, b"token")]
    assert list(holders.renewed(300).unexpired(200)) == [(3, ONE, b"token"), (3, OTHER, b"token")]
    assert not list(holders.unexpired(200))
    assert len(list(holders)) == 2, "as it was"
