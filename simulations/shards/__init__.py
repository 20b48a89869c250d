"""One scenario in several processes, with the same results as in one.

Every shard draws what happens to all nodes (who comes and leaves, who searches) alike, and has the
peers of its own sites at work. `shard` is what is in each process, `player` keeps them in step.
"""

from simulations.shards.player import ShardedPlayer
from simulations.shards.shard import check_shards

__all__ = ["ShardedPlayer", "check_shards"]
