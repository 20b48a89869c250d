"""Single values of settings: read from the text that a person gave, or refused in one line."""

import logging
import math
import stat
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_origin
from urllib.parse import urlsplit

from cyclopts import CoercionError, Parameter, Token

from node.errors import UsageError, UserError
from node.files import read_small_file
from node.relay.jids import bare_jid
from node.xmpp.account import parse_jid
from node.xmpp.errors import XmppError

MAX_SECRET_BYTES = 4096
"""A longer password file is not a password file."""

T = TypeVar("T")

_log = logging.getLogger(__name__)


def between(least: int | float, most: int | float) -> Parameter:
    """Take a number from ``least`` to ``most`` and nothing else, as the field's type has it."""

    def convert(kind: type[int] | type[float], tokens: Sequence[Token]) -> int | float:
        text = tokens[0].value
        try:
            number = kind(text)
        except ValueError:
            number = math.nan
        if not least <= number <= most:
            whole = "whole " if kind is int else ""
            raise ValueError(f"{text[:40]!r} is not a {whole}number from {least} to {most}")
        return number

    return Parameter(converter=convert)


def checked(check: Callable[[str], object]) -> Parameter:
    """Take a text, or each of several, if ``check`` raises nothing; it stays as it was written.

    So what is wrong is told with the flag, the variable, or the file and the line that it is from.
    """

    def convert(kind: Any, tokens: Sequence[Token]) -> str | tuple[str, ...]:
        for token in tokens:
            try:
                check(token.value)
            except (ValueError, UserError) as error:
                raise CoercionError(msg=str(error), token=token) from None
        texts = tuple(token.value for token in tokens)
        return texts if get_origin(kind) is tuple else texts[0]

    return Parameter(converter=convert)


def parse_host_port(option: str, text: str, default_port: int) -> tuple[str, int]:
    """Split ``host``, ``host:port``, ``[v6]`` or ``[v6]:port``.

    Args:
        option: The option that the text came from, for the error.
        text: What was given.
        default_port: Taken if the text has no port.

    Raises:
        UsageError: The text is nothing of the kind.
    """
    host, port = parsed(option, text, split_host_port)
    return host, port or default_port


def split_host_port(text: str) -> tuple[str, int | None]:
    """The same without an option to blame.

    Raises:
        ValueError: The text is nothing of the kind.
    """
    text = text.strip()
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
        (host or "").encode("idna")  # as it will be looked up
    except ValueError:
        host, port = None, None
    # What a URL may have besides (user, path, ...) is no part of an address.
    written = {f"{host}", f"{host}:{port}", f"[{host}]", f"[{host}]:{port}"}
    if not host or port == 0 or text.lower() not in written:
        raise ValueError(f"{text!r} is not host:port (IPv6: [address]:port)")
    return host, port


def parsed(option: str, text: str, parse: Callable[[str], T]) -> T:
    """What the text of an option says.

    Raises:
        UsageError: It says nothing that ``parse`` takes.
    """
    try:
        return parse(text)
    except ValueError as error:
        raise UsageError(f"{option} {error}") from None


def bare_jid_of(text: str) -> str:
    """A bare JID or a domain, in the form in which JIDs are compared.

    Raises:
        ValueError: The text is neither.
    """
    try:
        jid = parse_jid(text.strip())
    except XmppError:
        raise ValueError(
            f"{text!r} is neither a JID such as user@example.org nor a domain such as example.org"
        ) from None
    if jid.resource:
        raise ValueError(f"{text!r} has a resource; give user@domain, or a domain")
    return bare_jid(str(jid))


def read_secret(option: str, path: Path) -> str:
    """The first line of a password file.

    Raises:
        UserError: The file cannot be read, or is not such a file.
    """
    try:
        content = read_small_file(path, MAX_SECRET_BYTES)
        mode = path.stat().st_mode
    except OSError as error:
        raise UserError(
            f"cannot read {option} {path}: {error.strerror}; check the path and its permissions"
        ) from error
    if mode & stat.S_IROTH:
        _log.warning("everybody on this machine can read %s %s: chmod 600 it", option, path)
    try:
        secret = content.decode("utf-8-sig").partition("\n")[0].removesuffix("\r")
    except UnicodeDecodeError:
        secret = ""
    try:
        check_secret(secret)
    except ValueError:
        raise UserError(
            f"{option} {path} must hold the password in its first line, "
            "as UTF-8 text without control characters"
        ) from None
    return secret


def check_secret(secret: str) -> None:
    """Make sure that a text can be a password.

    Raises:
        ValueError: It cannot; the message does not hold it.
    """
    if not secret or any(unicodedata.category(char) in ("Cc", "Cs") for char in secret):
        raise ValueError("a password has at least one character, and no control characters")
