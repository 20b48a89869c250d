"""The four questions of ``jingle-nodes init``: who the node is, what it gives, to whom, by whom.

What was given already is not asked for; what is no answer is asked for again.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

from rich.console import Console
from rich.prompt import Prompt
from rich.text import Text

from node.errors import UsageError, UserError
from node.relay.quota import Quota
from node.settings import RunSettings
from node.settings.shared import check_bootstrap
from node.settings.values import bare_jid_of, check_secret, split_host_port
from node.xmpp.account import parse_jid

NONE = "none"
"""The answer that stands for no limit, and for no peer."""

DEFAULT_QUOTA = "100GB/month"
DEFAULT_SERVER = "localhost:5347"
POLICIES = ("public", "roster")


@dataclass(frozen=True)
class Answers:
    """What a node is to be."""

    settings: RunSettings
    """Without the file of a password that was typed."""
    secret: str | None = None
    """The password or secret that was typed; None if a file of it was given."""


def complete(given: RunSettings, console: Console) -> Answers:
    """Ask for what was not given, if somebody is there to answer.

    Raises:
        UsageError: Nobody is, and without answers there is no node.
        UserError: Whoever was there has left.
    """
    asked = Questions(given, console)
    if sys.stdin is None or not sys.stdin.isatty():
        if asked.is_missing("jid", "component") or asked.lacks_secret:
            raise UsageError(
                "standard input is no terminal, so nothing can be asked: pass --jid user@domain "
                "--password-file FILE (or --component relay.domain --secret-file FILE "
                "--server host:port) and what else the file shall say"
            )
        return Answers(given)
    try:
        return asked.ask_all()
    except EOFError:
        raise UserError("the questions were not answered, so nothing was written") from None


class _Prompt(Prompt):
    prompt_suffix = "> "


class Questions:
    """The questions, and what is known so far."""

    def __init__(self, given: RunSettings, console: Console) -> None:
        self._settings = given
        self._defaults = {field.name: field.default for field in fields(RunSettings)}
        self._console = console

    def is_missing(self, *names: str) -> bool:
        """Whether none of these settings was given."""
        return all(getattr(self._settings, name) == self._defaults[name] for name in names)

    @property
    def lacks_secret(self) -> bool:
        """Whether there is no file of the password or secret that is needed."""
        is_account = self._settings.component is None
        return self.is_missing("password_file" if is_account else "secret_file")

    def ask_all(self) -> Answers:
        """Ask what is missing."""
        if self.is_missing("jid", "component"):
            self._ask_address()
        secret = self._ask_secret() if self.lacks_secret else None
        if self._settings.component is not None and self.is_missing("server"):
            server = self._ask("Where the server listens for it", _check_host, DEFAULT_SERVER)
            self._set(server=server)
        if self.is_missing("quota", "node_kbps", "maxkbps", "hours"):
            self._ask_quota()
        if self.is_missing("policy", "allow"):
            self._ask_policy()
        if self.is_missing("bootstrap"):
            self._ask_bootstrap()
        return Answers(self._settings, secret)

    def _ask_address(self) -> None:
        address = self._ask(
            "1. XMPP address of the relay: user@domain of an account that is made for it, or "
            "relay.domain, a component of your own server",
            _check_address,
        )
        self._set(**{"jid" if "@" in address else "component": address})

    def _ask_secret(self) -> str:
        name = "Password of the account" if self._settings.component is None else "Its secret"
        return self._ask(f"{name} (it is not shown)", check_secret, hidden=True)

    def _ask_quota(self) -> None:
        quota = self._ask(
            f"2. How much may it pass on, such as 50GB/month or 2GB/day; {NONE} for no limit",
            lambda text: text == NONE or Quota.parse(text),
            DEFAULT_QUOTA,
        )
        if quota != NONE:
            self._set(quota=quota)

    def _ask_policy(self) -> None:
        is_account = self._settings.component is None
        contacts = "roster for the contacts of its account, " if is_account else ""
        policy = self._ask(
            f"3. Whom does it lend to: public for everybody, {contacts}"
            "or the JIDs and domains, with spaces between",
            lambda text: _check_policy(text, has_roster=is_account),
            POLICIES[0],
        )
        self._set(**{"policy": policy} if policy in POLICIES else {"allow": tuple(policy.split())})

    def _ask_bootstrap(self) -> None:
        peer = self._ask(
            "4. A peer through which it joins the others, host:port or xmpp:JID of a relay; "
            f"{NONE} if it is the first",
            _check_peer,
            NONE,
        )
        if peer != NONE:
            self._set(bootstrap=(peer,))

    def _set(self, **values: object) -> None:
        self._settings = replace(self._settings, **values)  # type: ignore[arg-type]

    def _ask(
        self,
        question: str,
        check: Callable[[str], object],
        default: str = "",
        *,
        hidden: bool = False,
    ) -> str:
        prompt, console = Text(" "), self._console
        console.print(Text(question))
        while True:
            if default:
                answer = _Prompt.ask(prompt, console=console, default=default)
            else:
                answer = _Prompt.ask(prompt, console=console, password=hidden)
            answer = answer if hidden else answer.strip()
            try:
                check(answer)
            except (ValueError, UserError) as error:
                console.print(Text(f"  {error}", style="red"))
            else:
                return answer


def _is_whole(host: str) -> bool:
    """Whether it is more than one word, which is hardly ever all of a name."""
    return any(mark in host for mark in ".:") or host == "localhost"


def _check_address(text: str) -> None:
    jid = parse_jid(text)
    if jid.resource and not jid.local:
        raise ValueError(f"{text!r} has a resource; a component reads relay.domain")
    if not jid.local and not _is_whole(jid.domain):
        raise ValueError(
            f"{text!r} lacks a domain: an account reads user@example.org, a component "
            "relay.example.org"
        )


def _check_host(text: str) -> None:
    host, port = split_host_port(text)
    if port is None and not _is_whole(host):
        raise ValueError(
            f"{text!r} is one word: give host:port, or a whole name such as server.example.org"
        )


def _check_peer(text: str) -> None:
    if text != NONE:
        check_bootstrap(text)
        if ":" not in text:
            _check_host(text)


def _check_policy(text: str, *, has_roster: bool) -> None:
    if text == "roster" and not has_roster:
        raise ValueError("a component has no roster; name JIDs and domains")
    if text not in POLICIES:
        for name in text.split() or [""]:
            # Somebody's server may have a name like that, but who writes one here means a policy.
            if name.isalpha() and name != "localhost":
                raise ValueError(
                    f"{name!r} is no answer: public, roster, or JIDs and domains "
                    "such as user@example.org example.net"
                )
            bare_jid_of(name)
