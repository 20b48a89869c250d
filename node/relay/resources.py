"""What the system lets this node have, and what a volunteer can do if that is too little."""

import errno
import logging
import os
import resource
import sys
from contextlib import suppress

from node.errors import UserError
from node.relay.channel import PORTS

RESERVED = 32
"""Descriptors for all but the channels. A node has 17 open, its forwarder's process 9; both need a
few more for moments: to connect again, to start a process, to change a port's socket."""

_LENT = 4, 5
"""Of the limit of descriptors, as a fraction: what may be in use when a channel opens. The rest is
for the node itself, however many connections it has."""

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


def descriptors_for(channels: int) -> int:
    """The limit of descriptors that a process needs to carry so many channels."""
    share, whole = _LENT
    return -(-(RESERVED + PORTS * channels) * whole // share)


def channels_within(limit: int) -> int:
    """How many channels a process may carry that has this limit of descriptors."""
    return max(0, (_lent(limit) - RESERVED) // PORTS)


def channels_with_descriptors(wanted: int, processes: int = 1) -> int:
    """How many channels there are descriptors for, once the soft limit is as high as it may be.

    Processes that this one starts inherit the limit.

    Args:
        wanted: channels at once. If there cannot be as many, a warning says so.
        processes: those that carry them.

    Raises:
        UserError: there are none for a single one.
    """
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit != most:
        with suppress(OSError, ValueError):  # some containers forbid it
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    channels = min(wanted, processes * channels_within(limit))
    needed = descriptors_for(-(-wanted // processes))
    remedy = f"raise the limit to {needed} (ulimit -n, or LimitNOFILE= of systemd)"
    if channels < 1:
        raise UserError(
            f"no channel can be opened: this process may have {limit} files open, "
            f"and the first channel needs {descriptors_for(1)}; {remedy}"
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


def check_descriptors(newest: int) -> None:
    """Make sure that this process is not about to run out of descriptors.

    Args:
        newest: one that was just opened. The system gives the lowest number that is free (POSIX,
            open), so it tells how many are really in use, whatever for.

    Raises:
        OSError: EMFILE: too many are.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if newest >= _lent(limit):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def _lent(limit: int) -> int:
    share, whole = _LENT
    return limit * share // whole
