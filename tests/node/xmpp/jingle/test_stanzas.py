"""What is written, against literal XML; what is read, also when it is wrong, doubled or huge."""

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.xmpp.xep_0166 import Action, Content, Part, Reason, Request, Unknown
from node.xmpp.xep_0166.requests import build_request, parse_request_untrusted
from node.xmpp.xep_0167 import RtpInfo
from node.xmpp.xep_0176 import IceTransport, RemoteCandidate
from node.xmpp.xep_0177 import RawCandidate, RawTransport
from node.xmpp.xep_0278.tables import MAX_BYTES, RelayTable
from overlay.core.errors import RemoteProtocolError
from tests.node.xmpp.jingle.stanzas import (
    CANDIDATE,
    CANDIDATE_XML,
    DESCRIPTION,
    DESCRIPTION_XML,
    DTLS,
    HASH,
    ICE,
    INFO,
    PARSERS,
    RAW,
    ROMEO,
    TRANSPORT,
    TRANSPORT_XML,
    VOICE,
    VOICE_XML,
    jingle,
    without_ids,
)

SID = "a73sjjvkla37jfea"
TABLE_XML = "<relays xmlns='https://jingle-nodes.example/relay-table'>kwHAwA==</relays>"
RAW_XML = f"""<transport xmlns='{RAW}'><candidate component='1' generation='0' id='a9j3mnbtu1'
    ip='192.0.2.7' port='20002' type='relay'/></transport>"""
RAW_TRANSPORT = RawTransport((RawCandidate(1, "192.0.2.7", 20002, "relay"),))


def content(inner: str = "", attributes: str = "senders='both'") -> str:
    return f"<content creator='initiator' name='voice' {attributes}>{inner}</content>"


def voice(description: Part | None = None, transport: Part | None = None) -> Content:
    return Content("voice", description=description, transport=transport)


BOTH_WAYS = [
    (jingle("session-initiate", VOICE_XML), Request(Action.SESSION_INITIATE, (VOICE,))),
    (
        jingle("session-initiate", VOICE_XML + TABLE_XML),
        Request(Action.SESSION_INITIATE, (VOICE,), payloads=(RelayTable(b"\x93\x01\xc0\xc0"),)),
    ),
    (
        jingle(
            "transport-info",
            f"<content creator='initiator' name='voice'><transport xmlns='{ICE}'>"
            f"{CANDIDATE_XML}</transport></content>",
        ),
        Request(Action.TRANSPORT_INFO, (voice(transport=IceTransport(candidates=(CANDIDATE,))),)),
    ),
    (
        jingle(
            "transport-info",
            f"<content creator='initiator' name='voice'><transport xmlns='{ICE}'>"
            "<remote-candidate component='1' ip='192.0.2.3' port='45664'/></transport></content>",
        ),
        Request(
            Action.TRANSPORT_INFO,
            (voice(transport=IceTransport(chosen=(RemoteCandidate(1, "192.0.2.3", 45664),))),),
        ),
    ),
    (
        jingle(
            "transport-replace", f"<content creator='initiator' name='voice'>{RAW_XML}</content>"
        ),
        Request(Action.TRANSPORT_REPLACE, (voice(transport=RAW_TRANSPORT),)),
    ),
    (
        jingle(
            "content-modify",
            "<content creator='initiator' name='voice' senders='initiator'/>",
        ),
        Request(Action.CONTENT_MODIFY, (Content("voice", senders="initiator"),)),
    ),
    (
        jingle(
            "session-terminate",
            "<reason><decline/><text>Sorry, gotta go!</text></reason>",
        ),
        Request(Action.SESSION_TERMINATE, reason=Reason("decline", "Sorry, gotta go!")),
    ),
    (
        jingle("session-info", f"<ringing xmlns='{INFO}'/>"),
        Request(Action.SESSION_INFO, payloads=(RtpInfo("ringing"),)),
    ),
    (
        jingle("session-info", f"<mute xmlns='{INFO}' creator='responder' name='voice'/>"),
        Request(Action.SESSION_INFO, payloads=(RtpInfo("mute", ("responder", "voice")),)),
    ),
    (jingle("session-info"), Request(Action.SESSION_INFO)),
]


@pytest.mark.parametrize(("xml", "request_"), BOTH_WAYS)
def test_written_and_read(xml: str, request_: Request) -> None:
    written = str(build_request(SID, ROMEO, None, request_))
    assert without_ids(written) == without_ids(xml)
    assert parse_request_untrusted(ET.fromstring(xml), PARSERS) == request_


def test_an_accept_tells_the_responder() -> None:
    element = build_request(SID, ROMEO, "juliet@example.org/balcony", Request(Action.SESSION_INFO))
    assert element["responder"] == "juliet@example.org/balcony"


