import json
import stat
from pathlib import Path

import pytest

from overlay import OverlayError, state


def test_a_key_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "state" / "key"
    made = state.load_identity(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert state.load_identity(path).public_key == made.public_key
    assert [file.name for file in path.parent.iterdir()] == ["key"]


def test_a_key_that_is_not_kept_is_new_each_time() -> None:
    assert state.load_identity(None).public_key != state.load_identity(None).public_key


@pytest.mark.parametrize("content", [b"", b"abc", b"\xff\xfe", b"00" * 31, b"zz" * 32])
def test_a_damaged_key_is_said_and_kept(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    with pytest.raises(OverlayError, match="is damaged") as caught:
        state.load_identity(path)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == content


def test_a_key_that_cannot_be_read_or_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(OverlayError, match="cannot read the key file"):
        state.load_identity(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(OverlayError, match="the key file"):
        state.load_identity(tmp_path / "file" / "key")


def test_the_cache_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "peers.json"
    peers = [("192.0.2.1", 4000), ("2001:db8::1", 4001)]
    state.write_cache(path, peers)
    assert state.read_cache(path) == peers
    state.write_cache(path, [])
    assert state.read_cache(path) == peers
    state.write_cache(path, [("192.0.2.1", port) for port in range(1, 100)])
    assert len(state.read_cache(path)) == state.MAX_CACHED


@pytest.mark.parametrize(
    "content",
    [
        b"", b"[", b"{}", b"7", b"\xff", b'["a"]', b'[["1.2.3.4"]]', b'[["1.2.3.4", 0]]',
        b'[["name", 4]]', b'[["1.2.3.4", "4"]]', json.dumps([["192.0.2.1", 4]])[:-3].encode(),
    ],
)  # fmt: skip
def test_a_damaged_cache_is_ignored_with_one_line(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "peers.json"
    path.write_bytes(content)
    assert state.read_cache(path) == []
    assert len(caplog.records) == 1
    assert "ignoring the peer cache" in caplog.text


def test_a_cache_that_cannot_be_written_costs_only_itself(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    state.write_cache(tmp_path / "file" / "peers.json", [("192.0.2.1", 4)])
    assert "cannot write the peer cache" in caplog.text


def test_no_cache_is_no_fault(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert state.read_cache(None) == []
    assert state.read_cache(tmp_path / "none") == []
    state.write_cache(None, [("192.0.2.1", 4)])
    assert not caplog.records
