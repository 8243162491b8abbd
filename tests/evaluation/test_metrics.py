"""Figures against hand-made answers, against brute force, and against scikit-learn and pyannote.metrics."""

from __future__ import annotations

import math

import numpy as np
import pytest

from audiocnn.evaluation.bootstrap import (
    calibration_figure,
    curve_figures,
    draw_recordings,
    mean_figure,
    pool_frames,
    segment_figures,
)
from audiocnn.evaluation.metrics import (
    CURVE_FIGURES,
    Frames,
    SegmentSums,
    count_segments,
    curve_values,
    detection_seconds,
    frame_labels,
    grid_rows,
    scores_on_grid,
    segment_values,
)
from audiocnn.segments.segment import Annotation, inside, merge

TOLERANCE = 1e-6


def test_grid_rows_are_those_with_their_centre_inside():
    cases = {0.0: 0, 0.004: 0, 0.0051: 1, 0.01: 1, 0.015: 1, 0.0151: 2, 1.0: 100, 0.3: 30, 0.7: 70}
    assert {seconds: grid_rows(seconds, 0.01) for seconds in cases} == cases


def test_frame_labels_look_at_centres():
    annotations = [Annotation(0.015, 0.035, "speech"), Annotation(0.0, 0.1, "music")]
    # Centres 5, 15, 25, 35 ms: an onset on a centre counts, an offset on one does not.
    assert frame_labels(annotations, "speech", 5, 0.01).tolist() == [False, True, True, False, False]
    assert frame_labels(annotations, "music", 12, 0.01).sum() == 10
    assert not frame_labels([], "speech", 3, 0.01).any()


@pytest.mark.parametrize("grid_milliseconds", [10, 30])
def test_frame_labels_are_not_lost_to_rounding(grid_milliseconds):
    for frame in range(300):
        centre = (2 * frame + 1) * grid_milliseconds  # in half milliseconds, exact
        annotations = [Annotation(centre / 2000, (centre + 4 * grid_milliseconds) / 2000, "a")]
        found = np.flatnonzero(frame_labels(annotations, "a", 400, grid_milliseconds / 1000))
        assert found.tolist() == [frame, frame + 1]


def test_frame_labels_of_annotations_that_overlap():
    annotations = [Annotation(0.5, 1.0, "a"), Annotation(0.2, 0.6, "a"), Annotation(0.3, 0.4, "a")]
    assert np.flatnonzero(frame_labels(annotations, "a", 200, 0.01)).tolist() == list(range(20, 100))


def test_scores_on_grid():
    scores = np.array([1, 2, 3], np.float32)
    assert scores_on_grid(scores, 0.02, 6, 0.01).tolist() == [1, 1, 2, 2, 3, 3]
    # The last row goes on to the end; a centre on the border of two rows belongs to the second.
    assert scores_on_grid(scores, 0.01, 5, 0.01).tolist() == [1, 2, 3, 3, 3]
    assert scores_on_grid(scores, 0.005, 2, 0.01).tolist() == [2, 3]
    assert scores_on_grid(scores[:0], 0.02, 0, 0.01).tolist() == []
    with pytest.raises(ValueError, match="no score"):
        scores_on_grid(scores[:0], 0.02, 1, 0.01)


def test_scores_on_grid_for_long_recordings_with_awkward_hops():
    for hop_milliseconds in (10, 20, 30, 32, 40, 70):
        scores = np.arange(100_000, dtype=np.float64)
        rows = 30_000 * hop_milliseconds // 10
        centres_in_tenths = np.arange(rows) * 100 + 50  # of a millisecond, exact
        expected = centres_in_tenths // (hop_milliseconds * 10)
        found = scores_on_grid(scores, hop_milliseconds / 1000, rows, 0.01)
        assert np.array_equal(found, expected), hop_milliseconds


