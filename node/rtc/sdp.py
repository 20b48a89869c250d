"""Jingle's contents as the descriptions that aiortc takes, and back (XEP-0167 section 6).

A call has one content, audio over ICE-UDP with DTLS-SRTP. Only what is understood here goes into a
description: names of formats and addresses that were read and checked, and no text of a stranger.
"""

from typing import Final

from aiortc import RTCDtlsFingerprint, RTCSessionDescription
from aiortc.rtcdtlstransport import RTCDtlsParameters
from aiortc.rtcicetransport import RTCIceCandidate, RTCIceParameters
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.sdp import (
    DTLS_ROLE_SETUP,
    DTLS_SETUP_ROLE,
    MediaDescription,
    SessionDescription,
)

from node.xmpp import Content, Fingerprint, IceCandidate, IceTransport, PayloadType, RtpDescription
from overlay.core.errors import LocalProtocolError

NAME: Final = "voice"
_MID: Final = "0"

_STATIC: Final = {0: ("PCMU", 8000), 8: ("PCMA", 8000), 9: ("G722", 8000)}  # RFC 3551 section 6
_FORMATS: Final = frozenset({"opus", "pcmu", "pcma", "g722"})
_NOT_WITH_RTCP: Final = range(64, 96)  # RFC 5761 section 4
_DIRECTIONS: Final = {
    ("both", True): "sendrecv",
    ("both", False): "sendrecv",
    ("initiator", True): "sendonly",
    ("initiator", False): "recvonly",
    ("responder", True): "recvonly",
    ("responder", False): "sendonly",
    ("none", True): "inactive",
    ("none", False): "inactive",
}
"""By senders of a content, and whether it is the initiator's description."""


class IncompatibleError(Exception):
    """What the other side offers cannot be a call of ours.

    Attributes:
        condition: The reason to end it with (XEP-0166 section 7.4).
    """

    def __init__(self, condition: str, text: str) -> None:
        super().__init__(text)
        self.condition = condition


def audio_of(contents: tuple[Content, ...]) -> Content:
    """The content of an offer or an answer that is a call.

    Raises:
        IncompatibleError: There is none.
    """
    audio = [
        content
        for content in contents
        if isinstance(content.description, RtpDescription) and content.description.media == "audio"
    ]
    if not audio:
        raise IncompatibleError("unsupported-applications", "there is no audio in it")
    over_ice = [content for content in audio if isinstance(content.transport, IceTransport)]
    if not over_ice:
        raise IncompatibleError("unsupported-transports", "its media does not go over ICE")
    return over_ice[0]


def description_of(content: Content, *, offer: bool) -> RTCSessionDescription:
    """The description that a content is.

    Args:
        content: As `audio_of` returns it.
        offer: Whether it is the initiator's.

    Raises:
        IncompatibleError: Something is not there that a call needs.
    """
    description, transport = content.description, content.transport
    if not isinstance(description, RtpDescription) or not isinstance(transport, IceTransport):
        raise IncompatibleError("unsupported-transports", "its media does not go over ICE")
    if transport.fingerprint is None:
        raise IncompatibleError("security-error", "its media is not encrypted")
    if transport.ufrag is None or not description.rtcp_mux:
        raise IncompatibleError(
            "incompatible-parameters", "it has no ICE credentials, or a port of its own for RTCP"
        )
    if not offer and transport.fingerprint.setup == "actpass":
        raise IncompatibleError("security-error", "the answer does not choose a DTLS role")
    codecs = _codecs(description)
    if not codecs:
        raise IncompatibleError("failed-application", "there is no audio format that both know")
    media = MediaDescription("audio", 9, "UDP/TLS/RTP/SAVPF", [one.payloadType for one in codecs])
    media.direction = _DIRECTIONS[content.senders, offer]
    media.host, media.rtcp_host, media.rtcp_port, media.rtcp_mux = "0.0.0.0", "0.0.0.0", 9, True  # noqa: S104
    media.rtp.muxId = _MID
    media.rtp.codecs = codecs
    media.ice = RTCIceParameters(usernameFragment=transport.ufrag, password=transport.pwd)
    media.ice_candidates = [candidate_of(one) for one in transport.candidates]
    media.dtls = RTCDtlsParameters(
        fingerprints=[RTCDtlsFingerprint(transport.fingerprint.hash, transport.fingerprint.value)],
        role=DTLS_SETUP_ROLE[transport.fingerprint.setup],
    )
    session = SessionDescription()
    session.origin = "- 1 1 IN IP4 0.0.0.0"
    session.media = [media]
    return RTCSessionDescription(sdp=str(session), type="offer" if offer else "answer")


def content_of(description: RTCSessionDescription, name: str = NAME) -> Content:
    """The content that a description of aiortc is.

    Args:
        description: With candidates.
        name: What the initiator calls the content.

    Raises:
        LocalProtocolError: It has no ICE credentials, or no fingerprint.
    """
    (media,) = SessionDescription.parse(description.sdp).media
    if media.dtls is None or media.ice is None:
        raise LocalProtocolError("a description without ICE or DTLS")  # aiortc makes none
    fingerprint = next(one for one in media.dtls.fingerprints if one.algorithm == "sha-256")
    return Content(
        name,
        description=RtpDescription("audio", tuple(_payload_type(one) for one in media.rtp.codecs)),
        transport=IceTransport(
            media.ice.usernameFragment,
            media.ice.password,
            tuple(_ice_candidate(one) for one in media.ice_candidates),
            Fingerprint("sha-256", fingerprint.value, DTLS_ROLE_SETUP[media.dtls.role]),
        ),
    )


def candidate_of(candidate: IceCandidate) -> RTCIceCandidate:
    """A candidate as aiortc has it."""
    return RTCIceCandidate(
        component=candidate.component,
        foundation=candidate.foundation,
        ip=candidate.ip,
        port=candidate.port,
        priority=candidate.priority,
        protocol="udp",
        # An address that the other side calls peer-reflexive is one that it can be reached at.
        type="srflx" if candidate.type == "prflx" else candidate.type,
        relatedAddress=candidate.rel_addr,
        relatedPort=candidate.rel_port,
        sdpMLineIndex=0,
    )


def _ice_candidate(candidate: RTCIceCandidate) -> IceCandidate:
    return IceCandidate(
        candidate.ip,
        candidate.port,
        candidate.type,
        candidate.priority,
        candidate.foundation,
        candidate.component,
        candidate.relatedAddress,
        candidate.relatedPort,
    )


def _codecs(description: RtpDescription) -> list[RTCRtpCodecParameters]:
    codecs = []
    for one in description.payload_types:
        static = _STATIC.get(one.id, (one.name, one.clockrate))
        name, rate = (one.name, one.clockrate) if one.name else static
        rate = rate or static[1]
        if name.lower() in _FORMATS and rate and one.id not in _NOT_WITH_RTCP:
            codecs.append(
                RTCRtpCodecParameters(
                    mimeType=f"audio/{name}",
                    clockRate=rate,
                    channels=one.channels,
                    payloadType=one.id,
                )
            )
    return codecs


def _payload_type(codec: RTCRtpCodecParameters) -> PayloadType:
    return PayloadType(
        codec.payloadType or 0,
        codec.name,
        codec.clockRate,
        codec.channels or 1,
        tuple((name, str(value)) for name, value in codec.parameters.items()),
    )
