"""Which relay to take: network coordinates, measured round trips, shortlists."""