@pytest.mark.parametrize(
    ("xml", "said"),
    [
        (jingle("session-begin", VOICE_XML), "action 'session-begin'"),
        ("<jingle xmlns='urn:xmpp:jingle:1' sid='a'/>", "action ''"),
        (jingle("session-initiate"), "without a content"),
        (jingle("session-initiate", VOICE_XML * 2), "two contents of one name"),
        (
            jingle(
                "session-initiate", "".join(VOICE_XML.replace("voice", f"v{n}") for n in range(17))
            ),
            "too many children",
        ),
        (jingle("session-info", f"<ringing xmlns='{INFO}'/>" * 17), "too many children"),
        (jingle("session-initiate", content(DESCRIPTION_XML)), "without transport"),
        (jingle("session-initiate", content(TRANSPORT_XML)), "without description"),
        (
            jingle("session-initiate", content(2 * DESCRIPTION_XML + TRANSPORT_XML)),
            "two of description",
        ),
        (jingle("session-initiate", content("", "senders='all'")), "senders 'all'"),
        (jingle("session-initiate", "<content name='a' creator='me'/>"), "creator 'me'"),
        (jingle("session-initiate", "<content name='a'/>"), "creator ''"),
        (jingle("session-initiate", "<content creator='initiator'/>"), "without a name"),
        (
            jingle("session-initiate", f"<content creator='initiator' name='{'x' * 257}'/>"),
            "too long",
        ),
        (jingle("session-terminate", "<reason/><reason/>"), "two reasons"),
        (jingle("session-info", f"<mute xmlns='{INFO}' creator='me' name='v'/>"), "creator 'me'"),
        (jingle("session-info", f"<mute xmlns='{INFO}' creator='initiator' name=''/>"), "name"),
        (jingle("session-info", TABLE_XML.replace("kwHAwA==", "k%")), "base64"),
        (jingle("session-info", TABLE_XML.replace("kwHAwA==", "A" * 2 * MAX_BYTES)), "too long"),
    ],
)
def test_malformed_requests(xml: str, said: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        parse_request_untrusted(ET.fromstring(xml), PARSERS)
    assert said in str(caught.value)


def parse_part(xml: str) -> object:
    element = ET.fromstring(xml)
    return PARSERS[element.tag](element)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("id='96'", "id='128'", "id '128' not in 0-127"),
        ("id='96'", "id='-1'", "id '-1'"),
        ("id='96'", "", "without id"),
        ("id='0'", "id='96'", "two payload types of one id"),
        ("name='opus'", "", "a dynamic payload type without a name"),
        ("name='opus'", "name='op us'", "name 'op us'"),
        ("name='opus'", "name='opus&#10;a=x'", "name 'opus a=x'"),
        ("name='opus'", f"name='{'o' * 65}'", "name 'ooo"),
        ("clockrate='48000'", "clockrate='9999999'", "clockrate"),
        ("channels='2'", "channels='two'", "channels 'two'"),
        ("value='1'", "value='1;x=2'", "value '1;x=2'"),
        ("value='1'", "value='1&#13;&#10;a=candidate'", "value '1 a=candidate'"),
        ("value='1'", f"value='{'x' * 257}'", "value 'xxx"),
        ("media='audio'", "", "media ''"),
        ("media='audio'", "ssrc='4294967296' media='audio'", "ssrc"),
        ("<rtcp-mux/>", "<x/>" * 300, "more than 256 children"),
        (
            "<parameter name='useinbandfec' value='1'/>",
            "<parameter name='a' value='1'/>" * 33,
            "more than 32 parameters",
        ),
    ],
)
def test_malformed_descriptions(old: str, new: str, said: str) -> None:
    assert old in DESCRIPTION_XML
    with pytest.raises(RemoteProtocolError) as caught:
        parse_part(DESCRIPTION_XML.replace(old, new, 1))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("ufrag='8hhy'", "", "ufrag ''"),
        ("ufrag='8hhy'", "ufrag='8h'", "ufrag '8h'"),
        ("ufrag='8hhy'", "ufrag='8hhy&#10;a=ice-lite'", "ufrag"),
        ("pwd='asd88fgpdd777uzjYhagZg'", "pwd='short'", "pwd 'short'"),
        ("port='8998'", "port='65536'", "port '65536'"),
        ("port='8998'", "", "candidate without port"),
        ("priority='2130706431'", "priority='4294967296'", "priority"),
        ("foundation='1'", "foundation='a b'", "foundation 'a b'"),
        ("component='1'", "component='0'", "component '0'"),
        ("type='host'", "type='guest'", "type 'guest'"),
        ("generation='0'", "generation='x'", "generation 'x'"),
        (CANDIDATE_XML, CANDIDATE_XML * 65, "more than 64 candidates"),
        (CANDIDATE_XML, "<x/>" * 200, "too many children"),
        (CANDIDATE_XML, "<remote-candidate component='1' ip='10.0.0.1'/>", "without port"),
        (HASH, HASH[:-3], "no fingerprint of sha-256"),
        (HASH, HASH.replace("A", "G"), "no fingerprint of sha-256"),
        ("hash='sha-256'", "hash='md5'", "hash 'md5'"),
        ("setup='actpass'", "setup='holdconn'", "setup 'holdconn'"),
        ("</transport>", f"<fingerprint xmlns='{DTLS}' hash='sha-256' setup='active'>"
         f"{HASH}</fingerprint></transport>", "two fingerprints"),
    ],
)  # fmt: skip
def test_malformed_transports(old: str, new: str, said: str) -> None:
    assert old in TRANSPORT_XML
    with pytest.raises(RemoteProtocolError) as caught:
        parse_part(TRANSPORT_XML.replace(old, new, 1))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "ip",
    [
        *("127.0.0.1", "::1", "0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255"),
        *("::ffff:127.0.0.1", "fe80::1%eth0", "", "10.0.1", "999.0.0.1", "x.local", "a\nb"),
    ],
)
def test_candidates_that_are_no_other_host_are_left_out(ip: str) -> None:
    element = ET.fromstring(TRANSPORT_XML)
    candidate = element.find(f"{{{ICE}}}candidate")
    assert candidate is not None
    candidate.set("ip", ip)
    transport = PARSERS[element.tag](element)
    assert isinstance(transport, IceTransport)
    assert [one.ip for one in transport.candidates] == ["192.0.2.3"]


