"""Files of round-trip times: both known forms, and what can be wrong with them."""

from pathlib import Path

import pytest

from simulations.errors import SimulationError
from simulations.rtt_matrix import SAME_SITE, Unit, read_rtt_matrix


def write(folder: Path, text: str) -> Path:
    path = folder / "rtt.tsv"
    path.write_text(text)
    return path


def test_milliseconds_become_seconds(tmp_path: Path) -> None:
    matrix = read_rtt_matrix(write(tmp_path, "0\t80\n120\t0\n"), "ms")
    assert [list(row) for row in matrix] == [[SAME_SITE, 0.08], [pytest.approx(0.12), SAME_SITE]]


def test_seconds_stay_seconds(tmp_path: Path) -> None:
    matrix = read_rtt_matrix(write(tmp_path, "0.1\t0.17\n0.12\t0"), "s")
    assert [list(row) for row in matrix] == [[SAME_SITE, 0.17], [0.12, SAME_SITE]]


@pytest.mark.parametrize("hole", ["0", "", "-", "nan", "NA"])
def test_a_hole_takes_the_other_direction(tmp_path: Path, hole: str) -> None:
    matrix = read_rtt_matrix(write(tmp_path, f"0\t{hole}\n0.12\t0\n"), "s")
    assert matrix[0][1] == 0.12


def test_a_hole_in_both_directions_takes_the_shortest_way_round(tmp_path: Path) -> None:
    rows = ("0\t0\t.1\t.3", "0\t0\t.2\t.1", ".1\t.2\t0\t.1", ".3\t.1\t.1\t0")
    matrix = read_rtt_matrix(write(tmp_path, "\n".join(rows)), "s")
    assert matrix[0][1] == matrix[1][0] == pytest.approx(0.3)


def test_what_editors_put_around_a_matrix_is_no_part_of_it(tmp_path: Path) -> None:
    path = write(tmp_path, "")
    path.write_bytes(b"\xef\xbb\xbf0\t9\t7\r\n9\t0\t7\r\n7\t8\t0\r\n\r\n")
    assert read_rtt_matrix(path, "ms")[0][1] == pytest.approx(0.009)


def test_a_table_of_countries_has_a_line_for_each_pair(tmp_path: Path) -> None:
    text = "FR\tDE\t14\nDE\tDE\t10\nDE\tIS\t60\nIS\tDE\t62\nFR\tFR\t0\n"
    matrix = read_rtt_matrix(write(tmp_path, text), "ms")
    germany, france, iceland = ([round(1000 * rtt) for rtt in row] for row in matrix)
    assert germany == [10, 14, 60]
    assert france == [14, 1, 74]  # by way of Germany
    assert iceland == [62, 76, 1]


def test_names_may_look_like_holes_and_numbers(tmp_path: Path) -> None:
    matrix = read_rtt_matrix(write(tmp_path, "NA\tDE\t150\nInf\tDE\t20\n"), "ms")
    assert [round(1000 * rtt) for rtt in matrix[0]] == [1, 20, 150]  # DE


@pytest.mark.parametrize(
    ("text", "unit", "complaint"),
    [
        ("from\tto\tms\nDE\tFR\t9\n", "ms", "line 1: 'ms' is not a number; if it is a header"),
        (
            "0\t135.2\n135.2\t0\n",
            "s",
            ", field 2: no round trip takes 135.2 s; is the unit ms?",
        ),
        ("0\t0.21\n0.2\t0\n", "ms", "a median of 0.205 ms is no network's; is the unit s?"),
        ("DE\tFR\t21\nFR\tDE\t20\n", "s", "a median of 20.5 s is no network's; is the unit ms?"),
        ("0\t1\t2\n1\t0\n", "ms", ", line 1: 3 fields in a file of 2 lines"),
        ("0\t1\n1\n", "ms", ", line 2: 1 fields in a file of 2 lines"),
        ("0\t10\n-7\t0\n", "ms", ", line 2, field 1: -7 is negative"),
        ("0\t10\nfast\t0\n", "ms", ", line 2, field 1: 'fast' is not a number"),
        ("0\t1_0\n10\t0\n", "ms", ", line 1, field 2: '1_0' is not a number"),
        ("0\tinf\n1\t0\n", "ms", ", line 1, field 2: inf is no time"),
        ("0\t9\t0\n9\t0\t0\n0\t0\t0\n", "ms", ", line 1: no way from site 1 to site 3"),
        ("0\t1\t99\n0\t2\t90\n1\t2\t80\n", "ms", ", line 3: site 3 is further from itself"),
        ("0\t1\t99\n0\t2\t90\n", "ms", "of pairs, the names are no numbers"),
        ("0\t0\n0\t0\n", "ms", "no pair of two sites was measured"),
        ("DE\tFR\t9\nDE\tFR\t8\n", "ms", ", line 2: DE to FR is there already"),
        ("DE\tFR\t9\nIS\tIS\t8\n", "ms", "rtt.tsv: no way from site DE to site IS"),
        ("DE\tFR\t9\nDE\tFR\n", "ms", ", line 2: not two names and a number"),
        ("DE\tFR\t9\n\tFR\t8\n", "ms", ", line 2: not two names and a number"),
        ("from\tto\trtt\nDE\tFR\t9\n", "ms", ", line 1: 'rtt' is not a number"),
        ("DE\tDE\t9\nDE\tDE\t8\n", "ms", "is there already"),
        ("", "ms", "0 lines"),
    ],
)
def test_bad_files_are_named_in_one_line(
    tmp_path: Path, text: str, unit: Unit, complaint: str
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(SimulationError) as caught:
        read_rtt_matrix(path, unit)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert complaint in message
    assert "\n" not in message


def test_a_file_that_is_not_there_or_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(SimulationError, match=r"missing\.tsv: cannot be read: No such file"):
        read_rtt_matrix(tmp_path / "missing.tsv", "ms")
    path = tmp_path / "picture"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SimulationError, match="picture: cannot be read: it is no text"):
        read_rtt_matrix(path, "ms")
