"""No reply larger than its request: checked on every datagram."""

from overlay.core.addresses import Address
from overlay.core.errors import RemoteProtocolError
from overlay.core.protocol import stun
from overlay.core.protocol.messages import Request
from overlay.core.protocol.wire import parse_message_untrusted


class Audit:
    """Compares what a request makes a peer send at once with the request.

    Attributes:
        requests: Requests seen.
        larger: Those that set off more bytes than they had.
    """

    def __init__(self) -> None:
        self.requests = 0
        self.larger = 0

    def observe(self, data: bytes, source: Address, sent: list[tuple[bytes, Address]]) -> None:
        """Take in a datagram, and what its receipt set off."""
        if sent and _is_request(data):
            self.requests += 1
            self.larger += sum(len(reply) for reply, _ in sent) > len(data)


def _is_request(data: bytes) -> bool:
    if stun.is_stun(data):
        return stun.is_binding_request(stun.parse_stun_untrusted(data))
    try:
        return isinstance(parse_message_untrusted(data), Request)
    except RemoteProtocolError:
        return False
