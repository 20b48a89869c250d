"""A relay without XMPP on a host of the lab, under remote control: JSON lines in and out.

`python relay_host.py SETTINGS`, a JSON object of `forwarder`, `processes`, `host`, `quota_file`,
`now` (which stops its clock) and fields of `RelayLimits`. It says what its forwarder is, as "use"
does later. "ready" tells whether it takes channels, "open" gives a grant, "close" ends all
channels, "status" tells what each has carried, "used" the bytes of the quota and those carried,
and "ended" waits for a channel that ends.
"""

import json
import sys
from dataclasses import asdict
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import trio

from node.relay.admission import RelayLimits
from node.relay.forwarders.base import Reason
from node.relay.forwarders.pool import ForwarderPool
from node.relay.forwarders.use import kernel_use
from node.relay.meter import local_time
from node.relay.opening import open_relay
from node.relay.quota import Quota


def say(value: Any) -> None:
    print(json.dumps(value), flush=True)


async def main(settings: dict[str, Any]) -> None:
    use = await kernel_use(settings.pop("forwarder"))
    processes = settings.pop("processes", 1)
    host, quota_file = settings.pop("host"), settings.pop("quota_file", None)
    now = datetime.fromisoformat(settings.pop("now")) if "now" in settings else None
    if "quota" in settings:
        settings["quota"] = Quota.parse(settings["quota"])
    async with open_relay(
        RelayLimits(**settings),
        lambda: [host],
        quota_file=quota_file and Path(quota_file),
        clock=lambda: now or local_time(),
        make_forwarder=partial(ForwarderPool, use=use, processes=processes),
    ) as relay:
        say([relay.forwarder.use.name, relay.forwarder.use.lacks])
        while line := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
            match json.loads(line):
                case "open":
                    say(asdict(await relay.request_channel("romeo@montague.example/orchard")))
                case "close":
                    await relay.close_all(Reason.RELEASED)
                    say(relay.open_channels)
                case "status":
                    say([asdict(status.stats) for status in await relay.status() if status.stats])
                case "used":
                    say([sum(relay.quota_used or ()), (await relay.totals()).carried.size])
                case "ready":
                    say(relay.forwarder.ready)
                case "use":
                    say([relay.forwarder.use.name, relay.forwarder.use.lacks])
                case "ended":
                    end = await relay.closed.receive()
                    say([end.reason, end.stats and asdict(end.stats)])


if __name__ == "__main__":
    trio.run(main, json.loads(sys.argv[1]))
