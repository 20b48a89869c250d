"""A file in which a count of bytes outlives the relay: since when, and how many."""

import json
from datetime import datetime
from pathlib import Path

from node.errors import UserError
from node.files import read_small_file
from overlay.state import replace_file

MAX_FILE = 1024
"""Bytes of the file: a date and a number."""


def read_count(path: Path, what: str) -> tuple[datetime, int] | None:
    """Since when bytes were counted, and how many were; None if there is no such file.

    Args:
        path: The file.
        what: What is counted, for the error.

    Raises:
        UserError: It cannot be read or understood.
    """
    try:
        return _parse(read_small_file(path, MAX_FILE))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(
            f"cannot read {what}: {path}: {error.strerror}; "
            "check what it is, and its owner and mode"
        ) from error
    except (ValueError, OverflowError, RecursionError) as error:
        raise UserError(f"{what} is damaged: {path}: {error}; remove it to count anew") from error


def write_count(path: Path, since: datetime, size: int) -> None:
    """Keep a count for good.

    Raises:
        OSError: The disk refuses; the file is as before.
    """
    replace_file(path, json.dumps({"since": since.isoformat(), "bytes": size}) + "\n")


def _parse(content: bytes) -> tuple[datetime, int]:
    match json.loads(content):
        case {"since": str(since), "bytes": int(size)} if size >= 0:
            return datetime.fromisoformat(since).astimezone(), size
    raise ValueError("it holds no count")
