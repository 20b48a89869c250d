import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.turn.credentials import MAX_USERNAME, TTL, issue, password_of, read_username_untrusted
from node.turn.stun import MalformedError


def test_they_are_those_of_coturn() -> None:
    # printf %s 1400000000:romeo@montague.example | openssl dgst -sha1 -hmac north -binary | base64
    credentials = issue(b"north", "romeo@montague.example", 1_400_000_000.9 - TTL)
    assert credentials.username == "1400000000:romeo@montague.example"
    assert credentials.password == "eui8YXkRuGoE8YFvLLUHca1uvNY="
    assert credentials.expires == 1_400_000_000


def test_a_username_tells_when_it_expires_and_whom_it_is_for() -> None:
    credentials = issue(b"north", "rômeo@montague.example", 1000.0, ttl=60)
    name = credentials.username.encode()
    assert read_username_untrusted(name) == (1060, "rômeo@montague.example")
    assert password_of(b"south", credentials.username) != credentials.password


def test_a_jid_that_is_too_long() -> None:
    longest = MAX_USERNAME - len("1060:")
    assert issue(b"north", "r" * longest, 1000.0, ttl=60).expires == 1060
    with pytest.raises(ValueError, match="too long"):
        issue(b"north", "r" * (longest + 1), 1000.0, ttl=60)


@pytest.mark.parametrize(
    "username",
    [b"", b"romeo", b"1060", b"1060:", b":romeo", b"-1:romeo", b"9" * 13 + b":romeo", b"1:\xff"],
)
def test_other_usernames(username: bytes) -> None:
    with pytest.raises(MalformedError):
        read_username_untrusted(username)


@given(st.binary(max_size=600))
def test_garbage(username: bytes) -> None:
    for name in (username, b"1060:" + username):
        try:
            _, jid = read_username_untrusted(name)
        except MalformedError:
            continue
        assert jid
