import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.relay.access import Access
from node.relay.admission import (
    MAX_REQUESTERS,
    Admission,
    Refused,
    RelayLimits,
)
from node.relay.channel import ChannelRules
from node.relay.jids import bare_jid, full_jid


def refusal(admission: Admission, jid: str, now: float = 0) -> Refused:
    with pytest.raises(Refused) as caught:
        admission.admit(jid, now)
    return caught.value


def test_a_bare_jid_has_a_maximum_whatever_its_resource() -> None:
    admission = Admission(RelayLimits(channels_per_jid=2))
    admission.admit("romeo@montague.example/orchard", 0)
    admission.admit("Romeo@Montague.Example/balcony", 0)
    refused = refusal(admission, "romeo@montague.example/tomb")
    assert (refused.condition, refused.kind) == ("resource-constraint", "wait")
    assert "you have 2 channels" in refused.text
    admission.admit("juliet@capulet.example", 0)
    admission.leave("ROMEO@montague.example/other")
    admission.admit("romeo@montague.example", 0)


def test_whom_it_does_not_lend_to_hears_so() -> None:
    contacts: set[str] = set()
    access = Access(policy="roster", allow=frozenset({"capulet.example"}))
    admission = Admission(RelayLimits(access=access), lambda: contacts)
    refused = refusal(admission, "romeo@montague.example/orchard")
    assert (refused.condition, refused.kind) == ("forbidden", "auth")
    admission.admit("juliet@capulet.example/balcony", 0)
    contacts.add("romeo@montague.example")
    admission.admit("romeo@montague.example/orchard", 0)
    assert admission.channels == 2


def test_a_domain_has_a_maximum() -> None:
    admission = Admission(RelayLimits(channels_per_domain=2))
    admission.admit("a@montague.example", 0)
    admission.admit("montague.example/gateway", 0)
    assert "montague.example has 2 channels" in refusal(admission, "c@MONTAGUE.example/x").text
    admission.admit("a@capulet.example", 0)


def test_the_relay_has_a_maximum() -> None:
    admission = Admission(RelayLimits(channels=1))
    admission.admit("a@one.example", 0)
    assert "all 1 channels" in refusal(admission, "b@two.example").text


def test_requests_are_limited_in_any_minute() -> None:
    admission = Admission(RelayLimits(requests_per_minute=3, channels_per_jid=1))
    admission.admit("a@b.example/1", 0)
    assert "channels" in refusal(admission, "a@b.example/2", 10).text
    assert "channels" in refusal(admission, "a@b.example/3", 20).text
    refused = refusal(admission, "a@b.example/4", 59.9)
    assert (refused.condition, refused.kind) == ("resource-constraint", "wait")
    assert "more than 3 requests in a minute" in refused.text
    assert "channels" in refusal(admission, "a@b.example", 60).text
    assert "requests" in refusal(admission, "a@b.example", 69.9).text
    assert "channels" in refusal(admission, "a@b.example", 70).text


def test_a_flood_of_jids_does_not_grow_memory() -> None:
    admission = Admission(RelayLimits(channels=1))
    admission.admit("a@b.example", 0)
    for number in range(2 * MAX_REQUESTERS):
        refusal(admission, f"u{number}@d{number}.example", number)
    assert len(admission._requests) == MAX_REQUESTERS
    assert len(admission._channels_of_jid) == len(admission._channels_of_domain) == 1


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abc"), st.sampled_from("xyz"))))
def test_counts_never_pass_the_limits_and_return_to_nothing(
    steps: list[tuple[bool, str, str]],
) -> None:
    admission = Admission(RelayLimits(channels=5, channels_per_jid=2, channels_per_domain=3))
    held: list[str] = []
    for now, (opens, node, domain) in enumerate(steps):
        jid = f"{node}@{domain}/{now}"
        if opens:
            bare = [other for other in held if bare_jid(other) == bare_jid(jid)]
            of_domain = [other for other in held if f"@{domain}/" in other]
            if len(held) == 5 or len(bare) == 2 or len(of_domain) == 3:
                refusal(admission, jid, now * 60)
            else:
                admission.admit(jid, now * 60)
                held.append(jid)
        elif held:
            admission.leave(held.pop())
        assert admission.channels == len(held)
    while held:
        admission.leave(held.pop())
    assert not admission._channels_of_jid
    assert not admission._channels_of_domain


def test_jids_compare_as_xmpp_does() -> None:
    assert bare_jid("Romeo@Montague.example/Orchard") == "romeo@montague.example"
    assert full_jid("Romeo@Montague.example/Orchard") == "romeo@montague.example/Orchard"
    assert bare_jid("component.example") == full_jid("component.example") == "component.example"
    assert bare_jid("a@b/c@d/e") == "a@b"


def test_limits_of_a_channel_are_its_rules() -> None:
    limits = RelayLimits(channels=3, maxkbps=64, expire=5)
    assert limits.channel_rules == ChannelRules(maxkbps=64, expire=5)


@pytest.mark.parametrize("name", ["channels", "channels_per_jid", "requests_per_minute", "expire"])
def test_limits_that_allow_nothing_are_rejected(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        RelayLimits(**{name: 0})  # type: ignore[arg-type]
