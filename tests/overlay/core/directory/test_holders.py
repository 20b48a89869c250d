from overlay.core.directory.holders import Holders
from overlay.core.kademlia.contact import Contact
from overlay.core.protocol.messages import TOKEN_LENGTH

OLD, NEW, UP, TOKEN = (bytes([n]) * TOKEN_LENGTH for n in range(4))
ONE, OTHER = (Contact(bytes([n]) * 20, (f"8.8.{n}.8", 4000)) for n in (1, 2))


def test_whoever_is_asked_again_is_one_holder() -> None:
    holders = Holders()
    holders.add(3, ONE, OLD, 100)
    holders.add(3, ONE, NEW, 200)
    holders.add(2, ONE, UP, 200)
    assert sorted(holders) == [(2, ONE, UP), (3, ONE, NEW)]
    assert holders.by_level() == {2: 1, 3: 1}
    holders.drop(3, ONE)
    assert list(holders) == [(2, ONE, UP)]


def test_those_whose_advert_has_expired_hold_nothing() -> None:
    holders = Holders()
    holders.add(3, ONE, TOKEN, 100)
    holders.add(3, OTHER, TOKEN, 200)
    assert list(holders.unexpired(100)) == [(3, OTHER, TOKEN)]
    assert list(holders.renewed(300).unexpired(200)) == [(3, ONE, TOKEN), (3, OTHER, TOKEN)]
    assert not list(holders.unexpired(200))
    assert len(list(holders)) == 2, "as it was"