def test_merge_and_inside():
    merged = merge([(2, 3), (0.5, 1), (0.9, 1.2), (1.2, 1.3), (4, 4), (8, 12), (-1, 0.1)], 10.0)
    assert merged.tolist() == [[0, 0.1], [0.5, 1.3], [2, 3], [8, 10]]
    assert merge([(0.0, 0.3), (0.1 + 0.2, 1.0)]).tolist() == [[0.0, 1.0]]
    assert merge([(0.0, 5.0), (1.0, 2.0), (3.0, 4.0)]).tolist() == [[0.0, 5.0]]
    assert merge([]).shape == (0, 2)
    assert inside(merged, np.array([0.0, 0.1, 0.5, 1.25, 1.3, 9.9])).tolist() == [1, 0, 1, 1, 0, 1]


def test_curves_of_a_case_one_can_count():
    # Best first: + + - + - -. Eight of nine pairs are in order.
    frames = Frames(np.array([1, 1, 0, 1, 0, 0], bool), np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4]))
    assert curve_values(frames) == pytest.approx(
        {
            "auroc": 8 / 9,
            "average_precision": (1 + 1 + 3 / 4) / 3,
            "tpr_at_5pct_fpr": 2 / 3,
            "tpr_at_31_5pct_fpr": 2 / 3,
            "fpr_at_5pct_miss": 1 / 3,
            "eer": 1 / 3,
        },
        abs=1e-12,
    )


def test_curves_at_the_extremes():
    positive = np.array([0, 0, 1, 1], bool)
    right, wrong = (
        curve_values(Frames(positive, positive * 1.0)),
        curve_values(Frames(positive, 1.0 - positive)),
    )
    assert [right[name] for name in CURVE_FIGURES] == pytest.approx([1, 1, 1, 1, 0, 0], abs=1e-12)
    assert [wrong[name] for name in CURVE_FIGURES] == pytest.approx([0, 0.5, 0, 0, 1, 1], abs=1e-12)
    blind = curve_values(Frames(positive, np.zeros(4)))
    assert [blind[name] for name in CURVE_FIGURES] == pytest.approx([0.5, 0.5, 0.05, 0.315, 0.95, 0.5], abs=1e-12)


def test_the_curve_is_read_at_the_top_of_its_steps():
    # The best of 20 negatives stands before the only positive: at exactly 5 % the curve jumps from 0 to 1.
    positive = np.arange(21) == 1
    values = curve_values(Frames(positive, np.linspace(1, 0, 21)))
    assert (values["tpr_at_5pct_fpr"], values["fpr_at_5pct_miss"]) == (1.0, pytest.approx(0.05, abs=1e-12))


@pytest.mark.parametrize(
    ("order", "expected"),
    [("+" * 19 + "-+-", 0.0), ("+" * 19 + "-----+-----", 0.0), ("-" + "+" * 19 + "--+-", 0.25)],
)
def test_exactly_95_percent_found_is_enough(order, expected):
    """Best first: of 20 positives 19 are found before the last one is asked for; 1 - 0.95 is above 0.05 in floats."""
    positive = np.array([kind == "+" for kind in order])
    values = curve_values(Frames(positive, np.linspace(1, 0, len(order))))
    assert values["fpr_at_5pct_miss"] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("positive", [np.zeros(5, bool), np.ones(5, bool), np.zeros(0, bool)])
def test_curves_that_are_not_defined_are_none(positive):
    assert curve_values(Frames(positive, np.linspace(0, 1, len(positive)))) == dict.fromkeys(CURVE_FIGURES)


def gaussian_frames(rng, recordings, rows=400, shift=1.5):
    made = []
    for _ in range(recordings):
        positive = rng.random(rows) < rng.uniform(0.2, 0.8)
        logits = rng.normal(0, 1, rows) + shift * positive + rng.normal(0, 0.3)
        made.append(Frames(positive, (1 / (1 + np.exp(-logits))).astype(np.float32)))
    return made


