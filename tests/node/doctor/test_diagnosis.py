"""All checks together: deadlines, crashes, what depends on what; sessions and peers are fakes."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import trio

from node.doctor import diagnose
from node.doctor.diagnosis import CHECKS
from node.doctor.findings import Check, Finding, ok
from node.doctor.patient import Patient, SkippedError
from node.errors import UsageError
from node.nat.watch import NatWatch
from node.settings import RunSettings
from node.xmpp import XmppError, XmppRefused
from overlay import OverlayError
from overlay.core.addresses import Address
from overlay.core.reachability.verdict import Reachability, Verdict
from overlay.settings import PeerSettings

UNKNOWN = Reachability(Verdict.UNKNOWN, 0, 0, 0)
OVERLAY = ("overlay", "reachability")
XMPP = ("XMPP login", "s2s", "clock")


def named(*names: str) -> tuple[Check, ...]:
    return tuple(check for check in CHECKS if check.name in names)


@dataclass
class FakePeer:
    """A peer that somebody answers at once, and that is judged after a while."""

    verdicts: dict[float, dict[bool, Reachability]] = field(default_factory=dict)
    endpoints: tuple[Address, ...] = (("45.1.0.2", 4278),)
    contacts: int = 5
    contacts_v6: int = 3
    answers: bool = True
    trouble: str = "no bootstrap peer answered over IPv4"
    settings: Any = field(default_factory=lambda: RunSettings(port=4278))
    adverts: tuple[Any, ...] = ()
    joins_after: float = 0.5

    @property
    def reachability(self) -> dict[bool, Reachability]:
        passed = [at for at in self.verdicts if at <= trio.current_time() - self.started]
        return self.verdicts[max(passed)] if passed else {False: UNKNOWN, True: UNKNOWN}

    def neighbours(self, is_v6: bool) -> list[Address]:
        count = self.contacts_v6 if is_v6 else self.contacts - self.contacts_v6
        return [("45.1.0.3", 4278)] * count

    async def wait_connected(self) -> None:
        self.started = trio.current_time()
        if not self.answers:
            await trio.sleep_forever()

    async def wait_joined(self) -> None:
        await trio.sleep(self.joins_after)

    async def wait_decided(self, timeout: float) -> None:
        assert timeout > 0

    async def collect_adverts(self, wanted: int, timeout: float, *, hurried: bool) -> Any:
        return self

    async def measure(self, endpoints: list[Address]) -> dict[Address, None]:
        return dict.fromkeys(endpoints)


@dataclass
class FakeSession:
    """A session whose server knows some domains, and says of others what is wrong."""

    domains: dict[str, str | None] = field(default_factory=dict)
    time: float | None = None
    jid: str = "relay@example.org/doctor"

    async def ping(self, jid: str, *, timeout: float) -> None:
        condition = self.domains[jid]
        if condition == "silence":
            await trio.sleep(timeout)
            raise XmppError(f"{jid} does not answer within {timeout:g} s; ask another relay")
        if condition is not None:
            raise XmppRefused(jid, condition, "cancel", "")

    async def request_time(self, jid: str, *, timeout: float) -> float:
        if self.time is None:
            raise XmppRefused(jid, "service-unavailable", "cancel", "")
        return self.time


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The session and the peer that a patient gets; an error is what opening raises."""
    fakes: dict[str, Any] = {
        "session": FakeSession(),
        "peer": FakePeer(),
        "turn_peer": FakePeer(),
    }

    def opening(name: str) -> Any:
        @asynccontextmanager
        async def open_it(patient: Patient) -> AsyncIterator[Any]:
            if isinstance(fakes[name], Exception):
                raise fakes[name]
            yield fakes[name]

        return open_it

    monkeypatch.setattr(Patient, "open_session", opening("session"))
    monkeypatch.setattr(Patient, "open_peer", opening("peer"))
    monkeypatch.setattr(Patient, "open_turn_peer", opening("turn_peer"))
    return fakes


@pytest.fixture
def settings(tmp_path: Path) -> RunSettings:
    return RunSettings(jid="relay@example.org", port=0, state_dir=tmp_path / "state")


def test_every_check_has_a_name_of_its_own() -> None:
    names = [check.name for check in CHECKS]
    assert len(set(names)) == len(names)
    assert {*XMPP, *OVERLAY, "ports", "file limits", "kernel forwarding"} <= set(names)


