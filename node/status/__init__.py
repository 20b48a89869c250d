"""What a node shows of itself: a snapshot, made once a second, and all that is drawn from it."""
