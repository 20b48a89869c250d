"""Telling systemd how the node is: sd_notify(3), for a service of Type=notify.

Without a service manager that listens nothing is told.
"""

import logging
import os
import socket
import time

LEAVING = 25.0
"""Seconds that closing channels, advert, streams and ports may take beside the draining."""

_log = logging.getLogger(__name__)


def ready() -> None:
    """The node serves, or serves on with the settings that it has read again."""
    _tell("READY=1")


def reloading() -> None:
    """It reads its settings again."""
    _tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")


def stopping(drain: float) -> None:
    """It has been told to stop, and may take so many seconds before it leaves."""
    _tell(f"STOPPING=1\nEXTEND_TIMEOUT_USEC={round((drain + LEAVING) * 1_000_000)}")


def _tell(state: str) -> None:
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):  # the abstract namespace, unix(7)
        address = f"\0{address[1:]}"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto(state.encode(), address)
    except OSError as error:
        _log.warning(
            "cannot tell the service manager: %s; check NOTIFY_SOCKET", error.strerror or error
        )
