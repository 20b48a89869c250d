"""The figures of the overlay under churn, loss and mass failure, over a simulated network.

`python -m simulations.overlay_figures` prints them; `world` builds the network, `experiments`
measures, one after the other, and `report` puts the seeds side by side.
"""
