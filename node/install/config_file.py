"""A file of settings that explains itself: every key, with what it means; defaults as comments."""

import json
import textwrap
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from node.settings import RunSettings

_WIDTH = 98

_HEAD = """
A relay node's settings. Try them: jingle-nodes doctor --config FILE. Serve with them:
jingle-nodes run --config FILE. A key in a comment has the value that is shown, if there is one.
A node that runs takes new limits when it gets SIGHUP.
"""

_PARTS = {
    "XMPP: the account or the component that others ask for channels": (
        *("jid", "password_file", "xmpp_host", "xmpp_tls", "xmpp_ca_file"),
        *("component", "secret_file", "server"),
    ),
    "The overlay, where relays are found, and the ports": (
        *("bootstrap", "port", "relay_ports", "public_address", "port_mapping"),
    ),
    "TURN, for browsers": ("turn_port", "turn_server", "turn_secret_file"),
    "How much it lends": (
        *("quota", "node_kbps", "maxkbps", "hours", "channels", "channels_per_jid"),
        *("channels_per_domain", "requests_per_minute", "expire", "drain"),
    ),
    "To whom": ("policy", "allow", "deny"),
    "What it shows": ("status_address", "allow_remote_status", "log_format", "log_addresses"),
}
_REST = "The rest"


def render(settings: RunSettings, helps: Mapping[str, str]) -> str:
    """The file, as TOML.

    Args:
        settings: What it is to say; what is as by default becomes a comment.
        helps: What each setting means, by the name of its field.
    """
    defaults = {field.name: field.default for field in fields(RunSettings)}
    sorted_in = {name for names in _PARTS.values() for name in names}
    rest = tuple(name for name in defaults if name not in sorted_in)
    lines = _comment(_HEAD)
    for title, names in {**_PARTS, _REST: rest}.items():
        lines += ["", "", f"# {title}"]
        for name in names:
            value = getattr(settings, name)
            mark = "#" if value == defaults[name] else ""
            lines += ["", *_comment(helps[name]), f"{mark}{name} = {_toml(value)}".rstrip()]
    return "\n".join(lines) + "\n"


def _comment(text: str) -> list[str]:
    lines = textwrap.wrap(" ".join(text.split()), _WIDTH, break_on_hyphens=False)
    return [f"# {line}" for line in lines]


def _toml(value: object) -> str:
    """A value as TOML 1.0 has it; nothing for None, which it has not."""
    match value:
        case None:
            return ""
        case bool() | int() | float():
            return json.dumps(value)
        case str() | Path():
            # A basic string is one of JSON, but for the character DEL.
            return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
        case tuple():
            return f"[{', '.join(map(_toml, value))}]"
    raise TypeError(f"no setting is a {type(value).__name__}")
