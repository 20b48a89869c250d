"""`jingle-nodes bench`: what relays cost, side by side (cost), and what ours keeps to (promises).

Exports nothing: the programs that the bench starts import from here.
"""
