"""What the userspace forwarder and its relay promise besides their cost, and whether they keep it.

Here nothing is pinned: the relay, its overlay, what sends, and what receives share the cores.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import trio

from simulations.lab.bench.contenders import (
    COTURN,
    KERNEL,
    OURS,
    OVERLAY_PORT,
    TITLES,
    Contender,
    Site,
    Unavailable,
    open_channels,
    start_ends,
    start_module,
    start_ours,
)
from simulations.lab.bench.cost import Costs, Note, Setting
from simulations.lab.bench.statistics import percentile
from simulations.lab.netns import Lab
from simulations.lab.program import ProgramError

CALLS = 100
"""Channels that carry packets at once."""

CHANNELS = 1000
"""Channels that are open at once, or opened in a row."""

PACKET_RATE = 20_000.0
REQUEST_RATE = 1_000.0
"""A second: packets through the relay, and requests to its peer of the overlay, for the delay."""

ASKING_NETWORKS = 40
"""Networks that the requests come from: a peer answers each 50 times a second."""

LOSS_SHARE = 0.7
"""Of what the relay can pass on at most: so much must come through whole."""

CYCLES, WARM = 5, 2
"""Times that channels are opened and closed to see whether anything is left behind, and how many
of them do not count: caches fill."""


MANY_PORTS = (16384, 49151)
"""First and last: enough for channels that are opened in a row while the ports of earlier ones
rest."""

LEFT = 1024.0
"""Bytes that a closed channel may leave: its share of what is kept for a while of whoever asks and
of ports that rest, and of what the allocator cannot use just now. One that leaked would leave
thousands."""


@dataclass(frozen=True)
class Promise:
    """A figure, and what it must not exceed."""

    what: str
    value: float
    limit: float
    unit: str = ""
    digits: int = 2

    @property
    def kept(self) -> bool:
        """Whether it does not."""
        return self.value <= self.limit


def cost_promises(costs: Costs) -> list[Promise]:
    """What is promised of the cost, as far as it was measured."""
    found = []
    for relay, limit in ((OURS, 1.0), (KERNEL, 0.2)):
        for window in (1, 100):
            setting = Setting(172, CALLS, window)
            ratio = costs.ratio(relay, setting) if relay in costs.relays else None
            if ratio is not None:
                what = f"cost of {TITLES[relay]}, over that of {COTURN}, {window} in flight"
                found.append(Promise(what, ratio.median, limit, "x"))
    return found


async def delay(lab: Lab, site: Site, *, quick: bool, note: Note) -> list[Promise]:
    """How much later packets come through the relay while its overlay is asked."""
    seconds = 2.0 if quick else 10.0
    note(f"delay at {PACKET_RATE:,.0f} packets/s")
    if not lab.namespaces:
        raise Unavailable("the delay takes network namespaces: run as root")
    asking = await lab.add_host("asking")
    addresses = await lab.add_networks(asking, ASKING_NETWORKS)
    async with _relay(site, CALLS, overlay=True) as relay:
        command = {"channels": CALLS, "rate": PACKET_RATE, "seconds": seconds}
        how = {"kind": "direct"}
        await site.ask({"open": "direct", "how": how, "channels": CALLS})
        direct = await site.ask({"time": "direct", **command})
        settings = {
            "addresses": addresses,
            "peer": (site.relay.address, OVERLAY_PORT),
            "rate": REQUEST_RATE,
        }
        asker = await start_module(site, asking, "asker", settings)
        await asker.json()
        through = await site.ask({"time": relay.name, **command})
        await asker.end_input()
        asked = await asker.json()
        await asker.stop()
    return [
        Promise(
            f"delay added at {PACKET_RATE:,.0f} packets/s, 99th (direct: "
            f"{direct['median'] / 1000:.2f} ms, 99th {direct['p99'] / 1000:.2f})",
            (through["p99"] - direct["median"]) / 1000,
            1.0,
            "ms",
        ),
        Promise("packets lost meanwhile", through["sent"] - through["arrived"], 0.0, digits=0),
        Promise(
            f"overlay requests not answered meanwhile, of {asked['sent']:,}",
            asked["sent"] - asked["answered"],
            0.01 * asked["sent"],
            digits=0,
        ),
    ]


async def loss(lab: Lab, site: Site, *, quick: bool, note: Note) -> list[Promise]:
    """Whether all comes through well below of what the relay can pass on."""
    seconds = 1.0 if quick else 5.0
    note("loss")
    if not lab.namespaces:
        raise Unavailable("the loss takes network namespaces: run as root")
    async with _relay(site, CALLS) as relay:
        flood = {"count": relay.name, "channels": CALLS, "seconds": min(seconds, 2.0), "rate": 0}
        most = (await site.ask(flood))["during"]
        rate = LOSS_SHARE * most
        result = await site.ask({**flood, "rate": rate, "seconds": seconds})
    rate = result["sent"] / seconds
    what = f"packets lost of {result['sent']:,}, at {rate:,.0f}/s; at most it does {most:,.0f}/s"
    lost = max(0, result["sent"] - result["arrived"])  # other packets may have come, too
    return [Promise(what, lost, 0.0, digits=0)]


async def memory(_lab: Lab, site: Site, *, quick: bool, note: Note) -> list[Promise]:
    """What an open channel takes."""
    del quick
    note("memory")
    async with _relay(site, CHANNELS, opened=0) as relay:
        before = relay.memory()
        await open_channels(site, relay, CHANNELS)
        size = (relay.memory() - before) / CHANNELS / 1024
    return [Promise("process memory of an open channel", size, 16.0, "KiB", 1)]


async def idle(_lab: Lab, site: Site, *, quick: bool, note: Note) -> list[Promise]:
    """What channels cost through which nothing goes."""
    seconds = 3.0 if quick else 20.0
    note(f"{CHANNELS:,} idle channels")
    async with _relay(site, CHANNELS) as relay:
        await trio.sleep(2.0)  # until their sources count as silent
        before = relay.processor_time()
        await trio.sleep(seconds)
        share = (relay.processor_time() - before) / seconds
    return [Promise(f"{CHANNELS:,} idle channels, of a core", 100 * share, 1.0, "%")]


async def setup(_lab: Lab, site: Site, *, quick: bool, note: Note) -> list[Promise]:
    """How long a channel takes to open, and what is left when all have closed."""
    del quick
    note(f"{CHANNELS:,} channels in a row")
    async with _relay(site, CHANNELS, opened=0, ports=MANY_PORTS) as relay:
        left, sizes, seconds = [], [], []
        before = (await relay.ask("counts"))["descriptors"]
        for _ in range(CYCLES):
            seconds += (await relay.ask("open", CHANNELS))["seconds"]
            await relay.ask("close")
            left.append(sum((await relay.ask("counts"))["descriptors"]) - sum(before))
            sizes.append(relay.memory())
    grown = (sizes[-1] - sizes[WARM - 1]) / (CYCLES - WARM) / CHANNELS
    return [
        Promise("opening a channel, 99th", 1000 * percentile(seconds, 0.99), 10.0, "ms"),
        Promise("descriptors left after closing", left[-1], 0.0, digits=0),
        Promise("memory left by a closed channel", grown, LEFT, "bytes", 0),
    ]


Measure = Callable[..., Awaitable[list[Promise]]]

MEASURES: dict[str, Measure] = {
    "delay": delay,
    "loss": loss,
    "memory": memory,
    "idle": idle,
    "setup": setup,
}


async def measure_promises(
    lab: Lab, pinned: Site, names: list[str], *, quick: bool, note: Note
) -> tuple[list[Promise], list[str]]:
    """Measure some of them; returns also what cannot be measured here, and why."""
    found: list[Promise] = []
    missing: list[str] = []
    site = replace(pinned, pin=pinned.real_time)
    site.ends = await start_ends(site)
    for name in names:
        try:
            found += await MEASURES[name](lab, site, quick=quick, note=note)
        except Unavailable as error:
            missing.append(str(error))
        except ProgramError as error:
            missing.append(f"{name}: {error}")
    return found, missing


@asynccontextmanager
async def _relay(
    site: Site,
    channels: int,
    *,
    opened: int | None = None,
    ports: tuple[int, int] | None = None,
    overlay: bool = False,
) -> AsyncIterator[Contender]:
    """Our relay in userspace during the block, with channels open that have carried packets."""
    relay = await start_ours(site, OURS, channels, ports=ports, overlay=overlay)
    count = channels if opened is None else opened
    if count:
        await open_channels(site, relay, count)
    try:
        yield relay
    finally:
        await relay.program.stop()
