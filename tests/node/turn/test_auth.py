"""Long-term credentials: whose request it is, and the errors for those that are nobody's."""

import base64

import pytest

from node.turn.auth import NONCE_LIFETIME, PASSWORD_ALGORITHMS, SHA256
from node.turn.credentials import TTL
from node.turn.server import STRANGERS_BURST
from node.turn.stun import Attr, Class, Method, encode
from tests.node.turn.pure import HOST, JULIET, UDP, World, error_of


def test_a_first_request_gets_what_it_takes_to_sign_the_next() -> None:
    client = World().client()
    answer = client.send(encode(Method.ALLOCATE, Class.REQUEST, bytes(12), [UDP]))
    assert answer is not None
    assert error_of(answer) == 401
    assert answer.get(Attr.REALM) == b"jingle-nodes"
    nonce = answer.get(Attr.NONCE)
    assert nonce is not None
    assert nonce.startswith(b"obMatJos2")
    # RFC 8489 section 18.1: bit 0, the leftmost one, stands for password algorithms.
    assert base64.b64decode(nonce[9:13]) == b"\x80\0\0"
    assert answer.get(Attr.PASSWORD_ALGORITHMS) == PASSWORD_ALGORITHMS
    assert answer.get(Attr.MESSAGE_INTEGRITY) is None


def test_signed_with_md5_and_sha1_as_every_client_can() -> None:
    client = World().client()
    assert error_of(client.allocate()) is None


def test_signed_with_sha256_alone() -> None:
    client = World().client()
    client.integrity = Attr.MESSAGE_INTEGRITY_SHA256
    client.algorithms = [
        (Attr.PASSWORD_ALGORITHMS, PASSWORD_ALGORITHMS),
        (Attr.PASSWORD_ALGORITHM, SHA256),
    ]
    answer = client.allocate()
    assert error_of(answer) is None
    assert answer.get(Attr.MESSAGE_INTEGRITY) is None
    assert error_of(client.ask(Method.REFRESH)) is None


@pytest.mark.parametrize(
    "algorithms",
    [
        [(Attr.PASSWORD_ALGORITHMS, PASSWORD_ALGORITHMS)],
        [(Attr.PASSWORD_ALGORITHM, SHA256)],
        # Somebody on the way has taken the better one out of the list.
        [(Attr.PASSWORD_ALGORITHMS, b"\0\1\0\0"), (Attr.PASSWORD_ALGORITHM, b"\0\1\0\0")],
        [(Attr.PASSWORD_ALGORITHMS, PASSWORD_ALGORITHMS), (Attr.PASSWORD_ALGORITHM, b"\0\3\0\0")],
        [(Attr.PASSWORD_ALGORITHMS, PASSWORD_ALGORITHMS), (Attr.PASSWORD_ALGORITHM, b"")],
    ],
)
def test_algorithms_that_do_not_fit_together(algorithms: list[tuple[int, bytes]]) -> None:
    client = World().client()
    client.learn_nonce()
    client.algorithms = algorithms
    answer = client.send(client.write(Method.ALLOCATE, [UDP]))
    assert answer is not None
    assert error_of(answer) == 400


@pytest.mark.parametrize("missing", [Attr.USERNAME, Attr.REALM, Attr.NONCE])
def test_an_integrity_without_what_it_is_made_of(missing: Attr) -> None:
    client = World().client()
    client.learn_nonce()
    attributes = [
        (Attr.USERNAME, client.username.encode()),
        (Attr.REALM, client.realm.encode()),
        (Attr.NONCE, client.nonce),
    ]
    left = [UDP, *(item for item in attributes if item[0] != missing)]
    answer = client.send(encode(Method.ALLOCATE, Class.REQUEST, bytes(12), left, client.key()))
    assert answer is not None
    assert error_of(answer) == 400
    for absent in (Attr.NONCE, Attr.REALM, Attr.MESSAGE_INTEGRITY):
        assert answer.get(absent) is None


def test_anonymous_usernames_are_not_known_here() -> None:
    client = World().client()
    client.learn_nonce()
    attributes = [
        UDP,
        (Attr.USERHASH, bytes(32)),
        (Attr.REALM, client.realm.encode()),
        (Attr.NONCE, client.nonce),
    ]
    answer = client.send(
        encode(Method.ALLOCATE, Class.REQUEST, bytes(12), attributes, client.key())
    )
    assert answer is not None
    assert error_of(answer) == 401


