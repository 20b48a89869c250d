"""How good the choice of a relay is, while calls keep a given share of all channels in use.

`python -m simulations.relay_choice` prints the figures; `world` has the relays, the callers and the
adverts, `ways` are the ways to choose, and `calls` come, go and are judged.
"""
