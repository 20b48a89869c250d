"""A client of rtpengine's ng protocol: a cookie, a space, and a bencoded dictionary over UDP."""

import re
import secrets
import socket

from overlay.core.errors import RemoteProtocolError
from simulations.lab.bench.bencode import decode_untrusted, encode

TRIES = 4
"""Times that a request is sent until it is answered; rtpengine answers a cookie only once."""

MAX_ANSWER = 65535

Address = tuple[str, int]


class NgError(Exception):
    """Rtpengine does not do as it was asked: one line."""


def open_call(sock: socket.socket, caller: Address, callee: Address) -> tuple[Address, Address]:
    """Have rtpengine relay between two ends.

    Args:
        sock: connected to its ng port.
        caller: where one end sends RTP from, and gets it.
        callee: the same of the other one.

    Returns:
        Where the caller and the callee send to.

    Raises:
        NgError: it does not.
        OSError: it cannot be reached.
    """
    call: dict[str, object] = {"call-id": secrets.token_hex(8), "from-tag": "caller"}
    offer: dict[str, object] = {"command": "offer", **call, "sdp": _sdp(caller)}
    for_callee = _media_address_untrusted(_ask(sock, offer))
    answer: dict[str, object] = {
        "command": "answer",
        **call,
        "to-tag": "callee",
        "sdp": _sdp(callee),
    }
    for_caller = _media_address_untrusted(_ask(sock, answer))
    return for_caller, for_callee


def ping(sock: socket.socket) -> None:
    """Ask whether rtpengine is there.

    Raises:
        NgError: it is not.
    """
    _ask(sock, {"command": "ping"})


def _ask(sock: socket.socket, command: dict[str, object]) -> dict[bytes, object]:
    cookie = secrets.token_hex(8).encode()
    for _ in range(TRIES):
        try:
            sock.send(cookie + b" " + encode(command))
            data = sock.recv(MAX_ANSWER)
        except (BlockingIOError, ConnectionRefusedError):
            continue
        echoed, _, body = data.partition(b" ")
        if echoed != cookie:
            continue
        try:
            answer = decode_untrusted(body)
        except RemoteProtocolError as error:
            raise NgError(f"rtpengine's answer cannot be read: {error}") from error
        if not isinstance(answer, dict) or answer.get(b"result") not in (b"ok", b"pong"):
            raise NgError(f"rtpengine refuses: {answer!r:.200}")
        return {**answer}
    raise NgError("rtpengine does not answer")


def _sdp(address: Address) -> str:
    """A session with one audio stream of PCMU (RFC 8866), which is not transcoded."""
    host, port = address
    lines = (
        *("v=0", f"o=- 1 1 IN IP4 {host}", "s=-", f"c=IN IP4 {host}", "t=0 0"),
        *(f"m=audio {port} RTP/AVP 0", "a=rtpmap:0 PCMU/8000", "a=sendrecv"),
    )
    return "".join(f"{line}\r\n" for line in lines)


def _media_address_untrusted(answer: dict[bytes, object]) -> Address:
    sdp = answer.get(b"sdp")
    host = port = None
    if isinstance(sdp, bytes):
        host = re.search(rb"^c=IN IP4 ([0-9.]{7,15})\r?$", sdp, re.MULTILINE)
        port = re.search(rb"^m=audio ([0-9]{1,5}) ", sdp, re.MULTILINE)
    if host is None or port is None:
        raise NgError("rtpengine names no address for the media")
    return host[1].decode(), int(port[1])