@pytest.mark.parametrize(("ip", "kept"), [("fe80::1", "fe80::1"), ("::ffff:10.0.0.1", "10.0.0.1")])
def test_private_candidates_are_of_use(ip: str, kept: str) -> None:
    transport = parse_part(TRANSPORT_XML.replace("10.0.1.1", ip, 1))
    assert isinstance(transport, IceTransport)
    assert transport.candidates[0].ip == kept


@pytest.mark.parametrize(("old", "new"), [("'udp'", "'tcp'"), ("port='8998'", "port='0'")])
def test_candidates_for_tcp_are_left_out(old: str, new: str) -> None:
    transport = parse_part(TRANSPORT_XML.replace(old, new, 1))
    assert isinstance(transport, IceTransport)
    assert len(transport.candidates) == 1


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("ip='192.0.2.7'", "ip='127.0.0.1'", "ip '127.0.0.1'"),
        ("ip='192.0.2.7'", "", "ip ''"),
        ("port='20002'", "port='0'", "port '0'"),
        ("type='relay'", "type='x'", "type 'x'"),
        ("/></transport>", "/><candidate component='1' ip='192.0.2.8' port='1'/></transport>",
         "two candidates of a component"),
    ],
)  # fmt: skip
def test_malformed_raw_transports(old: str, new: str, said: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        parse_part(RAW_XML.replace(old, new, 1))
    assert said in str(caught.value)


def test_what_others_add_is_skipped() -> None:
    extra = "<x xmlns='urn:example:x' y='z'><w/></x>"
    xml = VOICE_XML.replace("<rtcp-mux/>", f"<rtcp-mux/>{extra}").replace(
        "</transport>", f"{extra}</transport>"
    )
    request = parse_request_untrusted(
        ET.fromstring(jingle("session-initiate", f"{xml}<!-- x -->{extra}")), PARSERS
    )
    assert request.contents == (VOICE,)
    assert request.payloads == (Unknown("{urn:example:x}x"),)


def test_parts_of_others_are_kept_as_unknown() -> None:
    files = "<description xmlns='urn:xmpp:jingle:apps:file-transfer:5'><file/></description>"
    xml = jingle("session-initiate", content(files + "<transport xmlns='urn:x'/>"))
    (found,) = parse_request_untrusted(ET.fromstring(xml), PARSERS).contents
    assert isinstance(found.description, Unknown)
    assert isinstance(found.transport, Unknown)


def test_an_odd_reason_does_no_harm() -> None:
    for xml in ("<reason/>", "<reason><bored/><text>a&#10;b</text></reason>", "<reason>x</reason>"):
        request = parse_request_untrusted(ET.fromstring(jingle("session-terminate", xml)), PARSERS)
        assert request.reason is not None
        assert request.reason.condition == "general-error"
        assert "\n" not in request.reason.text


VALID = [xml for xml, _ in BOTH_WAYS] + [jingle("session-accept", VOICE_XML)]
TEXT = st.text(max_size=40) | st.sampled_from(["0", "1", "-1", "99999999999", "²", "10.0.0.1"])


@given(st.data())
def test_mutated_requests_are_read_or_refused(data: st.DataObject) -> None:
    root = ET.fromstring(data.draw(st.sampled_from(VALID)))
    for _ in range(data.draw(st.integers(1, 4))):
        elements = list(root.iter())
        element = data.draw(st.sampled_from(elements))
        what = data.draw(st.sampled_from(["attribute", "delete", "double", "text", "tag"]))
        if what == "attribute" and element.attrib:
            element.set(data.draw(st.sampled_from(sorted(element.attrib))), data.draw(TEXT))
        elif what == "delete" and element.attrib:
            del element.attrib[data.draw(st.sampled_from(sorted(element.attrib)))]
        elif what == "double" and len(element):
            element.append(data.draw(st.sampled_from(list(element))))
        elif what == "text":
            element.text = data.draw(TEXT)
        elif what == "tag":
            element.tag = data.draw(st.sampled_from([one.tag for one in elements]) | TEXT)
    try:
        request = parse_request_untrusted(root, PARSERS)
    except RemoteProtocolError:
        return
    for one in request.contents:
        if one.description == DESCRIPTION and one.transport == TRANSPORT:
            build_request(SID, ROMEO, None, request)
