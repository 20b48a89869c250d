"""All checks at once: each is bounded in time, and one that crashes costs only its own result."""

import logging

import trio

from node.doctor.findings import Check, Finding, failed, failure, skipped
from node.doctor.machine import MACHINE_CHECKS
from node.doctor.nat import NAT_CHECKS
from node.doctor.overlay import OVERLAY_CHECKS
from node.doctor.patient import Patient, SkippedError, open_patient
from node.doctor.turn import TURN_CHECKS
from node.doctor.xmpp import XMPP_CHECKS
from node.errors import UserError
from node.settings import RunSettings
from overlay import OverlayError

CHECKS: tuple[Check, ...] = (
    *XMPP_CHECKS,
    *OVERLAY_CHECKS,
    *TURN_CHECKS,
    *NAT_CHECKS,
    *MACHINE_CHECKS,
)
"""In the order in which they are shown."""

GRACE = 1.0
"""Seconds that a check has for what it knows when the time is over."""

_log = logging.getLogger(__name__)


async def diagnose(
    settings: RunSettings,
    *,
    s2s_domain: str | None = None,
    timeout: float = 60.0,
    checks: tuple[Check, ...] = CHECKS,
) -> dict[str, Finding]:
    """Run all checks; safe beside a node that runs with the same settings.

    Args:
        settings: What the node is run with.
        s2s_domain: An XMPP server to reach from the node's own.
        timeout: Seconds for all of them together.
        checks: Which.

    Returns:
        What each has found, by its name.

    Raises:
        UsageError: The settings contradict each other.
    """
    settings.check()
    findings: dict[str, Finding] = {}

    async def run(check: Check) -> None:
        findings[check.name] = await _outcome(check, patient)

    async with open_patient(settings, s2s_domain, timeout) as patient, trio.open_nursery() as all_:
        for check in checks:
            all_.start_soon(run, check)
    return {check.name: findings[check.name] for check in checks}


async def _outcome(check: Check, patient: Patient) -> Finding:
    try:
        with trio.move_on_at(patient.deadline + GRACE):
            return await check.find(patient)
    except SkippedError as error:
        return skipped(str(error))
    except (UserError, OverlayError) as error:
        return failure(error)
    except Exception as error:  # noqa: BLE001  (the others go on)
        _log.info("the check %r crashed", check.name, exc_info=error)
        return failed(
            f"the check itself failed: {type(error).__name__}: {error}"[:200],
            "run again with --verbose, and report it",
        )
    return failed(
        f"there is no result after {patient.timeout:g} s", "try again, with a longer --timeout"
    )
