"""Networks to try the overlay and the nodes in."""
