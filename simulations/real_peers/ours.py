"""The overlay's peers as Trio tasks of one process."""

import random
import time
from collections.abc import Iterator

import trio

from overlay.core.ids import ID_LENGTH
from overlay.dht import RunningPeer, open_peer
from overlay.settings import PeerSettings
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


async def _serve(
    settings: PeerSettings, *, task_status: trio.TaskStatus[tuple[RunningPeer, trio.CancelScope]]
) -> None:
    with trio.CancelScope() as scope:
        async with open_peer(settings) as peer:
            task_status.started((peer, scope))
            await trio.sleep_forever()


async def _look_up(peers: list[RunningPeer], count: int, at_once: int, rng: random.Random) -> Tally:
    """Look up random ids from random peers, `at_once` at once."""
    tally = Tally()
    ids = [peer.peer_id for peer in peers]
    jobs = iter([(rng.choice(peers), rng.randbytes(ID_LENGTH)) for _ in range(count)])

    async def work(jobs: Iterator[tuple[RunningPeer, bytes]]) -> None:
        for asker, target in jobs:
            started = time.perf_counter()
            contacts = await asker.find_node(target)
            found = is_found({contact.id for contact in contacts}, ids, target, asker.peer_id)
            tally.add(started, found=found)

    started = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(at_once):
            nursery.start_soon(work, jobs)
    tally.elapsed = time.perf_counter() - started
    return tally


async def _run(workload: Workload) -> Figures:
    rng = random.Random(workload.seed)
    running: list[tuple[RunningPeer, trio.CancelScope]] = []
    with trio.fail_after(TIME_LIMIT):
        async with trio.open_nursery() as nursery:
            started = time.perf_counter()
            while len(running) < workload.peers:
                bootstrap = tuple(peer.local_address for peer, _ in running)
                count = min(JOINING, workload.peers - len(running)) if running else 1
                for _ in range(count):
                    known = (rng.choice(bootstrap),) if bootstrap else ()
                    settings = PeerSettings(host=HOST, bootstrap=known)
                    running.append(await nursery.start(_serve, settings))
                for peer, _ in running[-count:]:
                    await peer.wait_joined()
            join = time.perf_counter() - started
            await trio.sleep(SETTLING)
            before = await _look_up([peer for peer, _ in running], workload.lookups, AT_ONCE, rng)
            rng.shuffle(running)
            killed = round(KILLED * len(running))
            for _, scope in running[:killed]:
                scope.cancel()
            await trio.sleep(0)
            living = [peer for peer, _ in running[killed:]]
            after = await _look_up(living, AFTER_KILL, AT_ONCE_AFTER_KILL, rng)
            nursery.cancel_scope.cancel()
    return summarise(join, before, after)


if __name__ == "__main__":
    run_side(lambda workload: trio.run(_run, workload))
