"""Small files that a person names: settings, passwords, certificates."""

import errno
import os
import stat
from pathlib import Path


def read_small_file(path: Path, limit: int) -> bytes:
    """The whole of a regular file.

    A pipe or a device could keep the reader waiting, or never end.

    Args:
        path: The file.
        limit: Most bytes that it may have.

    Raises:
        OSError: It cannot be read, is no regular file, or is longer.
    """
    try:
        # Path.open has no opener.
        with open(path, "rb", opener=_open_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError(errno.EINVAL, "it is not a regular file")
            content = file.read(limit + 1)
    except ValueError as error:  # a NUL in its name
        raise OSError(errno.EINVAL, str(error)) from None
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"it has more than {limit} bytes")
    return content


def _open_without_waiting(path: str, flags: int) -> int:
    """Open a pipe, too, at once, and not only when somebody writes into it."""
    return os.open(path, flags | os.O_NONBLOCK)
