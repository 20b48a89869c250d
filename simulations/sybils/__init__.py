"""Hostile peers that work together, and what honest clients still find among them.

`python -m simulations.sybils` prints the figures; `attackers` are the hostile peers, `world` mixes
them with honest ones, and `experiments` measures.
"""
