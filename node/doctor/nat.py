"""Checks of what stands before the node: its NAT, and the router that may open ports."""

import secrets

import trio

from node.doctor.findings import Check, Finding, ok, skipped, warning
from node.doctor.patient import Patient
from node.endpoints import FAMILIES
from node.nat.mapping.router import MappingError
from node.nat.mapping.search import find_router
from node.nat.watch import NatWatch


async def check_mapping(patient: Patient) -> Finding:
    """Whether the router opens ports; those of a node that runs are left alone."""
    if patient.runs:
        return await _ask_router(patient)
    mapping = (await patient.mapping.get()).status
    if mapping.state == "open":
        return ok(f"the router {mapping.router} opens ports by {mapping.protocol}")
    if mapping.error is None:
        return skipped("the router has not answered in time", "try again, with a longer --timeout")
    return warning(mapping.error, mapping.remedy)


async def _ask_router(patient: Patient) -> Finding:
    patient.check_router()
    try:
        router = await find_router(secrets.token_bytes(32))
    except MappingError as error:
        return warning(str(error), error.remedy or "see jingle-nodes status")
    return ok(f"the router {router.host} speaks {router.protocol}; the node that runs uses it")


async def check_nat(patient: Patient) -> Finding:
    """What the NAT does, in the terms of RFC 5780: other peers are asked."""
    peer = await patient.connected()
    with trio.move_on_at(patient.deadline):
        if not peer.settings.client:  # a visitor, beside a node that runs, has none to wait for
            await peer.wait_joined()
        await peer.wait_decided(patient.timeout / 2)
        is_opened = await patient.ports_opened()
        watch = NatWatch(peer, is_opened=lambda: is_opened)
        await watch.look()
        told = [
            f"over {FAMILIES[is_v6]}: {behaviour}"
            for is_v6, behaviour in watch.behaviour.items()
            if behaviour.mapped is not None
        ]
        if told:
            return ok("; ".join(told))
    return skipped("no peer that was asked has answered", "try again when more peers are known")


NAT_CHECKS = (
    Check("port mapping", check_mapping),
    Check("NAT behaviour", check_nat),
)
