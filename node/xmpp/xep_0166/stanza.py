"""XEP-0166: the elements."""

from typing import ClassVar
from xml.etree import ElementTree as ET

from slixmpp.xmlstream import ElementBase

NS = "urn:xmpp:jingle:1"
NS_ERRORS = "urn:xmpp:jingle:errors:1"


class Jingle(ElementBase):
    """One request of a session.

    ::

        <jingle xmlns='urn:xmpp:jingle:1' action='session-initiate'
                initiator='romeo@montague.example/orchard' sid='a73sjjvkla37jfea'>
          <content creator='initiator' name='voice' senders='both'>...</content>
        </jingle>
    """

    name = plugin_attrib = "jingle"
    namespace = NS
    interfaces: ClassVar[set[str]] = {"action", "initiator", "responder", "sid"}


class Content(ElementBase):
    """What is to be exchanged (a description) and how (a transport)."""

    name = plugin_attrib = "content"
    plugin_multi_attrib = "contents"
    namespace = NS
    interfaces: ClassVar[set[str]] = {"creator", "disposition", "name", "senders"}


class Reason(ElementBase):
    """Why an action was taken: a condition, an element of its own, and a text for people."""

    name = plugin_attrib = "reason"
    namespace = NS
    interfaces: ClassVar[set[str]] = {"condition", "text"}
    sub_interfaces: ClassVar[set[str]] = {"text"}

    def get_condition(self) -> str:
        """The name of the condition, or nothing."""
        own = f"{{{NS}}}"
        names = [str(child.tag).removeprefix(own) for child in self.xml if own in str(child.tag)]
        return next((name for name in names if name != "text"), "")

    def set_condition(self, condition: str) -> None:
        """Put a condition in the place of the one that is there."""
        self.del_condition()
        self.xml.insert(0, ET.Element(f"{{{NS}}}{condition}"))

    def del_condition(self) -> None:
        """Take the condition out."""
        for child in list(self.xml):
            if str(child.tag) != f"{{{NS}}}text":
                self.xml.remove(child)
