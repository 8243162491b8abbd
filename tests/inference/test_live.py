"""Live streams: onsets as early as promised, the same segments as in a file, constant memory.

A stream is pushed into a pipe a few samples at a time, each time somebody wants to read from it: so what was heard when
an onset was told is known to the sample, whatever the clock says.
"""

from __future__ import annotations

import io
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from fixtures_cli import RATE, tone, tone_model  # noqa: F401
from sounds import noise, wav_bytes, write

import audiocnn
from audiocnn.audio.pcm import RawFormat
from audiocnn.audio.recording import open_recording, read_samples
from audiocnn.audio.streams import ByteStream
from audiocnn.errors import RecordingError
from audiocnn.inference.detect import Detector, DetectSettings, Ending, Onset, detect_recording, follow_with
from audiocnn.inference.engine import load_engine
from audiocnn.inference.scores import ScoreBlock, ScoredRecording
from audiocnn.model.model import find_model
from audiocnn.segments.finder import SegmentRule
from audiocnn.spec.describe import latency, onset_latency

STEP = 8  # samples that are pushed at once: a millisecond


@pytest.fixture(scope="module")
def engine(tone_model):  # noqa: F811
    return load_engine(find_model(tone_model), "cpu")


class Stepwise:
    """A pipe that gets the next bytes whenever the library wants to read; `sent` counts them."""

    def __init__(self, monkeypatch, data, step_bytes):
        self.data, self.step, self.sent = data, step_bytes, 0
        read_end, self.write_end = os.pipe()
        self.stream = os.fdopen(read_end, "rb")
        read = ByteStream._read

        def fed(source):
            self.push()
            return read(source)

        monkeypatch.setattr(ByteStream, "_read", fed)

    def push(self):
        """The next bytes, or the end."""
        if self.sent < len(self.data):
            part = self.data[self.sent : self.sent + self.step]
            os.write(self.write_end, part)
            self.sent += len(part)
        elif self.write_end >= 0:
            os.close(self.write_end)
            self.write_end = -1


def as_int16(samples):
    return np.round(samples * 32767).astype("<i2").tobytes()


def events_with_times(monkeypatch, engine, samples, settings, raw=None, step=STEP):
    """(event, seconds that were pushed when it came)"""
    raw = raw or RawFormat("s16le", RATE)
    frame = 2 * raw.channels
    stepwise = Stepwise(monkeypatch, as_int16(samples), step * frame)
    with stepwise.stream as stream:
        return [
            (event, stepwise.sent / frame / raw.sample_rate) for event in follow_with(stream, engine, settings, raw)
        ]


@pytest.mark.parametrize("min_speech", [0.0, 0.05, 0.25, 0.256])
@pytest.mark.parametrize("start", [0.5, 0.5013, 0.5075])
def test_an_onset_comes_half_a_window_a_hop_and_min_speech_after_it_happened(monkeypatch, engine, start, min_speech):
    settings = DetectSettings(min_speech_seconds=min_speech)
    found = events_with_times(monkeypatch, engine, tone((start, 1.1), seconds=1.6), settings)
    (onset, told), (ending, closed) = found
    assert onset.known == pytest.approx(told, abs=2 * STEP / RATE) and ending.known >= ending.segment.end - 1e-9
    assert isinstance(onset, Onset) and isinstance(ending, Ending)
    assert (onset.start, onset.label, onset.channel) == (ending.segment.start, "tone", 0)
    geometry = engine.geometry
    promised = geometry.window_seconds / 2 + geometry.hop_seconds + min_speech
    assert told <= start + promised + STEP / RATE
    # As early as can be: the last row that it takes was not known a hop before.
    first_row = round((onset.start + SegmentRule().pad_seconds) / geometry.hop_seconds)
    needed = first_row * geometry.hop_seconds + onset_latency(geometry, min_speech)
    assert needed - 1e-9 <= told <= needed + STEP / RATE
    # The segment, when the gap behind it can neither be bridged nor reached by its pad.
    rule = SegmentRule()
    quiet = max(rule.min_silence_seconds, 2 * rule.pad_seconds) + 2 * geometry.hop_seconds
    assert closed <= ending.segment.end + quiet + latency(geometry) + 2 * STEP / RATE


