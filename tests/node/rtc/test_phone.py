"""Two phones on loopback, with Jingle's contents between them; and what cannot be a call."""

from array import array
from dataclasses import replace

import aioice.ice
import anyio
import pytest

from node.rtc.audio import RATE, Tone
from node.rtc.ice_restart import MAX_CANDIDATES
from node.rtc.phone import Phone
from node.rtc.sdp import IncompatibleError, audio_of, candidate_of, description_of
from node.xmpp import Content, Fingerprint, IceTransport, PayloadType, RawTransport, RtpDescription
from simulations.lab.tone import dominant
from tests.node.xmpp.jingle.stanzas import CANDIDATE, TRANSPORT, VOICE


class Ear:
    """A sink that keeps all."""

    def __init__(self) -> None:
        self.heard = b""
        self.closed = False

    async def write(self, samples: bytes) -> None:
        self.heard += samples

    def close(self) -> None:
        self.closed = True


def test_two_phones(monkeypatch: pytest.MonkeyPatch) -> None:
    # aioice leaves the loopback address out, which is right everywhere else.
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda **_: ["127.0.0.1"])
    ears = Ear(), Ear()

    async def test() -> None:
        romeo = Phone(Tone(440), ears[0], None)
        juliet = Phone(Tone(660), ears[1], None)
        try:
            offer = await romeo.offer()
            assert isinstance(offer.transport, IceTransport)
            assert offer.transport.fingerprint is not None
            assert offer.transport.fingerprint.setup == "actpass"
            (candidate,) = offer.transport.candidates
            # Trickled: the offer comes without a candidate, and that comes after.
            bare = replace(
                offer, name="a name; of=theirs", transport=replace(offer.transport, candidates=())
            )
            answer = await juliet.take_offer(bare)
            assert answer.name == "a name; of=theirs"
            await romeo.take_answer(answer)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(romeo.listen)
                tasks.start_soon(juliet.listen)
                await juliet.add_candidates([candidate])
                with anyio.fail_after(10):
                    assert await romeo.wait_path()
                    assert await juliet.wait_path()
                    await romeo.wait_heard()
                    while len(ears[0].heard) < RATE or len(ears[1].heard) < RATE:
                        await anyio.sleep(0.01)
                assert await juliet.sends_to() == (candidate.ip, candidate.port)
                media = await romeo.report()
                assert media.sent > 0
                assert media.received > 0
                await romeo.close()
                with anyio.fail_after(5):
                    await juliet.wait_lost()
                await juliet.close()
        finally:
            await romeo.close()
            await juliet.close()

    anyio.run(test)
    assert [dominant(array("h", ear.heard))[0] for ear in ears] == [660, 440]
    assert [ear.closed for ear in ears] == [True, True]


WITHOUT_FINGERPRINT = replace(TRANSPORT, fingerprint=None)
ACTIVE = replace(TRANSPORT, fingerprint=Fingerprint("sha-256", "00", "active"))


def of(*payload_types: PayloadType, media: str = "audio", rtcp_mux: bool = True) -> Content:
    return replace(VOICE, description=RtpDescription(media, payload_types, rtcp_mux))


OPUS = PayloadType(96, "opus", 48000, 2)


@pytest.mark.parametrize(
    ("content", "condition"),
    [
        (Content("x", transport=TRANSPORT), "unsupported-applications"),
        (of(OPUS, media="video"), "unsupported-applications"),
        (replace(VOICE, transport=RawTransport()), "unsupported-transports"),
        (replace(VOICE, transport=WITHOUT_FINGERPRINT), "security-error"),
        (replace(VOICE, transport=replace(TRANSPORT, ufrag=None)), "incompatible-parameters"),
        (of(OPUS, rtcp_mux=False), "incompatible-parameters"),
        (of(), "failed-application"),
        (of(PayloadType(96, "speex", 8000)), "failed-application"),
        (of(PayloadType(96, "opus")), "failed-application"),
        (of(PayloadType(72, "opus", 48000)), "failed-application"),
    ],
)
def test_offers_that_cannot_be_a_call(content: Content, condition: str) -> None:
    with pytest.raises(IncompatibleError) as caught:
        description_of(audio_of((content,)), offer=True)
    assert caught.value.condition == condition


def test_an_answer_chooses_a_role() -> None:
    with pytest.raises(IncompatibleError) as caught:
        description_of(VOICE, offer=False)
    assert caught.value.condition == "security-error"
    sdp = description_of(replace(VOICE, transport=ACTIVE), offer=False).sdp
    assert "a=setup:active\r\n" in sdp


def test_formats_that_nobody_here_has_are_refused_by_the_phone() -> None:
    wrong = of(PayloadType(96, "opus", 8000))

    async def test() -> None:
        phone = Phone(Tone(440), Ear(), None)
        try:
            with pytest.raises(IncompatibleError) as caught:
                await phone.take_offer(wrong)
            assert caught.value.condition == "incompatible-parameters"
        finally:
            await phone.close()

    anyio.run(test)


@pytest.mark.parametrize(
    ("senders", "direction"),
    [
        ("both", "sendrecv"),
        ("initiator", "sendonly"),
        ("responder", "recvonly"),
        ("none", "inactive"),
    ],
)
def test_who_sends(senders: str, direction: str) -> None:
    content = replace(VOICE, senders=senders)
    assert f"a={direction}\r\n" in description_of(content, offer=True).sdp


def test_static_formats_have_the_names_of_rfc_3551() -> None:
    assert "a=rtpmap:8 PCMA/8000\r\n" in description_of(of(PayloadType(8, "")), offer=True).sdp


def test_a_peer_reflexive_candidate_is_one_to_send_to() -> None:
    assert candidate_of(replace(CANDIDATE, type="prflx")).type == "srflx"


def test_no_more_candidates_are_taken_than_can_be_checked() -> None:
    async def test() -> None:
        romeo, juliet = Phone(Tone(440), Ear(), None), Phone(Tone(660), Ear(), None)
        try:
            await juliet.take_offer(await romeo.offer())
            many = [replace(CANDIDATE, port=port) for port in range(1, 2 * MAX_CANDIDATES)]
            await juliet.add_candidates(many[:3])
            await juliet.add_candidates(many[3:])
            assert len(juliet._agent.ice().remote_candidates) == MAX_CANDIDATES
        finally:
            await romeo.close()
            await juliet.close()

    anyio.run(test)
