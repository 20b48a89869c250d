"""The metrics, as Prometheus reads them, and the dashboard that asks for them."""

import json
import re
from importlib.resources import files

from prometheus_client.parser import text_string_to_metric_families

from node.status.metrics import to_prometheus
from node.status.status import Status
from tests.node.status.snapshots import BUSY, EMPTY


def samples(status: Status) -> dict[tuple[str, ...], float]:
    """Values by the name and the labels' values."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(to_prometheus(status).decode())
        for sample in family.samples
    }


def test_metrics_say_what_the_snapshot_says() -> None:
    values = samples(BUSY)
    expected: dict[tuple[str, ...], float] = {
        ("node_info", "userspace", "0.1.0"): 1,
        ("channels_open",): 12,
        ("channels_capacity",): 100,
        ("free_ratio",): 0.88,
        ("channels_granted_total",): 431,
        ("requests_refused_total", "resource-constraint"): 17,
        ("channels_ended_total", "expired"): 19,
        ("relayed_bytes_total", "to_peers"): 9_120_000_000,
        ("relayed_packets_total", "to_requesters"): 47_000_000,
        ("dropped_packets_total", "no-peer"): 120,
        ("lifetime_relayed_bytes_total",): 1_240_000_000_000,
        ("quota_bytes",): 50_000_000_000,
        ("quota_used_bytes",): 6_200_000_000,
        ("forwarder_ready",): 1,
        ("overlay_neighbours",): 148,
        ("overlay_events_total", "timed_out"): 42,
        ("reachable", "ipv4"): 1,
        ("reachable", "ipv6"): 0,
        ("check", "XMPP", "ok"): 1,
        ("turn_allocations_open",): 3,
        ("turn_credentials_total",): 57,
    }
    for (name, *labels), value in expected.items():
        assert values[(f"jingle_nodes_{name}", *labels)] == value


def test_no_jid_and_no_address_is_in_them() -> None:
    text = to_prometheus(BUSY).decode()
    assert "@" not in text
    assert "203.0.113.7" not in text


def test_a_node_without_a_quota_has_no_metric_of_it() -> None:
    assert not any(name.startswith("jingle_nodes_quota") for name, *_ in samples(EMPTY))
    assert samples(EMPTY)[("jingle_nodes_channels_open",)] == 0


def test_the_dashboard_asks_only_for_what_there_is() -> None:
    content = files("node.status").joinpath("web", "grafana.json").read_text()
    dashboard = json.loads(content)
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked += [variable["query"] for variable in dashboard["templating"]["list"]]
    families = list(text_string_to_metric_families(to_prometheus(BUSY).decode()))
    labels = {
        sample.name: set(sample.labels) | {"instance"}
        for family in families
        for sample in family.samples
    }
    names = re.findall(r"jingle_nodes_\w+", " ".join(asked))
    assert len(names) > 15
    assert set(names) <= labels.keys()
    for expression in asked:
        used = re.findall(r"(\w+)(?==~|!~|=\")", expression)
        used += re.findall(r"by \((\w+)\)", expression)
        for name in re.findall(r"jingle_nodes_\w+", expression):
            assert set(used) <= labels[name]
    shown = {name.removesuffix("_total") for name in names}
    assert {family.name for family in families} - shown <= {
        *("jingle_nodes_node_info", "jingle_nodes_forwarder_ready", "jingle_nodes_uptime_seconds"),
    }
