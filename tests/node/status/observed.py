"""A relay and a peer on loopback that are looked at as a node looks at its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

from node.status.observer import Observer, Parts, open_observer
from node.xmpp import Session
from overlay.dht import open_peer
from overlay.settings import PeerSettings
from tests.node.relay.loopback import LoopbackRelay, loopback_relay


class FakeSession:
    """An XMPP session, as far as it is looked at."""

    jid = "relay@example.org/node"
    connected = True


@asynccontextmanager
async def observed(
    directory: Path, **limits: Any
) -> AsyncIterator[tuple[LoopbackRelay, Observer, FakeSession]]:
    session = FakeSession()
    async with (
        open_peer(PeerSettings(public_address="127.0.0.1")) as peer,
        loopback_relay(quota_file=directory / "quota.json", **limits) as relay,
        open_observer(
            Parts(peer, relay.service, cast(Session, session), "22000-29999"),
            directory / "lifetime.json",
        ) as observer,
    ):
        yield relay, observer, session
