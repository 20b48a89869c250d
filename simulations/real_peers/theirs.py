"""The peers of the `kademlia` package, on the asyncio loop that it needs.

A look-up is what its own `Server.get` does, without a value to be found.
"""

import asyncio
import logging
import random
import time
from collections.abc import Iterator

from kademlia.crawling import NodeSpiderCrawl
from kademlia.network import Server
from kademlia.node import Node

from overlay.core.ids import ID_LENGTH
from simulations.real_peers.workload import (
    AFTER_KILL,
    AT_ONCE,
    AT_ONCE_AFTER_KILL,
    HOST,
    JOINING,
    KILLED,
    SETTLING,
    TIME_LIMIT,
    Figures,
    Tally,
    Workload,
    is_found,
    run_side,
    summarise,
)


async def _find(server: Server, target: bytes) -> set[bytes]:
    """Return the ids that a look-up finds."""
    node = Node(target)
    nearest = server.protocol.router.find_neighbors(node)
    crawl = NodeSpiderCrawl(server.protocol, node, nearest, server.ksize, server.alpha)
    return {found.id for found in await crawl.find()}


async def _look_up(servers: list[Server], count: int, at_once: int, rng: random.Random) -> Tally:
    """Look up random ids from random peers, `at_once` at once."""
    tally = Tally()
    ids = [server.node.id for server in servers]
    jobs = iter([(rng.choice(servers), rng.randbytes(ID_LENGTH)) for _ in range(count)])

    async def work(jobs: Iterator[tuple[Server, bytes]]) -> None:
        for asker, target in jobs:
            started = time.perf_counter()
            result = await _find(asker, target)
            tally.add(started, found=is_found(result, ids, target, asker.node.id))

    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(work(jobs))
    tally.elapsed = time.perf_counter() - started
    return tally


async def _run(workload: Workload) -> Figures:
    rng = random.Random(workload.seed)
    servers: list[Server] = []
    async with asyncio.timeout(TIME_LIMIT):
        started = time.perf_counter()
        while len(servers) < workload.peers:
            known = [server.transport.get_extra_info("sockname")[:2] for server in servers]
            count = min(JOINING, workload.peers - len(servers)) if servers else 1
            fresh = [Server() for _ in range(count)]
            for server in fresh:
                await server.listen(0, HOST)
            if known:
                joins = [server.bootstrap([rng.choice(known)]) for server in fresh]
                await asyncio.gather(*joins)
            servers += fresh
        join = time.perf_counter() - started
        await asyncio.sleep(SETTLING)
        before = await _look_up(servers, workload.lookups, AT_ONCE, rng)
        rng.shuffle(servers)
        killed = round(KILLED * len(servers))
        for server in servers[:killed]:
            server.stop()
        after = await _look_up(servers[killed:], AFTER_KILL, AT_ONCE_AFTER_KILL, rng)
        for server in servers[killed:]:
            server.stop()
    return summarise(join, before, after)


if __name__ == "__main__":
    logging.disable()  # it has a line for every reply that does not come
    run_side(lambda workload: asyncio.run(_run(workload)))
