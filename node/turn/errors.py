"""The errors that a server answers requests with (RFC 8489 section 14.8, RFC 8656 section 19)."""

from enum import IntEnum

from node.turn.stun import error_code


class Code(IntEnum):
    """Codes of errors."""

    BAD_REQUEST = 400
    UNAUTHENTICATED = 401
    FORBIDDEN = 403
    UNKNOWN_ATTRIBUTE = 420
    ALLOCATION_MISMATCH = 437
    STALE_NONCE = 438
    UNSUPPORTED_FAMILY = 440
    WRONG_CREDENTIALS = 441
    UNSUPPORTED_TRANSPORT = 442
    FAMILY_MISMATCH = 443
    QUOTA_REACHED = 486
    INSUFFICIENT_CAPACITY = 508

    @property
    def reason(self) -> str:
        """The same for people."""
        return _REASONS[self]


_REASONS = {
    Code.BAD_REQUEST: "Bad Request",
    Code.UNAUTHENTICATED: "Unauthenticated",
    Code.FORBIDDEN: "Forbidden",
    Code.UNKNOWN_ATTRIBUTE: "Unknown Attribute",
    Code.ALLOCATION_MISMATCH: "Allocation Mismatch",
    Code.STALE_NONCE: "Stale Nonce",
    Code.UNSUPPORTED_FAMILY: "Address Family not Supported",
    Code.WRONG_CREDENTIALS: "Wrong Credentials",
    Code.UNSUPPORTED_TRANSPORT: "Unsupported Transport Protocol",
    Code.FAMILY_MISMATCH: "Peer Address Family Mismatch",
    Code.QUOTA_REACHED: "Allocation Quota Reached",
    Code.INSUFFICIENT_CAPACITY: "Insufficient Capacity",
}


class Rejected(Exception):  # noqa: N818
    """A request is to be answered with an error.

    Args:
        code: of the error.
        *attributes: more than the code.
    """

    def __init__(self, code: Code, *attributes: tuple[int, bytes]) -> None:
        super().__init__(f"{code} {code.reason}")
        self.code = code
        self.attributes = (error_code(code, code.reason), *attributes)
