"""Starts the command: ``python -m node``, or ``jingle-nodes`` once it is installed."""

import signal
import sys


def main() -> None:
    """Run the command line; Ctrl-C during the imports ends it without a word."""
    handler = signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.argv[1:2] == ["run"] and hasattr(signal, "SIGHUP"):
        # To read settings again that are not read yet, or are of no use any more, is to do nothing.
        # A handler, and not SIG_IGN, which the programs that a node starts would inherit.
        signal.signal(signal.SIGHUP, lambda number, frame: None)
    try:
        from node.cli import main as run
    except (MemoryError, OSError, ImportError) as error:
        sys.exit(f"jingle-nodes: cannot start: {error or 'no memory left'}; check the installation")
    signal.signal(signal.SIGINT, handler)
    run()


if __name__ == "__main__":
    main()