def test_curve_points_against_the_two_normal_distributions_they_come_from():
    rng = np.random.default_rng(3)
    positive = np.arange(400_000) % 2 == 0
    values = curve_values(Frames(positive, rng.normal(0, 1, 400_000) + 2 * positive))
    # AUROC Phi(2 / sqrt 2), EER Phi(-1), TPR at FPR 5 % Phi(2 - 1.6449), FPR at 5 % misses its mirror.
    assert values["auroc"] == pytest.approx(0.92135, abs=0.002)
    assert values["eer"] == pytest.approx(0.15866, abs=0.003)
    assert values["tpr_at_5pct_fpr"] == pytest.approx(0.63876, abs=0.005)
    assert values["fpr_at_5pct_miss"] == pytest.approx(1 - 0.63876, abs=0.005)
    assert values["tpr_at_31_5pct_fpr"] == pytest.approx(0.93547, abs=0.003)


def test_intervals_equal_those_of_plain_resampling():
    rng = np.random.default_rng(4)
    recordings = gaussian_frames(rng, 12)
    draws = draw_recordings(12, 200, seed=7)
    assert draws.shape == (200, 12)
    assert (draws.sum(axis=1) == 12).all()
    fast = curve_figures(recordings, draws)
    plain = []
    for draw in draws:
        drawn = [frames for frames, times in zip(recordings, draw, strict=True) for _ in range(times)]
        pooled = Frames(*(np.concatenate(part) for part in zip(*drawn, strict=True)))
        plain.append(curve_values(pooled))
    everything = Frames(*(np.concatenate(part) for part in zip(*recordings, strict=True)))
    for name, exact in curve_values(everything).items():
        low, high = np.percentile([values[name] for values in plain], (2.5, 97.5))
        assert fast[name].value == exact
        # 2,048 bins; the points on the curve move by up to the height of one bin.
        tolerance = 2e-4 if name in ("auroc", "average_precision") else 2e-3
        assert (fast[name].low, fast[name].high) == pytest.approx((low, high), abs=tolerance), name
        assert low < exact < high


@pytest.mark.long
def test_intervals_hold_the_truth_about_as_often_as_they_say():
    truth = 0.5 * (1 + math.erf(1.5 / math.sqrt(2 * (2 + 2 * 0.3**2))))
    assert truth == pytest.approx(0.8452, abs=1e-3)
    rng, held, trials = np.random.default_rng(5), 0, 120
    for _ in range(trials):
        figure = curve_figures(gaussian_frames(rng, 30, rows=60), draw_recordings(30, 200, seed=1))["auroc"]
        held += figure.low <= truth <= figure.high
    # 95 % of 120 are 114, with a standard deviation of 2.4; percentile intervals of 30 are a little narrow.
    assert 100 <= held <= 120


def test_saturated_scores_and_many_recordings():
    rng = np.random.default_rng(6)
    recordings = []
    for _ in range(600):  # more than one chunk
        positive = rng.random(30) < 0.5
        scores = np.where(rng.random(30) < 0.1, rng.random(30), positive * 1.0).astype(np.float32)
        recordings.append(Frames(positive, scores))
    figure = curve_figures(recordings, draw_recordings(600, 100, seed=0))["auroc"]
    assert figure.low < figure.value < figure.high < figure.low + 0.02


def test_draws_are_seeded_and_need_two_recordings():
    assert np.array_equal(draw_recordings(5, 50, seed=1), draw_recordings(5, 50, seed=1))
    assert not np.array_equal(draw_recordings(5, 50, seed=1), draw_recordings(5, 50, seed=2))
    assert draw_recordings(1, 50, seed=1).shape == (0, 1)
    figure = curve_figures(gaussian_frames(np.random.default_rng(0), 1), draw_recordings(1, 50, seed=1))["auroc"]
    assert 0.7 < figure.value < 1
    assert (figure.low, figure.high) == (None, None)


