"""The pictures of a run: of few and of many labels, of clips and of segments."""

from __future__ import annotations

import numpy as np
import pytest
from fixtures_models import recipe_of, tone_task
from matplotlib import image

from audiocnn.errors import UsageError
from audiocnn.evaluation.clips import ScoredClip, evaluate_clips
from audiocnn.evaluation.results import Evaluation, EvaluationSettings
from audiocnn.evaluation.segments import JudgedRecording, evaluate_scores
from audiocnn.report.batch_picture import draw_batch, see_batch
from audiocnn.report.evaluation_picture import _matrix_of, draw_confusion, draw_precision_recall
from audiocnn.segments.finder import SegmentRule
from audiocnn.segments.segment import Annotation
from audiocnn.training.batches import make_training_set
from audiocnn.workflows.listener import ProgressListener
from audiocnn.workflows.run_folder import RUN_FILES
from audiocnn.workflows.train import draw_all

SETTINGS = EvaluationSettings(resamples=0)


def judged(count, each=3, several=False):
    """`count` labels, of which each third is taken for the next one."""
    labels = [f"a label of $two$ words {number}" for number in range(count)]
    clips = []
    for number, label in enumerate(labels):
        for take in range(each):
            scores = np.full(count, 0.1)
            scores[(number + (number % 3 == 0 and take == 0)) % count] = 0.9
            clips.append(ScoredClip(f"{label}/{take}.wav", scores, label))
    mode = "several" if several else "one"
    return evaluate_clips(clips, labels, dict.fromkeys(labels, 0.5), SETTINGS, mode)


@pytest.mark.parametrize("count", [2, 60, 250])
def test_confusions_of_few_and_many_labels(count, tmp_path):
    clip = judged(count)
    draw_confusion(clip, tmp_path / "x.png", "run")
    pixels = image.imread(tmp_path / "x.png")
    assert pixels.shape[0] < 2400 and pixels.shape[1] < 2400
    labels, counts = _matrix_of(clip.confusion)
    assert len(labels) == min(count, 80)
    assert counts[~np.eye(len(labels), dtype=bool)].sum() > 0  # those that are confused are kept
    if count <= 80:
        assert counts.sum() == clip.clips


def blue_and_orange(pixels):
    red, green, blue = (pixels[..., channel] for channel in range(3))
    return int(((blue > red + 0.2) & (blue > green)).sum()), int(((red > blue + 0.2) & (red > green)).sum())


def test_right_is_blue_and_wrong_is_orange(tmp_path):
    clips = [ScoredClip("a", np.array([0.9, 0.1]), "a"), ScoredClip("b", np.array([0.1, 0.9]), "b")]
    for name, turned, seen in (("right", False, (True, False)), ("wrong", True, (False, True))):
        told = [ScoredClip(c.filename, c.scores[::-1] if turned else c.scores, c.label) for c in clips]
        clip = evaluate_clips(told, ["a", "b"], {"a": 0.5, "b": 0.5}, SETTINGS)
        draw_confusion(clip, tmp_path / f"{name}.png", "run")
        assert tuple(n > 5000 for n in blue_and_orange(image.imread(tmp_path / f"{name}.png"))) == seen


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("count", [2, 60])
def test_precision_and_recall_of_clips(count, several, tmp_path):
    evaluation = Evaluation(SETTINGS, clip=judged(count, several=several))
    draw_precision_recall(evaluation, {}, tmp_path / "x.png", "run")
    assert image.imread(tmp_path / "x.png").std() > 0.05


@pytest.mark.parametrize("annotated", [True, False])
def test_precision_and_recall_of_segments_with_and_without_operating_points(annotated, tmp_path):
    random, recordings = np.random.default_rng(0), []
    for number in range(4):
        scores = np.clip(random.normal(0.2, 0.1, (500, 2)), 0, 1).astype(np.float32)
        scores[100:200, 0] = 0.9
        notes = [Annotation(2.0, 4.0, "speech")] if annotated else []
        recordings.append(JudgedRecording(f"{number}.wav", scores, 0.02, 10.0, notes))
    labels = ("speech", "music")
    evaluation = evaluate_scores(recordings, labels, dict.fromkeys(labels, SegmentRule()), SETTINGS)
    points = {"speech": {"balanced": 0.5, "sensitive": 0.1, "precise": 0.9}}
    sizes = []
    for own in (points, {}):
        draw_precision_recall(evaluation, own, tmp_path / "x.png", "run")
        sizes.append(image.imread(tmp_path / "x.png"))
    assert sizes[0].shape == sizes[1].shape and (sizes[0] != sizes[1]).any()


def test_a_batch_is_what_the_network_is_given(tmp_path):
    recipe, dataset = recipe_of(), tone_task(tmp_path / "dataset", groups=4)
    training_set = make_training_set(recipe, dataset, validates=False)
    seen = see_batch(recipe, training_set)
    known = {entry.filename for entry in dataset.entries}
    assert seen and all(set(example.names) <= known for example in seen)
    assert all(np.isfinite(example.decibels).all() for example in seen)
    assert {example.targets.shape[1] for example in seen} == {len(training_set.labels)}
    loud = [example for example in seen if np.nansum(example.targets) and example.decibels.max() > -60]
    assert loud  # where the label is, there is sound
    draw_batch(recipe, dataset, tmp_path / "batch.png")
    assert image.imread(tmp_path / "batch.png").std() > 0.05


def test_a_picture_that_cannot_be_drawn_is_one_line(tmp_path):
    def refused(path):
        raise UsageError(f"{path}: no room")

    def broken(path):
        raise ValueError("a fault\nof a library")

    listener = ProgressListener()
    drawn = draw_all({"a.png": refused, "b.png": broken, "c.png": lambda path: path.touch()}, tmp_path, listener)
    lines = listener.warnings
    assert drawn == ["c.png"] and len(lines) == 2
    assert "no room" in lines[0] and "b.png: could not be drawn" in lines[1]


def test_pictures_are_files_that_a_run_makes():
    from audiocnn.report.batch_picture import BATCH_FILE
    from audiocnn.report.evaluation_picture import CONFUSION_FILE, PRECISION_RECALL_FILE

    assert {BATCH_FILE, CONFUSION_FILE, PRECISION_RECALL_FILE} <= set(RUN_FILES["."])
