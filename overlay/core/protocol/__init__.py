"""The overlay on the wire: messages and their form, STUN, timeouts, rate limits, write tokens."""
