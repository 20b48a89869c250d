"""What is to be said of a node at a glance: each check's result, meaning and remedy. Pure."""

from node.endpoints import FAMILIES
from node.nat.behaviour import NatBehaviour
from node.nat.mapping.status import MappingStatus
from node.relay.forwarders.use import KernelUse
from node.relay.quota import MIN_SLICE
from node.status.status import Check, Limits, QuotaUse, Reach, Result


def check_xmpp(jid: str, *, connected: bool) -> Check:
    """Whether others can ask for channels."""
    if connected:
        return Check(name="XMPP", result="ok", meaning=f"logged in as {jid}")
    return Check(
        name="XMPP",
        result="failed",
        meaning="disconnected: nobody can ask for a channel; open ones go on",
        remedy="the node logs in again by itself; if it does not, look at the server",
    )


def check_overlay(neighbours: int, trouble: str) -> Check:
    """Whether the node is among others."""
    if trouble:
        return Check(
            name="overlay",
            result="warning" if neighbours else "failed",
            meaning=trouble,
            remedy="check --bootstrap and that UDP is not blocked; the node goes on trying",
        )
    if neighbours:
        peers = "1 peer" if neighbours == 1 else f"{neighbours} peers"
        return Check(name="overlay", result="ok", meaning=f"{peers} in the routing tables")
    return Check(
        name="overlay",
        result="unknown",
        meaning="no other peer is known: a first peer waits to be found",
        remedy="unless this is the first one, name a peer that is up with --bootstrap",
    )


def check_reach(reach: Reach) -> Check:
    """Whether strangers reach the node over an address family."""
    name = f"reachable over {reach.family}"
    tally = f"{reach.heard} of {reach.heard + reach.missed} strangers came through of late"
    match reach.verdict:
        case "reachable":
            return Check(name=name, result="ok", meaning=tally)
        case "unreachable":
            return Check(
                name=name,
                result="failed",
                meaning=f"{tally}; the relay is not advertised here",
                remedy="let the node's UDP ports through the firewall or NAT",
            )
        case _:
            return Check(
                name=name,
                result="unknown",
                meaning="too few peers in other networks have tried",
            )


def check_nat(is_v6: bool, behaviour: NatBehaviour) -> Check:
    """What stands before the node; whether that harms, the strangers tell."""
    return Check(
        name=f"NAT over {FAMILIES[is_v6]}",
        result="unknown" if behaviour.mapped is None else "ok",
        meaning=str(behaviour),
    )


def check_mapping(mapping: MappingStatus) -> Check:
    """Whether the router has opened the node's ports."""
    name = "port mapping"
    if mapping.error is not None:
        return Check(name=name, result="warning", meaning=mapping.error, remedy=mapping.remedy)
    if mapping.state != "open":
        return Check(name=name, result="unknown", meaning="the router is asked to open the ports")
    return Check(
        name=name,
        result="ok",
        meaning=f"the router keeps the ports of {len(mapping.relay_ports)} channels open "
        f"({mapping.protocol})",
    )


def check_turn(*, offered: bool) -> Check:
    """Whether browsers and other WebRTC programs can use the node."""
    if offered:
        return Check(name="TURN", result="ok", meaning="browsers can use this relay")
    return Check(
        name="TURN",
        result="warning",
        meaning="its port cannot be had, so browsers cannot use this relay; others can",
        remedy="pass another --turn-port, or off; the log says why",
    )


def check_address(*, private: bool, allowed: bool) -> Check:
    """Whether the address of the channels is one that others can use."""
    if private and not allowed:
        return Check(
            name="public address",
            result="failed",
            meaning="the node knows only a private address, which is of no use to strangers",
            remedy="pass --public-address, or --allow-private-peers in a laboratory",
        )
    return Check(
        name="public address",
        result="ok",
        meaning="a private one, for a laboratory" if private else "known",
    )


def check_forwarder(use: KernelUse, *, ready: bool) -> Check:
    """Whether something carries packets, and what."""
    if ready:
        where = "the kernel once they are steady" if use.possible else "userspace"
        meaning = f"takes channels, and forwards calls in {where}"
        if use.lacks:
            what = "all of them" if use.possible else "them"
            meaning += f"; for the kernel to carry {what}, this machine lacks {use.lacks}"
        return Check(name="forwarder", result="ok", meaning=meaning)
    return Check(
        name="forwarder",
        result="failed",
        meaning="it is down, and no channel is lent until it is back",
        remedy="it starts again by itself; the log says why it ended",
    )


def check_lending(free: float, limits: Limits, quota: QuotaUse | None) -> Check:
    """Whether the next one who asks gets a channel."""
    result: Result = "ok"
    meaning, remedy = f"{free:.0%} of the channels are offered", ""
    if free == 0:
        result = "warning"
        meaning = "no channel is offered now: the relay is full, or a limit forbids it"
        remedy = "see --channels, --quota and --hours"
        if quota is not None and quota.bytes - quota.used - quota.reserved < MIN_SLICE:
            meaning, remedy = f"the quota of {quota.name} is used up", "it begins anew by itself"
        elif limits.hours is not None:
            meaning = f"no channel is offered now; the node lends from {limits.hours}"
    return Check(name="lending", result=result, meaning=meaning, remedy=remedy)