def test_groups_are_drawn_as_a_whole():
    draws = draw_recordings(6, 300, seed=0, groups=["a", "b", "a", "", "", "b"])
    assert np.array_equal(draws[:, 0], draws[:, 2])
    assert np.array_equal(draws[:, 1], draws[:, 5])
    assert not np.array_equal(draws[:, 3], draws[:, 4])
    assert set(draws[:, [0, 1, 3, 4]].sum(axis=1)) == {4}  # four groups, so four draws
    assert np.array_equal(draw_recordings(3, 50, seed=0, groups=["x", "y", "z"]), draw_recordings(3, 50, seed=0))
    assert draw_recordings(3, 50, seed=0, groups=["a"] * 3).shape == (0, 3)


def values_of(*counts):
    return {name: float(v) for name, v in segment_values(sum_of(counts)).items()}


def sum_of(counts):
    sums = [count.sums for count in counts]
    return type(sums[0])(*(sum(column) for column in zip(*sums, strict=True)))


def test_segments_of_a_case_one_can_count():
    # reference 1 to 3 and 5 to 6 of 10 s; found 1.05 to 2.5 and 7 to 8
    counts = count_segments([(1, 3), (5, 6)], [(1.05, 2.5), (7, 8)], 10.0)
    sums = counts.sums
    assert (sums.hit, sums.miss, sums.false_alarm, sums.rest) == pytest.approx((1.45, 1.55, 1.0, 6.0), abs=1e-12)
    assert (sums.references, sums.detections, sums.matches) == (2, 2, 0)
    assert (sums.edges_50ms, sums.edges_100ms) == (1, 1)
    assert counts.onset_errors == pytest.approx([0.05], abs=1e-12)
    assert counts.offset_errors == pytest.approx([-0.5], abs=1e-12)
    assert values_of(counts) == pytest.approx(
        {
            "detection_error_rate": 2.55 / 3,
            "detection_error_rate_collar": 2.55 / 3,
            "miss_rate": 1.55 / 3,
            "false_alarm_rate": 1 / 7,
            "detection_cost": 0.75 * 1.55 / 3 + 0.25 / 7,
            "f1": 2.9 / (2.9 + 2.55),
            "segment_f1": 0.0,
            "false_segment_share": math.nan,
            "edges_within_50ms": 0.25,
            "edges_within_100ms": 0.25,
        },
        abs=1e-12,
        nan_ok=True,
    )


def test_a_collar_is_not_judged_by_the_one_figure_that_has_it():
    # 0.5 s in all: 0.75 to 1.25 and 2.75 to 3.25 are left out.
    true, found = np.array([[1.0, 3.0]]), np.array([[1.2, 3.5]])
    assert detection_seconds(true, found, 10.0, 0.5) == pytest.approx((1.5, 0, 0.25, 7.25), abs=1e-12)
    counts = count_segments([(1, 3)], [(1.2, 3.5)], 10.0, collar_seconds=0.5)
    assert counts.sums[:4] == pytest.approx((1.8, 0.2, 0.5, 7.5), abs=1e-12)
    values = values_of(counts)
    assert values["detection_error_rate_collar"] == pytest.approx(0.25 / 1.5, abs=1e-12)
    assert values["detection_error_rate"] == pytest.approx(0.7 / 2, abs=1e-12)
    assert values == pytest.approx(
        values_of(count_segments([(1, 3)], [(1.2, 3.5)], 10.0))
        | {"detection_error_rate_collar": values["detection_error_rate_collar"]},
        nan_ok=True,
    )


def test_false_segments_are_counted_in_recordings_that_hold_nothing():
    nothing = [count_segments([], found, 10.0) for found in ([], [(1, 2)], [(1, 2), (4, 5)], [])]
    spoken = [count_segments([(1, 2)], found, 10.0) for found in ([], [(5, 6)])]
    assert values_of(*nothing, *spoken)["false_segment_share"] == 0.5
    assert math.isnan(values_of(*spoken)["false_segment_share"])
    figure = segment_figures([*nothing, *spoken] * 40, draw_recordings(240, 1000, seed=0))["false_segment_share"]
    # 1.96 * sqrt(0.5 * 0.5 / 160) = 0.077
    assert (figure.low, figure.high) == pytest.approx((0.5 - 0.077, 0.5 + 0.077), abs=0.02)


