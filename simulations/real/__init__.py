"""Scenarios on real UDP sockets on loopback, so that simulation and reality can be compared.

`network` is the seam: datagrams go through the kernel, and meet there what the scenario says of its
network. `peers` are the overlay's own shell, `world` puts both in place of what is simulated.
"""
