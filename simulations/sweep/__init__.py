"""Sweeps: one scenario with several values of its keys and several seeds, run beside each other.

`grid` says which runs there are, `runs` has them made, `summary` tells what came of them, and
`command` is what `jingle-nodes simulate` calls.
"""