def test_the_calibration_error_of_a_case_one_can_count():
    # Bins of 1 / 15: 0.1 and 0.12 share the second, 0.7 is alone in the eleventh, 1.0 in the last.
    frames = Frames(np.array([0, 1, 1, 0], bool), np.array([0.1, 0.12, 0.7, 1.0]))
    expected = (2 * abs(0.11 - 0.5) + abs(0.7 - 1) + abs(1.0 - 0)) / 4
    figure = calibration_figure([frames], draw_recordings(1, 10, seed=0))
    assert figure.value == pytest.approx(expected, abs=1e-12)
    assert (figure.low, figure.high) == (None, None)


def test_the_calibration_error_of_scores_that_mean_what_they_say():
    rng = np.random.default_rng(12)
    scores = rng.random(200_000)
    honest = [Frames(rng.random(2000) < part, part) for part in scores.reshape(100, 2000)]
    draws = draw_recordings(100, 200, seed=0)
    assert calibration_figure(honest, draws).value < 0.006
    # Said too high by half of what is missing: the mean of (1 - p) / 2.
    bold = [Frames(frames.positive, 1 - (1 - frames.scores) / 2) for frames in honest]
    figure = calibration_figure(bold, draws)
    assert figure.low < figure.value < figure.high
    assert figure.value == pytest.approx(0.25, abs=0.005)
    plain = [calibration_figure(drawn(bold, draw), draws[:0]).value for draw in draws]
    assert (figure.low, figure.high) == pytest.approx(tuple(np.percentile(plain, (2.5, 97.5))), abs=1e-9)


def drawn(recordings, draw):
    """The recordings, as often as they were drawn."""
    return [held for held, times in zip(recordings, draw, strict=True) for _ in range(times)]


def test_the_calibration_error_is_that_of_scikit_learn():
    from sklearn.calibration import calibration_curve

    frames = gaussian_frames(np.random.default_rng(13), 1, rows=5000)[0]
    shares, means = calibration_curve(frames.positive, frames.scores, n_bins=15)
    counts = np.histogram(frames.scores, np.linspace(0, 1, 16))[0]
    expected = np.sum(counts[counts > 0] * np.abs(shares - means)) / 5000
    assert calibration_figure([frames], draw_recordings(1, 1, seed=0)).value == pytest.approx(expected, abs=1e-6)


def test_values_of_draws_are_kept_in_their_order():
    recordings = gaussian_frames(np.random.default_rng(14), 3)
    recordings[0] = Frames(np.zeros(400, bool), recordings[0].scores)
    draws = np.array([[3, 0, 0], [0, 3, 0], [1, 1, 1]], np.uint16)
    kept = curve_figures(recordings, draws)["auroc"].resampled
    assert np.isnan(kept).tolist() == [True, False, False]
    assert kept[1] == pytest.approx(curve_values(recordings[1])["auroc"], abs=1e-3)
    assert kept[2] == pytest.approx(curve_values(pool_frames(recordings))["auroc"], abs=1e-3)
    means = mean_figure(np.array([np.nan, 0.0, 1.0]), draws).resampled
    assert means == pytest.approx([math.nan, 0.0, 0.5], nan_ok=True)


def test_matched_segments():
    reference = [(1, 2), (3, 8), (9, 9.5)]
    detected = [(1.2, 1.8), (3.1, 7.0), (8.7, 9.5)]
    # The second may end a fifth of its 5 s early; the third begins 0.3 s early.
    assert count_segments(reference, detected, 10.0).sums.matches == 2
    assert count_segments(reference, [(1.21, 2)], 10.0).sums.matches == 0
    assert count_segments(reference, reference, 10.0).sums.matches == 3


def test_edges_are_paired_one_to_one():
    chopped = [(1, 1.01), (1.02, 1.03), (1.04, 2)]
    sums = count_segments([(1, 2)], chopped, 10.0).sums
    assert (sums.edges_50ms, sums.edges_100ms) == (2, 2)
    # Two onsets that one found edge could serve, but only once.
    sums = count_segments([(1, 1.04), (1.06, 2)], [(1.05, 2)], 10.0).sums
    assert sums.edges_100ms == 2


