"""``jingle-nodes call``: an audio call, made or taken."""

import json
import math
import sys
from dataclasses import asdict
from functools import partial
from typing import Any

from node.client import open_client
from node.commands.output import printable, say
from node.commands.signals import ended_by_signal
from node.errors import UsageError, UserError
from node.rtc.audio import Microphone, Silence, Sink, Source, Speaker, Tone, WavSink, WavSource
from node.rtc.line import Line
from node.rtc.talk import CallReport
from node.settings import AccountSettings, AudioSettings, OverlaySettings
from node.xmpp.account import parse_jid
from node.xmpp.bridge import open_bridge

LOGIN_TIMEOUT = 15.0
"""Seconds to connect and log in."""

RING, MAX_RING = 60.0, 170.0
"""Seconds that it rings if nothing else is said, and at most: the other end may hang up then."""

DEFAULT_TONE = 440  # Hz


async def call(
    account: AccountSettings,
    overlay: OverlaySettings,
    audio: AudioSettings,
    peer: str | None,
    answer: bool,
    relays: tuple[str, ...],
    seconds: float | None,
    timeout: float | None,
    as_json: bool,
) -> None:
    """Hold one call, and print what it was like.

    Raises:
        UserError: It came to nothing.
    """
    audio.check()
    if not overlay.bootstrap and not relays:
        raise UsageError(
            "a relay may be needed, and is found through the overlay: pass --bootstrap host:port "
            "of any peer, or --relay JID of one that you know"
        )
    if not answer and (peer is None or not parse_jid(peer).resource):
        raise UsageError(
            "whom to call is missing, or lacks the resource: pass user@domain/resource, "
            "or --answer to wait for a call"
        )
    if not answer and timeout is not None and timeout > MAX_RING:
        raise UsageError(f"--timeout {timeout:g} is too long: it rings for {MAX_RING:g} s at most")
    _source(audio).stop()  # what cannot be used is told before anybody is called
    _sink(audio).close()
    report: CallReport | None = None
    async with (
        ended_by_signal() as interruption,
        open_bridge() as bridge,
        open_client(
            account.account(),
            overlay.bootstrap_addresses,
            relays=overlay.bootstrap_relays,
            timeout=LOGIN_TIMEOUT,
            stays=True,
        ) as client,
    ):
        source, sink = partial(_source, audio), partial(_sink, audio)
        line = Line(client, bridge, source, sink, relays, interruption.ends_only_this)
        await line.look_around()
        if answer:
            patience = math.inf if timeout is None else timeout
            report = await line.answer(peer, seconds, lambda: _announce(client.jid), patience)
        elif peer is not None:
            report = await line.call(peer, seconds, RING if timeout is None else timeout)
    if report is None:
        raise UserError("interrupted before there was a call")
    say(json.dumps(_as_json(report)) if as_json else _as_text(report))


def _source(audio: AudioSettings) -> Source:
    if audio.microphone:
        return Microphone()
    return WavSource(audio.play) if audio.play else Tone(audio.tone or DEFAULT_TONE)


def _sink(audio: AudioSettings) -> Sink:
    if audio.speaker:
        return Speaker()
    return WavSink(audio.record) if audio.record else Silence()


def _announce(jid: str) -> None:
    print(f"waiting for a call at {printable(jid)}", file=sys.stderr, flush=True)


def _as_json(report: CallReport) -> dict[str, Any]:
    flat = asdict(report)
    media: dict[str, Any] = flat.pop("media")
    return flat | media


def _as_text(report: CallReport) -> str:
    media = report.media
    path = f"through {report.relay}" if report.relay else "without a relay of ours"
    rtt = "" if media.rtt_ms is None else f", round trip {media.rtt_ms} ms"
    who = "the other end" if report.ended_by_peer else "this end"
    return (
        f"{printable(report.peer)}: {report.seconds:.1f} s {path}, sound after "
        f"{report.setup_ms:.0f} ms; {media.sent} packets sent, {media.received} received, "
        f"{media.lost} lost{rtt}; {who} hung up ({report.reason})"
    )
