import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlay.core.choice.tables import (
    MAX_ENTRIES,
    NAME_LENGTH,
    RttTable,
    pack_table,
    parse_table_untrusted,
    relay_name,
)
from overlay.core.errors import RemoteProtocolError
from overlay.core.protocol.unpack import MAX_DATAGRAM
from tests.overlay.core.relays import at

names = st.binary(min_size=NAME_LENGTH, max_size=NAME_LENGTH)
tables = st.builds(
    RttTable,
    st.none() | st.just(at(0.125)),
    st.dictionaries(names, st.floats(1e-4, 6.5), max_size=MAX_ENTRIES),
)


def parse_or_refuse(data: bytes) -> None:
    try:
        table = parse_table_untrusted(data)
    except RemoteProtocolError:
        return
    assert len(table.rtts) <= MAX_ENTRIES
    assert all(0 < rtt < 7 for rtt in table.rtts.values())


@given(tables)
def test_a_table_survives_the_way(table: RttTable) -> None:
    packed = pack_table(table)
    assert len(packed) <= MAX_DATAGRAM
    parsed = parse_table_untrusted(packed)
    assert parsed.coordinate is None or parsed.coordinate.vector == at(0.125).vector
    assert parsed.rtts == {name: pytest.approx(rtt, abs=6e-5) for name, rtt in table.rtts.items()}


def test_the_first_entries_of_a_table_that_is_too_long_are_kept() -> None:
    rtts = {relay_name(bytes([number])): 0.001 * number + 0.001 for number in range(200)}
    parsed = parse_table_untrusted(pack_table(RttTable(None, rtts)))
    assert list(parsed.rtts) == list(rtts)[:MAX_ENTRIES]


@pytest.mark.parametrize("rtt", [0.0, 1e-9, 100.0])
def test_round_trips_out_of_range_are_moved_into_it(rtt: float) -> None:
    name = relay_name(b"key")
    parsed = parse_table_untrusted(pack_table(RttTable(None, {name: rtt})))
    assert 0 < parsed.rtts[name] < 7


@given(st.binary(max_size=1300))
def test_garbage_is_refused(data: bytes) -> None:
    parse_or_refuse(data)


@given(st.lists(st.none() | st.floats() | st.integers(0, 9) | st.binary(max_size=40), max_size=5))
def test_other_shapes_are_refused(fields: list[object]) -> None:
    parse_or_refuse(msgpack.packb(fields))
    parse_or_refuse(msgpack.packb([1, b"", *fields]))


@given(tables, st.data())
def test_mutations_and_truncations(table: RttTable, data: st.DataObject) -> None:
    packed = bytearray(pack_table(table))
    cut = bytes(packed[: data.draw(st.integers(0, len(packed) - 1))])
    with pytest.raises(RemoteProtocolError):
        parse_table_untrusted(cut)
    packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    parse_or_refuse(bytes(packed))


@pytest.mark.parametrize("entries", [bytes(8 * (MAX_ENTRIES + 1)), bytes(7), 5, None])
def test_impossible_entries_are_refused(entries: object) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_table_untrusted(msgpack.packb([1, b"", entries]))
