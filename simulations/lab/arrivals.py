"""When audio arrives at this host, and from where: `python -m simulations.lab.arrivals`.

Looks at the packets themselves, before any program has them. Prints a line of JSON for each line
that it reads: `source`, where the last RTP packet came from; `ready`, who else has answered a STUN
Binding request within the last three seconds; and since the line before `packets`, how many there
were, and `gap`, the longest time in seconds between two of them.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time

_ETHER_IPV4 = 0x0800
_UDP = 17
_BINDING_SUCCESS = b"\x01\x01"
_OVERLAY = 4278  # the port of peers: their messages begin as RTP does
_FRESH = 3.0  # seconds


class Arrivals:
    """What has arrived."""

    def __init__(self) -> None:
        self.source: str | None = None
        self.gap = 0.0
        self.packets = 0
        self._last: float | None = None
        self._answers: dict[str, float] = {}

    def take(self, packet: bytes, now: float) -> None:
        """Take an IPv4 packet that has arrived."""
        header = (packet[0] & 15) * 4 if packet else 0
        if len(packet) < header + 10 or packet[9] != _UDP:
            return
        source, payload = socket.inet_ntoa(packet[12:16]), packet[header + 8 :]
        port = int.from_bytes(packet[header : header + 2], "big")
        if payload[:2] == _BINDING_SUCCESS:
            self._answers[source] = now
        # RTP, but not RTCP (RFC 5761 section 4)
        elif port != _OVERLAY and 128 <= payload[0] <= 191 and not 192 <= payload[1] <= 223:
            if self._last is not None:
                self.gap = max(self.gap, now - self._last)
            self._last, self.source = now, source
            self.packets += 1

    def report(self, now: float) -> dict[str, object]:
        """Say what has arrived, and begin anew."""
        gap, self.gap = self.gap, 0.0
        packets, self.packets = self.packets, 0
        if self._last is not None:
            gap = max(gap, now - self._last)  # it may go on
        ready = [ip for ip, at in self._answers.items() if now - at < _FRESH and ip != self.source]
        return {
            "source": self.source,
            "ready": ready,
            "packets": packets,
            "gap": round(gap, 3),
        }


def main() -> None:
    """Watch until the input ends."""
    arrivals = Arrivals()
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETHER_IPV4)) as packets:
        while True:
            for readable in select.select([packets, sys.stdin], [], [])[0]:
                if readable is packets:
                    packet, address = packets.recvfrom(2048)
                    if address[2] != socket.PACKET_OUTGOING:
                        arrivals.take(packet, time.monotonic())
                elif not sys.stdin.readline():
                    return
                else:
                    print(json.dumps(arrivals.report(time.monotonic())), flush=True)


if __name__ == "__main__":
    main()
