"""What is in the process of a shard."""

import pickle
from collections.abc import Sequence
from typing import Final

from simulations.engines.worker import Report
from simulations.errors import SimulationError
from simulations.run.player import WorldPlayer
from simulations.run.population import KNOWN_AFTER
from simulations.scenario.settings import Scenario

_HAIR: Final = 1e-9  # what rounding may take off a delay, as a share of it


class Shard(WorldPlayer):
    """A part of the world.

    Args:
        report: Is told nothing: all shards are equally far.
        scenario: What is played.
        own: The number of the shard.
        count: How many there are.
    """

    def __init__(self, report: Report, scenario: Scenario, own: int, count: int) -> None:
        super().__init__(scenario, (own, count))

    def outlook(self) -> float:
        """Return for how many seconds nothing that another shard does can be felt here."""
        share = self.world.share
        if share is None:
            raise ValueError("a world that is whole has no shards")
        scenario = self.world.scenario
        least = share.division.least * (1.0 - scenario.network.jitter)
        if scenario.relays.vanishing:
            least = min(least, scenario.relays.vanish_after)
        return min(least, KNOWN_AFTER) * (1.0 - _HAIR)

    def advance(self, until: float, arriving: Sequence[bytes]) -> tuple[float, list[bytes], float]:
        """Take in what has come from other shards, and let time pass.

        Args:
            until: When to stop.
            arriving: Batches of datagrams and letters.

        Returns:
            When something happens next here; batches for each shard, empty where there is nothing;
            and when the first thing in these arrives.
        """
        network = self.world.network
        for batch in arriving:
            datagrams, letters = pickle.loads(batch)  # noqa: S301 - of another process of ours
            network.admit(datagrams)
            self.world.post.admit(letters)
        self.pass_until(until)
        share = self.world.share
        batches: list[bytes] = []
        first = float("inf")
        for both in () if share is None else zip(share.leaving, share.letters, strict=True):
            times = [one[0] for leaving in both for one in leaving]
            first = min([first, *times])
            batches.append(pickle.dumps(both, pickle.HIGHEST_PROTOCOL) if times else b"")
            for leaving in both:
                leaving.clear()
        return self.world.heap.due, batches, first


def check_shards(scenario: Scenario) -> None:
    """Make sure that a scenario can be divided.

    Raises:
        SimulationError: It has something that all shards would have to know at once; the message
            names the key.
    """
    if scenario.adversaries.share:
        raise SimulationError(
            "adversaries.share: hostile nodes know at once what all of them know, so that this "
            "scenario cannot be divided; leave out --shards, or them"
        )
