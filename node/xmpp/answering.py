"""What plugins of a relay node have in common: a handler answers requests of one namespace."""

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar
from xml.etree import ElementTree as ET

from slixmpp import Iq
from slixmpp.plugins import BasePlugin
from slixmpp.xmlstream.handler import CoroutineCallback
from slixmpp.xmlstream.matcher.base import MatcherBase
from slixmpp.xmlstream.stanzabase import StanzaBase

from node.xmpp.errors import StanzaError
from node.xmpp.requests import Handler, error_reply

Answer = Callable[[Iq, ET.Element], Awaitable[Iq]]
"""Makes the reply to a request with this payload."""


class NamespaceRequest(MatcherBase):
    """Matches every request with a payload in a namespace or a part of it (#…), known or not."""

    def match(self, stanza: StanzaBase) -> bool:
        """Whether the stanza is such a request."""
        return (
            isinstance(stanza, Iq)
            and stanza["type"] in ("get", "set")
            and any(_namespace(child).partition("#")[0] == self._criteria for child in stanza.xml)
        )


class AnsweringPlugin(BasePlugin):
    """A plugin that answers requests while it serves, and shows that it does."""

    namespace: ClassVar[str]
    """Of the requests."""
    _handler: Handler | None = None

    @property
    @abstractmethod
    def _answers(self) -> Mapping[str, Answer]:
        """How requests are answered, by the tag of their payload."""

    @abstractmethod
    def _show(self) -> None:
        """Show in service discovery what is offered."""

    @abstractmethod
    def _hide(self) -> None:
        """Show it no more."""

    def plugin_init(self) -> None:
        """Register the handler of requests."""
        request = NamespaceRequest(self.namespace)
        self.xmpp.register_handler(CoroutineCallback(self.name, request, self._handle_request))

    def session_bind(self, jid: object) -> None:
        """Show what is offered under the JID that was bound."""
        if self.serving:
            self._show()

    def plugin_end(self) -> None:
        """Undo plugin_init and session_bind."""
        self.stop_serving()
        self.xmpp.remove_handler(self.name)

    @property
    def serving(self) -> bool:
        """Whether a handler answers requests."""
        return self._handler is not None

    def serve(self, handler: Handler) -> None:
        """Answer requests with what ``handler`` offers, and show that."""
        self._handler = handler
        self._show()

    def stop_serving(self) -> None:
        """Answer requests with an error from now on."""
        if self.serving:
            self._handler = None
            self._hide()

    def _serving(self) -> Handler:
        if self._handler is None:
            raise StanzaError("service-unavailable", "cancel", "no relay here")
        return self._handler

    async def _handle_request(self, iq: Any) -> None:
        try:
            reply = await self._answer(iq)
        except Exception as error:
            # Whatever happens, the requester is told: silence would cost it the IQ timeout.
            raise error_reply(error) from error
        reply.send()

    async def _answer(self, iq: Iq) -> Iq:
        payloads = list(iq.xml)
        answer = self._answers.get(payloads[0].tag)
        # RFC 6120 section 8.2.3: exactly one payload.
        if len(payloads) != 1 or answer is None or not iq["from"].full:
            standard = self.description.partition(":")[0]
            raise StanzaError("bad-request", "modify", f"not a request of {standard}")
        return await answer(iq, payloads[0])


def _namespace(element: ET.Element) -> str:
    return element.tag.partition("}")[0].removeprefix("{") if isinstance(element.tag, str) else ""
