"""Stanzas with one thing wrong: every field of them missing, doubled, huge, or of another type."""

import copy
from collections.abc import Callable, Iterator
from functools import partial
from xml.etree import ElementTree as ET

HUGE = "9" * 3000
WRONG = ("", "x", "-1", "²", "99999999999999999999", "\n", "&<'", "10.0.0.1", "224.0.0.1", HUGE)
"""Values for any attribute or text; some are right for some."""

Change = Callable[[ET.Element], object]


def mutations(xml: str) -> Iterator[str]:
    """Each element of a payload in turn, and each of its attributes, made wrong in every way."""
    root = ET.fromstring(xml)
    for index, element in enumerate(root.iter()):
        for change in _changes(element, root.tag if index else "{urn:x}other"):
            again = copy.deepcopy(root)
            change(list(again.iter())[index])
            yield ET.tostring(again, encoding="unicode")


def _changes(element: ET.Element, tag: str) -> Iterator[Change]:
    for name in element.attrib:
        yield partial(_remove_attribute, name)
        for value in WRONG:
            yield partial(_set_attribute, name, value)
    for value in WRONG:
        yield partial(_set_text, value)
    yield partial(_set_attribute, "unknown", HUGE)
    for other in ("{urn:x}other", tag):
        yield partial(_rename, other)
    for position in range(len(element)):
        yield partial(_remove_child, position)
        for times in (1, 150):
            yield partial(_repeat_child, position, times)


def _remove_attribute(name: str, element: ET.Element) -> None:
    del element.attrib[name]


def _set_attribute(name: str, value: str, element: ET.Element) -> None:
    element.set(name, value)


def _set_text(value: str, element: ET.Element) -> None:
    element.text = value


def _rename(tag: str, element: ET.Element) -> None:
    element.tag = tag


def _remove_child(position: int, element: ET.Element) -> None:
    element.remove(element[position])


def _repeat_child(position: int, times: int, element: ET.Element) -> None:
    element.extend(times * [element[position]])
