"""Peers on real sockets, on loopback, against the `kademlia` package.

`python -m simulations.real_peers` runs first `ours`, then `theirs`, each in a process of its own
and with the same `workload`, and prints the figures side by side.
"""
