"""Bencode (BEP 3), in which rtpengine's ng protocol writes its messages."""

from overlay.core.errors import RemoteProtocolError

Value = int | bytes | list["Value"] | dict[bytes, "Value"]

MAX_DEPTH = 16
"""Lists and dictionaries within each other; ng has three."""

MAX_DIGITS = 20
"""Of an integer or a length."""


def encode(value: int | str | bytes | list[str] | dict[str, object]) -> bytes:
    """A value as bencode; text goes as UTF-8.

    Raises:
        TypeError: bencode has no such type.
    """
    match value:
        case bool():
            raise TypeError("bencode has no booleans")
        case int():
            return b"i%de" % value
        case str():
            return encode(value.encode())
        case bytes():
            return b"%d:%b" % (len(value), value)
        case list():
            return b"l%be" % b"".join(map(encode, value))
        case dict():
            items = sorted((key.encode(), item) for key, item in value.items())
            return b"d%be" % b"".join(encode(key) + encode(item) for key, item in items)  # type: ignore[arg-type]
    raise TypeError(f"bencode has no {type(value).__name__}")


def decode_untrusted(data: bytes) -> Value:
    """The one value that `data` holds.

    Raises:
        RemoteProtocolError: it is not bencode.
    """
    value, end = _decode(data, 0, MAX_DEPTH)
    if end != len(data):
        raise RemoteProtocolError("bytes after the end of bencode")
    return value


def _decode(data: bytes, at: int, depth: int) -> tuple[Value, int]:
    if not depth:
        raise RemoteProtocolError("bencode is nested too deeply")
    kind = data[at : at + 1]
    if kind == b"i":
        return _integer(data, at + 1, b"e")
    if kind.isdigit():
        size, begin = _integer(data, at, b":")
        if size > len(data) - begin:
            raise RemoteProtocolError("a bencoded string is cut off")
        return data[begin : begin + size], begin + size
    if kind not in (b"l", b"d"):
        raise RemoteProtocolError("not bencode")
    at += 1
    items: list[Value] = []
    while data[at : at + 1] != b"e":
        item, at = _decode(data, at, depth - 1)
        items.append(item)
    return (items if kind == b"l" else _dictionary(items)), at + 1


def _dictionary(items: list[Value]) -> dict[bytes, Value]:
    if len(items) % 2:
        raise RemoteProtocolError("a bencoded dictionary has a key without a value")
    pairs: dict[bytes, Value] = {}
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(key, bytes):
            raise RemoteProtocolError("a key of a bencoded dictionary is not a string")
        pairs[key] = value
    return pairs


def _integer(data: bytes, at: int, end: bytes) -> tuple[int, int]:
    digits, found, _ = data[at : at + MAX_DIGITS + 1].partition(end)
    number = digits.removeprefix(b"-") if end == b"e" else digits
    if not found or not number.isdigit():
        raise RemoteProtocolError("a bencoded number is none")
    return int(digits), at + len(digits) + 1
