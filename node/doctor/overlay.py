"""Checks of the overlay: the way in, and whether strangers reach the node's UDP port."""

from collections.abc import Mapping

import trio

from node.doctor.findings import Check, Finding, failed, ok, skipped, warning
from node.doctor.patient import Patient, SkippedError
from node.endpoints import FAMILIES
from node.settings.run import KEY_FILE
from overlay.core.addresses import is_private
from overlay.core.reachability.verdict import FEWEST_NETWORKS, Reachability, Verdict
from overlay.dht import RunningPeer
from overlay.state import load_identity

POLL = 0.2  # seconds

JOIN_PATIENCE = 3.0
"""Seconds for more peers to be known than the one that has answered."""

PATIENCE = 10.0
"""Seconds for the verdict of the other address family once there is one."""

ADVERTS = 256
"""Adverts among which the node's own is looked for."""

SEARCH_TIMEOUT = 10.0


async def check_overlay(patient: Patient) -> Finding:
    """Whether the node can join the overlay."""
    peer = await patient.peer.get()
    with trio.move_on_at(patient.deadline):
        await peer.wait_connected()
        if not peer.contacts:
            return warning(
                "no way into the overlay is known, so this node is the first of one of its own",
                "pass --bootstrap host:port of any peer, or xmpp:JID of a relay",
            )
        with trio.move_on_after(JOIN_PATIENCE):
            await peer.wait_joined()
        return ok(f"it is entered; peers that are known: {peer.contacts}")
    return failed(
        f"{peer.trouble or 'no peer of the overlay answered'} within {patient.timeout:g} s",
        "check the bootstrap addresses, and that UDP is not blocked",
    )


async def check_reachability(patient: Patient) -> Finding:
    """Whether strangers reach the node: other peers are asked to have some of them knock."""
    peer = await patient.connected()
    if patient.runs:
        return await _find_own_advert(patient, peer)
    if patient.port_error is not None:
        raise SkippedError("the node's UDP port cannot be had; see ports")
    port = peer.settings.port
    remedy = f"let UDP port {port} and the relay ports through the router and the firewall"
    return await witnessed(patient, peer, "this node", remedy)


async def witnessed(patient: Patient, peer: RunningPeer, what: str, remedy: str) -> Finding:
    """Whether strangers reach a peer, as soon as enough of them have knocked or should have.

    Args:
        patient: Whose peer it is.
        peer: On the port in question.
        what: Is reached or not.
        remedy: If it is not.
    """
    decided: float | None = None
    with trio.move_on_at(patient.deadline):
        await patient.ports_opened()
        await peer.wait_joined()
        while True:
            now = trio.current_time()
            verdicts = {is_v6: one.verdict for is_v6, one in peer.reachability.items()}
            undecided = [is_v6 for is_v6 in verdicts if verdicts[is_v6] is Verdict.UNKNOWN]
            if decided is None and len(undecided) < len(verdicts):
                decided = now
            # Of the other IP version there may be nobody who could tell.
            told = not any(len(peer.neighbours(is_v6)) >= FEWEST_NETWORKS for is_v6 in undecided)
            if decided is not None and (told or now >= decided + PATIENCE):
                break
            if all(is_private(host) for host, _ in peer.endpoints):
                return skipped(
                    "the overlay that was reached is a private network",
                    "forward the ports of the router if it is to be reached from outside",
                )
            if peer.contacts < FEWEST_NETWORKS:
                break
            await trio.sleep(POLL)
    return judge_reachability(peer.reachability, what, remedy)


def judge_reachability(evidence: Mapping[bool, Reachability], what: str, remedy: str) -> Finding:
    """What it means what witnesses say, over IPv4 (False) and IPv6 (True)."""
    said = {
        verdict: " and ".join(
            FAMILIES[is_v6] for is_v6, one in evidence.items() if one.verdict is verdict
        )
        for verdict in Verdict
    }
    knocks = sum(one.heard for one in evidence.values())
    reached, missed = said[Verdict.REACHABLE], said[Verdict.UNREACHABLE]
    if reached and missed:
        return warning(f"strangers reach {what} over {reached}, but not over {missed}", remedy)
    if reached:
        return ok(f"strangers reach {what} over {reached} ({knocks} knocks were heard)")
    if missed:
        return failed(f"strangers do not reach {what} over {missed}", remedy)
    return skipped(
        "too few witnesses: peers of "
        f"{FEWEST_NETWORKS} networks must know strangers to send, and none has yet",
        "try again when the overlay has grown, or with a longer --timeout",
    )


async def _find_own_advert(patient: Patient, peer: RunningPeer) -> Finding:
    """Whether the directory has the advert of the node that runs.

    A peer takes an advert only after the relay has answered it on a fresh socket.
    """
    key_file = patient.settings.state_directory_name() / KEY_FILE
    key = (await trio.to_thread.run_sync(load_identity, key_file)).public_key
    found = 0
    for hurried in (True, False):
        adverts = (await peer.collect_adverts(ADVERTS, SEARCH_TIMEOUT, hurried=hurried)).adverts
        if any(advert.public_key == key for advert in adverts):
            return ok("the node that runs is in the overlay's directory: strangers have reached it")
        found = max(found, len(adverts))
    if found < ADVERTS // 2:
        return failed(
            f"the node that runs is not among the {found} relays of the directory",
            "see what it says: strangers may not reach it; let its UDP ports through the router",
        )
    return skipped(
        f"the node that runs is not among {found} relays that were found at random",
        "stop it, and run the doctor again, to have strangers knock",
    )


OVERLAY_CHECKS = (
    Check("overlay", check_overlay),
    Check("reachability", check_reachability),
)
