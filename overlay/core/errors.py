"""The two errors of the protocol core, after h11: our misuse, and theirs."""


class LocalProtocolError(Exception):
    """This program asked the core for something that the protocol does not allow."""


class RemoteProtocolError(Exception):
    """Bytes from the network break the protocol; the only error that parsers raise."""
