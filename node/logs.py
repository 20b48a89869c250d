"""What a command tells on standard error while it runs: lines of text, or of JSON.

IP addresses are taken out of every record here, and nowhere else, unless they are asked for: so a
volunteer can show the log of a relay to anybody.
"""

import json
import logging
import re
import sys
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Literal

LogFormat = Literal["text", "json"]

HIDDEN = "[address]"
"""Stands where an IP address was."""

# Whether a candidate is an address, ip_address tells.
_CANDIDATE = re.compile(r"[0-9A-Fa-f:.]*[:.][0-9A-Fa-f:.]*")
_IPV4 = re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d])")


def start_logging(
    *,
    verbose: bool,
    otherwise: int = logging.WARNING,
    log_format: LogFormat = "text",
    addresses: bool = True,
) -> None:
    """Log to standard error from now on.

    slixmpp says on its own account only what we do not say in ours.

    Args:
        verbose: Whether to tell what happens, and not only what goes wrong.
        otherwise: Level from which records are written if not verbose.
        log_format: How a record is written.
        addresses: Whether records may hold IP addresses.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(log_format, addresses))
    logging.basicConfig(level=logging.INFO if verbose else otherwise, handlers=[handler])
    logging.getLogger("slixmpp").setLevel(logging.CRITICAL)


def complaint_line(complaint: str) -> str:
    """The last line of a command that failed: as its log is written, if it had one."""
    text = " ".join(complaint.split())
    for handler in logging.getLogger().handlers:
        if isinstance(handler.formatter, _Formatter) and handler.formatter.log_format == "json":
            return _as_json(datetime.now(UTC), "critical", "node", text) + "\n"
    return f"jingle-nodes: {text}\n"


def hide_addresses(text: str) -> str:
    """A text without the IP addresses in it, except those of loopback and of no host at all."""
    return _CANDIDATE.sub(lambda match: _without_address(match[0]), text)


class _Formatter(logging.Formatter):
    """Writes a record as one line of JSON, or of text; a traceback in text has lines of its own."""

    def __init__(self, log_format: LogFormat, addresses: bool) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self.log_format = log_format
        self._clean = str if addresses else hide_addresses

    def format(self, record: logging.LogRecord) -> str:
        if self.log_format == "text":
            return self._clean(super().format(record))
        trace = self.formatException(record.exc_info) if record.exc_info else None
        return _as_json(
            datetime.fromtimestamp(record.created, UTC),
            record.levelname.lower(),
            record.name,
            self._clean(record.getMessage()),
            trace and self._clean(trace),
        )


def _as_json(
    time: datetime, level: str, logger: str, message: str, exception: str | None = None
) -> str:
    entry = {
        "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": level,
        "logger": logger,
        "message": message,
    }
    if exception:
        entry["exception"] = exception
    return json.dumps(entry)


def _without_address(candidate: str) -> str:
    """A run of digits, colons and dots: an address, one among colons, or none."""
    core = candidate.strip(".") if candidate.endswith((".", ":")) else candidate
    core = core.removesuffix(":") if not core.endswith("::") else core
    for address in (core, core.rpartition(":")[0]):  # the latter without a port
        if _is_strange(address):
            return candidate.replace(address, HIDDEN, 1)
    return _IPV4.sub(lambda match: HIDDEN if _is_strange(match[0]) else match[0], candidate)


def _is_strange(text: str) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_unspecified)
