"""Who is subscribed to the account: its roster, kept up to date (RFC 6121 section 2)."""

import logging
from typing import Any

from slixmpp import JID
from slixmpp.exceptions import IqError, IqTimeout

from node.xmpp.errors import XmppError
from node.xmpp.streams import Client

ROSTER_TIMEOUT = 10.0
"""Seconds that the server may take to send the roster."""

log = logging.getLogger(__name__)


class Roster:
    """The contacts of an account. Nobody becomes one by asking: its owner approves them.

    Args:
        client: the account's stream.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._followed = False
        self.subscribers: frozenset[str] = frozenset()
        """Bare JIDs that may see the account's presence; may be read in any thread."""
        self._contacts: dict[str, None] = {}
        client.add_event_handler("roster_update", self._update)

    async def follow(self) -> None:
        """Fetch the roster; from then on the server tells what changes in it.

        Raises:
            XmppError: The server does not send it.
        """
        if not self._followed:
            await self._fetch()
            self._followed = True

    def addresses(self) -> list[str]:
        """Where contacts can be asked: servers and components, and accounts that are seen online.

        That an account is online its contacts see, as soon as ours shows itself, and only then.
        """
        found: list[str] = []
        for bare in self._contacts:
            if "@" in bare:
                resources = self._client.client_roster[bare].resources
                found += [f"{bare}/{resource}" for resource in resources if resource]
            else:
                found.append(bare)
        return found

    async def resume(self) -> None:
        """Learn what has changed while the stream was down."""
        if self._followed:
            try:
                await self._fetch()
            except XmppError as error:
                log.warning("%s; the contacts from before go on", error)

    async def _fetch(self) -> None:
        domain = self._client.boundjid.domain
        try:
            # No version, so that the whole roster comes: slixmpp's own request might get nothing.
            request = self._client.make_iq_get("jabber:iq:roster")
            await request.send(callback=self._replace, timeout=ROSTER_TIMEOUT)
        except IqTimeout:
            raise XmppError(
                f"{domain} does not send the roster within {ROSTER_TIMEOUT:g} s; try again later"
            ) from None
        except IqError as error:
            raise XmppError(
                f"{domain} does not send the roster ({error.condition}); "
                "--policy roster needs an account that has one"
            ) from None

    def _replace(self, result: Any) -> None:
        self.subscribers = frozenset()
        self._contacts = {}
        self._update(result)

    def _update(self, iq: Any) -> None:
        items: dict[JID, dict[str, Any]] = iq["roster"]["items"]
        subscribers = set(self.subscribers)
        for jid, item in items.items():
            bare = str(jid.bare).casefold()
            if item["subscription"] == "remove":
                self._contacts.pop(bare, None)
            else:
                self._contacts[bare] = None
            if item["subscription"] in ("from", "both"):
                subscribers.add(bare)
            else:
                subscribers.discard(bare)
        self.subscribers = frozenset(subscribers)
