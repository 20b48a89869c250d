import pytest

from node.nat.mapping.epoch import Epoch


@pytest.mark.parametrize(
    ("epoch", "seconds", "kept"),
    [
        (1000, 0, True),
        (999, 0, True),  # packets overtake each other
        (998, 0, False),
        (1015, 15, True),
        (1017, 15, True),
        (1013, 15, True),
        (1012, 15, False),
        (1000, 15, False),  # it has started anew, and ran as long before
        (5, 15, False),
        (1300, 15, False),  # another router
        (4600, 3600, True),
        (4400, 3600, True),  # a slow clock
        (4200, 3600, False),
    ],
)
def test_whether_mappings_are_kept(epoch: int, seconds: float, kept: bool) -> None:
    clock = Epoch()
    assert clock.is_kept(1000, 50.0)
    assert clock.is_kept(epoch, 50.0 + seconds) is kept


def test_after_a_loss_the_new_clock_counts() -> None:
    clock = Epoch()
    assert clock.is_kept(1000, 0.0)
    assert not clock.is_kept(3, 15.0)
    assert clock.is_kept(18, 30.0)
