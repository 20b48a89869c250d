"""The relay: channels and their rules, who may have one, their ports, and the forwarders of media.

Exports nothing: the forwarder's process imports from here and must start without Trio.
"""
