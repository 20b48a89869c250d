"""Lines of a TOML file."""

import pytest

from node.settings.lines import line_of

TEXT = '''# a file
top = 1
long = [
  1,
]
text = """
top = 2
[network]
"""
[network]  # of all
loss = 0.1
access.up = 5

"q\\u0075ick" = 1
[[life.failures]]
at = 1

[[life.failures]]
# here
at = 2
inline = { a = 1, b = 2 }'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("top",), 2),
        (("long",), 3),
        (("text",), 6),
        (("network",), 10),
        (("network", "loss"), 11),
        (("network", "access", "up"), 12),
        (("network", "quick"), 14),
        (("life", "failures", 0), 15),
        (("life", "failures", 1), 18),
        (("life", "failures", 1, "at"), 20),
        (("life", "failures", 1, "inline", "b"), 21),
        (("life", "failures", 2), 1),
        (("nothing",), 1),
        (("top", "below"), 1),
    ],
)
def test_where_something_is_set(path: tuple[str | int, ...], line: int) -> None:
    assert line_of(path, TEXT) == line
