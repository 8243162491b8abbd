"""Every recording that cannot be used gets one line: what, where and what to do. The others are still done."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sounds import as_bytes, noise, sine, wav_bytes, write

from audiocnn.audio.recording import open_recording, read_samples
from audiocnn.data.dataset import Dataset
from audiocnn.data.ingest import ingest
from audiocnn.errors import RecordingError


def _floats(values: list[float]) -> Callable[[Path], object]:
    samples = np.zeros(16000, np.float32)
    samples[4000 : 4000 + len(values)] = values
    return lambda path: write(path.with_suffix(".wav"), samples, 16000, "FLOAT").rename(path)


def _bytes(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


FLAC = as_bytes(noise(1, 16000), 16000, "FLAC")
OPUS = as_bytes(noise(1, 16000), 16000, "OGG", "OPUS")

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4d" * 32 + b"\nsize 12345\n"
SUBSTITUTES = {
    "a Git LFS pointer": LFS,
    "a git-annex pointer": b"/annex/objects/SHA256E-s31390--f50d7a.wav\n",
    "a web page": b"\xef\xbb\xbf\r\n<!DOCTYPE html>\n<html><body>404 Not Found</body></html>",
    "a web page (HTML)": b"<HTML><body>log in first</body></HTML>",
    "an XML text": b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
}

# name of the file: how to make it, what the message says
BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty.wav": (_bytes(b""), r"empty file \(0 bytes\); copy it again or leave it out"),
    "text.wav": (
        _bytes(b"this is no audio at all\n" * 50),
        r"not a supported audio format; check the file, or copy it again",
    ),
    "noise.flac": (_bytes(noise(1, 8000).tobytes()), r"not a supported audio format; check the file, or copy it again"),
    "zip.mp3": (_bytes(b"PK\x03\x04" + bytes(500)), r"not a supported audio format; check the file, or copy it again"),
    "header.wav": (_bytes(wav_bytes(b"")[:30]), r"damaged, cut short, or .*; copy it again"),
    "start.flac": (_bytes(FLAC[:200]), r"damaged: nothing in it can be decoded \(.*lost sync\); copy it again"),
    "start.opus": (_bytes(OPUS[:300]), r"damaged, cut short, or .*malformed\); copy it again"),
    "nothing.wav": (_bytes(wav_bytes(b"")), r"contains no samples; record it again or leave it out"),
    "channels.wav": (_bytes(wav_bytes(bytes(800), channels=0)), r"the header states 0 channels; write the file again"),
    "rate.wav": (_bytes(wav_bytes(bytes(800), sample_rate=0)), r"damaged, cut short, or .*; copy it again"),
    "raw.raw": (_bytes(bytes(800)), r"raw samples, which state neither rate nor channels; .*--raw and --rate, or conv"),
    "nan.wav": (_floats([np.nan]), r"a sample is not finite \(NaN at 0\.250 s\); write the file again"),
    "nans.wav": (_floats([np.nan] * 12000), r"a sample is not finite \(NaN at 0\.250 s\)"),
    "infinity.wav": (_floats([-np.inf]), r"a sample is not finite \(infinity at 0\.250 s\)"),
    "short.wav": (
        _bytes(wav_bytes(bytes(4), sample_rate=384000)),
        r"shorter than one sample at 16000 Hz; leave it out",
    ),
}

# Unusual, but recordings: seconds at 16 kHz
GOOD: dict[str, tuple[Callable[[Path], object], float]] = {
    "zeros.wav": (_bytes(wav_bytes(bytes(16000))), 1.0),
    "odd.wav": (_bytes(wav_bytes(bytes(16001))), 1.0),
    "one sample.wav": (_bytes(wav_bytes(bytes(2))), 2 / 16000),
    "1 Hz.wav": (_bytes(wav_bytes(bytes(20), sample_rate=1)), 10.0),
    "384 kHz.wav": (_bytes(wav_bytes(bytes(768000), sample_rate=384000)), 1.0),
    "64 channels.wav": (_bytes(wav_bytes(bytes(16000 * 64), channels=64)), 1.0),
    "liar.wav": (_bytes(wav_bytes(bytes(16000), says_bytes=0xFFFFFFF0)), 1.0),
    "loud.wav": (_floats([1e11]), 1.0),
    "wrong suffix.mp3": (_bytes(FLAC), 1.0),
    "two\nlines 'quoted' \".wav": (_bytes(FLAC), 1.0),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_recordings_say_what_and_what_to_do(tmp_path: Path, name: str) -> None:
    make, message = BAD[name]
    path = tmp_path / name
    make(path)
    with pytest.raises(RecordingError, match=f"^{re.escape(str(path))}: {message}") as caught:
        read_samples(path, 16000)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", GOOD)
def test_unusual_recordings_are_read(tmp_path: Path, name: str) -> None:
    make, seconds = GOOD[name]
    path = tmp_path / name
    make(path)
    samples, _ = read_samples(path, 16000)
    assert samples.shape == (1, round(seconds * 16000))
    assert np.isfinite(samples).all()


def test_names_that_are_no_recordings(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"gone\.wav: no such file; check the name"):
        open_recording(tmp_path / "gone.wav")
    with pytest.raises(RecordingError, match="is a folder, not a recording; name a file in it"):
        open_recording(tmp_path)
    with pytest.raises(RecordingError, match=r"x\\x00y: cannot be opened \(embedded null byte\)"):
        open_recording("x\0y")
    locked = write(tmp_path / "locked.wav", sine(100, 1, 8000), 8000)
    (tmp_path / "link.wav").symlink_to(tmp_path / "nowhere.wav")
    with pytest.raises(RecordingError, match=r"link\.wav: no such file"):
        open_recording(tmp_path / "link.wav")
    with pytest.raises(RecordingError, match=r"locked\.wav/x\.wav: cannot be opened \(Not a directory\)"):
        open_recording(locked / "x.wav")


def test_ingest_lists_the_bad_and_takes_the_rest(tmp_path: Path) -> None:
    folder = tmp_path / "corpus" / "sounds"
    folder.mkdir(parents=True)
    named = {name: made for name, (made, _) in (BAD | GOOD).items() if Path(name).suffix != ".raw"}
    for name, make in named.items():
        make(folder / name)
    steps = {Path(step.filename).name: step for step in ingest([tmp_path / "corpus"], tmp_path / "ds")}
    dataset = Dataset.open(tmp_path / "ds")
    assert set(steps) == set(named)
    assert {Path(entry.filename).name for entry in dataset.entries} == set(GOOD)
    reasons = {Path(name).name: reason for name, reason in dataset.refused}
    assert set(reasons) == set(BAD) - {"raw.raw"}
    for name, reason in reasons.items():
        assert steps[name].outcome == "refused"
        assert steps[name].reason == reason
        assert re.match(BAD[name][1], reason), reason
    for entry in dataset.entries:
        assert dataset.duration_seconds(entry) == GOOD[Path(entry.filename).name][1]
        assert dataset.samples(entry).shape == (1, entry.samples)


@pytest.mark.parametrize("level", [1.1e12, -1e30, 3e38])
def test_a_level_that_has_no_power_is_refused(tmp_path, level):
    samples = np.full(16_000, 0.01, np.float32)
    samples[8000] = level
    path = write(tmp_path / "loud.wav", samples, 16_000, subtype="FLOAT")
    with pytest.raises(RecordingError, match=r"a sample is out of range \(.*e\+\d+ at 0\.500 s\)"):
        read_samples(path)


def test_floats_of_any_usual_scale_are_read(tmp_path):
    samples = np.linspace(-(2.0**31), 2.0**31, 16_000).astype(np.float32)
    path = write(tmp_path / "scale.wav", samples, 16_000, subtype="FLOAT")
    assert np.array_equal(read_samples(path)[0][0], samples)


class Endless:
    """A stream of lines that never ends, and counts what was taken."""

    name = "endless"

    def __init__(self):
        self.taken = 0

    def seekable(self):
        return False

    def read(self, size):
        self.taken += size
        return b"y\n" * (size // 2)


def test_what_is_no_audio_is_not_copied_to_its_end():
    stream = Endless()
    with pytest.raises(RecordingError, match="endless: not a supported audio format"):
        open_recording(stream)
    assert stream.taken < 3_000_000


@pytest.mark.parametrize("lost_bytes", [2, 30, 34, 1000])
def test_a_cut_of_a_millisecond_is_told_of(tmp_path, lost_bytes):
    path = write(tmp_path / "cut.wav", np.full(16_000, 0.1), 16_000)
    path.write_bytes(path.read_bytes()[:-lost_bytes])
    with open_recording(path) as recording:
        samples = sum(block.shape[1] for block in recording.blocks())
        assert samples == 16_000 - lost_bytes // 2
        assert bool(recording.note) == (lost_bytes > 32)


def test_a_header_that_was_never_completed_hides_nothing(tmp_path):
    """A recorder that was killed leaves sizes of 0."""
    path = write(tmp_path / "whole.wav", np.random.default_rng(0).normal(0, 0.1, 8000), 16_000)
    content = bytearray(path.read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = content[4:8] = bytes(4)
    wanted, _ = read_samples(path)
    path.write_bytes(content)
    for source in (path, io.BytesIO(bytes(content)), path.open("rb")):
        with open_recording(source) as recording:
            got = np.concatenate(list(recording.blocks()), axis=1)
            assert recording.note is None
        assert np.array_equal(got, wanted)
    path.write_bytes(content[: at + 4])
    with pytest.raises(RecordingError, match="contains no samples"):
        read_samples(path)


@pytest.mark.parametrize("suffix", [".wav", ".mp3", ".flac", ".opus", ".m4a", ".ogg", ".aiff"])
@pytest.mark.parametrize("what", SUBSTITUTES)
def test_what_stands_in_place_of_a_recording_is_called_that(tmp_path: Path, what: str, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(SUBSTITUTES[what])
    for given in (path, io.BytesIO(path.read_bytes())):
        with pytest.raises(RecordingError, match=f": {re.escape(what)}.*, not (the|a) recording; "):
            open_recording(given)
