"""The lab's name server: answers A and AAAA from the lab's hosts file, nothing else.

Run as `python -m simulations.lab.dns ADDRESS`; prints a line when it answers. XMPP servers look
for SRV records first and fall back to the domain's own addresses (RFC 6120, section 3.2.2), so a
file of hosts is enough for federation.
"""

from __future__ import annotations

import sys
from pathlib import Path

import dns.exception
import dns.flags
import dns.message
import dns.rdatatype
import dns.rrset
import trio

HOSTS = Path("/etc/hosts")
TTL = 3600  # seconds; names do not change while a lab lives


def answer(query: dns.message.Message, hosts: str) -> dns.message.Message:
    """Answer a query from the text of a hosts file: an empty answer if nothing fits."""
    response = dns.message.make_response(query)
    response.flags |= dns.flags.AA | dns.flags.RA
    for question in query.question:
        wanted = question.name.to_text(omit_final_dot=True).lower()
        addresses = [line.split()[0] for line in hosts.splitlines() if wanted in line.split()[1:]]
        six = question.rdtype == dns.rdatatype.AAAA
        if six or question.rdtype == dns.rdatatype.A:
            fitting = [a for a in addresses if (":" in a) == six]
            if fitting:
                response.answer.append(
                    dns.rrset.from_text(question.name, TTL, "IN", question.rdtype, *fitting)
                )
    return response


async def main(address: str) -> None:
    """Serve until killed."""
    with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as socket:
        await socket.bind((address, 53))
        print("ready", flush=True)
        while True:
            data, source = await socket.recvfrom(4096)
            try:
                query = dns.message.from_wire(data)
            except dns.exception.DNSException:
                continue
            await socket.sendto(answer(query, HOSTS.read_text()).to_wire(), source)


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