def test_edge_errors_have_a_sign_and_a_reach():
    counts = count_segments([(1, 2), (5, 6)], [(1.03, 1.9), (5.6, 6.4)], 10.0)
    assert counts.onset_errors == pytest.approx([0.03], abs=1e-12)  # 0.6 s is too far
    assert counts.offset_errors == pytest.approx([-0.1, 0.4], abs=1e-12)
    assert len(count_segments([(1, 2)], [], 10.0).onset_errors) == 0


def random_stretches(rng, duration, most=12):
    starts = rng.uniform(-0.5, duration, int(rng.integers(0, most)))
    return [(float(s), float(s + rng.exponential(1.0) + 1e-3)) for s in starts]


@pytest.mark.parametrize("collar", [0.0, 0.5])
def test_detection_figures_equal_those_of_pyannote(collar):
    core = pytest.importorskip("pyannote.core", reason="pyannote.core is in the extra `test`")
    detection = pytest.importorskip("pyannote.metrics.detection", reason="pyannote.metrics is in the extra `test`")
    rng, judged = np.random.default_rng(8), 0
    theirs = {
        "detection_error_rate": detection.DetectionErrorRate(),
        "detection_error_rate_collar": detection.DetectionErrorRate(collar=collar),
        "detection_cost": detection.DetectionCostFunction(fa_weight=0.25, miss_weight=0.75),
        "f1": detection.DetectionPrecisionRecallFMeasure(),
    }
    costs_with_a_collar = detection.DetectionCostFunction(collar=collar, fa_weight=0.25, miss_weight=0.75)
    everything = []
    for _ in range(60):
        duration = float(rng.uniform(3, 20))
        # pyannote puts collars inside overlaps, too; here the reference is what they add up to.
        reference = [tuple(pair) for pair in merge(random_stretches(rng, duration), duration).tolist()]
        detected = random_stretches(rng, duration)
        uem = core.Timeline([core.Segment(0, duration)])
        both = [core.Timeline([core.Segment(*p) for p in pairs]) for pairs in (reference, detected)]
        both = [timeline.to_annotation(generator="int") for timeline in both]
        counts = count_segments(reference, detected, duration, collar)
        everything.append(counts)
        expected = {name: metric(*both, uem=uem) for name, metric in theirs.items()}
        cost = costs_with_a_collar(*both, uem=uem)
        if counts.sums.collar_reference > 0:
            judged += 1
            ours = values_of(counts)
            assert {name: ours[name] for name in expected} == pytest.approx(expected, abs=TOLERANCE)
            seconds = detection_seconds(merge(reference, duration), merge(detected, duration), duration, collar)
            with_collar = segment_values(SegmentSums(*seconds))
            assert with_collar["detection_cost"] == pytest.approx(cost, abs=TOLERANCE)
    assert judged > 40
    pooled = values_of(*everything)
    assert {name: pooled[name] for name in theirs} == pytest.approx(
        {name: abs(metric) for name, metric in theirs.items()}, abs=TOLERANCE
    )


def test_edges_within_a_tolerance_are_those_of_pyannote():
    core = pytest.importorskip("pyannote.core", reason="pyannote.core is in the extra `test`")
    segmentation = pytest.importorskip("pyannote.metrics.segmentation", reason="in the extra `test`")
    rng, found_any = np.random.default_rng(15), 0
    for _ in range(40):
        # Offsets are 0.5 s apart and more, so that there is one way to pair them. pyannote leaves the last one out.
        reference = [(k, k + 0.5) for k in range(1, 8)]
        detected = [(k, k + 0.5 + rng.normal(0, 0.08)) for k in range(1, 8) if rng.random() < 0.8]
        timelines = [core.Timeline([core.Segment(*p) for p in [*pairs, (9, 10)]]) for pairs in (reference, detected)]
        for tolerance, name in ((0.05, "edges_50ms"), (0.1, "edges_100ms")):
            recall = segmentation.SegmentationRecall(tolerance=tolerance)(*timelines)
            edges = getattr(count_segments(reference, detected, 10.0).sums, name)
            assert edges - len(detected) == pytest.approx(7 * recall, abs=TOLERANCE)  # all onsets are right
            found_any += edges - len(detected)
    assert found_any > 100


