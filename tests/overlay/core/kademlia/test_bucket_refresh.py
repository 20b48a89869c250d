"""The refresh of a bucket, and the routing table after it."""

from overlay.core.addresses import Address
from overlay.core.ids import ID_BITS
from overlay.core.kademlia.bucket import Bucket
from overlay.core.kademlia.bucket_refresh import BucketRefresh
from overlay.core.kademlia.contact import Contact, K
from overlay.core.kademlia.joining import REFRESH
from overlay.core.protocol.messages import FindNode, Nodes, Ping, Reply, Request
from overlay.core.protocol.wire import pack_reply, parse_message_untrusted
from tests.overlay.core.network import Network
from tests.overlay.core.rig import HERE, Rig


def largest_bucket(rig: Rig) -> Bucket:
    return max(rig.peer._rpc.table.buckets, key=lambda bucket: len(bucket.contacts))


def sent(rig: Rig) -> list[tuple[Request, Address]]:
    taken = []
    for data, to in rig.peer.datagrams_to_send():
        message = parse_message_untrusted(data)
        assert isinstance(message, Request)
        taken.append((message, to))
    return taken


def answer(rig: Rig, contact: Contact, request: Request, named: list[Contact]) -> None:
    body = Nodes(tuple(named), 0)
    packed = pack_reply(Reply(request.transaction_id, contact.id, HERE, None, None, body), 1200)
    assert packed is not None
    rig.peer.receive(packed, contact.address, rig.now)


def same_bucket(rig: Rig, member: Contact) -> list[Contact]:
    """Return contacts that the peer does not know, of the bucket of one that it knows."""

    def index(contact: Contact) -> int:
        return ID_BITS - (rig.peer._rpc.table.own ^ contact.long_id).bit_length()

    strangers = (rig.contact(number) for number in range(20, 200))
    return [one for one in strangers if index(one) == index(member)]


def test_it_asks_those_who_were_not_seen_for_long_and_meets_some_whom_they_name() -> None:
    rig = Rig()
    bucket = largest_bucket(rig)
    oldest = bucket.contacts[:3]
    assert len(bucket.contacts) > 3
    strangers = same_bucket(rig, oldest[0])[:K]
    target = strangers[0].id
    BucketRefresh(rig.peer._rpc, target, bucket.contacts).start(rig.now)
    asked = sent(rig)
    assert [to for _, to in asked] == [contact.address for contact in oldest]
    assert all(request.body == FindNode(target) for request, _ in asked)
    request, _ = asked[0]
    answer(rig, oldest[0], request, strangers)
    met = sent(rig)
    assert [to for _, to in met] == [contact.address for contact in strangers[:2]]
    assert all(isinstance(request.body, Ping) and request.prove for request, _ in met)


def test_in_a_full_bucket_nobody_is_met() -> None:
    rig = Rig(contacts=80)
    bucket = largest_bucket(rig)
    assert bucket.is_full
    oldest = bucket.contacts[0]
    strangers = [one for one in same_bucket(rig, oldest) if one not in rig.contacts][:8]
    BucketRefresh(rig.peer._rpc, oldest.id, bucket.contacts).start(rig.now)
    request, _ = sent(rig)[0]
    answer(rig, oldest, request, strangers)
    assert sent(rig) == []


def test_the_dead_leave_the_buckets_of_peers_that_nobody_uses() -> None:
    network = Network(15)
    addresses = network.build(120)
    network.run(60)
    network.kill(*(address for address in addresses[20:60]))
    living = set(network.living())

    def dead() -> int:
        tables = (network.peers[address]._rpc.table for address in living)
        return sum(one.address not in living for table in tables for one in table.contacts())

    before = dead()
    network.run(2.5 * REFRESH)
    assert before >= 12 * len(living)
    assert dead() <= before / 5
