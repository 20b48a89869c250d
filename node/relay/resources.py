"""What the system lets this node have, and what a volunteer can do if that is too little."""

import errno
import logging
import resource
import sys
from contextlib import suppress

from node.errors import UserError
from node.relay.channel import PORTS

RESERVED = 32
"""Descriptors for all but the channels. A node has 17 open, its forwarder's process 9; both need a
few more for moments: to connect again, to start a process, to change a port's socket."""

OUT_OF_SOCKETS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
"""What opening any socket fails with when there are none left."""

_REMEDIES = {
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "the whole system has too many files open: end some programs",
    errno.EAGAIN: "raise the limit of processes (ulimit -u), or end some",
    errno.ENOMEM: "free some memory",
    errno.ENOBUFS: "free some memory",
    errno.EACCES: f"let this user run {sys.executable}",
    errno.EPERM: f"let this user run {sys.executable}",
    errno.ENOENT: f"install {sys.executable} again",
}

_log = logging.getLogger(__name__)


def explain(error: OSError) -> str:
    """Why the system refused something, and what to do."""
    reason = error.strerror or str(error)
    remedy = _REMEDIES.get(error.errno or 0)
    return f"{reason}; {remedy}" if remedy else reason


def channels_with_descriptors(wanted: int) -> int:
    """How many channels there are descriptors for; raises the soft limit for them if need be.

    Processes that this one starts inherit the limit.

    Args:
        wanted: channels at once. If there cannot be as many, a warning says so.

    Raises:
        UserError: there are none for a single one.
    """
    needed = RESERVED + PORTS * wanted
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit < needed:
        with suppress(OSError, ValueError):  # some containers forbid it
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(needed, most), most))
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    channels = min(wanted, (limit - RESERVED) // PORTS)
    remedy = f"raise the limit to {needed} (ulimit -n, or LimitNOFILE= of systemd)"
    if channels < 1:
        raise UserError(
            f"no channel can be opened: this process may have {limit} files open, "
            f"and the first channel needs {RESERVED + PORTS}; {remedy}"
        )
    if channels < wanted:
        _log.warning(
            "only %d channels at once instead of %d: this process may have %d files open; %s",
            channels,
            wanted,
            limit,
            remedy,
        )
    return channels
