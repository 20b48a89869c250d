"""What moves the media of channels: one interface (base), and the userspace forwarder.

Exports nothing: the forwarder's process imports from here and must start without Trio.
"""
