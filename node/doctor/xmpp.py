"""Checks of XMPP: the login, other servers, and the clock beside the server's."""

import time

import trio

from node.doctor.findings import Check, Finding, failed, failure, ok, skipped, warning
from node.doctor.patient import Patient, SkippedError
from node.xmpp import Session, XmppError, XmppRefused
from node.xmpp.account import parse_jid
from node.xmpp.errors import UNREACHED
from overlay.core.directory.records import CLOCK_SKEW

S2S_TIMEOUT = 20.0
"""Seconds for the first stanza between two servers: DNS, TLS and SASL in both directions."""

TIME_TIMEOUT = 10.0

MAX_DOMAINS = 3
"""Servers of relays that are tried; one that answers is enough."""

SAMPLE = 64
"""Adverts among which servers are looked for."""

SEARCH_TIMEOUT = 5.0

CLOCK_WARNING = 30.0
"""Seconds; a clock that a time service keeps is never as far off."""

CLOCK_PRECISION = 2.0
"""Seconds; servers tell whole ones, and the answer takes its time."""

_UNREACHED = {
    **UNREACHED,
    "not-allowed": (
        "the server passes nothing on to {domain}",
        "have its administrator enable connections to other servers (s2s)",
    ),
}
"""What an error of one's own server means (RFC 6120 section 8.3.3), and what to do. Any other
error came from the other domain, so that is reached."""


async def check_login(patient: Patient) -> Finding:
    """Whether the account or the component can log in."""
    if patient.settings.jid is None and patient.settings.component is None:
        return failed(
            "neither an XMPP account nor a component is given",
            "let jingle-nodes init write a file of settings, and pass it with --config",
        )
    session = await patient.session.get()
    return ok(f"logged in as {session.jid}")


async def check_s2s(patient: Patient) -> Finding:
    """Whether other servers are reached from the node's own: most borrowers are there."""
    session = await patient.logged_in()
    if patient.s2s_domain is not None:
        return await _reach(session, patient.s2s_domain)
    domains = await _foreign_domains(patient)
    if not domains:
        return skipped("no relay of another server is known", "name a server with --s2s-domain")
    found: list[Finding] = []

    async def reach(domain: str) -> None:
        found.append(await _reach(session, domain))
        if found[-1].result == "ok":
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for domain in domains[:MAX_DOMAINS]:
            nursery.start_soon(reach, domain)
    if reached := [finding for finding in found if finding.result == "ok"]:
        return reached[0]
    # They are strangers: the fault may well be theirs.
    return warning(found[0].meaning, found[0].remedy) if len(domains) == 1 else found[0]


async def check_clock(patient: Patient) -> Finding:
    """Whether the clock is near that of the server (XEP-0202): adverts expire by it."""
    session = await patient.logged_in()
    asked = time.time()
    try:
        theirs = await session.request_time(patient.domain, timeout=TIME_TIMEOUT)
    except XmppError:
        return skipped(
            f"{patient.domain} does not tell the time (XEP-0202)",
            "see that a time service runs: timedatectl",
        )
    answered = time.time()
    return judge_clock(theirs - (asked + answered) / 2, patient.domain)


def judge_clock(ahead: float, server: str) -> Finding:
    """What it means that a server's clock is so many seconds ahead of ours."""
    off = f"the clock is {abs(ahead):.0f} s {'behind' if ahead > 0 else 'ahead of'} {server}'s"
    remedy = "have a time service set it: timedatectl set-ntp true"
    if abs(ahead) > CLOCK_SKEW:
        return failed(f"{off}: no peer takes an advert that is so far off", remedy)
    if abs(ahead) > CLOCK_WARNING:
        return warning(f"{off}; {CLOCK_SKEW:.0f} s is the most that peers put up with", remedy)
    return ok(f"the clock agrees with {server}'s" if abs(ahead) < CLOCK_PRECISION else off)


async def _reach(session: Session, domain: str) -> Finding:
    started = trio.current_time()
    try:
        await session.ping(domain, timeout=S2S_TIMEOUT)
    except XmppRefused as error:
        if error.condition in _UNREACHED:
            meaning, remedy = (text.format(domain=domain) for text in _UNREACHED[error.condition])
            return failed(f"{meaning} ({error.text or error.condition})", remedy)
    except XmppError as error:
        return failed(failure(error).meaning, _UNREACHED["remote-server-timeout"][1])
    return ok(f"{domain} is reached ({trio.current_time() - started:.1f} s)")


async def _foreign_domains(patient: Patient) -> list[str]:
    """Domains of relays that are not of the node's own server: those that it is given first."""
    jids = list(patient.settings.bootstrap_relays)
    try:
        peer = await patient.connected()
        await peer.wait_decided(patient.timeout / 2)
        found = await peer.collect_adverts(SAMPLE, SEARCH_TIMEOUT, hurried=True)
        jids += [advert.offer.jid for advert in found.adverts]
    except SkippedError:
        pass
    domains = []
    for jid in jids:
        try:
            domain = str(parse_jid(jid).domain)
        except XmppError:
            continue  # adverts are strangers' words
        if not f".{domain}".endswith(f".{patient.domain}"):
            domains.append(domain)
    return list(dict.fromkeys(domains))


XMPP_CHECKS = (
    Check("XMPP login", check_login),
    Check("s2s", check_s2s),
    Check("clock", check_clock),
)
