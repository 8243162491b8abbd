"""The main path: a tone in silence is found where it is, on every channel, in any file, however short."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from fixtures_cli import HERTZ, RATE, tone, tone_network
from fixtures_models import RATE as TASK_RATE
from fixtures_models import network_of, spec_named, tone_of, torch_engine
from sounds import as_bytes, write

import audiocnn
from audiocnn.errors import RecordingError, UsageError
from audiocnn.inference.detect import Detection, DetectSettings, detect, detect_many, detect_recording, detect_scored
from audiocnn.inference.engine import load_engine
from audiocnn.inference.scores import recording_name, scoring
from audiocnn.segments.finder import SegmentRule

BARE = DetectSettings(pad_seconds=0.0, min_speech_seconds=0.0, min_silence_seconds=0.0)


@pytest.fixture(scope="module")
def engine():
    """A detector of 1 kHz whose weights are set by hand; a score each 10 ms."""
    return torch_engine(tone_network())


def times(detection):
    return [(segment.start, segment.end) for segment in detection]


def near(*spans, within=0.02):
    return [pytest.approx(span, abs=within) for span in spans]


# Where a tone is


@pytest.mark.parametrize("rate", [RATE, 16_000, 44_100, 48_000])
@pytest.mark.parametrize("kind", [".wav", ".flac"])
def test_half_a_second_of_tone_between_silences(engine, tmp_path, rate, kind):
    path = write(tmp_path / f"a{kind}", tone((1.0, 1.5), seconds=2.5, sample_rate=rate), rate)
    found = detect_recording(path, engine, BARE)
    assert times(found) == near((1.0, 1.5))
    (segment,) = found
    assert segment.label == "label0"
    assert segment.score > 0.8


def test_a_trained_network_finds_the_tone_it_learned(trained, tmp_path):
    last, _, _, _ = trained
    noise = np.random.default_rng(0).normal(0, 0.03, 5 * TASK_RATE)
    path = write(tmp_path / "a.wav", tone_of(5.0, 1.0, 1.5, 440) + tone_of(5.0, 3.0, 3.8, 330) + noise, TASK_RATE)
    found = detect_recording(path, load_engine(last.model, jobs=1), DetectSettings(pad_seconds=0.0))
    assert times(found) == near((1.0, 1.5), (3.0, 3.8), within=0.08)
    assert {segment.label for segment in found} == {"tone"}
    assert found.thresholds == last.model.thresholds


def test_the_edges_of_a_recording_are_like_its_middle(engine, tmp_path):
    path = write(tmp_path / "a.wav", tone((0.0, 0.5), (1.5, 2.0)), RATE)
    assert times(detect_recording(path, engine, BARE)) == near((0.0, 0.5), (1.5, 2.0), within=0.03)
    path = write(tmp_path / "b.wav", tone((0.0, 2.0)), RATE)
    assert times(detect_recording(path, engine, BARE)) == near((0.0, 2.0), within=0.03)


def test_segments_never_reach_past_the_end(engine, tmp_path):
    path = write(tmp_path / "a.wav", tone((0.0, 2.0))[: RATE + 33], RATE)
    found = detect_recording(path, engine, DetectSettings(pad_seconds=1.0))
    assert found.duration_seconds == pytest.approx((RATE + 33) / RATE)
    assert times(found)[-1][1] <= found.duration_seconds


def test_a_long_recording_is_found_in_chunks_as_it_is_whole(tmp_path):
    samples = tone((2.0, 3.0), (14.9, 15.4), (29.9, 30.2), seconds=31.0)
    path = write(tmp_path / "a.wav", samples, RATE)
    whole, chunked = torch_engine(tone_network(), 1000.0), torch_engine(tone_network(), 0.7)
    assert times(detect_recording(path, chunked, BARE)) == times(detect_recording(path, whole, BARE))
    assert times(detect_recording(path, chunked, BARE)) == near((2.0, 3.0), (14.9, 15.4), (29.9, 30.2))


# Channels


@pytest.fixture
def stereo(tmp_path):
    """A tone on the left from 0.3 to 0.8 s, and on the right from 1.2 to 1.7 s."""
    return write(
        tmp_path / "stereo.wav",
        np.stack([tone((0.3, 0.8), amplitude=0.6), tone((1.2, 1.7), amplitude=0.6)], axis=1),
        RATE,
    )


def test_each_channel_is_a_track(engine, stereo):
    found = detect_recording(stereo, engine, DetectSettings(channel="each", pad_seconds=0.0))
    assert list(found.tracks) == [0, 1]
    assert [(s.start, s.end) for s in found.tracks[0]] == near((0.3, 0.8), within=0.03)
    assert [(s.start, s.end) for s in found.tracks[1]] == near((1.2, 1.7), within=0.03)
    assert found.channels == 2
    assert found.seconds() == {"label0": pytest.approx(1.0, abs=0.05)}


def test_one_channel_or_the_mean_of_all(engine, stereo):
    right = detect_recording(stereo, engine, DetectSettings(channel=1, pad_seconds=0.0))
    assert list(right.tracks) == [1]
    assert times(right) == near((1.2, 1.7), within=0.03)
    mixed = detect_recording(stereo, engine, DetectSettings(channel="mix", pad_seconds=0.0))
    assert list(mixed.tracks) == [0]
    assert times(mixed) == near((0.3, 0.8), (1.2, 1.7), within=0.03)


def test_a_channel_that_is_not_there_is_refused(engine, stereo):
    with pytest.raises(RecordingError, match=r"stereo\.wav: "):
        detect_recording(stereo, engine, DetectSettings(channel=2))


def test_a_network_of_two_channels_takes_both_and_a_mono_file_twice(tmp_path):
    network = network_of(spec_named("two_channels"))
    engine = torch_engine(network)
    mono = np.random.default_rng(0).normal(0, 0.1, 3000).clip(-1, 1)
    for name, samples in (("mono.wav", mono), ("twice.wav", np.stack([mono, mono], axis=1))):
        with scoring(write(tmp_path / name, samples, TASK_RATE, "FLOAT"), engine) as scored:
            (block,) = scored.blocks()
        wanted = engine.score(np.stack([mono, mono]).astype(np.float32))
        np.testing.assert_allclose(block.scores, wanted, atol=1e-6)
    three = write(tmp_path / "three.wav", np.zeros((3000, 3)), TASK_RATE)
    with pytest.raises(
        RecordingError, match=r"three\.wav: has 3 channels, but tiny expects 2; use a model for one channel"
    ):
        detect_recording(three, engine)


# Short, empty and bad recordings


@pytest.mark.parametrize("samples", [1, 2, 79, 80, 81, 240, 799])
def test_recordings_shorter_than_a_window_are_scored(engine, tmp_path, samples):
    assert samples < engine.geometry.window_samples
    path = write(tmp_path / "short.wav", tone((0.0, 2.0))[:samples], RATE)
    found = detect_recording(path, engine)
    assert found.duration_seconds == samples / RATE
    with scoring(path, engine) as scored:
        rows = sum(len(block.scores) for block in scored.blocks())
    assert rows == -(-samples // engine.geometry.hop_samples)


def test_silence_is_a_result(engine, tmp_path):
    found = detect_recording(write(tmp_path / "silence.wav", np.zeros(RATE), RATE), engine)
    assert found.segments == ()
    assert found.tracks == {0: ()}
    assert found.seconds() == {"label0": 0.0}


def test_a_bad_file_does_not_stop_the_others(engine, tmp_path):
    good = write(tmp_path / "good.wav", tone((1.0, 1.5)), RATE)
    (tmp_path / "bad.wav").write_bytes(b"no sound in here")
    files = [good, tmp_path / "bad.wav", tmp_path / "none.wav", str(good)]
    one, bad, none, two = detect_many(files, engine)
    assert times(one) == times(two) != []
    for problem, name in ((bad, "bad.wav"), (none, "none.wav")):
        assert isinstance(problem, RecordingError)
        assert name in str(problem)
        assert "\n" not in str(problem)


# Settings


def test_empty_settings_are_those_of_the_model(engine):
    rules = DetectSettings().rules(engine.model)
    assert rules == {"label0": SegmentRule()}
    fields = set(vars(DetectSettings())) - {"channel", "sensitivity"}
    assert fields == set(vars(SegmentRule()))
    assert all(getattr(DetectSettings(), name) is None for name in fields)


def test_settings_override_the_rule_one_by_one(engine, tmp_path):
    path = write(tmp_path / "a.wav", tone((0.3, 0.5), (0.55, 0.75), (1.2, 1.3)), RATE)
    changes = {
        "default": ({}, near((0.27, 0.78))),
        "pad": ({"pad_seconds": 0.0}, near((0.3, 0.75))),
        "silence": (
            {"pad_seconds": 0.0, "min_silence_seconds": 0.02, "min_speech_seconds": 0.15},
            near((0.3, 0.5), (0.55, 0.75), within=0.03),
        ),
        "speech": ({"pad_seconds": 0.0, "min_speech_seconds": 0.05}, near((0.3, 0.75), (1.2, 1.3), within=0.03)),
        "longest": ({"pad_seconds": 0.0, "max_speech_seconds": 0.3, "min_speech_seconds": 0.1}, 3),
    }
    for name, (fields, wanted) in changes.items():
        got = times(detect_recording(path, engine, DetectSettings(**fields)))
        assert (len(got) if isinstance(wanted, int) else got) == wanted, name


@pytest.mark.parametrize(
    ("fields", "option"),
    [
        ({"threshold": 1.5}, "--threshold"),
        ({"neg_threshold": 0.9}, "--neg-threshold"),
        ({"min_speech_seconds": -1.0}, "--min-duration"),
        ({"pad_seconds": float("nan")}, "--pad"),
        ({"max_speech_seconds": 0.0}, "--max-duration"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_a_file_is_opened(engine, fields, option):
    with pytest.raises(UsageError, match=f"^{option} "):
        detect_recording("there is no such file.wav", engine, DetectSettings(**fields))


# What comes back


def test_a_detection_says_what_was_read(engine, tmp_path):
    path = write(tmp_path / "a.wav", tone((1.0, 1.5), sample_rate=16_000), 16_000)
    found = detect_recording(path, engine)
    assert isinstance(found, Detection)
    assert (found.file, found.sample_rate, found.channels, found.model, found.device) == (
        str(path),
        16_000,
        1,
        "tiny",
        "cpu",
    )
    assert found.duration_seconds == pytest.approx(2.0, abs=1e-3)
    assert found.thresholds == {"label0": 0.5}
    assert list(found) == list(found.segments)
    assert found.note is None


def test_rows_of_scores_tile_a_recording(engine, tmp_path):
    engine.chunk_rows, before = 30, engine.chunk_rows
    path = write(tmp_path / "a.wav", np.stack([tone((1.0, 1.5))] * 2, axis=1), RATE)
    with scoring(path, engine, "each") as scored:
        calls = [(block.channel, block.first_row, len(block.scores)) for block in scored.blocks()]
    engine.chunk_rows = before
    for channel in (0, 1):
        rows = [(first, count) for each, first, count in calls if each == channel]
        assert [first for first, _ in rows] == [sum(count for _, count in rows[:k]) for k in range(len(rows))]
        assert sum(count for _, count in rows) == 200
    assert scored.duration_seconds == 2.0


def test_progress_is_told_of_every_block(tmp_path):
    engine = torch_engine(tone_network(), 0.5)
    heard = []
    path = write(tmp_path / "a.wav", tone((1.0, 1.5), seconds=25.0), RATE)
    with scoring(path, engine) as scored:
        detect_scored(scored, DetectSettings(), lambda scored, _: heard.append(scored.duration_seconds))
    assert len(heard) == 50
    assert heard == sorted(heard)
    assert heard[-1] == 25.0


def test_a_stream_can_be_read(engine, tmp_path):
    content = as_bytes(tone((1.0, 1.5)), RATE, "WAV")
    assert times(detect_recording(io.BytesIO(content), engine, BARE)) == near((1.0, 1.5))
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with path.open("rb") as file:
        found = detect_recording(file, engine, BARE)
    assert found.file == str(path)


def test_names_of_recordings():
    assert recording_name("a.wav") == recording_name(Path("a.wav")) == "a.wav"
    assert recording_name(io.BytesIO()) == "-"


def test_detect_from_python_by_name_or_folder(trained, tmp_path):
    _, _, run, _ = trained
    path = write(tmp_path / "a.wav", tone_of(3.0, 1.0, 1.8, 400), TASK_RATE)
    found = audiocnn.detect(path, run)
    assert found == detect(str(path), str(run / "model"), DetectSettings(), "cpu")
    assert found.model == "tiny"
    assert {"detect", "Detection", "Engine", "find_model", "Segment"} <= set(audiocnn.__all__)
    assert all(getattr(audiocnn, name) is not None for name in audiocnn.__all__)
    with pytest.raises(AttributeError, match="module 'audiocnn' has no attribute 'detekt'"):
        _ = audiocnn.detekt


def test_the_tone_of_the_tests_is_where_the_network_listens():
    assert HERTZ == 1000
