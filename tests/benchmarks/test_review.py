"""benchmarks/review.py: clips whose names tell nothing, and answers that are the true labels."""

from __future__ import annotations

import numpy as np
import pytest
from sounds import noise, sine, write

from audiocnn.data.sources.correction_table import CorrectionTable
from benchmarks import review
from benchmarks.measuring import BenchmarkError

RATE = 8000


@pytest.fixture
def digits(tmp_path, monkeypatch):
    """Two labels of 14 tones each."""
    for label, hertz in (("low", 400), ("high", 2000)):
        for k in range(14):
            samples = sine(hertz, 0.1, RATE) + (noise(0.1, RATE, k) / 1e6).astype(np.float32)
            write(tmp_path / "digits" / label / f"{k}.wav", samples, RATE)
    monkeypatch.setattr(review, "DATA", tmp_path / "digits")
    monkeypatch.setattr(review, "CLIPS", 8)
    monkeypatch.setattr(review, "TESTED", 6)
    return tmp_path


@pytest.mark.parametrize("chance", [None, 3])
def test_so_many_keys_are_pressed_and_each_is_right(digits, chance):
    truth, tested = review.draw_clips(digits / "sounds", ["low", "high"], 0)
    assert sorted(truth.values()) == ["high"] * 8 + ["low"] * 8 and len(tested) == 12
    assert sorted(path.name for path in (digits / "sounds").iterdir()) == sorted(truth)
    guessed = review.answer_keys(digits, truth, 6, chance)
    rows = CorrectionTable(digits / "corrections.csv").rows
    assert len(rows) == 6 and all(row.labels == (truth[name],) for name, row in rows.items())
    assert guessed == 1.0 or chance is not None, "two tones that nobody can confuse"


def test_too_few_clips_are_said(digits):
    with pytest.raises(BenchmarkError, match="has 0 clips"):
        review.draw_clips(digits / "sounds", ["none"], 0)
