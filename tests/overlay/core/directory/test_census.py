"""How many relays there are, by what peers and searches tell."""

import pytest

from overlay.core.directory.census import RelayCensus
from overlay.core.directory.tree import SAMPLE_SIZE, first_level

PEERS = 10_000.0


def test_as_long_as_nobody_has_told_all_peers_are_relays() -> None:
    assert RelayCensus().relays(PEERS) == PEERS


def test_what_a_search_has_counted_is_believed_before_what_peers_hold() -> None:
    census = RelayCensus()
    for part in range(16):
        census.note_held(bytes([16 * part]), 4)
    guess = census.relays(PEERS)
    census.note_keys(7, [14, 16, 18])
    assert census.relays(PEERS) == pytest.approx(16 * 128)
    assert guess < 500


def test_a_third_of_liars_changes_little() -> None:
    census = RelayCensus()
    census.note_keys(7, [0, 0, 14, 16, 16, 18, 65_535, 65_535])
    assert 1500 < census.relays(PEERS) < 2500


def test_nobody_makes_relays_more_than_peers() -> None:
    census = RelayCensus()
    census.note_keys(20, [65_535] * 5)
    assert census.relays(PEERS) == PEERS


def test_whoever_has_found_full_samples_begins_deeper_the_next_time() -> None:
    census = RelayCensus()
    for level in (3, 4):
        census.note_keys(level, [SAMPLE_SIZE] * 10)
        deeper, _ = first_level(census.relays(PEERS), PEERS)
        assert deeper > level
