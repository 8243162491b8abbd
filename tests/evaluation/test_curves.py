"""Curves against cases one can count, and against the figures that they are pictures of."""

from __future__ import annotations

import json

import numpy as np
import pytest

from audiocnn.evaluation.bootstrap import calibration_figure, draw_recordings
from audiocnn.evaluation.metrics import CURVE_POINTS, Frames, compute_curves, curve_values


def many_frames(rows=50_000, seed=0):
    rng = np.random.default_rng(seed)
    positive = rng.random(rows) < 0.3
    return Frames(positive, (1 / (1 + np.exp(-rng.normal(0, 1, rows) - 2 * positive + 1))).astype(np.float32))


def test_curves_of_a_case_one_can_count():
    # Best first: + + - + - -.
    frames = Frames(np.array([1, 1, 0, 1, 0, 0], bool), np.array([0.91, 0.81, 0.71, 0.61, 0.51, 0.41]))
    curves = compute_curves(frames)
    corners = set(zip(*(column.tolist() for column in curves.roc), strict=True))
    assert {(0.0, 0.0), (0.0, 2 / 3), (1 / 3, 2 / 3), (1 / 3, 1.0), (1.0, 1.0)} <= corners
    points = set(zip(*(column.tolist() for column in curves.precision_recall), strict=True))
    assert {(0.0, 1.0), (1.0, 0.5)} <= points
    assert all(precision in (1.0, 2 / 3, 0.75, 0.6, 0.5) for _, precision in points)
    edges, positive, negative = curves.histogram
    assert (len(edges), edges[0], edges[-1]) == (51, 0.0, 1.0)
    assert (positive.sum(), negative.sum()) == (3, 3)
    assert (positive[40], negative[35], negative[20]) == (1.0, 1.0, 1.0)
    means, shares, counts = curves.calibration
    assert means == pytest.approx([0.41, 0.51, 0.61, 0.71, 0.81, 0.91], abs=1e-12)
    assert shares.tolist() == [0, 0, 1, 0, 1, 1]
    assert counts.tolist() == [1] * 6


def test_what_is_thinned_still_holds_the_figures():
    frames = many_frames()
    curves, values = compute_curves(frames), curve_values(frames)
    fpr, tpr = curves.roc
    recall, precision = curves.precision_recall
    for rising in (fpr, tpr, recall):
        assert 200 < len(rising) <= CURVE_POINTS
        assert (np.diff(rising) >= 0).all()
        assert (rising[0], rising[-1]) == (0.0, 1.0)
    assert np.sum(np.diff(fpr) * (tpr[1:] + tpr[:-1]) / 2) == pytest.approx(values["auroc"], abs=1e-4)
    assert np.sum(np.diff(recall) * precision[1:]) == pytest.approx(values["average_precision"], abs=2e-3)
    assert np.interp(0.05, fpr, tpr) == pytest.approx(values["tpr_at_5pct_fpr"], abs=3e-3)
    means, shares, counts = curves.calibration
    error = np.sum(counts * np.abs(means - shares)) / counts.sum()
    assert error == pytest.approx(calibration_figure([frames], draw_recordings(1, 1, 0)).value, abs=1e-9)
    assert curves.histogram[1].sum() == frames.positive.sum()
    assert curves.histogram[2].sum() == (~frames.positive).sum()


@pytest.mark.parametrize("positive", [False, True])
def test_frames_of_one_kind_have_a_histogram_and_calibration_alone(positive):
    said = compute_curves(Frames(np.full(10, positive), np.linspace(0, 1, 10))).to_dict()
    assert said["roc"] == said["precision_recall"] == [[], []]
    assert sum(said["histogram"][1 if positive else 2]) == sum(said["calibration"][2]) == 10
    assert set(said["calibration"][1]) == {float(positive)}


def test_scores_just_beyond_the_ends_are_in_the_histogram():
    scores = np.array([1.0000001, 1.0, -1e-7, 0.0], np.float32)
    assert scores[0] > 1
    _, positive, negative = compute_curves(Frames(np.array([1, 1, 0, 0], bool), scores)).histogram
    assert (positive[-1], positive.sum(), negative[0], negative.sum()) == (2, 2, 2, 2)


def test_curves_are_plain_json():
    said = compute_curves(many_frames()).to_dict()
    assert said == json.loads(json.dumps(said, allow_nan=False))
    assert [len(column) for column in said["histogram"]] == [51, 50, 50]
    assert all(isinstance(count, int) for count in [*said["histogram"][1], *said["calibration"][2]])
    assert len(json.dumps(said)) < 50_000
    none = compute_curves(Frames(np.zeros(0, bool), np.zeros(0, np.float32))).to_dict()
    assert none["calibration"] == [[], [], []]
