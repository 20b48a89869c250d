"""The files of an installation: settings, secret and systemd unit. None is overwritten unasked."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

from node.errors import UserError
from node.install.config_file import render
from node.install.questions import Answers
from overlay.state import replace_file

UNIT = "jingle-nodes.service"
DROP_IN = "kernel-forwarder.conf"

SYSTEM_CONFIG = Path("/etc/jingle-nodes/node.toml")
UNIT_DIRECTORY = Path("/etc/systemd/system")

UNSEEN = (Path("/home"), Path("/root"), Path("/run/user"), Path("/tmp"), Path("/var/tmp"))  # noqa: S108
"""What the unit hides from the node (ProtectHome=, PrivateTmp=)."""

_UNIT_VENV = "/opt/jingle-nodes"
_UNIT_COMMAND = f"{_UNIT_VENV}/bin/jingle-nodes"
_UNIT_SECRET = "/etc/jingle-nodes/node.secret"  # noqa: S105  (a path)


@dataclass(frozen=True)
class Installation:
    """Where the files of a node are to be."""

    config: Path
    """File of settings."""
    unit_directory: Path | None = None
    """Where a systemd unit is to be; None for none."""
    kernel_forwarder: bool = False
    """Give the unit what a forwarder in the kernel needs besides."""
    force: bool = False
    """Overwrite what is there."""

    @property
    def secret(self) -> Path:
        """File of a password that was typed."""
        return self.config.with_suffix(".secret")

    @property
    def unit(self) -> Path | None:
        """The systemd unit."""
        return None if self.unit_directory is None else self.unit_directory / UNIT

    @property
    def drop_in(self) -> Path | None:
        """What adds to the unit."""
        if self.unit is None or not self.kernel_forwarder:
            return None
        return self.unit.with_name(f"{UNIT}.d") / DROP_IN

    def check(self, *, with_secret: bool) -> None:
        """Find out beforehand what would keep the files from being written.

        Args:
            with_secret: whether one of them is that of the password.

        Raises:
            UserError: Something does.
        """
        if self.unit is not None:
            command()
        if self.config.is_dir():
            raise UserError(f"{self.config} is a directory; name a file, such as node.toml")
        if with_secret and self.config == self.secret:
            raise UserError(f"{self.config} is to be the file of the password; call it node.toml")
        secret = self.secret if with_secret else None
        for path in filter(None, (self.config, secret, self.unit, self.drop_in)):
            if not self.force and os.path.lexists(path):
                raise UserError(f"{path} is there already; keep it, or overwrite it with --force")


def install(installation: Installation, answers: Answers, helps: Mapping[str, str]) -> list[Path]:
    """Write the files.

    Args:
        installation: Where.
        answers: What the node is to be.
        helps: What each setting means, by the name of its field.

    Returns:
        What was written.

    Raises:
        UserError: Something cannot be written, or would be overwritten; then nothing is left of
            what was new.
    """
    installation.check(with_secret=answers.secret is not None)
    settings = answers.settings
    is_account = settings.component is None
    key = "password_file" if is_account else "secret_file"
    files: dict[Path, tuple[str, int]] = {}
    if answers.secret is not None:
        secret = installation.secret.absolute()
        settings = replace(settings, **{key: secret})  # type: ignore[arg-type]
        files[installation.secret] = (f"{answers.secret}\n", 0o600)
    secret_file = getattr(settings, key).absolute()
    settings = replace(settings, **{key: secret_file})
    files[installation.config] = (render(settings, helps), 0o644)
    if installation.unit is not None:
        text = unit_text(command(), installation.config.absolute(), secret_file)
        files[installation.unit] = (text, 0o644)
    if installation.drop_in is not None:
        files[installation.drop_in] = (packaged(DROP_IN), 0o644)
    written: list[Path] = []
    for path, (text, mode) in files.items():
        try:
            _write(path, text, mode, force=installation.force)
        except (OSError, UnicodeError) as error:
            if not installation.force:
                for done in written:
                    done.unlink(missing_ok=True)
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise UserError(
                f"cannot write {path}: {reason}; choose another place, or run as its owner"
            ) from error
        written.append(path)
    return written


def command() -> Path:
    """The program that a systemd unit is to start.

    Raises:
        UserError: A service cannot see it.
    """
    program = Path(sys.executable).with_name("jingle-nodes")
    needed = (program.resolve(), Path(sys.executable).resolve())
    hidden = [path for path in needed for place in UNSEEN if path.is_relative_to(place)]
    if hidden or not program.exists():
        raise UserError(
            f"a service does not see {(hidden or [program])[0]}: install with the system's Python "
            f"where it does: /usr/bin/python3 -m venv {_UNIT_VENV}, then "
            f"{_UNIT_VENV}/bin/pip install"
        )
    return program


def packaged(name: str) -> str:
    """A file that comes with this package."""
    return resources.files(__package__).joinpath(name).read_text("utf-8")


def unit_text(program: Path, config: Path, secret: Path) -> str:
    """The systemd unit for these files."""
    text = packaged(UNIT)
    for default, path in (
        (_UNIT_COMMAND, program),
        (str(SYSTEM_CONFIG), config),
        (_UNIT_SECRET, secret),
    ):
        if any(char.isspace() or char in "%\\\"'$:" for char in str(path)):
            raise UserError(f"systemd does not take {str(path)!r}; choose a plainer name")
        text = text.replace(default, str(path))
    return text


def _write(path: Path, text: str, mode: int, *, force: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if force:
        replace_file(path, text)
        path.chmod(mode)
        return
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    content = text.encode()
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        os.fchmod(file.fileno(), mode)  # whatever the umask: a service may be another user
        file.write(content)
