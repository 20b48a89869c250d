"""What a log holds, and how it is written."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.logs import HIDDEN, LogFormat, complaint_line, hide_addresses, start_logging

_log = logging.getLogger("node.something")


@contextmanager
def logging_started(
    *, verbose: bool = False, log_format: LogFormat = "text", addresses: bool = False
) -> Iterator[None]:
    """Log as a command does; pytest has handlers of its own."""
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    logger.handlers[:] = []
    try:
        start_logging(verbose=verbose, log_format=log_format, addresses=addresses)
        yield
    finally:
        logger.handlers[:] = handlers
        logger.setLevel(level)


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("no answer from 203.0.113.7", "no answer from #"),
        ("no answer from 203.0.113.7.", "no answer from #."),
        ("203.0.113.7:4278 refused", "#:4278 refused"),
        ("udp:203.0.113.7:4278, 10.0.0.1", "udp:#:4278, #"),
        ("[2001:db8::7]:4278: late", "[#]:4278: late"),
        ("2001:db8::7: late", "#: late"),
        ("to 2001:DB8:0:0:0:0:0:7:4278", "to #:4278"),
        ("fe80::1%eth0", "#%eth0"),
        ("::ffff:203.0.113.7", "#"),
        ("('203.0.113.7', 4278)", "('#', 4278)"),
        ("a\\n203.0.113.7", "a\\n#"),
        # None of anybody's
        ("2026-11-27 02:07:05,123 WARNING", "2026-11-27 02:07:05,123 WARNING"),
        ("127.0.0.1:4279 and [::1]:4279, at 0.0.0.0 or ::",) * 2,
        ("version 0.1.0, 3.11.7; node.relay: 5: x",) * 2,
        ("relay@example.org/jingle-nodes-1a2b3c4d",) * 2,
        ("aa:bb:cc:dd:ee:ff",) * 2,
        ("999.0.113.7",) * 2,
    ],
)
def test_addresses_are_hidden(text: str, hidden: str) -> None:
    assert hide_addresses(text) == hidden.replace("#", HIDDEN)


ADDRESSES = st.one_of(
    st.ip_addresses(v=4, network="8.0.0.0/7"), st.ip_addresses(v=6, network="2000::/3")
)
AROUND = st.text(st.characters(exclude_characters="0123456789abcdefABCDEF.:"), max_size=9)


@given(AROUND, ADDRESSES, AROUND)
def test_no_address_is_left(before: str, address: IPv4Address | IPv6Address, after: str) -> None:
    for written in {str(address), address.exploded, str(address).upper()}:
        assert hide_addresses(f"{before}{written}{after}") == f"{before}{HIDDEN}{after}"


def test_json_is_a_line_for_each_record(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_started(log_format="json"):
        _log.info("not said")
        _log.warning("no answer\nfrom %s", "203.0.113.7")
        error = OSError("cannot reach 203.0.113.7")
        _log.error("failed", exc_info=error)
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert datetime.fromisoformat(first.pop("time")).utcoffset() == timedelta(0)
    assert first == {
        "level": "warning",
        "logger": "node.something",
        "message": f"no answer\nfrom {HIDDEN}",
    }
    assert second["exception"] == f"OSError: cannot reach {HIDDEN}"


def test_addresses_are_there_if_they_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_started(verbose=True, addresses=True):
        _log.info("no answer from %s", "203.0.113.7")
    assert capsys.readouterr().err.endswith(" INFO node.something: no answer from 203.0.113.7\n")


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_loggers_of_others_are_hidden_too(
    capsys: pytest.CaptureFixture[str], log_format: LogFormat
) -> None:
    with logging_started(verbose=True, log_format=log_format):
        for name in ("hypercorn.error", "trio.serve_listeners", "asyncio", "slixmpp.xmlstream"):
            logging.getLogger(name).error("lost 203.0.113.7")
    said = capsys.readouterr().err
    assert said.count(HIDDEN) == 3  # slixmpp has nothing to say
    assert "203.0.113.7" not in said


def test_the_last_line_is_written_as_the_others() -> None:
    assert complaint_line("it\n failed") == "jingle-nodes: it failed\n"
    with logging_started(log_format="json"):
        line = json.loads(complaint_line("it failed"))
    assert (line["level"], line["message"]) == ("critical", "it failed")
