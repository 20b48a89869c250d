"""TURN, for browsers and other WebRTC programs: our own server, or one that is there already."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter, Token

from node.errors import UsageError
from node.settings.values import checked, parse_host_port, parsed, read_secret, split_host_port

DEFAULT_TURN_PORT = 3478
"""UDP port of TURN (RFC 8656 section 4.4); firewalls that let any through, let this one."""

OFF = "off"


def _parse_port(text: str) -> int | None:
    text = text.strip()
    if text == OFF:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 6 and int(text) < 65536):
        raise ValueError(f"{text!r} is not a port from 0 to 65535, and not off")
    return int(text)


def _take_port(kind: Any, tokens: Sequence[Token]) -> int | str:
    port = _parse_port(tokens[0].value)
    return OFF if port is None else port


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class TurnSettings:
    """Where browsers get a relay."""

    turn_port: Annotated[int | str, Parameter(converter=_take_port)] = DEFAULT_TURN_PORT
    """UDP port of the TURN server for browsers and other WebRTC programs, or off; 0 lets the system
    choose. They learn it over XMPP; an allocation counts as a channel."""

    turn_server: Annotated[str | None, checked(split_host_port)] = None
    """host:port of a coturn with use-auth-secret: hand out credentials for that one instead."""

    turn_secret_file: Path | None = None
    """File whose first line is the static-auth-secret of that coturn."""

    def own_turn_port(self) -> int | None:
        """The port of our own server, 0 for any; None if there is to be none.

        Raises:
            UsageError: It is malformed.
        """
        port = parsed("--turn-port", str(self.turn_port), _parse_port)
        return port if self.turn_server is None else None

    @property
    def turn_wanted(self) -> bool:
        """Whether TURN is to be offered."""
        return self.turn_server is not None or str(self.turn_port).strip() != OFF

    def check_turn(self) -> None:
        """Make sure that the settings fit together.

        Raises:
            UsageError: They do not.
        """
        if (self.turn_server is None) != (self.turn_secret_file is None):
            raise UsageError(
                "--turn-server host:port and --turn-secret-file FILE go together: "
                "pass both, or none for the node's own server"
            )

    def other_turn_server(self) -> tuple[tuple[str, int], bytes] | None:
        """Where another server is, and the secret that it shares; None if there is none.

        Raises:
            UsageError: Settings are missing or malformed.
            UserError: The secret cannot be read.
        """
        self.check_turn()
        if self.turn_server is None or self.turn_secret_file is None:
            return None
        address = parse_host_port("--turn-server", self.turn_server, DEFAULT_TURN_PORT)
        return address, read_secret("--turn-secret-file", self.turn_secret_file).encode()
