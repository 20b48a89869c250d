"""Starts the command: ``python -m node``, or ``jingle-nodes`` once it is installed."""

import signal


def main() -> None:
    """Run the command line; Ctrl-C during the imports ends it without a word."""
    handler = signal.signal(signal.SIGINT, signal.SIG_DFL)
    from node.cli import main as run

    signal.signal(signal.SIGINT, handler)
    run()


if __name__ == "__main__":
    main()
