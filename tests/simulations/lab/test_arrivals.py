import socket
import struct

from overlay.core.protocol.messages import Ping, Request
from overlay.core.protocol.wire import pack_request
from simulations.lab.arrivals import Arrivals

RTP = bytes([0x90, 96]) + bytes(170)


def packet(host: str, port: int, payload: bytes) -> bytes:
    """An IPv4 packet with UDP."""
    ip = bytes([0x45, *bytes(8), 17, 0, 0]) + socket.inet_aton(host) + bytes(4)
    return ip + struct.pack("!HHHH", port, 5000, 8 + len(payload), 0) + payload


def test_what_peers_of_the_overlay_say_is_no_audio() -> None:
    arrivals = Arrivals()
    arrivals.take(packet("45.7.0.2", 20_000, RTP), 1.0)
    message = pack_request(Request(bytes(8), bytes(20), client=False, prove=False, body=Ping()))
    arrivals.take(packet("45.2.0.2", 4278, message), 1.5)
    report = arrivals.report(2.0)
    assert (report["source"], report["packets"], report["gap"]) == ("45.7.0.2", 1, 1.0)
