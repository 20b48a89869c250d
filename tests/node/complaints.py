"""What a command line says that fails."""

import pytest

from node.cli import execute


def complaint(capsys: pytest.CaptureFixture[str], arguments: list[str], status: int) -> str:
    """Run a command line that must fail with ``status`` and return its only line."""
    assert execute(arguments) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("jingle-nodes: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    return err
