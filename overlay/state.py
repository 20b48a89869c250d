"""What a peer keeps on disk: its key, and the good peers of its last run.

Files are written to one side and renamed, so that a crash or a full disk costs at most what was
new. They are text and JSON: nothing that is read can run.
"""

import json
import logging
import os
import secrets
import tempfile
from pathlib import Path
from typing import Final

from overlay.core.addresses import Address, normalise
from overlay.core.errors import LocalProtocolError
from overlay.core.identity import SEED_LENGTH, Identity
from overlay.errors import OverlayError

MAX_CACHED: Final = 20

_log = logging.getLogger(__name__)


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
        return Identity(bytes.fromhex(path.read_text("ascii")))
    except FileNotFoundError:
        return _create_identity(path)
    except OSError as error:
        raise OverlayError(
            f"cannot read the key file {path}: {error.strerror}; check its owner and mode"
        ) from error
    except (ValueError, LocalProtocolError) as error:
        raise OverlayError(
            f"the key file {path} is damaged ({error}); restore it, or remove it to get a new key"
        ) from error


def _create_identity(path: Path) -> Identity:
    seed = secrets.token_bytes(SEED_LENGTH)
    try:
        _write(path, seed.hex() + "\n")
    except OSError as error:
        raise OverlayError(
            f"cannot write the key file {path}: {error.strerror}; choose a writable directory"
        ) from error
    return Identity(seed)


def read_cache(path: Path | None) -> list[Address]:
    """Read the good peers of the last run; a damaged file is as good as none."""
    if path is None or not path.exists():
        return []
    try:
        entries = json.loads(path.read_text("utf-8"))
        return [_cached_address(entry) for entry in entries[:MAX_CACHED]]
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        _log.warning("ignoring the peer cache %s: %s", path, error)
        return []


def write_cache(path: Path | None, addresses: list[Address]) -> None:
    """Keep good peers for the next run; if the disk refuses, that is all that is lost."""
    if path is None or not addresses:
        return
    try:
        _write(path, json.dumps(addresses[:MAX_CACHED]))
    except OSError as error:
        _log.warning("cannot write the peer cache %s: %s", path, error.strerror)


def _cached_address(entry: object) -> Address:
    match entry:
        case [str(host), int(port)] if 0 < port < 65_536:
            return normalise(host, port)
    raise ValueError(f"{entry!r} is not an address")


def _write(path: Path, text: str) -> None:
    """Replace a file as a whole; `mkstemp` makes it with mode 0600."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
