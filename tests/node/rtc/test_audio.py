"""Sources in real time (of a simulated clock), and sinks."""

import os
import sys
import wave
from array import array
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from av import AudioFrame
from trio.testing import MockClock

from node.errors import UserError
from node.rtc.audio import RATE, Microphone, Source, Speaker, Tone, WavSink, WavSource, sine


def wav(path: Path, samples: bytes, rate: int = 8000, channels: int = 1, width: int = 2) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(samples)
    return path


async def frames(source: Source, count: int) -> tuple[bytes, list[AudioFrame]]:
    got = []
    for _ in range(count):
        frame = await source.recv()
        assert isinstance(frame, AudioFrame)
        got.append(frame)
    samples = [bytes(one.planes[0])[: one.samples * len(one.layout.channels) * 2] for one in got]
    return b"".join(samples), got


async def test_a_tone_comes_in_time(autojump_clock: MockClock) -> None:
    start = trio.current_time()
    samples, got = await frames(Tone(440), 5)
    assert samples == sine(440, 0, 5 * 960).tobytes()
    assert [one.pts for one in got] == [0, 960, 1920, 2880, 3840]
    assert {one.sample_rate for one in got} == {RATE}
    assert trio.current_time() - start == pytest.approx(0.08)


@pytest.mark.parametrize("channels", [1, 2])
async def test_a_file_is_played_and_then_silence(
    tmp_path: Path, autojump_clock: MockClock, channels: int
) -> None:
    content = array("h", range(1, 1 + 250 * channels)).tobytes()
    source = WavSource(wav(tmp_path / "a.wav", content, channels=channels))
    samples, got = await frames(source, 3)
    assert samples == content.ljust(3 * 160 * channels * 2, b"\0")
    assert [one.samples for one in got] == [160, 160, 160]
    source.stop()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file"),
        (b"", "it ends too early"),
        (b"RIFF\0\0\0\0AVI ", "not a WAVE file"),
        ({"width": 1}, "16 bits a sample"),
        ({"channels": 3}, "one or two channels"),
        ({"rate": 20}, "samples a second"),
        ({"rate": 300_000}, "samples a second"),
    ],
)
def test_files_that_cannot_be_played(tmp_path: Path, content: Any, said: str) -> None:
    path = tmp_path / "a.wav"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        wav(path, b"\0" * 600, **content)
    with pytest.raises(UserError) as caught:
        WavSource(path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_what_is_heard_is_recorded(tmp_path: Path) -> None:
    sink = WavSink(tmp_path / "a.wav")
    await sink.write(b"\1\0" * 960)
    await sink.write(b"\2\0" * 960)
    sink.close()
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, RATE)
        assert file.readframes(2000) == b"\1\0" * 960 + b"\2\0" * 960


def test_before_anything_is_heard_no_file_is_touched(tmp_path: Path) -> None:
    (tmp_path / "old.wav").write_bytes(b"an earlier call")
    os.mkfifo(tmp_path / "pipe")
    for name in ("old.wav", "new.wav", "pipe"):
        WavSink(tmp_path / name).close()
    assert (tmp_path / "old.wav").read_bytes() == b"an earlier call"
    assert not (tmp_path / "new.wav").exists()


async def test_an_earlier_recording_is_replaced(tmp_path: Path) -> None:
    old = wav(tmp_path / "a.wav", b"\7\0" * 9000)
    sink = WavSink(old)
    await sink.write(b"\1\0" * 960)
    sink.close()
    with wave.open(str(old)) as file:
        assert file.readframes(9000) == b"\1\0" * 960


async def test_recordings_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path, reason in (
        (tmp_path / "none" / "a.wav", "No such file"),
        (tmp_path, "Is a directory"),
    ):
        with pytest.raises(UserError, match=f"cannot record to .*{reason}.*name another file"):
            WavSink(path)
    with monkeypatch.context() as patch, pytest.raises(UserError, match="Permission denied"):
        patch.setattr(os, "access", lambda *_: False)  # root may write everywhere
        WavSink(tmp_path / "a.wav")
    sink = WavSink(Path("/dev/full"))
    for _ in range(2):
        with pytest.raises(UserError, match="No space left"):
            await sink.write(b"\0" * 1920)
    with pytest.raises(UserError, match="No space left"):
        sink.close()


class FakeStream:
    """A sound device."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        self.played = b""
        self.open = False

    def start(self) -> None:
        self.open = True

    def close(self) -> None:
        self.open = False

    def read(self, count: int) -> tuple[bytes, bool]:
        return b"\1\0" * count, False

    def write(self, samples: bytes) -> None:
        self.played += samples


def fake_devices(monkeypatch: pytest.MonkeyPatch, stream: Any) -> None:
    class PortAudioError(Exception):
        pass

    def no_device(**settings: Any) -> None:
        raise PortAudioError("Error querying device -1")

    make = no_device if stream is None else lambda **settings: stream
    monkeypatch.setitem(
        sys.modules,
        "sounddevice",
        SimpleNamespace(RawInputStream=make, RawOutputStream=make, PortAudioError=PortAudioError),
    )


async def test_microphone_and_speaker(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = FakeStream()
    fake_devices(monkeypatch, stream)
    microphone, speaker = Microphone(), Speaker()
    assert stream.open
    samples, _ = await frames(microphone, 2)
    assert samples == b"\1\0" * 1920
    await speaker.write(b"\3\0")
    assert stream.played == b"\3\0"
    microphone.stop()
    speaker.close()
    assert not stream.open


@pytest.mark.parametrize("device", [Microphone, Speaker])
def test_without_devices(monkeypatch: pytest.MonkeyPatch, device: type[Any]) -> None:
    fake_devices(monkeypatch, None)
    with pytest.raises(UserError, match=r"there is no (microphone|speaker) .*use WAV files"):
        device()
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(UserError, match=r"pip install 'jingle-nodes\[audio\]'"):
        device()
