import json
import os
import stat
import subprocess
import sys
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


@pytest.mark.parametrize("content", [b"", b"abc", b"\xff\xfe", b"00" * 31, b"zz" * 32, b"0" * 9999])
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


# Read from, they would not end.
@pytest.fixture(params=["pipe", "device", "directory"])
def odd_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "odd"
    match request.param:
        case "pipe":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
        case "directory":
            path.mkdir()
    return path


def test_a_key_that_is_no_file_is_said(odd_file: Path) -> None:
    with pytest.raises(OverlayError, match="no regular file; check what it is") as caught:
        state.load_identity(odd_file)
    assert "\n" not in str(caught.value)


def test_a_cache_that_is_no_file_is_said(odd_file: Path) -> None:
    with pytest.raises(OverlayError, match=r"cannot read the peer cache .*: it is no regular file"):
        state.read_cache(odd_file)


@pytest.mark.parametrize(("mode", "told"), [(0o600, 0), (0o400, 0), (0o640, 1), (0o604, 1)])
def test_a_key_that_others_can_read_is_said_and_used(
    tmp_path: Path, mode: int, told: int, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "key"
    made = state.load_identity(path)
    path.chmod(mode)
    assert state.load_identity(path).public_key == made.public_key
    assert caplog.text.count(f"run chmod 600 {path}") == len(caplog.records) == told


def test_a_key_is_used_by_one_process_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "state" / "key"
    with state.sole_use(path):
        in_use = pytest.raises(OverlayError, match="another process runs with it; stop that one")
        with in_use as caught, state.sole_use(path):
            pytest.fail("locked twice")
        assert "\n" not in str(caught.value)
        with state.sole_use(tmp_path / "state" / "other"), state.sole_use(None):
            pass
    with state.sole_use(path):
        pass


def test_a_process_that_is_killed_leaves_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "key"
    holder = f"""
import pathlib, sys
from overlay.state import sole_use
with sole_use(pathlib.Path({str(path)!r})):
    print("locked", flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"locked\n"
        with pytest.raises(OverlayError, match="another process"), state.sole_use(path):
            pytest.fail("locked twice")
        process.kill()
        process.wait()
        with state.sole_use(path):
            pass


def test_a_lock_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "key.lock").symlink_to(tmp_path / "elsewhere")
    for key in (tmp_path / "file" / "key", tmp_path / "key"):
        refused = pytest.raises(OverlayError, match=r"cannot lock .* choose a writable directory")
        with refused, state.sole_use(key):
            pytest.fail("locked")
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"", b"[", b"{}", b"7", b"\xff", b'["a"]', b'[["1.2.3.4"]]', b'[["1.2.3.4", 0]]',
        b'[["name", 4]]', b"[" * 9999, b'["' + b"a" * 9999 + b'"]', b" " * 99999,
        b'[["1.2.3.4", "4"]]', json.dumps([["192.0.2.1", 4]])[:-3].encode(),
    ],
)  # fmt: skip
def test_a_damaged_cache_is_said(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "peers.json"
    path.write_bytes(content)
    with pytest.raises(OverlayError, match="cannot read the peer cache") as caught:
        state.read_cache(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < len(str(path)) + 120


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OverlayError, match="cannot write the peer cache"):
        state.write_cache(tmp_path / "file" / "peers.json", [("192.0.2.1", 4)])


def test_no_cache_is_no_fault(tmp_path: Path) -> None:
    assert state.read_cache(None) == []
    assert state.read_cache(tmp_path / "none") == []
    state.write_cache(None, [("192.0.2.1", 4)])
