import dataclasses

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlay.core.choice.coordinates import Coordinate
from overlay.core.directory.records import (
    MAX_ADVERT,
    Advert,
    Offer,
    is_signed,
    parse_advert_untrusted,
    remaining_lifetime,
    sign_advert,
)
from overlay.core.errors import LocalProtocolError, RemoteProtocolError
from overlay.core.identity import Identity

IDENTITY = Identity(bytes(32))
OFFER = Offer("relay@example.org", ("channel", "stun"), "public", 512, 32, 0.4)
NOW = 1_800_000_000.0


def signed(offer: Offer = OFFER, expires: float = NOW + 3600, seq: int = 1) -> Advert:
    return sign_advert(
        IDENTITY, offer, seq=seq, expires=int(expires), endpoints=(("192.0.2.1", 4000),)
    )


def test_an_advert_survives_the_wire() -> None:
    advert = sign_advert(
        IDENTITY,
        OFFER,
        seq=2**63 - 1,
        expires=int(NOW),
        endpoints=(("192.0.2.1", 4000), ("2001:db8::1", 4001)),
        coordinate=Coordinate((0.125,) * 8, 0.5, 1.5),
    )
    parsed = parse_advert_untrusted(advert.encoded)
    assert parsed == advert
    assert is_signed(parsed, IDENTITY.verify)
    assert parsed.offer == dataclasses.replace(OFFER, free=6 / 15)


def test_the_longest_advert_fits() -> None:
    offer = Offer("a" * 160, ("channel",), "roster", 10_000_000, 1_000_000, 1.0)
    assert len(signed(offer).encoded) <= MAX_ADVERT


@pytest.mark.parametrize(
    "offer",
    [
        dataclasses.replace(OFFER, jid=""),
        dataclasses.replace(OFFER, jid="a" * 161),
        dataclasses.replace(OFFER, jid="two words"),
        dataclasses.replace(OFFER, jid="new\nline"),
        dataclasses.replace(OFFER, services=("s",) * 9),
        dataclasses.replace(OFFER, maxkbps=0),
        dataclasses.replace(OFFER, capacity=-1),
        dataclasses.replace(OFFER, free=1.5),
        dataclasses.replace(OFFER, jid="j" * 160, services=("s" * 16,) * 8),
    ],
)
def test_what_nobody_would_accept_is_not_signed(offer: Offer) -> None:
    with pytest.raises(LocalProtocolError):
        signed(offer)


@given(st.integers(0, 255), st.data())
def test_a_changed_advert_is_refused(change: int, data: st.DataObject) -> None:
    encoded = bytearray(signed().encoded)
    at = data.draw(st.integers(0, len(encoded) - 1))
    if encoded[at] == change:
        return
    encoded[at] = change
    try:
        parsed = parse_advert_untrusted(bytes(encoded))
    except RemoteProtocolError:
        return
    assert not is_signed(parsed, IDENTITY.verify)


@given(st.binary(max_size=500))
def test_garbage_is_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_advert_untrusted(data)


@given(st.lists(st.none() | st.integers() | st.binary(max_size=40) | st.text(max_size=9)))
def test_other_shapes_are_refused(fields: list[object]) -> None:
    try:
        body = msgpack.packb(fields)
    except OverflowError:
        return
    with pytest.raises(RemoteProtocolError):
        parse_advert_untrusted(bytes(64) + body)


@given(st.data())
def test_truncations_are_refused(data: st.DataObject) -> None:
    encoded = signed().encoded
    with pytest.raises(RemoteProtocolError):
        parse_advert_untrusted(encoded[: data.draw(st.integers(0, len(encoded) - 1))])


@pytest.mark.parametrize("skew", [-600, 0, 600])
def test_ten_minutes_of_clock_skew_are_harmless(skew: int) -> None:
    fresh = signed(expires=NOW + skew + 3600)
    assert remaining_lifetime(fresh, NOW) == 3600
    almost_over = signed(expires=NOW + skew + 5)
    assert remaining_lifetime(almost_over, NOW) > 0


def test_expired_and_far_future_adverts() -> None:
    assert remaining_lifetime(signed(expires=NOW - 601), NOW) <= 0
    assert remaining_lifetime(signed(expires=NOW + 2 * 3600), NOW) <= 0
