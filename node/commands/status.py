"""``jingle-nodes status``: what a node on this machine does, as it tells on its status page."""

import http.client
from contextlib import closing
from functools import partial

import msgspec
import trio
from rich.console import Console
from rich.live import Live

from node.commands.output import printable, say
from node.commands.signals import ended_by_signal
from node.commands.status_view import Fitted, render
from node.errors import UsageError, UserError
from node.settings import StatusSettings
from node.status.status import Status
from overlay.core.addresses import format_address

INTERVAL = 1.0
"""Seconds from one look at the node to the next."""

ANSWER_TIME = 5.0
"""Seconds that a node has to answer."""

MAX_ANSWER = 2**20
"""Bytes; a node's status has some 10,000."""

Endpoint = tuple[str, int]


async def status(settings: StatusSettings, once: bool, as_json: bool) -> None:
    """Print a node's status, or show it until SIGINT or SIGTERM.

    Raises:
        UserError: No node answers.
    """
    endpoint = settings.status_endpoint()
    if endpoint is None or endpoint[1] == 0:
        raise UsageError(
            f"--status-address {settings.status_address} is no place to ask at: "
            "pass the one that the node runs with"
        )
    snapshot = await _ask(endpoint)
    console = Console()
    if as_json:
        say(msgspec.json.encode(snapshot).decode())
    elif once or not console.is_terminal or console.is_dumb_terminal:
        with console.capture() as captured:
            console.print(render(snapshot, console.options))
        say("\n".join(line.rstrip() for line in captured.get().splitlines()))
    else:
        async with ended_by_signal():
            await _follow(endpoint, snapshot, console)


async def _follow(endpoint: Endpoint, snapshot: Status, console: Console) -> None:
    with Live(console=console, screen=True, auto_refresh=False) as live:
        trouble = ""
        while True:
            live.update(Fitted(render(snapshot, console.options, trouble)), refresh=True)
            await trio.sleep(INTERVAL)
            try:
                snapshot = await _ask(endpoint)
            except UserError as error:
                trouble = str(error)
            else:
                trouble = ""


async def _ask(endpoint: Endpoint) -> Status:
    """What the node tells.

    Raises:
        UserError: None is there.
    """
    where = format_address(endpoint)
    try:
        with trio.fail_after(ANSWER_TIME):
            answer = await trio.to_thread.run_sync(
                partial(_fetch, *endpoint), abandon_on_cancel=True
            )
        return msgspec.json.decode(answer, type=Status)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise UserError(
            f"what answers at {where} is no node of this version: {printable(str(error))}; "
            "pass the --status-address that the node has"
        ) from error
    except (OSError, http.client.HTTPException, trio.TooSlowError) as error:
        reason = getattr(error, "strerror", None) or str(error) or "no answer"
        raise UserError(
            f"no node shows its status at {where}: {printable(reason.strip())}; "
            "start one with jingle-nodes run, or pass the --status-address that it has"
        ) from error


def _fetch(host: str, port: int) -> bytes:
    connection = http.client.HTTPConnection(host, port, timeout=ANSWER_TIME)
    with closing(connection):
        connection.request("GET", "/status.json")
        with connection.getresponse() as response:
            body = response.read(MAX_ANSWER + 1)
    if response.status != 200 or len(body) > MAX_ANSWER:
        raise http.client.HTTPException(f"something else answers there (HTTP {response.status})")
    return body
