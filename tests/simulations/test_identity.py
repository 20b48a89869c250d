from overlay.core.identity import PUBLIC_KEY_LENGTH, SIGNATURE_LENGTH
from simulations.identity import SimulatedIdentity


def test_only_the_key_that_signed_is_believed() -> None:
    one, other = SimulatedIdentity(bytes(32)), SimulatedIdentity(b"\1" * 32)
    signature = one.sign(b"message")
    assert (len(one.public_key), len(signature)) == (PUBLIC_KEY_LENGTH, SIGNATURE_LENGTH)
    assert one.public_key != other.public_key
    assert other.verify(one.public_key, signature, b"message")
    assert not one.verify(one.public_key, signature, b"massage")
    assert not one.verify(other.public_key, signature, b"message")
    assert not one.verify(one.public_key, signature[:-1], b"message")
    assert not one.verify(one.public_key, other.sign(b"message"), b"message")
