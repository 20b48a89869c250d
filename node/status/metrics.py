"""The snapshot as Prometheus metrics, in its text format.

Counters count from the start of the node, except the lifetime's. No address and no JID is a label.
"""

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from node.status.status import Status

PREFIX = "jingle_nodes_"


class StatusCollector(Collector):
    """Metrics of one snapshot."""

    def __init__(self, status: Status) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        """All of them."""
        status = self._status
        info = {"version": status.version, "forwarder": status.forwarder.name}
        yield InfoMetricFamily(PREFIX + "node", "The node's program", value=info)
        yield _gauge("uptime_seconds", "Time since the start", status.uptime)
        yield _gauge("forwarder_ready", "1 if channels can be taken", status.forwarder.ready)
        yield from self._channels()
        yield from self._turn()
        yield from self._traffic()
        yield from self._quota()
        yield from self._overlay()
        yield self._checks()

    def _channels(self) -> Iterator[Metric]:
        channels = self._status.channels
        yield _gauge("channels_open", "Channels that are open", channels.open)
        yield _gauge("channels_capacity", "Channels open at once, at most", channels.capacity)
        yield _gauge("free_ratio", "Share of the capacity that is offered", channels.free)
        yield _counter("channels_granted", "Channels that were opened", channels.granted)
        yield _counters("requests_refused", "Requests refused", "condition", channels.refused)
        yield _counters("channels_ended", "Channels that have ended", "reason", channels.ended)

    def _turn(self) -> Iterator[Metric]:
        turn = self._status.turn
        if turn is not None:
            yield _gauge(
                "turn_allocations_open", "Channels that are TURN allocations", turn.allocations
            )
            yield _counter("turn_credentials", "TURN credentials handed out", turn.credentials)

    def _traffic(self) -> Iterator[Metric]:
        traffic = self._status.traffic
        directions = {"to_peers": traffic.to_peers, "to_requesters": traffic.to_requesters}
        yield _counters(
            "relayed_bytes",
            "UDP payload passed on",
            "direction",
            {name: direction.bytes for name, direction in directions.items()},
        )
        yield _counters(
            "relayed_packets",
            "Packets passed on",
            "direction",
            {name: direction.packets for name, direction in directions.items()},
        )
        yield _counters("dropped_packets", "Packets not passed on", "reason", traffic.dropped)
        yield _counter(
            "lifetime_relayed_bytes",
            "UDP payload passed on since the node first ran",
            self._status.lifetime.bytes,
        )

    def _quota(self) -> Iterator[Metric]:
        quota = self._status.quota
        if quota is not None:
            yield _gauge("quota_bytes", "Volume of the day or month", quota.bytes)
            yield _gauge("quota_used_bytes", "What is used of it", quota.used)

    def _overlay(self) -> Iterator[Metric]:
        overlay = self._status.overlay
        yield _gauge("overlay_neighbours", "Contacts in the routing tables", overlay.neighbours)
        yield _counters(
            "overlay_events",
            "What was sent, received, answered, dropped, refused or timed out",
            "event",
            overlay.events,
        )
        reachable = GaugeMetricFamily(
            PREFIX + "reachable", "1 if strangers reach the node, 0 if not", labels=["family"]
        )
        for reach in overlay.reachability:
            if reach.verdict != "unknown":
                reachable.add_metric([reach.family.lower()], reach.verdict == "reachable")
        yield reachable

    def _checks(self) -> Metric:
        checks = GaugeMetricFamily(
            PREFIX + "check", "1 for the result that a check has", labels=["check", "result"]
        )
        for check in self._status.checks:
            checks.add_metric([check.name, check.result], 1)
        return checks


def to_prometheus(status: Status) -> bytes:
    """The metrics in the text format, version 1.0.0."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(StatusCollector(status))
    return generate_latest(registry)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(PREFIX + name, text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(PREFIX + name, text, value=value)


def _counters(name: str, text: str, label: str, values: Mapping[str, int]) -> Metric:
    metric = CounterMetricFamily(PREFIX + name, text, labels=[label])
    for value, count in sorted(values.items()):
        metric.add_metric([value], count)
    return metric
