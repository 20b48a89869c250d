"""``jingle-nodes borrow``: a channel on the nearest relay, held until interrupted."""

import json
import math
from dataclasses import asdict
from typing import Any

import trio

from node.client import BorrowedChannel, open_client
from node.commands.output import say
from node.commands.signals import ended_by_signal
from node.errors import UserError
from node.settings import AccountSettings, OverlaySettings
from node.xmpp.errors import one_line


async def borrow(
    account: AccountSettings,
    overlay: OverlaySettings,
    relays: tuple[str, ...],
    seconds: float | None,
    timeout: float,
    as_json: bool,
) -> None:
    """Print a borrowed channel and hold it until a signal comes or the time is over.

    Raises:
        UserError: No relay lent a channel, or it is gone.
    """
    deadline = trio.current_time() + timeout
    lent = False
    async with (
        ended_by_signal() as interruption,
        open_client(
            account.account(),
            overlay.bootstrap_addresses,
            relays=overlay.bootstrap_relays,
            timeout=timeout,
        ) as client,
        client.borrow(*relays, timeout=deadline - trio.current_time()) as channel,
    ):
        lent = True
        with (
            interruption.ends_only_this(),
            trio.move_on_after(math.inf if seconds is None else seconds),
        ):
            say(json.dumps(_as_json(channel)) if as_json else _as_text(channel))
            await channel.lost.wait()
            raise UserError(f"the channel on {channel.relay} is gone; borrow another one")
    if not lent:
        raise UserError("interrupted before a relay lent a channel")


def _as_json(channel: BorrowedChannel) -> dict[str, Any]:
    return {**asdict(channel.offer), "send_to": channel.host}


def _as_text(channel: BorrowedChannel) -> str:
    offer = channel.offer
    limit = "no limit" if offer.maxkbps is None else f"{offer.maxkbps} kbit/s"
    hosts = [host for host in (offer.host, offer.host6) if host is not None]
    name = one_line(offer.id or "without id")
    return (
        f"{channel.relay} lends channel {name} ({limit}, {offer.expire} s): "
        f"send to {channel.host} port {offer.localport}, "
        f"give {' and '.join(hosts)} port {offer.remoteport} to the other end"
    )