def test_a_short_sound_has_no_onset_and_a_bridged_gap_no_second_one(monkeypatch, engine):
    spans = (0.3, 0.42), (0.8, 1.2), (1.25, 1.6)
    found = [event for event, _ in events_with_times(monkeypatch, engine, tone(*spans), DetectSettings(), step=80)]
    assert [type(event) for event in found] == [Onset, Ending]
    assert found[1].segment.start == pytest.approx(0.77, abs=0.011)
    assert found[1].segment.end == pytest.approx(1.63, abs=0.011)


def test_speech_is_told_as_early_as_promised(monkeypatch):
    engine = load_engine(find_model("speech_1d"), "cpu")
    path = Path(__file__).parents[2] / "data" / "samples" / "greeting.flac"
    samples, rate = read_samples(path)
    found = events_with_times(monkeypatch, engine, samples[0], DetectSettings(), RawFormat("s16le", rate), step=320)
    onsets = [(event, told) for event, told in found if isinstance(event, Onset)]
    rule = engine.model.rule("speech")
    promised = engine.geometry.window_seconds / 2 + engine.hop_seconds + rule.min_speech_seconds
    for onset, told in onsets:
        assert told - (onset.start + rule.pad_seconds) <= promised + 320 / rate
    whole = detect_recording(path, engine).segments
    assert [onset.start for onset, _ in onsets] == [segment.start for segment in whole] != []


@pytest.mark.parametrize(("rate", "most"), [(44100, 0.006), (48000, 0.006), (32000, 0.006), (8000, 0.011)])
def test_resampling_delays_by_no_more_than_the_manual_says(monkeypatch, rate, most):
    step = rate // 100
    stepwise = Stepwise(monkeypatch, noise(3.0, rate).tobytes(), 2 * step)
    lags, samples = [], 0
    with stepwise.stream as stream, open_recording(stream, RawFormat("s16le", rate)) as recording:
        for piece in recording.pieces(16000, live=True):
            samples += piece.shape[1]
            lags.append(stepwise.sent / 2 / rate - samples / 16000)
    assert samples == 48000
    assert max(lags) <= most


SPANS = (0.4, 0.9), (1.3, 1.45), (2.0, 3.1), (3.15, 3.9), (4.5, 5.99)


@pytest.mark.parametrize("step", [11, 50, 163, 4000])
@pytest.mark.parametrize(
    "settings", [{}, {"max_speech_seconds": 0.6}, {"min_silence_seconds": 0.0, "pad_seconds": 0.2}]
)
def test_any_steps_give_the_segments_of_the_file(tmp_path, monkeypatch, engine, step, settings):
    samples = tone(*SPANS, seconds=6.0)
    path = tmp_path / "all.wav"
    path.write_bytes(wav_bytes(as_int16(samples), RATE))
    settings = DetectSettings(**settings)
    found = [event for event, _ in events_with_times(monkeypatch, engine, samples, settings, step=step)]
    whole = detect_recording(path, engine, settings).segments
    segments = [event.segment for event in found if isinstance(event, Ending)]
    assert [(s.start, s.end) for s in segments] == [(s.start, s.end) for s in whole]
    assert [s.score for s in segments] == pytest.approx([s.score for s in whole], abs=1e-4)
    starts = {event.segment.start: number for number, event in enumerate(found) if isinstance(event, Ending)}
    for number, event in enumerate(found):
        if isinstance(event, Onset):
            assert starts.pop(event.start) > number
    assert not starts or settings.max_speech_seconds, "only the later parts of a cut have no onset"


def test_channels_have_onsets_of_their_own(monkeypatch, engine):
    both = np.stack([tone((0.5, 1.0)), tone((0.6, 1.2))], axis=1)
    settings, raw = DetectSettings(channel="each"), RawFormat("s16le", RATE, 2)
    found = [event for event, _ in events_with_times(monkeypatch, engine, both, settings, raw, step=40)]
    assert [(type(event), event.channel) for event in found] == [(Onset, 0), (Onset, 1), (Ending, 0), (Ending, 1)]


