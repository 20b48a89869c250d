"""``jingle-nodes init``: a node's files of settings, from four questions or from flags."""

import shlex
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from node.commands.output import say
from node.install import Installation, complete, install
from node.install.written import SYSTEM_CONFIG, UNIT_DIRECTORY
from node.settings import RunSettings

LOCAL_CONFIG = Path("node.toml")


def init(
    given: RunSettings,
    file: Path | None,
    systemd: bool,
    force: bool,
    helps: Mapping[str, str],
    unit_directory: Path = UNIT_DIRECTORY,
) -> None:
    """Ask, write, and say what to do next.

    Args:
        given: What need not be asked.
        file: Where to write the settings.
        systemd: Whether to write a unit, too.
        force: Whether to overwrite.
        helps: What each setting means, by the name of its field.
        unit_directory: Where the unit is to be.

    Raises:
        UserError: A question cannot be asked, or a file not be written.
    """
    config = file or (SYSTEM_CONFIG if systemd else LOCAL_CONFIG)
    installation = Installation(
        config,
        unit_directory if systemd else None,
        kernel_forwarder=given.forwarder not in ("auto", "userspace"),
        force=force,
    )
    # Before anybody answers in vain.
    installation.check(with_secret=given.password_file is None and given.secret_file is None)
    given.check()
    # The questions stand beside the errors, so that the output is what was written.
    answers = complete(given, Console(stderr=True))
    if answers.secret is None:  # else its file is still to be written
        answers.settings.check_account()
    written = install(installation, answers, helps)
    config_flag = f"--config {shlex.quote(str(config))}"
    state = " --state-dir /var/lib/jingle-nodes" if systemd else ""
    start = (
        "systemctl daemon-reload && systemctl enable --now jingle-nodes"
        if systemd
        else f"jingle-nodes run {config_flag}"
    )
    say(f"written: {', '.join(map(str, written))}")
    say(f"try it:  jingle-nodes doctor {config_flag}{state}")
    say(f"start:   {start}")
