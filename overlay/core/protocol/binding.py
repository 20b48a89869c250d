"""Answers STUN Binding requests (RFC 8489) on the overlay's port."""

from typing import Final

from overlay.core.addresses import Address
from overlay.core.choice.tables import relay_name
from overlay.core.errors import RemoteProtocolError
from overlay.core.protocol import stun
from overlay.core.protocol.limits import RateLimiter
from overlay.core.rpc import Rpc

# A plain STUN request is answered with a reply up to 2.2 times its size, so strangers get few.
_RATE: Final = 10.0
_BURST: Final = 40.0
_SOURCES: Final = 65_536


class BindingResponder:
    """Tells whoever asks where he is, and what is free if we are a relay.

    Args:
        rpc: Sends; counts what is dropped.

    Attributes:
        free_share: Free share of our channels, 0 to 1; None for no relay.
    """

    __slots__ = ("_limiter", "_rpc", "free_share")

    def __init__(self, rpc: Rpc) -> None:
        self.free_share: float | None = None
        self._rpc = rpc
        self._limiter = RateLimiter(_RATE, _BURST, _SOURCES)

    def receive(self, data: bytes, source: Address, now: float) -> None:
        """Take in a STUN message."""
        counters = self._rpc.counters
        try:
            message = stun.parse_stun_untrusted(data)
        except RemoteProtocolError:
            counters["malformed_stun"] += 1
            return
        if not stun.is_binding_request(message):
            counters["stun_unexpected"] += 1
        elif self._rpc.client:
            counters["request_to_client"] += 1
        elif not self._limiter.admit(source, now):
            counters["stun_rate_limited"] += 1
        elif types := stun.attributes_not_understood(data):
            counters["stun_not_understood"] += 1
            response = stun.not_understood_response(message, types)
            if len(response) <= len(data):
                self._rpc.send(response, source)
        else:
            counters["stun_answered"] += 1
            response = stun.binding_response(message, source, self._relay_status())
            if len(response) > len(data):
                response = stun.binding_response(message, source)
            self._rpc.send(response, source)

    def _relay_status(self) -> stun.RelayStatus | None:
        if self.free_share is None:
            return None
        name = relay_name(self._rpc.identity.public_key)
        return stun.RelayStatus(name, self.free_share)
