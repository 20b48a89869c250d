"""The command ``jingle-nodes``: parses, runs, prints. Exit status: 0 done, 1 failed, 2 usage."""

import errno
import io
import logging
import os
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, TextIO

import trio
from cyclopts import App, CycloptsError, Parameter
from cyclopts.config import Env

from node.commands.simulated import bench, demo, need, simulate
from node.errors import UsageError, UserError
from node.logs import complaint_line, start_logging
from node.settings import (
    AccountSettings,
    AudioSettings,
    OverlaySettings,
    RunSettings,
    StatusSettings,
)
from node.settings.file import lines_of_options, read_config_file
from node.settings.values import between, checked
from node.version import version
from node.xmpp.account import parse_jid
from overlay import OverlayError
from overlay.nursery import lone_error

DONE, FAILED, USAGE = 0, 1, 2

_NO_MEMORY = "no memory or threads left; raise this user's limits, or give the machine more"

_ENVIRONMENT = "JINGLE_NODES_"

_CALL_PACKAGES = ("aiortc",)
"""Of the extra call."""

MAX_HOLD = 365 * 86400
"""Seconds that ``--seconds`` may say; without it a channel is held for ever."""

_log = logging.getLogger(__name__)


app = App(
    name="jingle-nodes",
    help="A peer-to-peer network of UDP relays for calls: XEP-0278 over a Kademlia overlay.",
    version=version,
    config=(Env(_ENVIRONMENT, command=False), read_config_file),
    default_parameter=Parameter(negative=""),
    help_format="plaintext",
    result_action="return_value",
    exit_on_error=False,
    print_error=False,
    suppress_keyboard_interrupt=False,
)


for _command in (demo, bench, simulate):
    app.command(_command)


@app.command
def run(
    settings: RunSettings = RunSettings(),
    *,
    config: Path | None = None,
    json: bool = False,
    verbose: bool = False,
) -> None:
    """Be a relay node: join the overlay, advertise, and lend channels until interrupted.

    Example: jingle-nodes run --jid me@example.org --password-file pw --bootstrap peer.example.net

    Args:
        config: TOML file of these settings, such as: jid = "me@example.org"
        json: Print what the node offers as one JSON object, once it serves.
        verbose: Tell on standard error what happens.
    """
    from node.commands.run import run as run_node

    start_logging(verbose=verbose, log_format=settings.log_format, addresses=settings.log_addresses)
    trio.run(run_node, settings, _read_run_settings, json)


def _read_run_settings() -> RunSettings:
    """What the command line, the environment and the file say now.

    Raises:
        UserError: Something is wrong with them.
    """
    try:
        _, given, _ = app.parse_args(sys.argv[1:])
    except CycloptsError as error:
        raise UsageError(" ".join(str(error).split())) from None
    settings: RunSettings = given.arguments.get("settings", RunSettings())
    return settings


@app.command
def find(
    overlay: OverlaySettings = OverlaySettings(),
    *,
    count: Annotated[int, between(1, 256)] = 8,
    timeout: Annotated[float, between(0.1, 60)] = 5.0,
    config: Path | None = None,
    json: bool = False,
    verbose: bool = False,
) -> None:
    """Discover relays through the overlay, nearest first.

    Example: jingle-nodes find --bootstrap peer.example.net:4278

    Args:
        count: Most relays to show.
        timeout: Seconds that the search may take.
        config: TOML file of these settings, such as: bootstrap = ["peer.example.net"]
        json: Print a JSON list.
        verbose: Tell on standard error what happens.
    """
    from node.commands.find import find as find_relays

    start_logging(verbose=verbose)
    trio.run(find_relays, overlay, count, timeout, json)


