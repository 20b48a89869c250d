"""What the commands have to say on standard output."""

from node.errors import UserError


def say(text: str) -> None:
    """Print a line at once.

    Raises:
        UserError: Nobody takes it: the disk is full, or the reader is gone.
    """
    try:
        print(text, flush=True)
    except OSError as error:
        raise UserError(f"cannot write to standard output: {error.strerror}") from error


def printable(text: str) -> str:
    """A text that moves no cursor and rings no bell, whoever wrote it."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
