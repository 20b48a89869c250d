"""``jingle-nodes borrow``: a channel on the nearest relay, held until interrupted."""

import json
import math
from dataclasses import asdict

import trio

from node.client import BorrowedChannel, open_client
from node.commands.signals import ended_by_signal
from node.config import AccountSettings, OverlaySettings
from node.errors import UsageError, UserError
from node.xmpp.errors import one_line


async def borrow(
    account: AccountSettings,
    overlay: OverlaySettings,
    relay: str | None,
    seconds: float | None,
    timeout: float,
    as_json: bool,
) -> None:
    """Print a borrowed channel and hold it until a signal comes or the time is over.

    Raises:
        UserError: No relay lent a channel, or it is gone.
    """
    if not overlay.bootstrap and relay is None:
        raise UsageError(
            "a relay is found through the overlay: pass --bootstrap host:port of any peer, "
            "or --relay JID of one that you know"
        )
    if not 0 < timeout <= 120:
        raise UsageError("--timeout must be more than 0 and at most 120 seconds")
    if seconds is not None and not seconds > 0:
        raise UsageError("--seconds must be more than 0")
    deadline = trio.current_time() + timeout
    lent = False
    async with (
        ended_by_signal() as interruption,
        open_client(account.account(), overlay.bootstrap_addresses, timeout=timeout) as client,
        client.borrow(relay, timeout=deadline - trio.current_time()) as channel,
    ):
        lent = True
        with (
            interruption.ends_only_this(),
            trio.move_on_after(math.inf if seconds is None else seconds),
        ):
            _print_channel(channel, as_json)
            await channel.lost.wait()
            raise UserError(f"the channel on {channel.relay} is gone; borrow another one")
    if not lent:
        raise UserError("interrupted before a relay lent a channel")


def _print_channel(channel: BorrowedChannel, as_json: bool) -> None:
    if as_json:
        print(json.dumps(asdict(channel.offer)), flush=True)
        return
    offer = channel.offer
    limit = "no limit" if offer.maxkbps is None else f"{offer.maxkbps} kbit/s"
    name = one_line(offer.id or "without id")
    print(
        f"{channel.relay} lends channel {name} ({limit}, {offer.expire} s): "
        f"send to {offer.host} port {offer.localport}, "
        f"give {offer.host} port {offer.remoteport} to the other end",
        flush=True,
    )
