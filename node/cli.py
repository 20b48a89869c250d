"""The command ``jingle-nodes``: parses, runs, prints. Exit status: 0 done, 1 failed, 2 usage."""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import trio
from cyclopts import App, CycloptsError, Parameter
from cyclopts.argument import ArgumentCollection
from cyclopts.config import Env, Toml

from node.config import AccountSettings, OverlaySettings, RunSettings
from node.errors import UsageError, UserError
from overlay import OverlayError
from overlay.nursery import lone_error

DONE, FAILED, USAGE = 0, 1, 2


def _read_config_file(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Take from the file behind ``--config`` what flags and environment leave open."""
    for argument in arguments:
        if "--config" not in argument.names or not argument.tokens:
            continue
        path = Path(argument.tokens[0].value)
        source = Toml(path, must_exist=True, use_commands_as_keys=False)
        try:
            source(app, commands, arguments)
        except OSError as error:
            raise UserError(f"cannot read --config {path}: {error.strerror}") from error
        except CycloptsError as error:
            raise UsageError(f"--config {path}: {error}") from error


app = App(
    name="jingle-nodes",
    help="A peer-to-peer network of UDP relays for calls: XEP-0278 over a Kademlia overlay.",
    config=(Env("JINGLE_NODES_", command=False), _read_config_file),
    default_parameter=Parameter(negative=""),
    help_format="plaintext",
    result_action="return_value",
    exit_on_error=False,
    print_error=False,
)


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

    _start_logging(verbose)
    trio.run(run_node, settings, json)


@app.command
def find(
    overlay: OverlaySettings = OverlaySettings(),
    *,
    count: int = 8,
    timeout: float = 5.0,
    json: bool = False,
    verbose: bool = False,
) -> None:
    """Discover relays through the overlay, nearest first.

    Example: jingle-nodes find --bootstrap peer.example.net:4278

    Args:
        count: Most relays to show.
        timeout: Seconds that the search may take.
        json: Print a JSON list.
        verbose: Tell on standard error what happens.
    """
    from node.commands.find import find as find_relays

    _start_logging(verbose)
    trio.run(find_relays, overlay, count, timeout, json)


@app.command
def borrow(
    account: AccountSettings = AccountSettings(),
    overlay: OverlaySettings = OverlaySettings(),
    *,
    relay: str | None = None,
    seconds: float | None = None,
    timeout: float = 15.0,
    json: bool = False,
    verbose: bool = False,
) -> None:
    """Borrow a channel from the nearest relay, and hold it until interrupted.

    Example: jingle-nodes borrow --jid me@example.net --password-file pw --bootstrap example.org

    Args:
        relay: JID of the relay to ask; the nearest in the overlay if not given.
        seconds: Give the channel back after so long.
        timeout: Seconds within which a channel must be had.
        json: Print the channel as a JSON object.
        verbose: Tell on standard error what happens.
    """
    from node.commands.borrow import borrow as borrow_channel

    _start_logging(verbose)
    trio.run(borrow_channel, account, overlay, relay, seconds, timeout, json)


@app.command
def demo(*, json: bool = False) -> int:
    """Show a call through a borrowed relay, on this machine, with real NATs where they can be had.

    Example: sudo jingle-nodes demo

    Args:
        json: Print the result as a JSON object.
    """
    try:
        from simulations.lab.demo import demo as run_demo
    except ModuleNotFoundError as error:
        raise UserError(
            f"the demo needs the package {error.name}: pip install 'jingle-nodes[demo]'"
        ) from error
    return trio.run(run_demo, json)


def main() -> None:
    """Entry point of the command; ends the process with its exit status."""
    sys.exit(execute(sys.argv[1:]))


def execute(arguments: Sequence[str]) -> int:
    """Run one command line and return the exit status; errors become a line on standard error."""
    try:
        return app(arguments) or DONE
    except BaseException as exception:
        error = lone_error(exception)
        if isinstance(error, CycloptsError | UsageError):
            return _complain(error, USAGE)
        if isinstance(error, UserError | OverlayError):
            return _complain(error, FAILED)
        if isinstance(error, KeyboardInterrupt):
            return _complain("interrupted", FAILED)
        raise


def _complain(error: object, status: int) -> int:
    line = " ".join(str(error).split())
    sys.stderr.write(f"jingle-nodes: {line}\n")
    return status


def _start_logging(verbose: bool) -> None:
    """Log to standard error; slixmpp says on its own account only what we do not say in ours."""
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO if verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    logging.getLogger("slixmpp").setLevel(logging.CRITICAL)