@pytest.mark.parametrize(
    ("username", "password", "realm"),
    [
        (None, "forged", None),
        ("9999999999:romeo@montague.example", None, None),  # forged to live longer
        ("juliet@capulet.example", None, None),
        ("", None, None),
        (None, None, "example.org"),
    ],
)
def test_forged_credentials(username: str | None, password: str | None, realm: str | None) -> None:
    world = World()
    client = world.client()
    client.username = client.username if username is None else username
    client.password = password or client.password
    client.realm = realm or client.realm
    answer = client.allocate()
    assert error_of(answer) == 401
    assert answer.get(Attr.NONCE)
    assert world.asked == []
    assert world.server.idle


def test_a_username_with_the_password_of_another_one() -> None:
    world = World()
    romeo, juliet = world.client(), world.client(JULIET)
    juliet.password = romeo.password
    assert error_of(juliet.allocate()) == 401


def test_expired_credentials_allocate_nothing() -> None:
    world = World()
    client = world.client()
    assert error_of(client.allocate()) is None
    world.now += TTL
    late = world.client(port=5001)
    late.username, late.password = client.username, client.password
    answer = late.allocate()
    assert error_of(answer) == 401
    assert answer.get(Attr.NONCE)


def test_what_they_have_allocated_goes_on() -> None:
    """A call does not end with them; coturn has it so, too."""
    world = World()
    client = world.client()
    client.allocate()
    for _ in range(TTL // 3000 + 1):
        world.now += 3000
        client.learn_nonce()
        assert (
            error_of(client.ask(Method.REFRESH, (Attr.LIFETIME, (3600).to_bytes(4, "big")))) is None
        )


def test_a_stale_nonce_is_replaced() -> None:
    world = World()
    client = world.client()
    client.learn_nonce()
    world.now += NONCE_LIFETIME
    answer = client.ask(Method.ALLOCATE, UDP)
    assert error_of(answer) == 438
    assert answer.get(Attr.REALM)
    assert answer.get(Attr.PASSWORD_ALGORITHMS) == PASSWORD_ALGORITHMS
    client.nonce = answer.get(Attr.NONCE) or b""
    assert error_of(client.allocate()) is None


@pytest.mark.parametrize(
    "nonce", [b"x", b"obMatJos2gAAA", b"obMatJos2gAAA!", b"obMatJos2AAAA" + b"A" * 24]
)
def test_nonces_that_are_not_ours(nonce: bytes) -> None:
    client = World().client()
    client.nonce = nonce
    assert error_of(client.allocate()) == 438


def test_a_nonce_is_for_one_address() -> None:
    world = World()
    client, other = world.client(), world.client(port=5001)
    client.learn_nonce()
    other.nonce = client.nonce
    assert error_of(other.allocate()) == 438


def test_a_request_that_is_replayed_from_elsewhere() -> None:
    world = World()
    client, other = world.client(), world.client(port=5001)
    client.allocate()
    answer = other.send(client.request)
    assert answer is not None
    assert error_of(answer) == 438


def test_strangers_get_few_answers() -> None:
    world = World()
    client = world.client()
    request = encode(Method.ALLOCATE, Class.REQUEST, bytes(12), [UDP])
    answers = [client.send(request) for _ in range(2 * int(STRANGERS_BURST))]
    assert answers[-1] is None
    assert sum(answer is not None for answer in answers) == STRANGERS_BURST
    assert world.server.unanswered == STRANGERS_BURST
    # Another port of the same host is no other stranger; who has credentials is none at all.
    assert world.client(port=6000).send(request) is None
    elsewhere = world.client(host="198.51.100.2")
    assert elsewhere.send(request) is not None
    # Whoever has one IPv6 address has many.
    many = [world.client(host=f"2a00:1450::{n:x}") for n in range(1, 2 * int(STRANGERS_BURST))]
    assert sum(one.send(request) is not None for one in many) == STRANGERS_BURST
    world.now += 1
    assert error_of(client.allocate()) is None
    for _ in range(2 * int(STRANGERS_BURST)):
        assert error_of(client.ask(Method.REFRESH)) is None
    assert client.five_tuple[0][0] == HOST
