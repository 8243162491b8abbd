"""Levels: seconds found at each gain, of detectors whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from audiocnn.evaluation.annotated import Scorer
from audiocnn.segments.finder import SegmentRule
from audiocnn.segments.segment import Annotation
from benchmarks.levels import GAINS_DB, Sound, found_at, level_rows

RULE = SegmentRule(min_speech_seconds=0.0, min_silence_seconds=0.0, pad_seconds=0.0)


def sound():
    samples = np.zeros((1, 32000), np.float32)
    samples[:, 8000:16000] = 0.1
    samples[:, 16000:24000] = 0.05
    return Sound("a", samples, [Annotation(0.5, 1.0, "speech")], [(1.0, 1.5)])


def scorer_with(threshold):
    """Hears what is louder than the threshold, in float and beyond full scale."""

    def score(samples):
        return (np.abs(samples[0].reshape(-1, 160)).max(axis=1, keepdims=True) > threshold).astype(np.float32)

    return Scorer(score, 16000, 0.01, ("speech",), {"speech": RULE})


@pytest.mark.parametrize(("threshold", "seconds"), [(1e-6, [1.0] * 6), (0.007, [1.0, 0.5, 0.0, 0.0, 0.0, 1.0])])
def test_seconds_are_those_of_the_segments_at_each_gain(threshold, seconds):
    found = [found_at(scorer_with(threshold), [sound()], gain)[0] for gain in GAINS_DB]
    assert found == pytest.approx(seconds)


def test_the_area_leaves_out_what_nobody_is_sure_of():
    assert found_at(scorer_with(1e-6), [sound()], 0)[1] == 1.0


def test_rows_say_how_much_less_is_found():
    rows = list(level_rows(scorer_with(0.007), [[sound()], [sound()], [sound()]]))
    assert {len(row) for row in rows} == {6}
    assert [row[0] for row in rows] == ["+0", "-20", "-30", "-40", "-50", "+15"]
    assert [row[2] for row in rows] == ["+0.0 %", "-50.0 %", "-100.0 %", "-100.0 %", "-100.0 %", "+0.0 %"]
