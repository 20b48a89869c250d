"""The clients of other relays, against servers that answer as a test says."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from aioice.stun import Class, Message, Method, parse_message

from simulations.lab.bench import ng, turn
from simulations.lab.bench.bencode import encode
from simulations.lab.bench.contenders import Unavailable, _program
from simulations.lab.bench.legs import Legs, PathError, open_socket, rtp_payload

Answer = Callable[[bytes], bytes]


@contextmanager
def server(*answers: Answer) -> Iterator[socket.socket]:
    """A socket that is connected to a server; it gives one answer to each datagram."""
    with open_socket("127.0.0.1") as ours, open_socket("127.0.0.1") as theirs:
        ours.connect(theirs.getsockname())
        theirs.settimeout(5)

        def serve() -> None:
            for answer in answers:
                data, source = theirs.recvfrom(4096)
                theirs.sendto(answer(data), source)

        thread = threading.Thread(target=serve)
        thread.start()
        yield ours
        thread.join()


def stun(kind: Class, **attributes: object) -> Answer:
    named = {name.replace("_", "-"): value for name, value in attributes.items()}

    def answer(data: bytes) -> bytes:
        request = parse_message(data)
        return bytes(Message(request.message_method, kind, request.transaction_id, named))

    return answer


def test_an_allocation_is_taken_and_garbage_before_it_is_not() -> None:
    granted = stun(Class.RESPONSE, XOR_RELAYED_ADDRESS=("192.0.2.1", 50000))
    with server(lambda _: b"\x40\x00garbage", granted) as sock:
        assert turn.allocate(sock) == ("192.0.2.1", 50000)


def test_a_refusal_is_one_line() -> None:
    with (
        server(stun(Class.ERROR, ERROR_CODE=(508, "Insufficient Capacity"))) as sock,
        pytest.raises(turn.TurnError, match="508"),
    ):
        turn.bind_channel(sock, ("192.0.2.2", 4000))
    with server(stun(Class.RESPONSE)) as sock, pytest.raises(turn.TurnError, match="names no"):
        turn.allocate(sock)


def test_channel_data_has_a_number_and_a_length() -> None:
    assert turn.channel_data(b"media") == b"\x40\x00\x00\x05media"
    assert Method.CHANNEL_BIND


def sdp(host: bytes, port: bytes) -> Answer:
    text = b"v=0\r\nc=IN IP4 %b\r\nm=audio %b RTP/AVP 0\r\n" % (host, port)

    def answer(data: bytes) -> bytes:
        cookie = data.partition(b" ")[0]
        return cookie + b" " + encode({"result": "ok", "sdp": text})

    return answer


def test_a_call_is_offered_and_answered() -> None:
    answers = (sdp(b"192.0.2.1", b"30000"), sdp(b"192.0.2.1", b"30002"))
    with server(*answers) as sock:
        addresses = ng.open_call(sock, ("192.0.2.8", 4000), ("192.0.2.9", 5000))
    assert addresses == (("192.0.2.1", 30002), ("192.0.2.1", 30000))


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (lambda data: data[:16] + b" d6:result5:errore", "refuses"),
        (lambda data: data[:16] + b" nonsense", "cannot be read"),
        (lambda data: data[:16] + b" d6:result2:oke", "no address"),
    ],
)
def test_what_rtpengine_should_not_answer_is_one_line(answer: Answer, complaint: str) -> None:
    with server(answer) as sock, pytest.raises(ng.NgError, match=complaint):
        ng.open_call(sock, ("192.0.2.8", 4000), ("192.0.2.9", 5000))


def test_a_program_that_is_not_installed_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("simulations.lab.bench.contenders.SYSTEM_PATH", "/nowhere")
    with pytest.raises(Unavailable, match="coturn is not installed: apt-get install coturn"):
        _program("coturn")


def test_packets_are_sent_in_windows_and_counted_only_if_all_come() -> None:
    with open_socket("127.0.0.1") as one, open_socket("127.0.0.1") as other:
        one.connect(other.getsockname())
        other.connect(one.getsockname())
        legs = Legs([one], [other], direct=True)
        legs.check(1)
        for window in (1, 7):
            times = legs.measure(1, window, 172, packets=20, blocks=2)
            assert (len(times.to_peer), len(times.to_client), times.lost) == (2, 2, 0)
        other.connect(("127.0.0.1", 9))  # takes nothing from `one` any more
        with pytest.raises((PathError, ConnectionRefusedError)):
            legs.check(1)


def test_a_payload_is_rtp_of_the_size_that_is_wanted() -> None:
    assert [len(rtp_payload(size)) for size in (172, 1200)] == [172, 1200]
    assert rtp_payload(172)[0] >> 6 == 2
