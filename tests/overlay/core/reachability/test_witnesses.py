import pytest

from overlay.core.reachability.witnesses import Witnesses

PORT = 4000


@pytest.mark.parametrize(
    ("own", "witness", "seen", "believed"),
    [
        # A lab: one bootstrap peer, nothing in between.
        ("10.1.0.5", "10.2.0.1", "10.1.0.5", True),
        ("10.1.0.5", "10.66.66.1", "10.66.66.7", True),
        ("127.0.0.1", "127.0.0.1", "127.0.0.1", True),
        (None, "127.0.0.1", "127.0.9.9", True),
        ("fd00::5", "fd00:0:0:9::1", "fd00::5", True),
        # A lie about an address in somebody's network.
        ("10.1.0.5", "10.2.0.1", "10.66.66.66", False),
        ("10.1.0.5", "127.0.0.1", "10.66.66.66", False),
        ("10.1.0.5", "8.8.8.8", "10.66.66.66", False),
        # Behind a NAT, one witness has to do.
        ("10.1.0.5", "8.8.8.8", "5.5.5.5", True),
        (None, "8.8.8.8", "5.5.5.5", True),
        # A machine with a public address knows better.
        ("9.9.9.9", "8.8.8.8", "9.9.9.9", True),
        ("9.9.9.9", "8.8.8.8", "5.5.5.5", False),
        ("9.9.9.9", "2a00::1", "2a00:1::1", True),
    ],
)
def test_what_a_single_witness_is_believed(
    own: str | None, witness: str, seen: str, believed: bool
) -> None:
    witnesses = Witnesses(own)
    assert witnesses.report((witness, PORT), (seen, PORT)) is believed
    assert witnesses.endpoint == ((seen, PORT) if believed else None)


def test_who_opened_the_door_is_believed_more_than_old_witnesses() -> None:
    witnesses = Witnesses("192.168.1.7")
    old, new = ("5.5.5.5", PORT), ("6.6.6.6", PORT)
    for witness in ("8.8.8.8", "7.7.7.7", "9.9.9.9"):
        witnesses.report((witness, PORT), old)
    witnesses.learn(new)
    assert witnesses.endpoint == new
    assert not witnesses.report(("8.8.8.8", PORT), old)
    assert witnesses.endpoint == new
    assert witnesses.report(("7.7.7.7", PORT), old)  # but not more than two of now
    assert witnesses.endpoint == old


def test_two_witnesses_in_different_networks_overrule_the_machine() -> None:
    witnesses = Witnesses("9.9.9.9")
    seen = ("5.5.5.5", PORT)
    assert not witnesses.report(("8.8.8.8", PORT), seen)
    assert not witnesses.report(("8.8.8.9", PORT), seen)
    assert witnesses.report(("7.7.7.7", PORT), seen)
    assert witnesses.endpoint == seen
