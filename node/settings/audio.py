"""What is said in a call, and what becomes of what is heard."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from node.errors import UsageError
from node.settings.values import between


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class AudioSettings:
    """What is said in a call, and what becomes of what is heard."""

    tone: Annotated[int | None, between(20, 20_000)] = None
    """Send a tone of so many Hz; 440 if nothing else is to be sent."""

    play: Path | None = None
    """Send this WAV file, and silence after it."""

    record: Path | None = None
    """Write what is heard to this WAV file."""

    microphone: bool = False
    """Send what the microphone hears (needs the extra audio)."""

    speaker: bool = False
    """Play what is heard (needs the extra audio)."""

    def check(self) -> None:
        """Make sure that there is one source and one sink.

        Raises:
            UsageError: There are several.
        """
        sources = {"--tone": self.tone, "--play": self.play, "--microphone": self.microphone}
        sinks = {"--record": self.record, "--speaker": self.speaker}
        for kind in (sources, sinks):
            given = [flag for flag, value in kind.items() if value]
            if len(given) > 1:
                raise UsageError(f"{' and '.join(given)} exclude each other; pass one of them")
