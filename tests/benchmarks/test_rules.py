"""Rules side by side, on scores whose segments are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from audiocnn.errors import UsageError
from audiocnn.evaluation.operating_points import ScoreRuns
from audiocnn.evaluation.segments import JudgedRecording
from audiocnn.segments.finder import SegmentRule
from audiocnn.segments.segment import Annotation
from benchmarks.rules import errors, found_in, read_rule

HOP = 0.01


def recording(name, score, notes=()):
    scores = np.zeros((300, 1), np.float32)
    scores[100:200] = score
    return JudgedRecording(name, scores, HOP, 3.0, [Annotation(*one, "speech") for one in notes])


def test_a_rule_is_three_numbers():
    assert read_rule("0.8,0.7,0.1", 0.5, 0.03) == SegmentRule(0.8, 0.7, 0.1, 0.5, 0.03)
    for wrong in ("0.8", "0.8,x,0", "0.8,0.7,0,1", "0.7,0.8,0"):
        with pytest.raises(UsageError):
            read_rule(wrong, 0.5, 0.03)


def test_errors_are_those_of_each_set_and_their_mean():
    found = recording("a", 0.9, [(1.0, 2.0)]), recording("b", 0.6)
    missed = recording("c", 0.6, [(1.0, 2.0)])
    runs = ScoreRuns([found, [missed]], 0, "speech")
    assert errors(runs, SegmentRule(0.8, 0.8, 0.0, 0.1, 0.0)) == ["0.500", "0.000", "1.000", "0.0 %"]
    assert errors(runs, SegmentRule(0.5, 0.5, 0.0, 0.1, 0.0)) == ["0.500", "1.000", "0.000", "100.0 %"]


def test_clips_are_counted_by_kind():
    clips = {Path(name): recording(name, score).scores[:, 0] for name, score in (("a", 0.9), ("b", 0.6), ("c", 0.0))}
    clips = {path: JudgedRecording(path.name, scores, HOP, 3.0, []) for path, scores in clips.items()}
    a, b, c = clips
    others = {"nonspeech": [a], "of these silent for sure": [a, b, c], "more": [c]}
    voices = {"commands": [a, c], "digits": [a], "more": [b]}
    wanted = ["1", "0", "50.0 %", "0.0 %", "100.0 %"]
    assert found_in(SegmentRule(0.8, 0.8, 0.0, 0.1, 0.0), clips, others, voices) == wanted
