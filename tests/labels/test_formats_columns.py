"""Numbers in bulk have the digits that Python gives each of them."""

from __future__ import annotations

import numpy as np
import pytest

from audiocnn.labels.formats.table import score_rows
from audiocnn.labels.formats.text import format_values, join_columns, round_values


@pytest.mark.parametrize("digits", [4, 6])
def test_rounded_is_what_python_rounds(digits):
    rng = np.random.default_rng(0)
    halves = (np.arange(2000) + 0.5) / 10**digits  # each a hair above or below a half, or on it
    exact = np.arange(257) / 256  # 1/128 is halfway between two numbers of six digits
    scores = rng.random(20_000).astype(np.float32).astype(np.float64)
    times = np.arange(20_000) * 0.00625 + rng.integers(0, 360_000)
    small = np.array([0.0, -0.0, -1e-9, 1e-9, 4.9e-7, 5e-7, 1e-5, 9.99e-5, 1.0, 1.0 - 1e-9])
    for values in (halves, exact, scores, times, small):
        wanted = [repr(round(value, digits)) for value in values.tolist()]
        assert format_values(values, digits) == wanted
        assert list(map(repr, round_values(values, digits))) == wanted


def test_columns_stand_side_by_side():
    assert join_columns(2, ["a", ["1", "2"], ";\n"]) == "a1;\na2;\n"
    assert join_columns(0, ["a", []]) == ""


def test_scores_as_rows():
    edges, scores = np.array([0.0, 0.02, 0.04, 0.0512]), np.array([[0.5, 1.0], [1 / 3, 0.0], [1e-6, 0.25]], np.float32)
    assert score_rows("x,y.wav", 1, edges, scores, ",") == (
        '"x,y.wav",1,0.0,0.02,0.5,1.0\n"x,y.wav",1,0.02,0.04,0.333333,0.0\n"x,y.wav",1,0.04,0.0512,1e-06,0.25\n'
    )
    assert score_rows("a.wav", 0, edges[:2], scores[:1], "\t") == "a.wav\t0\t0.0\t0.02\t0.5\t1.0\n"
