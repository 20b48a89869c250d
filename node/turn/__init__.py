"""TURN (RFC 8656): credentials for it, and a server of our own in the forwarder's process.

Exports nothing: that process imports from here and must start without Trio.
"""
