"""What a peer keeps on disk: its key, and the good peers of its last run.

Files are written to one side and renamed, so that a crash or a full disk costs at most what was
new. They are text and JSON: nothing that is read can run. What is no small regular file is not
read: a pipe or a device would never end.
"""

import errno
import fcntl
import json
import logging
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from overlay.core.addresses import Address, normalise
from overlay.core.errors import LocalProtocolError
from overlay.core.identity import SEED_LENGTH, Identity
from overlay.errors import OverlayError

MAX_CACHED: Final = 20
_MAX_KEY_FILE: Final = 1024  # bytes
_MAX_CACHE_FILE: Final = 16_384

_log = logging.getLogger(__name__)


@contextmanager
def sole_use(key_file: Path | None) -> Iterator[None]:
    """Keep other processes from running with the same key during the block.

    Two peers with one key would withdraw each other's adverts and share one id. The lock lies
    beside the key, so that the key may be replaced, and ends with the process.

    Raises:
        OverlayError: Another process has it, or nothing can be locked there.
    """
    if key_file is None:
        yield
        return
    path = _lock_of(key_file)
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        raise OverlayError(
            f"cannot lock the key file {key_file}: {error.strerror}; choose a writable directory"
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise OverlayError(
                f"cannot use the key file {key_file}: another process runs with it; "
                "stop that one, or choose another state directory"
                if error.errno == errno.EWOULDBLOCK
                else f"cannot lock the key file {key_file}: {error.strerror}; "
                "choose a directory on another file system"
            ) from error
        yield
    finally:
        os.close(descriptor)


def is_in_use(key_file: Path) -> bool:
    """Whether a process runs with this key, as far as this user may know; nothing is made."""
    try:
        descriptor = os.open(_lock_of(key_file), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # Shared: two who look at once do not take each other for the process.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno == errno.EWOULDBLOCK
    finally:
        os.close(descriptor)
    return False


def _lock_of(key_file: Path) -> Path:
    return key_file.with_name(f"{key_file.name}.lock")


def load_identity(path: Path | None) -> Identity:
    """Read the key of a peer, or make one.

    Args:
        path: File of 64 hexadecimal digits, made with mode 0600 if it is not there; None for a
            key that is not kept.

    Raises:
        OverlayError: The file cannot be read, written or understood.
    """
    if path is None:
        return Identity(secrets.token_bytes(SEED_LENGTH))
    try:
        data, mode = _read(path, _MAX_KEY_FILE)
        identity = Identity(bytes.fromhex(data.decode("ascii")))
    except FileNotFoundError:
        return _create_identity(path)
    except OSError as error:
        raise OverlayError(
            f"cannot read the key file {path}: {error.strerror}; "
            "check what it is, and its owner and mode"
        ) from error
    except (ValueError, LocalProtocolError) as error:
        raise OverlayError(
            f"the key file {path} is damaged ({error}); restore it, or remove it to get a new key"
        ) from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        _log.warning("the key file %s is open to others; run chmod 600 %s", path, path)
    return identity


def _create_identity(path: Path) -> Identity:
    seed = secrets.token_bytes(SEED_LENGTH)
    try:
        replace_file(path, seed.hex() + "\n")
    except OSError as error:
        raise OverlayError(
            f"cannot write the key file {path}: {error.strerror}; choose a writable directory"
        ) from error
    return Identity(seed)


def read_cache(path: Path | None) -> list[Address]:
    """Read the good peers of the last run.

    Raises:
        OverlayError: The file cannot be read or understood; it is as good as none.
    """
    if path is None:
        return []
    try:
        data, _ = _read(path, _MAX_CACHE_FILE)
        return [_cached_address(entry) for entry in json.loads(data)[:MAX_CACHED]]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise OverlayError(f"cannot read the peer cache {path}: {reason}") from error


def write_cache(path: Path | None, addresses: list[Address]) -> None:
    """Keep good peers for the next run.

    Raises:
        OverlayError: The disk refuses; that is all that is lost.
    """
    if path is None or not addresses:
        return
    try:
        replace_file(path, json.dumps(addresses[:MAX_CACHED]))
    except OSError as error:
        raise OverlayError(f"cannot write the peer cache {path}: {error.strerror}") from error


def _cached_address(entry: object) -> Address:
    match entry:
        case [str(host), int(port)] if 0 < port < 65_536:
            return normalise(host, port)
    raise ValueError("an entry is no address")


def _read(path: Path, limit: int) -> tuple[bytes, int]:
    """Read a regular file of at most `limit` bytes; returns its mode too."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        data = os.read(descriptor, limit + 1)
    finally:
        os.close(descriptor)
    if len(data) > limit:
        raise ValueError(f"it has more than {limit} bytes")
    return data, mode


def replace_file(path: Path, text: str) -> None:
    """Replace a file as a whole, for good when this returns; `mkstemp` makes it with mode 0600.

    Raises:
        OSError: The disk refuses; the file is as before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_directory(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _sync_directory(path: Path) -> None:
    """Make a rename last through a loss of power."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
