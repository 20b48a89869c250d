import random

import pytest

from overlay.core.addresses import (
    Address,
    decode_endpoint_untrusted,
    encode_endpoint,
    is_private,
    network_of,
    normalise,
)
from overlay.core.errors import LocalProtocolError, RemoteProtocolError
from overlay.core.identity import Identity, derive_id, id_fits
from overlay.core.ids import (
    bind_id,
    bound_prefix,
    crc32c,
    distance,
    id_fits_host,
)


def test_crc32c_of_rfc_3720() -> None:
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"123456789") == 0xE3069283


@pytest.mark.parametrize(
    ("host", "rand", "node_id"),
    [
        ("124.31.75.21", 1, "5fbfbff10c5d6a4ec8a88e4c6ab4c28b95eee401"),
        ("21.75.31.124", 86, "5a3ce9c14e7a08645677bbd1cfe7d8f956d53256"),
        ("65.23.51.170", 22, "a5d43220bc8f112a3d426c84764f8c2a1150e616"),
        ("84.124.73.14", 65, "1b0321dd1bb1fe518101ceef99462b947a01ff41"),
        ("43.213.53.83", 90, "e56f6cbf5b7c4be0237986d5243b87aa6d51305a"),
    ],
)
def test_vectors_of_bep_42(host: str, rand: int, node_id: str) -> None:
    packed = bytes.fromhex(node_id)
    assert packed[-1] == rand
    assert id_fits_host(packed, host)
    assert bind_id(packed, host)[3:] == packed[3:]
    assert not id_fits_host(bytes([packed[0] ^ 0x80]) + packed[1:], host)
    assert not id_fits_host(packed, "8.8.8.8")


def test_one_address_has_eight_prefixes() -> None:
    assert len({bound_prefix("2001:4860:4860::8888", choice) for choice in range(256)}) == 8


def test_private_addresses_bind_nothing() -> None:
    for host in ("127.0.0.1", "192.168.3.4", "10.0.0.1", "::1", "fe80::1", "fd00::1"):
        assert is_private(host)
        assert id_fits_host(bytes(20), host)
    assert not is_private("8.8.8.8")


def test_distance() -> None:
    assert distance(bytes(20), bytes(19) + b"\x05") == 5


@pytest.mark.parametrize(
    ("host", "normal"),
    [
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("203.0.113.9", "203.0.113.9"),
    ],
)
def test_normalise(host: str, normal: str) -> None:
    assert normalise(host, 7) == (normal, 7)


@pytest.mark.parametrize("address", [("8.8.4.4", 53), ("2001:4860::1", 65_535)])
def test_endpoints_survive_the_wire(address: Address) -> None:
    assert decode_endpoint_untrusted(encode_endpoint(address)) == address


@pytest.mark.parametrize(
    "data",
    [b"", b"\x08\x08\x08\x08\x00\x00", bytes(5) + b"\1", b"\xe0\0\0\1\0\1", bytes(17) + b"\1"],
)
def test_impossible_endpoints(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_endpoint_untrusted(data)


def test_networks() -> None:
    assert network_of(("8.8.8.8", 1)) == network_of(("8.8.8.9", 2))
    assert network_of(("8.8.8.8", 1)) != network_of(("8.8.9.8", 1))
    assert network_of(("2001:4860:1::1", 1)) == network_of(("2001:4860:1:2::9", 1))
    assert network_of(("127.0.0.1", 1)) != network_of(("127.0.0.1", 2))


def test_an_id_follows_from_key_and_address() -> None:
    key = Identity(random.Random(1).randbytes(32)).public_key
    bound = derive_id(key, "8.8.8.8")
    assert id_fits(bound, key, "8.8.8.8")
    assert not id_fits(bound, key, "9.9.9.9")
    assert not id_fits(bound, bytes(32), "8.8.8.8")
    assert id_fits(bound, key, "127.0.0.1")
    assert derive_id(key, "127.0.0.1") == derive_id(key, None)
    assert not id_fits(derive_id(bytes(32), None), key, "127.0.0.1")


def test_signatures() -> None:
    identity = Identity(bytes(32))
    signature = identity.sign(b"message")
    assert identity.verify(identity.public_key, signature, b"message")
    assert not identity.verify(identity.public_key, signature, b"massage")
    assert not identity.verify(identity.public_key, signature[:-1], b"message")
    assert not identity.verify(b"short", signature, b"message")
    with pytest.raises(LocalProtocolError):
        Identity(bytes(31))
