"""Datagrams whose source is forged: `python forge.py JSON`, where root may send them.

The JSON is a list of `[SOURCE, PORT, DESTINATION, PORT, TEXT, COUNT]`. They are sent by turns, and
the last line of output is how many were.
"""

import json
import socket
import struct
import sys
from ipaddress import IPv4Address


def main(datagrams: list[tuple[str, int, str, int, str, int]]) -> None:
    """Send them."""
    sent = 0
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
        left = [
            (forged(*fields[:4], fields[4].encode()), *fields[2:4], fields[5])
            for fields in datagrams
        ]
        for turn in range(max(count for *_, count in left)):
            for packet, host, _, count in left:
                if turn < count:
                    sock.sendto(packet, (host, 0))
                    sent += 1
    print(sent)


def forged(source: str, source_port: int, host: str, port: int, payload: bytes) -> bytes:
    """An IPv4 packet with a UDP datagram (RFC 791, RFC 768); the system fills in its length."""
    addresses = IPv4Address(source).packed + IPv4Address(host).packed
    size = 8 + len(payload)
    ports = struct.pack("!HHH", source_port, port, size)
    pseudo = addresses + struct.pack("!HH", socket.IPPROTO_UDP, size) + ports + bytes(2) + payload
    words = struct.unpack(f"!{(len(pseudo) + 1) // 2}H", pseudo + bytes(len(pseudo) % 2))
    total = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    checksum = (~total & 0xFFFF) or 0xFFFF
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + size, 1, 0, 64, socket.IPPROTO_UDP, 0)
    return header + addresses + ports + struct.pack("!H", checksum) + payload


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
