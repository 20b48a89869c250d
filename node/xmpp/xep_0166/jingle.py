"""XEP-0166: the plugin, a thin shell around the sessions."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final
from xml.etree import ElementTree as ET

from slixmpp import JID, BaseXMPP, Iq
from slixmpp.exceptions import IqError, IqTimeout, XMPPError
from slixmpp.plugins import BasePlugin
from slixmpp.xmlstream import register_stanza_plugin
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import StanzaPath

from node.xmpp.xep_0166 import stanza
from node.xmpp.xep_0166.requests import (
    Action,
    Part,
    Request,
    build_request,
    parse_request_untrusted,
    parse_sid_untrusted,
)
from node.xmpp.xep_0166.session import JingleError, Party, Session
from node.xmpp.xep_0166.sessions import UNANSWERED, Outcome, Sessions
from node.xmpp.xep_0166.stanza import NS, NS_ERRORS
from overlay.core.errors import LocalProtocolError, RemoteProtocolError

log = logging.getLogger(__name__)

ANSWER_TIMEOUT: Final = 10.0
"""Seconds for the acknowledgement of a request; two servers that first meet may take four."""


class XEP_0166(BasePlugin):  # noqa: N801  (slixmpp finds plugins by this name)
    """XEP-0166: Jingle.

    Stream events:
        jingle: Happened. The other side of a session has sent a request, or has gone.
    """

    name = "xep_0166"
    description = "XEP-0166: Jingle"
    dependencies: ClassVar[set[str]] = {"xep_0030"}
    stanza = stanza

    def plugin_init(self) -> None:
        """Register the elements and the handler of requests."""
        self.sessions = Sessions(str(self.xmpp.boundjid.full))
        self.parsers: dict[str, Callable[[ET.Element], Part]] = {}
        """How the parts of other XEPs are read, by tag; their plugins add theirs."""
        self.features: set[str] = {NS}
        """What is shown in service discovery while calls are answered."""
        self._timer: asyncio.TimerHandle | None = None
        self._sending: set[asyncio.Task[None]] = set()
        register_stanza_plugin(Iq, stanza.Jingle)
        register_stanza_plugin(stanza.Jingle, stanza.Content, iterable=True)
        register_stanza_plugin(stanza.Jingle, stanza.Reason)
        self.xmpp.register_handler(
            Callback("Jingle", StanzaPath("iq@type=set/jingle"), self._handle_request)
        )
        self.xmpp.add_event_handler("presence_unavailable", self._handle_unavailable)

    def session_bind(self, jid: JID) -> None:
        """Sessions are between full JIDs: they end if the server has bound another one."""
        if self.sessions.jid != jid.full:
            self.sessions.jid = jid.full
            self._perform(self.sessions.end_all())

    def plugin_end(self) -> None:
        """Undo plugin_init."""
        self.stop_listening()
        self._perform(self.sessions.end_all())
        for task in self._sending:
            task.cancel()
        self.xmpp.del_event_handler("presence_unavailable", self._handle_unavailable)
        self.xmpp.remove_handler("Jingle")

    def listen(self) -> None:
        """Take invitations from now on, and show that in service discovery."""
        self.sessions.listening = True
        for feature in self.features:
            self.xmpp.plugin["xep_0030"].add_feature(feature)

    def stop_listening(self) -> None:
        """Refuse invitations from now on."""
        if self.sessions.listening:
            self.sessions.listening = False
            for feature in self.features:
                self.xmpp.plugin["xep_0030"].del_feature(feature=feature)

    async def initiate(
        self, peer: str, sid: str, request: Request, *, timeout: float = ANSWER_TIMEOUT
    ) -> Session:
        """Begin a session.

        Args:
            peer: Full JID to call.
            sid: An id that nobody can guess.
            request: The session-initiate.
            timeout: Seconds for the acknowledgement.

        Raises:
            LocalProtocolError: It cannot be begun.
            slixmpp.exceptions.IqError: The peer, or a server on the way, refuses.
            slixmpp.exceptions.IqTimeout: No answer came.
        """
        session = self.sessions.initiate(peer, sid, request, self._now())
        self._set_timer()
        await self._deliver(session, request, timeout)
        return session

    async def send(
        self, session: Session, request: Request, *, timeout: float = ANSWER_TIMEOUT
    ) -> None:
        """Send a request of a session; arguments and errors as for `initiate`."""
        self.sessions.send(session, request, self._now())
        self._set_timer()
        await self._deliver(session, request, timeout)

    async def _deliver(self, session: Session, request: Request, timeout: float) -> None:
        responder = session.party is Party.RESPONDER
        accepts = request.action is Action.SESSION_ACCEPT
        own, peer = self.sessions.jid, session.peer
        iq = self.xmpp.make_iq_set(ito=peer, ifrom=own if self.xmpp.is_component else None)
        iq.append(
            build_request(
                session.sid, peer if responder else own, own if accepts else None, request
            )
        )
        waiting = True

        def note(error: JingleError | None) -> None:
            nonlocal waiting
            if waiting:
                waiting = False
                self._perform(self.sessions.answered(session, request, error))

        # What the other side sends next may come with the answer, so that is noted at once, and not
        # when this task runs again.
        answer = iq.send(timeout=timeout, callback=lambda answer: note(_refusal(answer)))
        try:
            await answer
        finally:
            note(UNANSWERED)

    def _handle_request(self, iq: Any) -> None:
        try:
            outcome = self._take(iq)
        except RemoteProtocolError as error:
            raise XMPPError("bad-request", etype="modify", text=str(error)) from error
        except JingleError as error:
            condition: Any = error.condition
            kind: Any = error.kind
            raise XMPPError(
                condition,
                etype=kind,
                text=error.text,
                extension=error.extension,
                extension_ns=error.extension_ns,
            ) from error
        # First the acknowledgement: what follows from the request must not overtake it.
        iq.reply().send()
        self._perform(outcome)

    def _take(self, iq: Any) -> Outcome:
        jingle = iq["jingle"].xml
        sid = parse_sid_untrusted(jingle)
        request = parse_request_untrusted(jingle, self.parsers)
        return self.sessions.receive(str(iq["from"].full), sid, request, self._now())

    def _handle_unavailable(self, presence: Any) -> None:
        self._perform(self.sessions.gone(str(presence["from"].full)))

    def _perform(self, outcome: Outcome) -> None:
        for happened in outcome.events:
            self.xmpp.event("jingle", happened)
        for session, request in outcome.requests:
            task = asyncio.ensure_future(self._send_unasked(session, request))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)
        self._set_timer()

    async def _send_unasked(self, session: Session, request: Request) -> None:
        try:
            await self.send(session, request)
        except (IqError, IqTimeout, LocalProtocolError) as error:
            log.info("%s was not taken: %s", request.action, error)

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if (when := self.sessions.next_timer()) is not None:
            self._timer = asyncio.get_running_loop().call_at(when, self._handle_timer)

    def _handle_timer(self) -> None:
        self._timer = None
        self._perform(self.sessions.handle_timer(self._now()))

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _refusal(answer: Any) -> JingleError | None:
    """The error that an answer is, with Jingle's own condition if there is one."""
    if answer["type"] != "error":
        return None
    error, own = answer["error"], f"{{{NS_ERRORS}}}"
    tags = [str(child.tag) for child in error.xml]
    extension = next((tag.removeprefix(own) for tag in tags if tag.startswith(own)), None)
    return JingleError(error["condition"], error["type"], error["text"], extension)


def jingle_of(xmpp: BaseXMPP) -> XEP_0166:
    """The plugin of a stream; slixmpp's types know only plugins of its own."""
    plugins: Mapping[str, Any] = xmpp.plugin
    plugin: XEP_0166 = plugins["xep_0166"]
    return plugin