def test_segments_equal_a_count_on_a_very_fine_grid():
    rng = np.random.default_rng(9)
    for _ in range(20):
        reference, detected = random_stretches(rng, 5.0), random_stretches(rng, 5.0)
        times = (np.arange(500_000) + 0.5) * 1e-5
        true, found = (
            np.any([(a <= times) & (times < b) for a, b in pairs] or [times < 0], axis=0)
            for pairs in (reference, detected)
        )
        sums = count_segments(reference, detected, 5.0).sums
        counted = [(true & found).sum(), (true & ~found).sum(), (~true & found).sum(), (~true & ~found).sum()]
        assert sums[:4] == pytest.approx(np.array(counted) * 1e-5, abs=1e-3)


def test_segment_figures_with_intervals():
    rng = np.random.default_rng(10)
    recordings = []
    for _ in range(40):
        late = rng.normal(0.03, 0.01)
        recordings.append(count_segments([(1, 3)], [(1 + late, 3 + 2 * late)], 10.0))
    figures = segment_figures(recordings, draw_recordings(40, 300, seed=0))
    assert figures["onset_bias_ms"].value == pytest.approx(30, abs=5)
    assert figures["offset_bias_ms"].value == pytest.approx(60, abs=10)
    assert figures["offset_error_ms"].value == pytest.approx(2 * figures["onset_error_ms"].value, rel=1e-6)
    for name in ("onset_error_ms", "offset_error_ms", "detection_error_rate", "detection_cost", "f1"):
        assert figures[name].low < figures[name].value < figures[name].high, name
    assert figures["segment_f1"].value == 1.0


def test_segment_figures_that_are_not_defined_are_none():
    silence = [count_segments([], [], 10.0), count_segments([], [(1, 2)], 10.0)]
    figures = segment_figures(silence, draw_recordings(2, 50, seed=0))
    assert figures["detection_error_rate"].value is None
    assert figures["miss_rate"].value is None
    assert figures["onset_error_ms"].value is None
    assert figures["false_alarm_rate"].value == pytest.approx(0.05, abs=1e-12)
    for name in ("detection_cost", "f1", "segment_f1"):
        assert figures[name].value is None
    assert (figures["false_alarm_rate"].low, figures["false_alarm_rate"].high) == pytest.approx((0, 0.1))


def test_medians_equal_those_of_plain_resampling():
    rng = np.random.default_rng(11)
    recordings = [
        count_segments([(k, k + 0.5) for k in range(1, 8)], [(k + e, k + 0.6) for k, e in enumerate(row, 1)], 9.0)
        for row in rng.normal(0.0, 0.05, (9, 7))
    ]
    draws = draw_recordings(9, 100, seed=2)
    figure = segment_figures(recordings, draws)["onset_bias_ms"]
    errors = [counts.onset_errors * 1000 for counts in recordings]
    plain = [np.median(np.concatenate([np.tile(e, t) for e, t in zip(errors, d, strict=True)])) for d in draws]
    assert (figure.low, figure.high) == pytest.approx(tuple(np.percentile(plain, (2.5, 97.5))), abs=1e-9)


def test_mean_figure():
    values = np.array([1.0] * 30 + [0.0] * 10 + [np.nan] * 5)
    figure = mean_figure(values, draw_recordings(45, 2000, seed=0))
    assert figure.value == 0.75
    # 1.96 * sqrt(0.75 * 0.25 / 40) = 0.134
    assert (figure.low, figure.high) == pytest.approx((0.75 - 0.134, 0.75 + 0.134), abs=0.03)
    assert mean_figure(np.array([np.nan]), draw_recordings(1, 10, seed=0)).value is None
