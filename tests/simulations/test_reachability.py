import pytest

from simulations.reachability import LIARS, main, measure


@pytest.mark.parametrize("liars", [0.0, LIARS])
def test_verdicts_are_right_and_do_not_flap(liars: float) -> None:
    figures = measure(100, 0.3, liars, seed=3)
    assert figures.right > 0.99
    assert figures.flaps == 0
    assert figures.undecided == 0
    assert max(figures.closed) < 900
    assert max(figures.opened) < 1200
    assert figures.rate < 1000


def test_figures_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--peers", "40", "--hours", "0.1", "--seeds", "1"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("seed 1, ") == 2
    assert printed.count("flaps  ") == 2
