"""Logs in and asks another JID for its services: `reach.py JID PASSWORD HOST CA_FILE OTHER`.

The first stanza between two servers waits for DNS, TLS and SASL in both directions, with a
Prosody from Debian four seconds; what comes after it does not. Prints the services as JSON.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import trio

from node.xmpp import Account, open_session


async def main(*arguments: str) -> None:
    jid, password, host, ca_file, other = arguments
    account = Account(jid, password, (host, 5222), "verify", Path(ca_file))
    async with open_session(account) as session:
        services = await session.request_services(other, timeout=20.0)
    print(json.dumps([asdict(service) for service in services]))


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
