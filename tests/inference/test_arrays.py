"""Samples in memory are answered as the same samples in a file are; what cannot be sound is refused."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from fixtures_cli import RATE, tone, tone_model  # noqa: F401
from sounds import write

import audiocnn
from audiocnn.audio.recording import read_samples
from audiocnn.inference.detect import detect_recording
from audiocnn.inference.engine import load_engine
from audiocnn.model.model import find_model

SOUND = tone((0.5, 1.3), (2.0, 2.4), seconds=3.0)
SUBTYPES = {"float32": "FLOAT", "float64": "DOUBLE", "int16": "PCM_16", ">i2": "PCM_16", ">f4": "FLOAT"}
FUNCTIONS = [audiocnn.detect, audiocnn.classify, audiocnn.score]


def typed(samples, kind):
    return np.rint(samples * 32767).astype(kind) if "i" in kind else (samples / 3).astype(kind)


def facts(result):
    """All that a result says but the name."""
    told = dict(vars(result), file="")
    arrays = [told.pop("scores")] if "scores" in told else [clip.scores for clip in told.pop("clips", ())]
    return told, [array.tolist() for array in arrays]


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("kind", SUBTYPES)
@pytest.mark.parametrize("shape", ["(samples,)", "(1, samples)", "(2, samples)", "transposed"])
def test_an_array_is_answered_as_the_same_samples_in_a_file(tmp_path, tone_model, function, kind, shape):  # noqa: F811
    rows = np.atleast_2d(SOUND) if "2" not in shape else np.stack([SOUND, SOUND[::-1]])
    rows = typed(rows, kind)
    path = write(tmp_path / "a.wav", rows.T.astype(rows.dtype.newbyteorder("=")), RATE, SUBTYPES[kind])
    array = rows[0] if shape == "(samples,)" else np.asfortranarray(rows) if shape == "transposed" else rows
    kept = array.copy()
    for more in ({}, {"start_seconds": 0.7, "end_seconds": 2.2}):
        found = function(array, tone_model, sample_rate=RATE, **more)
        assert found.file == "array"
        assert facts(found) == facts(function(path, tone_model, **more))
    assert np.array_equal(array, kept)


def test_an_array_of_another_rate_is_resampled(tmp_path, tone_model):  # noqa: F811
    sound = tone((0.5, 1.3), seconds=200.0, sample_rate=11025)
    path = write(tmp_path / "a.wav", sound, 11025, "FLOAT")
    found = audiocnn.detect(sound, tone_model, sample_rate=np.int64(11025))
    assert len(found.segments) == 1
    assert facts(found) == facts(audiocnn.detect(path, tone_model))


def test_an_engine_takes_what_the_functions_take(tmp_path, tone_model):  # noqa: F811
    engine = load_engine(find_model(tone_model))
    wanted = engine.score(read_samples(write(tmp_path / "a.wav", typed(SOUND, "int16"), RATE))[0])
    assert np.array_equal(engine.score(typed(SOUND, "int16")), wanted)
    assert detect_recording(typed(SOUND, "int16"), engine, sample_rate=RATE).segments


REFUSED = {
    "a list": (SOUND.tolist(), "list.*array"),
    "nothing": (None, "NoneType.*array"),
    "a number": (1.5, "float.*array"),
    "bytes": (b"RIFF", "bytes.*open file"),
    "objects": (SOUND.astype(object), "object.*float32"),
    "int32": (SOUND.astype(np.int32), r"int32.*2\*\*31"),
    "uint8": (SOUND.astype(np.uint8), "uint8.*float32"),
    "bool": (SOUND > 0, "bool.*float32"),
    "complex": (SOUND.astype(complex), "complex128.*float32"),
    "float16": (SOUND.astype(np.float16), "float16.*float32"),
    "words": (np.array(["a"]), "<U1.*float32"),
    "empty": (SOUND[:0], "empty"),
    "no samples": (np.zeros((2, 0), np.float32), "empty"),
    "a scalar": (np.float32(0.1), "float32.*array"),
    "no axis": (np.array(0.1), r"\(\).*\(channels, samples\)"),
    "three axes": (np.zeros((1, 2, 3)), r"\(1, 2, 3\).*\(channels, samples\)"),
    "channels last": (np.zeros((24000, 2), np.float32), r"24000 channels.*array\.T"),
    "one channel last": (np.zeros((24000, 1), np.int16), r"24000 channels.*array\.T"),
    "few samples, channels last": (np.zeros((5, 2)), r"5 channels.*array\.T"),
}


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_sound_is_refused(function, kind):
    array, words = REFUSED[kind]
    with pytest.raises(audiocnn.AudiocnnError, match=words) as caught:
        function(array, sample_rate=RATE)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_file_that_was_opened_as_text_is_refused(tmp_path, function):
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    with (tmp_path / "a.wav").open() as file:
        for text in (file, io.StringIO("RIFF")):
            with pytest.raises(audiocnn.AudiocnnError, match=r'text mode.*"rb"'):
                function(text)


@pytest.mark.parametrize("kind", sorted(REFUSED.keys() - {"empty", "no samples"}))
def test_an_engine_refuses_the_same(tone_model, kind):  # noqa: F811
    with pytest.raises(audiocnn.AudiocnnError, match=REFUSED[kind][1]):
        load_engine(find_model(tone_model)).score(REFUSED[kind][0])


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("value", [math.nan, math.inf, 1e30])
def test_levels_that_are_none_are_refused(tone_model, function, value):  # noqa: F811
    sound = SOUND.astype(np.float64)
    sound[RATE] = value
    with pytest.raises(audiocnn.AudiocnnError, match=r"array: .*(not finite|out of range) .*at 1\.000 s\)"):
        function(sound, tone_model, sample_rate=RATE)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("rate", [None, 0, -1, 8000.5, math.nan, math.inf, True, "8000", 2**31])
def test_a_rate_that_is_none_is_refused(function, rate):
    with pytest.raises(audiocnn.AudiocnnError, match="sample_rate"):
        function(SOUND, sample_rate=rate)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_file_needs_no_rate(tmp_path, function):
    path = write(tmp_path / "a.wav", SOUND, RATE)
    for file in (path, str(path), path.open("rb")):
        with pytest.raises(audiocnn.AudiocnnError, match=r"sample_rate is valid only for arrays; omit it"):
            function(file, sample_rate=RATE)
