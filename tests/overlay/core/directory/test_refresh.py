from overlay.core.addresses import Address
from overlay.core.directory.advertising import RENEWALS
from overlay.core.directory.records import MAX_LIFETIME
from overlay.core.directory.tree import directory_key
from overlay.core.events import Advertised
from overlay.core.kademlia.contact import contact_at
from overlay.core.protocol.messages import TOKEN_LENGTH
from overlay.discovery import REFRESH
from tests.overlay.core.network import UNIX_TIME, Network, offer

ROOT = directory_key(0, bytes(20))
RELAY: Address = ("99.1.1.1", 4000)


def network() -> Network:
    network = Network(5)
    first = network.build(40, public=True)
    network.join(RELAY, first[0])
    network.run(10)
    return network


def advertise(network: Network) -> tuple[Advertised, int]:
    """Advertise, and count the requests that it took."""
    relay = network.peers[RELAY]
    before = relay.counters["sent"]
    relay.advertise(relay.sign_advert(offer("relay"), (RELAY,), network.now), network.now)
    network.flush(RELAY)
    network.run(20)
    (event,) = network.take(RELAY, Advertised)
    return event, relay.counters["sent"] - before


def held(network: Network) -> list[int]:
    """Sequence numbers under the root, of all living peers that hold the relay's advert there."""
    unix_time = network.now + UNIX_TIME
    entries = [network.peers[one].store.get(ROOT, unix_time) for one in network.living()]
    return [entry.advert.seq for found in entries for entry in found]


def test_those_who_hold_an_advert_get_the_next_one_straight() -> None:
    net = network()
    first, sent = advertise(net)
    assert first.stored >= 15
    for _ in range(RENEWALS):
        before = held(net)
        net.run(REFRESH - 20)
        again, renewed = advertise(net)
        assert again.stored >= first.stored - 1
        assert again.levels == first.levels
        assert renewed < 2 * sent / 3
        assert len(held(net)) >= len(before)
        assert min(held(net)) > max(before)


def test_if_half_of_them_are_gone_others_are_looked_for() -> None:
    net = network()
    _, first = advertise(net)
    unix_time = net.now + UNIX_TIME
    holders = [one for one in net.living() if net.peers[one].store.get(ROOT, unix_time)]
    net.kill(*holders[: 2 * len(holders) // 3])
    left = len(held(net))
    again, sent = advertise(net)
    assert again.stored >= 15
    assert sent > first
    assert len(held(net)) > left


def test_that_a_level_is_lost_which_hardly_took_it_does_not_matter() -> None:
    net = network()
    _, first = advertise(net)
    gone = contact_at(bytes(20), ("99.9.9.9", 4000))
    holders = net.peers[RELAY]._advertising._holders
    for level, holder, _ in list(holders):
        if level == 0:
            holders.drop(level, holder)
    holders.add(0, gone, bytes(TOKEN_LENGTH), int(net.now + UNIX_TIME + MAX_LIFETIME))
    again, sent = advertise(net)
    assert again.stored >= 15
    assert sent < 2 * first / 3


def test_after_some_renewals_the_place_is_looked_for_again() -> None:
    assert (RENEWALS + 1) * REFRESH <= MAX_LIFETIME  # so long is one good for that is handed on
    net = network()
    _, first = advertise(net)
    sent = [advertise(net)[1] for _ in range(RENEWALS + 1)]
    assert all(one < 2 * first / 3 for one in sent[:RENEWALS])
    assert sent[RENEWALS] > 1.5 * max(sent[:RENEWALS])


def test_a_withdrawal_reaches_all_who_were_told_since() -> None:
    net = network()
    advertise(net)
    advertise(net)
    relay = net.peers[RELAY]
    relay.advertise(relay.sign_advert(offer("relay"), (), net.now), net.now)
    net.flush(RELAY)
    net.run(10)
    assert held(net) == []
