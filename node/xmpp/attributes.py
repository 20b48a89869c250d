"""Attributes of elements that strangers sent, read with suspicion."""

import re
from xml.etree import ElementTree as ET

from node.xmpp.errors import one_line
from overlay.core.errors import RemoteProtocolError

MAX_DIGITS = 10
"""int() alone would also take "1_0", Arabic digits, and a gigabyte of nines."""


def integer_untrusted(element: ET.Element, name: str, least: int, most: int) -> int | None:
    """The number that an attribute holds, or None if it is missing or empty.

    Raises:
        RemoteProtocolError: It is no number from ``least`` to ``most``.
    """
    text = element.get(name, "").strip()
    if not text:
        return None
    if text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS:
        number = int(text)
        if least <= number <= most:
            return number
    raise RemoteProtocolError(f"{name} {one_line(text)!r} not in {least}-{most}")


def needed_integer_untrusted(element: ET.Element, name: str, least: int, most: int) -> int:
    """The same of an attribute that must be there.

    Raises:
        RemoteProtocolError: It is missing, or no number from ``least`` to ``most``.
    """
    number = integer_untrusted(element, name, least, most)
    if number is None:
        raise RemoteProtocolError(f"{local_name(element)} without {name}")
    return number


def text_untrusted(element: ET.Element, name: str, pattern: re.Pattern[str]) -> str:
    """The text of an attribute, which must match all of a pattern.

    Raises:
        RemoteProtocolError: It does not, or is missing.
    """
    text = element.get(name, "")
    if not pattern.fullmatch(text):
        raise RemoteProtocolError(f"{name} {one_line(text)!r} in {local_name(element)}")
    return text


def choice_untrusted(
    element: ET.Element, name: str, choices: frozenset[str], default: str | None = None
) -> str:
    """The text of an attribute, which must be one of several.

    Raises:
        RemoteProtocolError: It is not, or is missing and there is no default.
    """
    text = element.get(name, default)
    if text not in choices:
        raise RemoteProtocolError(f"{name} {one_line(text or '')!r} in {local_name(element)}")
    return text


def local_name(element: ET.Element) -> str:
    """An element's name without its namespace; comments, which have a function for a tag, none."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""
