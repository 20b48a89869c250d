"""Whom a relay lends to: policies and lists."""

import pytest

from node.relay.access import Access, Policy

ROMEO = "Romeo@Montague.example/orchard"
CONTACTS = frozenset({"romeo@montague.example"})


@pytest.mark.parametrize(
    ("policy", "allow", "deny", "stranger", "contact"),
    [
        ("public", "", "", True, True),
        ("roster", "", "", False, True),
        ("public", "romeo@montague.example", "", True, True),
        ("public", "montague.example", "", True, True),
        ("public", "capulet.example", "", False, False),
        ("public", "other@montague.example", "", False, False),
        ("public", "example", "", False, False),
        ("roster", "montague.example", "", True, True),
        ("roster", "capulet.example", "", False, True),
        ("public", "", "montague.example", False, False),
        ("public", "", "romeo@montague.example", False, False),
        ("public", "", "capulet.example", True, True),
        ("roster", "", "romeo@montague.example", False, False),
        ("public", "montague.example", "romeo@montague.example", False, False),
    ],
)
def test_who_may_have_channels(
    policy: Policy, allow: str, deny: str, stranger: bool, contact: bool
) -> None:
    access = Access(policy=policy, allow=frozenset(allow.split()), deny=frozenset(deny.split()))
    assert access.permits(ROMEO, frozenset()) is stranger
    assert access.permits(ROMEO, CONTACTS) is contact


def test_a_component_is_its_domain() -> None:
    access = Access(allow=frozenset({"gateway.example"}))
    assert access.permits("gateway.example", frozenset())
    assert access.permits("gateway.example/part", frozenset())


def test_only_who_lends_to_everybody_is_advertised_as_public() -> None:
    assert Access().advertised == "public"
    assert Access(deny=frozenset({"a"})).advertised == "public"
    assert Access(allow=frozenset({"a"})).advertised == "roster"
    assert Access(policy="roster").advertised == "roster"
