"""Snapshots of nodes that never ran."""

from dataclasses import replace

from node.status.status import (
    Channels,
    Check,
    Direction,
    Forwarder,
    History,
    Lifetime,
    Limits,
    Overlay,
    QuotaUse,
    Reach,
    Status,
    Traffic,
    Turn,
)

BUSY = Status(
    version="0.1.0",
    time="2026-11-27T02:03:04+00:00",
    uptime=273_845.5,
    jid="relay@example.org/jingle-nodes-1a2b3c4d",
    public_address="203.0.113.7:4278",
    relay_ports="20000-29999",
    forwarder=Forwarder(name="userspace", ready=True),
    channels=Channels(
        open=12,
        capacity=100,
        free=0.88,
        granted=431,
        refused={"resource-constraint": 17, "forbidden": 2},
        ended={"released": 400, "expired": 19},
    ),
    traffic=Traffic(
        to_peers=Direction(bytes=9_120_000_000, packets=51_000_000, rate=155_000.0),
        to_requesters=Direction(bytes=8_340_000_000, packets=47_000_000, rate=139_000.0),
        dropped={"no-peer": 120, "private": 7},
    ),
    lifetime=Lifetime(bytes=1_240_000_000_000, since="2025-03-02T08:00:00+00:00"),
    quota=QuotaUse(
        name="50GB/month",
        bytes=50 * 10**9,
        used=6_200_000_000,
        reserved=25_000_000,
        ends="2026-12-01T00:00:00+00:00",
    ),
    limits=Limits(
        policy="public",
        allowed=0,
        denied=3,
        channels=100,
        channels_per_jid=8,
        channels_per_domain=50,
        requests_per_minute=60,
        maxkbps=512,
        node_kbps=None,
        expire=60.0,
        quota="50GB/month",
        hours="22:00-07:00",
    ),
    overlay=Overlay(
        peer_id="2603dc2d46b91b8200d314c179f993ba73faf5ae",
        neighbours=148,
        reachability=(
            Reach(family="IPv4", verdict="reachable", heard=14, missed=1),
            Reach(family="IPv6", verdict="unreachable", heard=0, missed=9),
        ),
        events={"received": 12_345, "sent": 11_000, "timed_out": 42, "refused_busy": 3},
    ),
    checks=(
        Check(name="XMPP", result="ok", meaning="logged in as relay@example.org"),
        Check(
            name="reachable over IPv6",
            result="failed",
            meaning="0 of 9 strangers came through of late",
            remedy="let the node's UDP ports through the firewall or NAT",
        ),
    ),
    history=History(
        interval=1.0,
        to_peers=tuple(100_000.0 + 500 * second for second in range(110)),
        to_requesters=tuple(90_000.0 + 450 * second for second in range(110)),
        channels=tuple(1 + second // 10 for second in range(110)),
    ),
    turn=Turn(address="203.0.113.7:3478", allocations=3, credentials=57),
)

EMPTY = replace(
    BUSY,
    uptime=0.4,
    channels=Channels(open=0, capacity=100, free=1.0, granted=0, refused={}, ended={}),
    traffic=Traffic(
        to_peers=Direction(bytes=0, packets=0, rate=0.0),
        to_requesters=Direction(bytes=0, packets=0, rate=0.0),
        dropped={},
    ),
    lifetime=Lifetime(bytes=0, since="2026-11-27T02:03:03+00:00"),
    quota=None,
    overlay=replace(BUSY.overlay, neighbours=0, events={}, reachability=()),
    checks=(Check(name="overlay", result="unknown", meaning="no other peer is known"),),
    history=History(interval=1.0, to_peers=(), to_requesters=(), channels=()),
    turn=None,
)
