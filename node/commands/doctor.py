"""``jingle-nodes doctor``: what is well with a node, what is not, and what to do about it."""

import json
from collections.abc import Mapping
from dataclasses import asdict

from rich.console import Console
from rich.table import Table
from rich.text import Text

from node.commands import output
from node.commands.output import printable, say
from node.commands.signals import interruptible
from node.doctor import Finding, Result, diagnose
from node.settings import RunSettings

_STYLES: Mapping[Result, str] = {
    "ok": "green",
    "warning": "yellow",
    "failed": "bold red",
    "skipped": "dim",
}


async def doctor(
    settings: RunSettings, s2s_domain: str | None, timeout: float, as_json: bool
) -> bool:
    """Print what each check has found; return whether none has failed."""
    async with interruptible():
        findings = await diagnose(settings, s2s_domain=s2s_domain, timeout=timeout)
    healthy = all(finding.result != "failed" for finding in findings.values())
    if as_json:
        checks = [{"name": name, **asdict(finding)} for name, finding in findings.items()]
        say(json.dumps({"healthy": healthy, "checks": checks}))
    else:
        say(as_text(findings, Console()))
    return healthy


def as_text(findings: Mapping[str, Finding], console: Console) -> str:
    """A table for people; one line for each check where it is not for a terminal."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    separator = "\n" if console.file.isatty() else "; "
    for name, finding in findings.items():
        lines = Text(printable(finding.meaning))  # and no markup: some of it is strangers'
        if finding.remedy:
            lines.append(f"{separator}{printable(finding.remedy)}", style="italic")
        table.add_row(Text(finding.result, _STYLES[finding.result]), name, lines)
    return output.as_text(table, console)
