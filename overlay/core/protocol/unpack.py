"""Reading msgpack from strangers: bounded before it allocates, one error for everything."""

from typing import Any, Final

import msgpack

from overlay.core.errors import RemoteProtocolError

MAX_DATAGRAM: Final = 1200  # bytes; passes any path with an MTU of 1280 (RFC 8200 section 5)
_MAX_ITEMS: Final = 32


def unpack_array_untrusted(data: bytes) -> list[Any]:
    """Unpack one msgpack array, and nothing after it.

    Raises:
        RemoteProtocolError: Anything else.
    """
    if len(data) > MAX_DATAGRAM:
        raise RemoteProtocolError(f"{len(data)} bytes are too many")
    try:
        value = msgpack.unpackb(
            data,
            max_str_len=MAX_DATAGRAM,
            max_bin_len=MAX_DATAGRAM,
            max_array_len=_MAX_ITEMS,
            max_map_len=0,
            max_ext_len=0,
        )
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise RemoteProtocolError(f"not msgpack: {error}") from error
    if type(value) is not list:
        raise RemoteProtocolError("not an array")
    return value


def need_bytes(value: object, *lengths: int) -> bytes:
    """Return `value` if it is a byte string of one of the `lengths`.

    Raises:
        RemoteProtocolError: It is not.
    """
    if type(value) is not bytes or len(value) not in lengths:
        raise RemoteProtocolError(f"expected a byte string of {lengths} bytes")
    return value


def need_int(value: object, low: int, high: int) -> int:
    """Return `value` if it is an integer from `low` to `high`.

    Raises:
        RemoteProtocolError: It is not; a boolean is no integer.
    """
    if type(value) is not int or not low <= value <= high:
        raise RemoteProtocolError(f"expected an integer from {low} to {high}")
    return value


def need_text(value: object, max_length: int) -> str:
    """Return `value` if it is a printable, non-empty string without spaces.

    Raises:
        RemoteProtocolError: It is not, or has more than `max_length` characters.
    """
    if type(value) is not str or not 0 < len(value) <= max_length:
        raise RemoteProtocolError(f"expected a string of 1 to {max_length} characters")
    if " " in value or not value.isprintable():
        raise RemoteProtocolError("string with a space or a control character")
    return value


def need_list(value: object, max_length: int) -> list[Any]:
    """Return `value` if it is an array of at most `max_length` items.

    Raises:
        RemoteProtocolError: It is not.
    """
    if type(value) is not list or len(value) > max_length:
        raise RemoteProtocolError(f"expected an array of at most {max_length} items")
    return value