def test_follow_from_python(tmp_path, tone_model):  # noqa: F811
    path = write(tmp_path / "one.wav", tone((0.5, 1.0)), RATE)
    expected = audiocnn.detect(path, tone_model).segments
    events = list(audiocnn.follow(path, tone_model))
    assert [event.segment for event in events if isinstance(event, audiocnn.Ending)] == list(expected)
    assert events[0] == audiocnn.Onset(0, expected[0].start, "tone")
    path.with_suffix(".pcm").write_bytes(as_int16(tone((0.5, 1.0))))
    raw = list(audiocnn.follow(path.with_suffix(".pcm"), tone_model, raw=audiocnn.RawFormat("s16le", RATE)))
    assert [type(event) for event in raw] == [Onset, Ending]
    with pytest.raises(RecordingError, match="empty"):
        list(audiocnn.follow(io.BytesIO(b""), tone_model))


def test_memory_does_not_grow(engine):
    """Blocks of half a second with a segment each: of a day nothing is kept but counts."""
    detector, heard_seconds, endings = Detector(engine.model, DetectSettings()), 0.0, 0
    scores = np.repeat(np.float32([0, 1, 0]), [10, 30, 10])[:, None]

    def listen(blocks):
        nonlocal endings, heard_seconds
        for _ in range(blocks):
            first = round(heard_seconds * 100)
            heard_seconds += 0.5
            events = detector.push(ScoreBlock(0, first, scores, heard_seconds=heard_seconds))
            endings += sum(isinstance(event, Ending) for event in events)

    listen(100)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    listen(4000)
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert detector.segments == endings == 4100
    assert detector.seconds["tone"] == pytest.approx(4100 * 0.36, abs=0.5)
    assert after - before < 2000


def test_a_long_stream_needs_little_memory(engine):
    data = as_int16(tone((0.2, 0.8), seconds=1.0))

    class Endless(io.RawIOBase):
        left = 600

        def readable(self):
            return True

        def readinto(self, buffer):
            self.left -= 1
            if self.left < 0:
                return 0
            buffer[: len(data)] = data
            return len(data)

    list(follow_with(Endless(), engine, DetectSettings(), RawFormat("s16le", RATE)))
    tracemalloc.start()
    count = sum(1 for _ in follow_with(Endless(), engine, DetectSettings(), RawFormat("s16le", RATE)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 1200
    assert peak < 2e6, "ten minutes are 19 MB"


def test_a_stopped_stream_closes_what_is_open(engine):
    """What Ctrl-C does: the segment that is open ends there."""
    read_end, write_end = os.pipe()
    os.write(write_end, wav_bytes(as_int16(tone((0.5, 2.0))), RATE, says_bytes=0xFFFFFFFF))
    with os.fdopen(read_end, "rb") as stream, open_recording(stream, may_copy=False) as recording:
        scored = ScoredRecording(recording, "-", engine, "mix", live=True)
        detector, events = Detector(engine.model, DetectSettings()), []
        for event in scored.results(detector):
            events.append(event)
            recording.stop()
    os.close(write_end)
    assert [type(event) for event in events] == [Onset, Ending]
    assert events[1].segment.end == pytest.approx(2.0, abs=1e-6)
    assert (detector.segments, recording.note) == (1, None)


def test_who_stops_early_leaves_nothing_open(engine):
    before = sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208
    read_end, write_end = os.pipe()
    os.write(write_end, wav_bytes(as_int16(tone((0.5, 2.0))), RATE, says_bytes=0xFFFFFFFF))
    with os.fdopen(read_end, "rb") as stream:
        events = follow_with(stream, engine, DetectSettings())
        assert isinstance(next(events), Onset)
        events.close()
        assert not stream.closed, "it belongs to the caller"
    os.close(write_end)
    assert sorted(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_infinite_samples_are_an_error_in_the_middle(engine):
    samples = tone((0.5, 1.0), seconds=3.0)
    samples[-1] = np.inf
    raw = RawFormat("f32le", RATE)
    stream = io.BytesIO(samples.astype("<f4").tobytes())
    with pytest.raises(RecordingError, match=r"a sample is not finite \(infinity at"):
        list(follow_with(stream, engine, DetectSettings(), raw))


def test_onset_latency_is_what_the_arithmetic_says(engine):
    geometry = engine.geometry
    for min_speech, rows in ((0.0, 1), (0.01, 1), (0.25, 25), (0.251, 26), (0.3, 30)):
        assert onset_latency(geometry, min_speech) == pytest.approx(rows * 0.01 + latency(geometry), abs=1e-9)