@app.command
def borrow(
    account: AccountSettings = AccountSettings(),
    overlay: OverlaySettings = OverlaySettings(),
    *,
    relay: tuple[str, ...] = (),
    seconds: Annotated[float | None, between(0.1, MAX_HOLD)] = None,
    timeout: Annotated[float, between(0.1, 120)] = 15.0,
    config: Path | None = None,
    json: bool = False,
    verbose: bool = False,
) -> None:
    """Borrow a channel from the nearest relay, and hold it until interrupted.

    Example: jingle-nodes borrow --jid me@example.net --password-file pw --bootstrap example.org

    Args:
        relay: JID of a relay to ask, whole as find shows it; may be given several times. If not
            given the nearest one.
        seconds: Give the channel back after so long.
        timeout: Seconds within which a channel must be had.
        config: TOML file of these settings, such as: jid = "me@example.org"
        json: Print the channel as a JSON object.
        verbose: Tell on standard error what happens.
    """
    from node.commands.borrow import borrow as borrow_channel

    start_logging(verbose=verbose)
    trio.run(borrow_channel, account, overlay, relay, seconds, timeout, json)


@app.command
def call(
    peer: Annotated[str | None, checked(parse_jid)] = None,
    /,
    account: AccountSettings = AccountSettings(),
    overlay: OverlaySettings = OverlaySettings(),
    audio: AudioSettings = AudioSettings(),
    *,
    answer: bool = False,
    relay: tuple[str, ...] = (),
    seconds: Annotated[float | None, between(0.1, MAX_HOLD)] = None,
    timeout: Annotated[float | None, between(1, MAX_HOLD)] = None,
    config: Path | None = None,
    json: bool = False,
    verbose: bool = False,
) -> None:
    """Make an audio call, or take one; a relay is borrowed if there is no direct path.

    Example: jingle-nodes call bob@example.net/phone --jid me@example.org --password-file pw
    --bootstrap example.org --play hello.wav --record answer.wav

    Args:
        peer: Whom to call, user@domain/resource; with --answer, whose call to take, else anybody's.
        answer: Wait for a call, take it, and end with it.
        relay: JID of a relay to borrow if one is needed; may be given several times. The best ones
            if not given.
        seconds: Hang up after so long.
        timeout: Seconds that it may ring, 60 if not given; with --answer, seconds to wait for a
            call, without an end if not given.
        config: TOML file of these settings, such as: jid = "me@example.org"
        json: Print what the call was like as a JSON object.
        verbose: Tell on standard error what happens.
    """
    need("call", _CALL_PACKAGES)
    from node.commands.call import call as hold_call

    start_logging(verbose=verbose)
    trio.run(hold_call, account, overlay, audio, peer, answer, relay, seconds, timeout, json)


@app.command
def status(
    settings: StatusSettings = StatusSettings(),
    *,
    once: bool = False,
    config: Path | None = None,
    json: bool = False,
) -> None:
    """Show what a node on this machine does, until interrupted; once if this is no terminal.

    Example: jingle-nodes status --once

    Args:
        once: Show it once.
        config: TOML file of these settings, such as: status-address = "127.0.0.1:4279"
        json: Print it once, as a JSON object.
    """
    from node.commands.status import status as show_status

    trio.run(show_status, settings, once, json)


@app.command
def init(
    settings: RunSettings = RunSettings(),
    *,
    file: Path | None = None,
    systemd: bool = False,
    force: bool = False,
) -> None:
    """Ask four questions, and write a file of settings for run; what is given is not asked for.

    Example: jingle-nodes init

    Args:
        file: Where to write the settings; node.toml, or with --systemd /etc/jingle-nodes/node.toml
            if not given. A password that is typed goes beside it, into a file of its own.
        systemd: Also write the service jingle-nodes for systemd.
        force: Overwrite files that are there.
    """
    from node.commands.init import init as initialise

    arguments = app["run"].assemble_argument_collection(parse_docstring=True)
    helps = {
        argument.name.removeprefix("--").replace("-", "_"): argument.parameter.help or ""
        for argument in arguments
    }
    initialise(settings, file, systemd, force, helps)


