"""The check of TURN: whether browsers get a relay, from the node's own server or from another."""

from dataclasses import replace

import trio

from node.doctor.findings import Check, Finding, failure, ok, skipped, warning
from node.doctor.overlay import witnessed
from node.doctor.patient import Patient
from overlay import OverlayError
from overlay.core.addresses import Address, format_address, normalise


async def check_turn(patient: Patient) -> Finding:
    """Whether the TURN server's port is reached; the node serves all but browsers without."""
    other, port = patient.settings.other_turn_server(), patient.settings.own_turn_port()
    if other is not None:
        return await _check_other(patient, other[0])
    if not port:
        why = "browsers get no relay" if port is None else "the system is to choose the port"
        return skipped(f"{why}, as --turn-port says")
    if patient.runs:
        return await _check_running(patient, port)
    try:
        peer = await patient.turn_peer.get()
    except OverlayError as error:
        finding = failure(error)
        meaning = f"browsers get no relay: {finding.meaning}"
        return warning(meaning, "pass --turn-port with one that is free, or off")
    await patient.connected()
    remedy = (
        f"let UDP port {port} through the router and the firewall, or browsers get no relay; "
        "or pass --turn-port off"
    )
    finding = await witnessed(patient, peer, f"the TURN server's UDP port {port}", remedy)
    return replace(finding, result="warning") if finding.result == "failed" else finding


async def _check_running(patient: Patient, port: int) -> Finding:
    peer = await patient.peer.get_or_skip("no socket can be had; see overlay")
    if await peer.measure([("127.0.0.1", port)]):
        return ok(
            f"the node that runs answers at UDP port {port}; to have strangers knock there, "
            "stop it and run the doctor again"
        )
    return warning(
        f"nobody answers at UDP port {port} though the node runs, so browsers get no relay",
        "see what it said at its start; pass another --turn-port, or off",
    )


async def _check_other(patient: Patient, server: tuple[str, int]) -> Finding:
    name = format_address(server)
    peer = await patient.peer.get_or_skip("no socket can be had; see overlay")
    try:
        found = await trio.socket.getaddrinfo(*server, type=trio.socket.SOCK_DGRAM)
    except OSError as error:
        reason = error.strerror or str(error)
        return warning(f"the TURN server {name} is not found: {reason}", "check --turn-server")
    addresses: list[Address] = [normalise(str(item[4][0]), server[1]) for item in found]
    if await peer.measure(addresses[:4]):
        return ok(f"the TURN server {name} answers")
    return warning(
        f"the TURN server {name} does not answer over UDP, so browsers get no relay",
        "start it, or let its port through the firewall",
    )


TURN_CHECKS = (Check("TURN", check_turn),)
