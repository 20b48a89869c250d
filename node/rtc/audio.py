"""What is said in a call, and what becomes of what is heard: tones, WAV files, sound devices.

WAV files hold 16-bit PCM. Sound devices are PortAudio's, by the package sounddevice (extra audio).
"""

import errno
import fractions
import io
import math
import os
import wave
from abc import ABC, abstractmethod
from array import array
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

import anyio
import anyio.to_thread
from aiortc.mediastreams import AudioStreamTrack
from av import AudioFrame
from av.frame import Frame

from node.errors import UserError

RATE: Final = 48_000
"""Samples per second, as Opus has it."""
AMPLITUDE: Final = 12_000
"""Peak of a tone, of 32,767."""
PACKETS: Final = 50  # a second
SAMPLE: Final = 2  # bytes
_MAX_RATE: Final = 192_000


class Source(AudioStreamTrack, ABC):
    """Audio in real time, in packets of 20 ms.

    Args:
        rate: Samples per second.
        channels: 1 or 2.
    """

    def __init__(self, rate: int = RATE, channels: int = 1) -> None:
        super().__init__()
        self.rate = rate
        self._layout = "mono" if channels == 1 else "stereo"
        self._count = rate // PACKETS
        self._size = self._count * channels * SAMPLE
        self._sent = 0
        self._started = 0.0

    @abstractmethod
    async def read(self, first: int, count: int) -> bytes:
        """Return so many samples of each channel, the first of them number ``first``; or fewer."""

    async def recv(self) -> Frame:
        """Return the next packet when it is due."""
        if not self._sent:
            self._started = anyio.current_time()
        await anyio.sleep_until(self._started + self._sent / self.rate)
        frame = AudioFrame(format="s16", layout=self._layout, samples=self._count)
        samples = await self.read(self._sent, self._count)
        # What lacks is silence.
        frame.planes[0].update(samples[: self._size].ljust(frame.planes[0].buffer_size, b"\0"))
        frame.sample_rate = self.rate
        frame.pts = self._sent
        frame.time_base = fractions.Fraction(1, self.rate)
        self._sent += self._count
        return frame


def sine(frequency: int, first: int, count: int) -> "array[int]":
    """Return samples of a tone in Hz, the first of them number ``first`` of the whole."""
    step = 2 * math.pi * frequency / RATE
    return array("h", (round(AMPLITUDE * math.sin(step * n)) for n in range(first, first + count)))


class Tone(Source):
    """An endless tone.

    Args:
        frequency: Hz.
    """

    def __init__(self, frequency: int) -> None:
        super().__init__()
        self._frequency = frequency

    async def read(self, first: int, count: int) -> bytes:
        """See Source."""
        return sine(self._frequency, first, count).tobytes()


class WavSource(Source):
    """A WAV file, and silence after it.

    Raises:
        UserError: It cannot be played.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._file = wave.open(str(path), "rb")  # noqa: SIM115  (closed with the track)
        except (OSError, EOFError, wave.Error) as error:
            reason = getattr(error, "strerror", None) or str(error) or "it ends too early"
            raise UserError(f"cannot play {path}: {reason}; give a WAV file of PCM") from None
        rate, channels = self._file.getframerate(), self._file.getnchannels()
        if self._file.getsampwidth() != SAMPLE or channels > 2 or not PACKETS <= rate <= _MAX_RATE:
            self._file.close()
            raise UserError(
                f"cannot play {path}: it must have 16 bits a sample, one or two channels, and "
                f"at most {_MAX_RATE} samples a second"
            )
        super().__init__(rate, channels)

    async def read(self, first: int, count: int) -> bytes:
        """See Source."""
        return self._file.readframes(count)

    def stop(self) -> None:
        """Close the file."""
        super().stop()
        self._file.close()


class Microphone(Source):
    """The sound device that the system records from.

    Raises:
        UserError: There is none.
    """

    def __init__(self) -> None:
        super().__init__()
        self._stream = _open_device("RawInputStream", "microphone")

    async def read(self, first: int, count: int) -> bytes:
        """See Source."""
        samples, _ = await anyio.to_thread.run_sync(self._stream.read, count)
        return bytes(samples)

    def stop(self) -> None:
        """Close the device."""
        super().stop()
        self._stream.close()


class Sink(Protocol):
    """Where mono audio at RATE goes to, 16 bits a sample."""

    async def write(self, samples: bytes) -> None:
        """Take the next samples."""

    def close(self) -> None:
        """Take no more."""


class WavSink:
    """A WAV file, which is made, or made anew, when there is something to write.

    Raises:
        UserError: It cannot be written, as far as that can be known without touching it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size = 0
        self._file: BinaryIO | None = None
        try:
            _check_writable(path)
        except OSError as error:
            raise self._error(error) from None

    async def write(self, samples: bytes) -> None:
        """See Sink.

        Raises:
            UserError: The file cannot be written.
        """
        try:
            if self._file is None:
                self._file = self._path.open("wb")
                _write(self._file, _wav_header(0))
            _write(self._file, samples)
        except OSError as error:
            raise self._error(error) from None
        self._size += len(samples)

    def close(self) -> None:
        """Close the file, if anything was written.

        Raises:
            UserError: It cannot be written.
        """
        if self._file is None:
            return
        try:
            with self._file as file:
                if file.seekable():
                    file.seek(0)
                    _write(file, _wav_header(self._size))
        except OSError as error:
            raise self._error(error) from None

    def _error(self, error: OSError) -> UserError:
        reason = error.strerror or str(error)
        return UserError(f"cannot record to {self._path}: {reason}; name another file")


def _check_writable(path: Path) -> None:
    """Find out whether a file can be written, and leave it as it is, or missing.

    Raises:
        OSError: It cannot.
    """
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES)) from None
    except OSError as error:
        if error.errno != errno.ENXIO:  # a pipe that nobody reads yet
            raise


def _write(file: BinaryIO, data: bytes) -> None:
    file.write(data)
    file.flush()


def _wav_header(size: int) -> bytes:
    """What comes before so many bytes of samples."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(SAMPLE)
        file.setframerate(RATE)
        file.setnframes(size // SAMPLE)
        file.writeframesraw(b"")
        return buffer.getvalue()


class Speaker:
    """The sound device that the system plays to.

    Raises:
        UserError: There is none.
    """

    def __init__(self) -> None:
        self._stream = _open_device("RawOutputStream", "speaker")

    async def write(self, samples: bytes) -> None:
        """See Sink."""
        await anyio.to_thread.run_sync(self._stream.write, samples)

    def close(self) -> None:
        """Close the device."""
        self._stream.close()


class Silence:
    """A sink that keeps nothing."""

    async def write(self, samples: bytes) -> None:
        """See Sink."""

    def close(self) -> None:
        """See Sink."""


def _open_device(kind: str, name: str) -> Any:
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # the latter: PortAudio itself is missing
        raise UserError(
            f"there is no way to use a {name} ({error}): pip install 'jingle-nodes[audio]', and "
            "install PortAudio (Debian: libportaudio2)"
        ) from None
    try:
        stream = getattr(sounddevice, kind)(samplerate=RATE, channels=1, dtype="int16")
        stream.start()
    except (sounddevice.PortAudioError, ValueError) as error:
        raise UserError(f"there is no {name} ({error}); plug one in, or use WAV files") from None
    return stream
