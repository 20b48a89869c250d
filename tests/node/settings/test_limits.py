"""What a volunteer lends, and to whom, as settings."""

from dataclasses import replace
from datetime import time

import pytest

from node.errors import UsageError
from node.relay.access import Access
from node.relay.hours import Hours
from node.relay.quota import Quota
from node.settings import RunSettings


@pytest.mark.parametrize("name", ["channels", "channels_per_jid", "requests_per_minute", "expire"])
def test_limits_are_positive(name: str) -> None:
    with pytest.raises(UsageError, match=name):
        RunSettings(**{name: 0}).relay_limits()  # type: ignore[arg-type]


def test_limits_are_those_given() -> None:
    limits = RunSettings(channels=3, maxkbps=64, allow_private_peers=True).relay_limits()
    assert (limits.channels, limits.maxkbps, limits.allow_private_peers) == (3, 64, True)


def test_lists_hold_bare_jids_and_domains() -> None:
    access = RunSettings(
        policy="roster", allow=("Romeo@Montague.example", " b.example "), deny=("CAPULET.example",)
    )
    assert access.relay_limits().access == Access(
        policy="roster",
        allow=frozenset({"romeo@montague.example", "b.example"}),
        deny=frozenset({"capulet.example"}),
    )


@pytest.mark.parametrize("text", ["", "@", "a@@b", "romeo@montague.example/orchard"])
@pytest.mark.parametrize("name", ["allow", "deny"])
def test_what_no_list_takes(name: str, text: str) -> None:
    with pytest.raises(UsageError, match=f"^--{name}"):
        RunSettings(**{name: (text,)}).relay_limits()  # type: ignore[arg-type]


def test_a_quota_is_read_or_refused() -> None:
    assert RunSettings(quota="2GB/day").relay_limits().quota == Quota(2 * 10**9, "day", "2GB/day")
    with pytest.raises(UsageError, match=r"^--quota '2 gigabytes' is no quota such as"):
        RunSettings(quota="2 gigabytes").relay_limits()


def test_hours_are_read_or_refused() -> None:
    assert RunSettings(hours="22:00-07:00").relay_limits().hours == Hours(time(22), time(7))
    with pytest.raises(UsageError, match=r"^--hours 'at night' is no part of a day"):
        RunSettings(hours="at night").relay_limits()


def test_changes_are_told_without_naming_people() -> None:
    before = RunSettings(hours="22:00-07:00", expire=30.5, allow=("a.example",))
    after = RunSettings(allow=("b.example",), deny=("x@a.example", "c.example"), node_kbps=512)
    assert after.changes_from(after) == []
    assert replace(after, allow_private_peers=True).changes_from(before) == [
        "--allow (JIDs and domains: 1)",
        "--deny (JIDs and domains: 2)",
        "--node-kbps 512 (was none)",
        "--hours none (was 22:00-07:00)",
        "--expire 60 (was 30.5)",
        "--allow-private-peers on (was off)",
    ]