async def test_a_check_that_crashes_or_hangs_costs_only_its_own_result(
    settings: RunSettings,
    fakes: dict[str, Any],
    autojump_clock: trio.abc.Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def crash(_: Patient) -> Finding:
        raise ZeroDivisionError("by zero")

    async def hang(_: Patient) -> Finding:
        await trio.sleep_forever()

    async def well(_: Patient) -> Finding:
        await trio.sleep(1)
        return ok("well")

    async def skip(_: Patient) -> Finding:
        raise SkippedError("nothing to see")

    checks = (Check("c", crash), Check("h", hang), Check("w", well), Check("s", skip))
    caplog.set_level(logging.INFO)
    findings = await diagnose(settings, timeout=20, checks=checks)
    assert list(findings) == ["c", "h", "w", "s"]
    assert "ZeroDivisionError: by zero" in findings["c"].meaning
    assert "no result after 20 s" in findings["h"].meaning
    results = [finding.result for finding in findings.values()]
    assert results == ["failed", "failed", "ok", "skipped"]
    assert "Traceback" in caplog.text


async def test_checks_of_what_could_not_be_opened_are_skipped(
    settings: RunSettings, fakes: dict[str, Any], autojump_clock: trio.abc.Clock
) -> None:
    fakes["session"] = XmppError("the server does not let you log in; check the password")
    fakes["peer"] = ZeroDivisionError("broken")
    findings = await diagnose(settings, checks=named(*XMPP, *OVERLAY))
    login = findings["XMPP login"]
    assert (login.result, login.remedy) == ("failed", "check the password")
    assert "ZeroDivisionError: broken" in findings["overlay"].meaning
    assert {findings[name].result for name in ("s2s", "clock", "reachability")} == {"skipped"}


async def test_a_node_without_an_account_is_told_how_to_get_on(
    settings: RunSettings, fakes: dict[str, Any]
) -> None:
    login = (await diagnose(replace(settings, jid=None), checks=named("XMPP login")))["XMPP login"]
    assert login.result == "failed"
    assert "jingle-nodes init" in login.remedy


async def test_settings_that_contradict_each_other_are_no_finding(settings: RunSettings) -> None:
    wrong = RunSettings(component="relay.example.org", policy="roster")
    with pytest.raises(UsageError, match="no roster"):
        await diagnose(wrong, checks=())


@pytest.mark.parametrize(
    ("condition", "result", "said"),
    [
        (None, "ok", "other.example is reached"),
        ("service-unavailable", "ok", "other.example is reached"),
        ("remote-server-not-found", "failed", "finds no server of other.example"),
        ("remote-server-timeout", "failed", "the server of other.example does not answer"),
        ("not-allowed", "failed", "passes nothing on to other.example"),
        ("silence", "failed", "does not answer within 20 s"),
    ],
)
async def test_another_server(
    settings: RunSettings,
    fakes: dict[str, Any],
    autojump_clock: trio.abc.Clock,
    condition: str | None,
    result: str,
    said: str,
) -> None:
    fakes["session"].domains["other.example"] = condition
    checks = named("s2s")
    finding = (await diagnose(settings, s2s_domain="other.example", checks=checks))["s2s"]
    assert finding.result == result
    assert said in finding.meaning
    assert bool(finding.remedy) == (result != "ok")


async def test_the_servers_of_relays_are_tried(
    settings: RunSettings, fakes: dict[str, Any], autojump_clock: trio.abc.Clock
) -> None:
    entrances = ("xmpp:relay@example.org/own", "xmpp:relay.example.org", "xmpp:one.example")
    settings = RunSettings(**{**vars(settings), "bootstrap": entrances})
    domains = fakes["session"].domains
    domains["one.example"] = "remote-server-not-found"

    async def s2s() -> Finding:
        return (await diagnose(settings, checks=named("s2s")))["s2s"]

    assert (await s2s()).result == "warning"  # the fault may be theirs
    fakes["peer"].adverts = tuple(_advert(jid) for jid in ("a@two.example/b", "\0", "one.example"))
    domains["two.example"] = "remote-server-timeout"
    assert (await s2s()).result == "failed"
    domains["two.example"] = None
    assert (await s2s()).meaning.startswith("two.example is reached")


def _advert(jid: str) -> Any:
    @dataclass
    class Advert:
        jid: str
        public_key: bytes = b""

        @property
        def offer(self) -> Any:
            return self

    return Advert(jid)


async def test_a_server_that_does_not_tell_the_time(
    settings: RunSettings, fakes: dict[str, Any]
) -> None:
    finding = (await diagnose(settings, checks=named("clock")))["clock"]
    assert finding.result == "skipped"
    assert "example.org does not tell the time" in finding.meaning


async def test_nobody_of_the_overlay_answers(
    settings: RunSettings, fakes: dict[str, Any], autojump_clock: trio.abc.Clock
) -> None:
    fakes["peer"].answers = False
    findings = await diagnose(settings, timeout=30, checks=named(*OVERLAY))
    assert findings["overlay"].result == "failed"
    assert "no bootstrap peer answered over IPv4 within 30 s" in findings["overlay"].meaning
    assert findings["reachability"].result == "skipped"


async def test_the_first_peer_is_told_that_it_is_alone(
    settings: RunSettings, fakes: dict[str, Any], autojump_clock: trio.abc.Clock
) -> None:
    fakes["peer"].contacts = 0
    findings = await diagnose(settings, checks=named(*OVERLAY))
    assert findings["overlay"].result == "warning"
    assert "--bootstrap" in findings["overlay"].remedy


REACHED, MISSED = (
    Reachability(Verdict.REACHABLE, 3, 0, 0),
    Reachability(Verdict.UNREACHABLE, 0, 12, 0),
)


@pytest.mark.parametrize(
    ("verdicts", "result", "after"),
    [
        ({5.0: {False: REACHED, True: UNKNOWN}}, "ok", 15.0),
        ({5.0: {False: REACHED, True: UNKNOWN}, 9.0: {False: REACHED, True: MISSED}}, "warning", 9),
        ({5.0: {False: MISSED, True: MISSED}}, "failed", 5.0),
        ({}, "skipped", 60.0),
    ],
)
async def test_witnesses_are_waited_for(
    settings: RunSettings,
    fakes: dict[str, Any],
    autojump_clock: trio.abc.Clock,
    verdicts: dict[float, dict[bool, Reachability]],
    result: str,
    after: float,
) -> None:
    fakes["peer"].verdicts = verdicts
    started = trio.current_time()
    findings = await diagnose(settings, timeout=60, checks=named("reachability"))
    assert findings["reachability"].result == result
    assert trio.current_time() - started == pytest.approx(after, abs=0.5)


async def test_without_peers_of_the_other_ip_version_the_first_verdict_is_enough(
    settings: RunSettings, fakes: dict[str, Any], autojump_clock: trio.abc.Clock
) -> None:
    fakes["peer"].verdicts = {5.0: {False: REACHED, True: UNKNOWN}}
    fakes["peer"].contacts_v6 = 2
    started = trio.current_time()
    findings = await diagnose(settings, timeout=60, checks=named("reachability"))
    assert findings["reachability"].result == "ok"
    assert trio.current_time() - started == pytest.approx(5, abs=0.5)


@pytest.mark.parametrize(
    ("verdicts", "result", "said"),
    [
        ({False: REACHED, True: UNKNOWN}, "ok", "reach the TURN server's UDP port 3478 over IPv4"),
        ({False: REACHED, True: MISSED}, "warning", "over IPv4, but not over IPv6"),
        ({False: MISSED, True: MISSED}, "warning", "do not reach the TURN server's UDP port 3478"),
        ({False: UNKNOWN, True: UNKNOWN}, "skipped", "too few witnesses"),
    ],
)
async def test_witnesses_knock_at_the_port_of_turn(
    settings: RunSettings,
    fakes: dict[str, Any],
    autojump_clock: trio.abc.Clock,
    verdicts: dict[bool, Reachability],
    result: str,
    said: str,
) -> None:
    fakes["turn_peer"].verdicts = {5.0: verdicts}
    await fakes["turn_peer"].wait_connected()
    finding = (await diagnose(settings, checks=named("TURN")))["TURN"]
    assert finding.result == result
    assert said in finding.meaning
    assert ("UDP port 3478" in finding.remedy) == (result == "warning")


async def test_a_port_of_turn_that_cannot_be_had_costs_only_browsers(
    settings: RunSettings, fakes: dict[str, Any]
) -> None:
    fakes["turn_peer"] = OverlayError("cannot use UDP port 3478: in use; pass another --port")
    finding = (await diagnose(settings, checks=named("TURN")))["TURN"]
    assert finding.result == "warning"
    assert finding.meaning == "browsers get no relay: cannot use UDP port 3478: in use"
    assert "--turn-port" in finding.remedy


@pytest.mark.parametrize(
    ("port", "said"), [("off", "browsers get no relay"), ("0", "the system is to choose")]
)
async def test_no_port_of_turn(
    settings: RunSettings, fakes: dict[str, Any], port: str, said: str
) -> None:
    finding = (await diagnose(replace(settings, turn_port=port), checks=named("TURN")))["TURN"]
    assert finding.result == "skipped"
    assert said in finding.meaning


async def test_few_peers_are_not_waited_for(
    settings: RunSettings, fakes: dict[str, Any], autojump_clock: trio.abc.Clock
) -> None:
    fakes["peer"].contacts = 2
    started = trio.current_time()
    finding = (await diagnose(settings, checks=named("reachability")))["reachability"]
    assert finding.result == "skipped"
    assert trio.current_time() - started < 1


async def test_a_private_overlay_has_no_witnesses(
    settings: RunSettings, fakes: dict[str, Any], autojump_clock: trio.abc.Clock
) -> None:
    fakes["peer"].endpoints = (("192.168.1.2", 4278),)
    finding = (await diagnose(settings, checks=named("reachability")))["reachability"]
    assert finding.result == "skipped"
    assert "private network" in finding.meaning


@pytest.mark.parametrize(("visits", "after"), [(True, 0.0), (False, 10.0)])
async def test_a_visitor_of_the_overlay_is_not_waited_for_until_it_joins(
    settings: RunSettings,
    fakes: dict[str, Any],
    autojump_clock: trio.abc.Clock,
    monkeypatch: pytest.MonkeyPatch,
    visits: bool,
    after: float,
) -> None:
    async def see_nothing(_: NatWatch) -> None:
        pass

    monkeypatch.setattr(NatWatch, "look", see_nothing)
    fakes["peer"].joins_after = 10.0
    fakes["peer"].settings = PeerSettings(client=visits)
    started = trio.current_time()
    await diagnose(settings, checks=named("NAT behaviour"))
    assert trio.current_time() - started == pytest.approx(after, abs=0.5)
