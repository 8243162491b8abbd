"""An excerpt of a recording is the samples that lie there, whatever the file is and however it comes."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from sounds import as_bytes, noise, wav_bytes, write

from audiocnn.audio.pcm import ENCODINGS, RawFormat
from audiocnn.audio.recording import Selection, open_recording, read_samples
from audiocnn.audio.sndfile import SoundFile
from audiocnn.errors import RecordingError, UsageError

RATE, SECONDS = 11025, 3.0
PARTS = [(0.0, None), (0.0, 1.0), (1.00003, 2.00005), (0.5, 77.0), (2.9999, None), (0.123456, 0.123456 + 1 / RATE)]
KINDS = ["wav", "flac", "ogg", "mp3", "aiff", "au", "w64", "caf", "rf64"]
STEREO = np.stack([noise(SECONDS, RATE, seed) for seed in (0, 1)], axis=1)


class Pipe(io.RawIOBase):
    """Bytes without a way back, a few at a time."""

    def __init__(self, data, most=1000):
        self.data, self.most = io.BytesIO(data), most

    def readable(self):
        return True

    def read(self, size=-1):
        return self.data.read(min(size, self.most) if size >= 0 else self.most)


def part_of(samples, start, end):
    """(channels, samples) between two times, each at the nearest sample."""
    stop = None if end is None else math.floor(end * RATE + 0.5)
    return samples[:, math.floor(start * RATE + 0.5) : stop]


def read(source, start, end, raw=None, channel="each"):
    with open_recording(source, raw, excerpt=Selection(start, end)) as recording:
        once = list(recording.blocks(channel=channel, block_seconds=0.4))
        if isinstance(source, Pipe):
            return np.concatenate(once, axis=1), recording
        again = list(recording.blocks(channel=channel))
        # The decoder of MP3 rounds otherwise once it has sought.
        assert np.allclose(np.concatenate(once, axis=1), np.concatenate(again, axis=1), atol=1e-6)
        return np.concatenate(once, axis=1), recording


@pytest.mark.parametrize(("start", "end"), PARTS)
@pytest.mark.parametrize("kind", KINDS)
def test_an_excerpt_is_the_samples_between_two_times(tmp_path, kind, start, end):
    data = as_bytes(STEREO, RATE, kind.upper())
    path = tmp_path / f"a.{kind}"
    path.write_bytes(data)
    whole = read_samples(path, channel="each")[0]
    for source in (path, io.BytesIO(data), Pipe(data)):
        found, recording = read(source, start, end)
        assert np.array_equal(found, part_of(whole, start, end))
        assert recording.note is None
        assert recording.start_seconds == pytest.approx(start, abs=0.5 / RATE + 1e-9)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_an_excerpt_of_samples_without_a_header(tmp_path, encoding):
    raw = RawFormat(encoding, RATE, 2)
    data = np.random.default_rng(0).integers(-20, 20, 2 * ENCODINGS[encoding][0] * RATE, np.int8).tobytes()
    if encoding[0] == "f":
        data = (
            np.random.default_rng(0)
            .normal(size=2 * RATE)
            .astype(f"{'<>'[encoding[-2:] == 'be']}f{ENCODINGS[encoding][0]}")
        )
        data = data.tobytes()
    path = tmp_path / "a.raw"
    path.write_bytes(data + b"\1")
    with open_recording(path, raw) as recording:
        whole = np.concatenate(list(recording.blocks(channel="each")), axis=1)
    for source in (path, Pipe(data)):
        assert np.array_equal(read(source, 0.25, 0.75, raw)[0], part_of(whole, 0.25, 0.75))


def test_the_mix_and_the_rate_of_an_excerpt_are_those_of_the_part_alone(tmp_path):
    path = write(tmp_path / "a.wav", STEREO, RATE)
    part = write(tmp_path / "b.wav", STEREO[RATE : 2 * RATE], RATE)
    with open_recording(path, excerpt=Selection(1.0, 2.0)) as recording:
        assert recording.seconds_to_read == 1.0
        found = np.concatenate(list(recording.blocks(16000)), axis=1)
    assert np.array_equal(found, read_samples(part, 16000)[0])


def test_plain_samples_before_an_excerpt_are_not_decoded(tmp_path, monkeypatch):
    path, frames = write(tmp_path / "a.wav", np.zeros(100 * RATE, np.int16), RATE), []
    real = SoundFile.read
    monkeypatch.setattr(SoundFile, "read", lambda self, most: frames.append(most) or real(self, most))
    read(path, 90.0, 91.0)
    assert sum(frames) < 8 * RATE


@pytest.mark.parametrize("piped", [False, True])
def test_what_lies_outside_of_an_excerpt_is_not_judged(tmp_path, piped):
    sound = np.full(3 * RATE, np.nan, np.float32)
    sound[RATE : 2 * RATE] = 0.5
    data = as_bytes(sound, RATE, "WAV", "FLOAT")
    (tmp_path / "a.wav").write_bytes(data)
    source = Pipe(data) if piped else tmp_path / "a.wav"
    assert np.array_equal(read(source, 1.0, 2.0)[0], part_of(sound[None], 1.0, 2.0))
    with pytest.raises(RecordingError, match=r"NaN at 2\.000 s"):
        read(Pipe(data) if piped else tmp_path / "a.wav", 1.0, 2.5)


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG"])
@pytest.mark.parametrize("piped", [False, True])
def test_an_excerpt_behind_the_end_is_an_error_that_says_where_the_end_is(tmp_path, kind, piped):
    data = as_bytes(STEREO, RATE, kind)
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(RecordingError, match=r"3\.00 s long, so it ends before --start 3"):
        read(Pipe(data) if piped else tmp_path / "a", 3.0, None)


@pytest.mark.parametrize("piped", [False, True])
def test_a_file_that_is_cut_short_is_damaged_only_where_its_excerpt_is(tmp_path, piped):
    data = wav_bytes(bytes(2 * RATE * 2), RATE, says_bytes=2 * RATE * 4)  # 2 s of 4
    (tmp_path / "a.wav").write_bytes(data)

    def source():
        return Pipe(data) if piped else tmp_path / "a.wav"

    assert read(source(), 0.5, 1.5)[1].note is None
    assert "up to 2.00 s of 4.00 s" in read(source(), 0.5, 3.0)[1].note
    with pytest.raises(RecordingError, match=r"cut short.*2\.00 s of 4\.00 s, so it ends before --start 3"):
        read(source(), 3.0, None)


@pytest.mark.parametrize(
    ("start", "end"), [(-1.0, None), (math.nan, None), (0.0, math.inf), (0.0, -1.0), (2.0, 2.0), (3.0, 2.0), (0.0, 0.0)]
)
def test_an_excerpt_that_cannot_be_is_refused(start, end):
    with pytest.raises(UsageError, match=r"--(start|end) .*; "):
        Selection(start, end)


def test_an_excerpt_without_a_sample_is_an_error(tmp_path):
    with pytest.raises(RecordingError, match="no sample between"):
        read(write(tmp_path / "a.wav", STEREO, RATE), 1.0, 1.00001)