@app.command
def doctor(
    settings: RunSettings = RunSettings(),
    *,
    s2s_domain: Annotated[str | None, checked(parse_jid)] = None,
    timeout: Annotated[float, between(1, 600)] = 60.0,
    config: Path | None = None,
    json: bool = False,
    verbose: bool = False,
) -> int:
    """Examine what a relay node needs, with the settings of run; a node that runs is not disturbed.

    Example: jingle-nodes doctor --config node.toml

    Args:
        s2s_domain: XMPP server to reach from the node's own; else those of relays that are found.
        timeout: Seconds within which every check must have a result.
        config: TOML file of these settings, such as: jid = "me@example.org"
        json: Print the results as a JSON object.
        verbose: Tell on standard error what happens.
    """
    from node.commands.doctor import doctor as examine

    start_logging(
        verbose=verbose,
        otherwise=logging.ERROR,  # the results say what is wrong
        log_format=settings.log_format,
        addresses=settings.log_addresses,
    )
    return DONE if trio.run(examine, settings, s2s_domain, timeout, json) else FAILED


def main() -> None:
    """Entry point of the command; ends the process with its exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal may know fewer characters than JIDs are written in.
            stream.reconfigure(errors="backslashreplace")
    sys.exit(execute(sys.argv[1:]))


def execute(arguments: Sequence[str]) -> int:
    """Run one command line and return the exit status; errors become a line on standard error."""
    status, complaint = _run(arguments)
    if (error := _drain(sys.stdout)) is not None:
        status, complaint = FAILED, f"cannot write to standard output: {error.strerror}"
    if complaint and sys.stderr is not None:
        with suppress(OSError):
            sys.stderr.write(complaint_line(complaint))
        _drain(sys.stderr)
    return status


def _run(arguments: Sequence[str]) -> tuple[int, str | None]:
    """The exit status, and what there is to complain about."""
    if sys.stdout is None:  # Python found it closed
        return FAILED, "standard output is closed: send it to /dev/null if nobody shall read it"
    if not arguments:
        return USAGE, "no command is given; see jingle-nodes --help"
    try:
        return app(arguments) or DONE, None
    except BaseException as exception:
        match error := lone_error(exception):
            case CycloptsError():
                command = " ".join(["jingle-nodes", *(error.command_chain or ())])
                return USAGE, f"{str(error).removesuffix('.')}; see {command} --help"
            case UsageError():
                return USAGE, _with_lines(str(error), arguments)
            case UserError() | OverlayError():
                return FAILED, _with_lines(str(error), arguments)
            case KeyboardInterrupt():
                return FAILED, "interrupted"
            case SystemExit():
                return FAILED, "cannot write to standard output: nobody reads it"  # so says rich
            case MemoryError():
                return FAILED, _NO_MEMORY
            case RuntimeError() if "can't start new thread" in str(error):
                return FAILED, _NO_MEMORY
            case OSError():
                if error.errno == errno.ENOSPC and not error.filename:
                    return FAILED, f"cannot write: {error.strerror}; make room"
                _log.info("the system refused", exc_info=error)
                return FAILED, f"{_reason(error)}; run again with --verbose to see where"
        raise


def _with_lines(complaint: str, arguments: Sequence[str]) -> str:
    """A complaint about options, with the lines of the file that sets them."""
    with suppress(CycloptsError, UserError):  # it was about the file itself
        _, given, _ = app.parse_args(arguments)
        if (config := given.arguments.get("config")) is not None:
            flags = {argument.partition("=")[0] for argument in arguments}
            options = {
                option
                for option in re.findall(r"--[a-z][a-z0-9-]*", complaint)
                if option not in flags and _variable(option) not in os.environ
            }
            return complaint + lines_of_options(config, options)
    return complaint


def _variable(option: str) -> str:
    return _ENVIRONMENT + option.removeprefix("--").replace("-", "_").upper()


def _reason(error: OSError) -> str:
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename else reason


def _drain(stream: TextIO) -> OSError | None:
    """Write out what a stream holds back, or drop that: Python would fail on it once more."""
    if stream is None:
        return None
    try:
        stream.flush()
    except OSError as error:
        with Path(os.devnull).open("wb") as nothing:
            os.dup2(nothing.fileno(), stream.fileno())
        return error
    return None
