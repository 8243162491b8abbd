"""Figures of whole clips: known answers, scikit-learn's, intervals, confusions, several labels, notes."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from audiocnn.errors import UsageError
from audiocnn.evaluation import clip_metrics
from audiocnn.evaluation.bootstrap import curve_figures, draw_recordings, ranked_values, wilson_interval
from audiocnn.evaluation.clips import ScoredClip, evaluate_clips
from audiocnn.evaluation.compare import compare
from audiocnn.evaluation.metrics import Frames
from audiocnn.evaluation.results import MOST_MATRIX_LABELS, Evaluation, EvaluationSettings, count_confusions

LABELS = ("cat", "dog", "hen", "owl")
SETTINGS = EvaluationSettings(resamples=40, seed=1)
THRESHOLDS = dict.fromkeys((*LABELS, "speech"), 0.5)
NAMES = ("accuracy", "balanced_accuracy", "macro_f1", "top_3_accuracy")

# label -> scores, in the order of LABELS
KNOWN = [
    ("cat", (0.7, 0.1, 0.1, 0.1)),
    ("cat", (0.2, 0.6, 0.1, 0.1)),  # a cat taken for a dog
    ("cat", (0.5, 0.3, 0.1, 0.1)),
    ("dog", (0.1, 0.8, 0.1, 0.0)),
    ("hen", (0.0, 0.5, 0.3, 0.2)),  # a hen taken for a dog
    ("hen", (0.3, 0.4, 0.1, 0.2)),  # and again: its own score is the least of four
]


def clips_of(made, **more):
    return [ScoredClip(f"{k}.wav", np.array(scores), label, **more) for k, (label, scores) in enumerate(made)]


def random_clips(count=60, labels=LABELS, skew=1.5, seed=0):
    """Clips whose own label is likelier than others to have the highest score."""
    rng = np.random.default_rng(seed)
    clips = []
    for k in range(count):
        truth = int(rng.integers(len(labels)))
        logits = rng.normal(0, 1, len(labels))
        logits[truth] += skew
        scores = np.exp(logits) / np.exp(logits).sum()
        tags = {"room": "ab"[k % 2]}
        clips.append(ScoredClip(f"{k}.wav", scores.astype(np.float32), labels[truth], f"g{k // 3}", tags=tags))
    return clips


def judge(clips, labels=LABELS, settings=SETTINGS, **how):
    return evaluate_clips(clips, labels, THRESHOLDS, settings, **how)


def test_known_answers():
    found = judge(clips_of(KNOWN))
    values = {name: figure.value for name, figure in found.figures.items()}
    assert values["accuracy"] == pytest.approx(3 / 6)
    assert values["balanced_accuracy"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    # F1 of cat: 2 hits, 3 clips, 2 answers; of dog: 1 hit, 1 clip, 4 answers; of hen none; no owl anywhere.
    assert values["macro_f1"] == pytest.approx((4 / 5 + 2 / 5 + 0) / 3)
    assert values["top_3_accuracy"] == pytest.approx(5 / 6)
    assert "top_5_accuracy" not in values
    assert {label: found.labels[label].clips for label in LABELS} == {"cat": 3, "dog": 1, "hen": 2, "owl": 0}
    assert found.labels["cat"].figures["precision"].value == 1.0
    assert found.labels["dog"].figures["precision"].value == pytest.approx(1 / 4)
    assert found.labels["hen"].figures["f1"].value == 0.0
    assert found.labels["owl"].figures["f1"].value is None
    assert found.labels["owl"].threshold is None
    assert found.notes == ('no clip has the label "owl", so its curves are undefined',)


def test_confusions_and_the_clips_to_listen_to():
    confusion = judge(clips_of(KNOWN)).confusion
    assert confusion.counts().tolist() == [[2, 1, 0, 0], [0, 1, 0, 0], [0, 2, 0, 0], [0, 0, 0, 0]]
    hen, cat = confusion.pairs
    assert (hen.label, hen.answer, hen.clips, hen.share) == ("hen", "dog", 2, 1.0)
    assert hen.files == ("5.wav", "4.wav")  # 0.4 over 0.1 is surer than 0.5 over 0.3
    assert (cat.label, cat.answer, cat.clips, cat.share) == ("cat", "dog", 1, pytest.approx(1 / 3))


def test_examples_are_the_surest_wrong_ones_and_right_ones_from_both_ends():
    wrong, right = judge(clips_of(KNOWN)).examples()
    assert [answer.filename for answer in wrong] == ["1.wav", "5.wav", "4.wav"]
    assert [answer.filename for answer in right] == ["2.wav", "0.wav", "3.wav"]
    many = judge(random_clips(300))
    wrong, right = many.examples()
    assert (len(wrong), len(right), len({answer.filename for answer in right})) == (20, 10, 10)
    sure = sorted(answer.score for answer in many.answers if answer.right)
    assert [answer.score for answer in right] == sure[:5] + sure[-5:]


def test_the_figures_are_those_of_scikit_learn():
    clips = random_clips()
    found = judge(clips)
    true = [clip.label for clip in clips]
    scores = np.stack([clip.scores for clip in clips])
    answers = [LABELS[k] for k in scores.argmax(axis=1)]
    wanted = {
        "accuracy": sklearn_metrics.accuracy_score(true, answers),
        "balanced_accuracy": sklearn_metrics.balanced_accuracy_score(true, answers),
        "macro_f1": sklearn_metrics.f1_score(true, answers, average="macro"),
        "top_3_accuracy": sklearn_metrics.top_k_accuracy_score(true, scores, k=3, labels=LABELS),
        "mean_auroc": sklearn_metrics.roc_auc_score(true, scores, multi_class="ovr", labels=LABELS),
    }
    for name, value in wanted.items():
        assert found.figures[name].value == pytest.approx(value, abs=1e-6), name
        assert found.figures[name].low <= found.figures[name].value <= found.figures[name].high
    table = sklearn_metrics.precision_recall_fscore_support(true, answers, labels=LABELS)
    for k, label in enumerate(LABELS):
        figures = [found.labels[label].figures[name].value for name in ("precision", "recall", "f1")]
        assert figures == pytest.approx([column[k] for column in table[:3]], abs=1e-12)
    matrix = sklearn_metrics.confusion_matrix(true, answers, labels=LABELS)
    assert found.confusion.counts().tolist() == matrix.tolist()


def test_a_draw_of_each_clip_once_gives_the_values_themselves():
    clips = random_clips()
    truth = np.array([[clip.label == label for label in LABELS] for clip in clips])
    scores = np.stack([clip.scores for clip in clips])
    said = np.eye(len(LABELS), dtype=bool)[scores.argmax(axis=1)]
    once = np.ones((2, len(clips)), np.uint16)
    for several in (False, True):
        overall, labels = clip_metrics.decision_figures(truth, said, once, several)
        for figure in [*overall.values(), *(figure for figures in labels for figure in figures.values())]:
            assert figure.resampled == pytest.approx([figure.value] * 2, abs=1e-12)
    for column in range(len(LABELS)):
        values = clip_metrics.curve_values(Frames(truth[:, column], scores[:, column]))
        for name, drawn in ranked_values(truth[:, column], scores[:, column], once).items():
            assert drawn == pytest.approx([values[name]] * 2, abs=1e-9), name


def test_draws_of_curves_are_those_of_frames_with_one_frame_a_clip():
    rng = np.random.default_rng(4)
    positive, scores = rng.random(50) < 0.4, np.round(rng.random(50), 1)  # many scores are equal
    draws = draw_recordings(50, 30, 0)
    theirs = curve_figures([Frames(positive[k : k + 1], scores[k : k + 1]) for k in range(50)], draws)
    for name, drawn in ranked_values(positive, scores, draws).items():
        assert drawn == pytest.approx(theirs[name].resampled, abs=1e-9), name


def test_a_draw_without_a_kind_of_clip_is_not_defined():
    draws = np.array([[2, 0], [0, 2], [1, 1]], np.uint16)
    found = ranked_values(np.array([True, False]), np.array([0.9, 0.1]), draws)
    assert np.isnan(found["auroc"]).tolist() == [True, True, False]
    assert (found["auroc"][2], found["eer"][2]) == (1.0, 0.0)


def test_more_scores_than_steps_change_little():
    rng = np.random.default_rng(4)
    positive = rng.random(5000) < 0.4
    scores = rng.random(5000) + 0.3 * positive
    once = np.ones((1, 5000), np.uint16)
    found = ranked_values(positive, scores, once)
    values = clip_metrics.curve_values(Frames(positive, scores))
    assert found["auroc"][0] == pytest.approx(values["auroc"], abs=1e-3)
    assert found["average_precision"][0] == pytest.approx(values["average_precision"], abs=2e-3)


def test_calibration_of_the_answer():
    # Ten clips that all got the right answer at 0.75, ten that got a wrong one at 0.75.
    made = [("cat", (0.75, 0.25, 0, 0))] * 10 + [("dog", (0.75, 0.25, 0, 0))] * 10
    found = judge(clips_of(made))
    assert found.figures["calibration_error"].value == pytest.approx(0.25)
    means, shares, counts = found.reliability
    assert (means.tolist(), shares.tolist(), counts.tolist()) == ([0.75], [0.5], [20])


def test_equal_scores_of_all_labels_are_no_answer_among_the_best():
    found = judge(clips_of([("owl", (0.25,) * 4), ("cat", (0.7, 0.1, 0.1, 0.1))]))
    assert found.figures["top_3_accuracy"].value == 0.5


def test_labels_that_the_model_does_not_know_are_left_out():
    made = [*KNOWN, ("cow", (0.9, 0.1, 0.0, 0.0)), ("cow", (0.9, 0.1, 0.0, 0.0))]
    found, before = judge(clips_of(made)), judge(clips_of(KNOWN))
    assert [found.figures[name].value for name in NAMES] == [before.figures[name].value for name in NAMES]
    assert found.clips == 8
    assert found.labels["cat"].figures["auroc"].value < before.labels["cat"].figures["auroc"].value
    assert [answer.right for answer in found.answers[-2:]] == [None, None]
    assert "2 clips have a label unknown to the model; accuracy excludes them" in found.notes


def test_no_label_that_the_model_knows():
    found = judge(clips_of([("cow", (0.9, 0.1, 0.0, 0.0)), ("pig", (0.9, 0.1, 0.0, 0.0))]))
    assert {name: figure.value for name, figure in found.figures.items()} == dict.fromkeys(found.figures)
    assert json.dumps(found.to_dict(), allow_nan=False)


def test_one_label_is_told_from_all_others_by_its_threshold():
    made = [("speech", (0.9,)), ("speech", (0.4,)), ("noise", (0.6,)), ("noise", (0.1,)), ("rain", (0.2,))]
    found = judge(clips_of(made), ("speech",))
    assert found.figures["accuracy"].value == pytest.approx(3 / 5)
    assert found.figures["balanced_accuracy"].value == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert found.confusion.labels == ("speech", "not speech")
    assert found.confusion.counts().tolist() == [[1, 1], [1, 2]]
    assert found.labels["speech"].threshold == 0.5
    assert list(found.labels) == ["speech"]
    assert found.figures["mean_auroc"].value == pytest.approx(5 / 6)


def several(*made):
    """(labels, scores) -> clips with several labels."""
    return [
        ScoredClip(f"{k}.wav", np.array(scores), labels[0] if labels else "", labels=labels)
        for k, (labels, scores) in enumerate(made)
    ]


SEVERAL = several(
    (("cat", "dog"), (0.9, 0.8, 0.1, 0.1)),
    (("cat",), (0.9, 0.6, 0.1, 0.1)),  # a dog too many
    (("dog", "hen"), (0.1, 0.7, 0.4, 0.1)),  # a hen too few
    ((), (0.1, 0.2, 0.3, 0.4)),
)


def test_several_labels_stand_alone():
    found = judge(SEVERAL, answer="several")
    assert found.answer == "several"
    assert found.figures["subset_accuracy"].value == pytest.approx(2 / 4)
    assert found.figures["micro_f1"].value == pytest.approx(2 * 4 / (5 + 5))
    assert found.figures["macro_f1"].value == pytest.approx((1 + 2 * 2 / (2 + 3) + 0) / 3)
    assert "accuracy" not in found.figures
    assert "accuracy" not in found.figures
    assert found.confusion is None
    assert found.labels["dog"].figures["precision"].value == pytest.approx(2 / 3)
    assert {part.threshold for part in found.labels.values()} == {0.5}
    assert [answer.answers for answer in found.answers] == [("cat", "dog"), ("cat", "dog"), ("dog",), ()]
    assert [answer.right for answer in found.answers] == [True, False, False, True]
    assert json.dumps(found.to_dict(), allow_nan=False)


def test_several_labels_are_judged_by_thresholds_of_their_own():
    thresholds = THRESHOLDS | {"hen": 0.35}
    found = evaluate_clips(SEVERAL, LABELS, thresholds, SETTINGS, "several")
    assert found.figures["subset_accuracy"].value == pytest.approx(3 / 4)


def test_one_label_of_several_that_occurs_is_not_one_of_two_classes():
    # of 10 clips 5 have the label and 8 get it, 4 of them rightly: no clip has or gets another label
    clips = several(*[(("cat",) if k in (0, 1, 2, 3, 9) else (), (0.9 if k < 8 else 0.1, 0.1, 0.1)) for k in range(10)])
    found = evaluate_clips(clips, LABELS[:3], THRESHOLDS, SETTINGS, "several")
    wanted = pytest.approx(2 * 4 / (5 + 8))
    assert found.labels["cat"].figures["f1"].value == wanted
    for name in ("micro_f1", "macro_f1"):
        figure = found.figures[name]
        assert figure.value == wanted
        assert figure.low <= figure.value <= figure.high


def test_labels_that_nobody_listened_for_are_not_judged():
    found = judge(SEVERAL, answer="several", known=["cat", "dog"])
    assert list(found.labels) == ["cat", "dog"]
    assert found.figures["subset_accuracy"].value == pytest.approx(3 / 4)
    assert 'labels unknown to the model, not evaluated: "hen"' in found.notes


def test_clips_of_one_label_also_have_an_accuracy_where_labels_stand_alone():
    found = judge(clips_of(KNOWN), answer="several")
    assert found.figures["accuracy"].value == pytest.approx(3 / 6)
    assert found.figures["subset_accuracy"].value == pytest.approx(3 / 6)


def test_groups_are_drawn_as_a_whole_and_figures_are_by_column():
    clips = random_clips()
    found = judge(clips, settings=replace(SETTINGS, group_by=("room",)))
    assert list(found.groups["room"]) == ["a", "b"]
    alone = judge([clip for clip in clips if clip.tags["room"] == "a"])
    assert found.groups["room"]["a"].clips == 30
    assert found.groups["room"]["a"].figures["macro_f1"] == alone.figures["macro_f1"]
    wide = judge(clips).figures["accuracy"]
    narrow = judge([replace(clip, group="") for clip in clips]).figures["accuracy"]
    assert wide.value == narrow.value
    assert (wide.low, wide.high) != (narrow.low, narrow.high)
    one = judge([replace(clip, group="all") for clip in clips])
    assert one.figures["accuracy"].low is None
    assert one.notes == ('every clip is in group "all", but confidence intervals need more than one group',)


def test_many_labels_without_clips_are_counted():
    labels = [f"l{k}" for k in range(9)]
    thresholds = dict.fromkeys(labels, 0.5)
    found = evaluate_clips(random_clips(30, labels[:4]), labels[:4], thresholds, SETTINGS)
    assert found.notes == ()
    wider = [replace(clip, scores=np.append(clip.scores, np.zeros(5))) for clip in random_clips(30, labels[:4])]
    found = evaluate_clips(wider, labels, thresholds, SETTINGS)
    assert found.notes == ('no clip has 5 of the labels ("l4", "l5", "l6", ...), so their curves are undefined',)
    assert found.figures["top_5_accuracy"].value <= 1.0


def test_two_thousand_labels():
    labels = [f"l{k}" for k in range(2000)]
    rng = np.random.default_rng(0)
    clips = []
    for k in range(0, 2000, 40):
        scores = rng.random(2000).astype(np.float32) * 0.1
        scores[k] = 0.5
        clips.append(ScoredClip(f"{k}.wav", scores, labels[k]))
    found = evaluate_clips(clips, labels, dict.fromkeys(labels, 0.5), EvaluationSettings(resamples=5))
    assert found.figures["accuracy"].value == found.figures["macro_f1"].value == 1.0
    assert found.to_dict()["confusion"] is None
    assert found.confusion.cells == {(k, k): 1 for k in range(0, 2000, 40)}


def test_a_matrix_is_in_the_report_for_as_many_labels_as_it_is_good_for():
    for count, there in ((MOST_MATRIX_LABELS, True), (MOST_MATRIX_LABELS + 1, False)):
        numbers = np.arange(count)
        names = [str(k) for k in numbers]
        confusion = count_confusions(names, numbers, numbers, names, np.zeros(count))
        assert (confusion.to_dict() is not None) is there


def test_intervals_of_curves_are_left_out_where_they_would_take_minutes(monkeypatch):
    monkeypatch.setattr(clip_metrics, "MOST_CURVE_STEPS", 10)
    monkeypatch.setattr(clip_metrics, "MOST_LABEL_STEPS", 10)
    found = judge(random_clips())
    assert found.figures["mean_auroc"].low is None
    assert found.labels["cat"].figures["auroc"].low is None
    assert found.labels["cat"].figures["f1"].low is None
    assert found.figures["macro_f1"].low is not None


def test_differences_are_paired():
    first, second = (Evaluation(SETTINGS, clip=judge(random_clips(skew=skew))) for skew in (0.5, 1.5))
    found = compare(first, second).clip
    for name in ("accuracy", "macro_f1", "mean_average_precision", "calibration_error"):
        one, other = first.clip.figures[name], second.clip.figures[name]
        assert found[name].value == pytest.approx(other.value - one.value)
        assert found[name].resampled == pytest.approx(other.resampled - one.resampled)
    assert compare(first, replace(first, clip=None)).clip is None
    fewer = Evaluation(SETTINGS, clip=judge(random_clips()[:-1]))
    with pytest.raises(UsageError, match=r"59.wav is in one evaluation only; evaluate both on the same clips$"):
        compare(first, fewer)
    alone = Evaluation(SETTINGS, clip=judge([replace(clip, group="") for clip in random_clips()]))
    with pytest.raises(UsageError, match=r"the clips are grouped differently and cannot be compared"):
        compare(first, alone)


def test_none_of_the_labels_is_an_answer():
    """What scores lack of 1 is its share; a clip of another kind that has it is right, and in no figure of labels."""
    made = [
        ("cat", (0.7, 0.1, 0.0, 0.0)),
        ("cat", (0.3, 0.1, 0.0, 0.0)),  # none of them is likelier
        ("dog", (0.1, 0.5, 0.0, 0.0)),
        ("noise", (0.1, 0.0, 0.0, 0.0)),
        ("Other", (0.0, 0.6, 0.0, 0.0)),  # taken for a dog
        ("cow", (0.0, 0.1, 0.0, 0.0)),  # nobody said that this is none of them
        ("cow", (0.0, 0.9, 0.0, 0.0)),
    ]
    found = judge(clips_of(made), background=True)
    assert found.figures["accuracy"].value == pytest.approx(3 / 5)
    assert [clip.answers for clip in found.answers] == [("cat",), (), ("dog",), (), ("dog",), (), ("dog",)]
    assert [clip.right for clip in found.answers] == [True, False, True, True, False, None, None]
    assert found.confusion.labels[-1] == "none of these"
    assert found.confusion.counts()[0].tolist() == [1, 0, 0, 0, 1]
    assert found.confusion.counts()[-1].tolist() == [0, 1, 0, 0, 1]
    recalls = {label: one.figures["recall"].value for label, one in found.labels.items()}
    assert (recalls["cat"], recalls["dog"]) == (0.5, 1.0)
    assert found.figures["balanced_accuracy"].value == 0.75
    assert found.figures["macro_f1"].value == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert found.figures["top_3_accuracy"].value == 1.0
    assert "1 of 2 got no answer" in found.notes[-1]
    assert judge(clips_of(made)).figures["accuracy"].value == 1.0  # of those it knows


# Intervals of few clips


@pytest.mark.parametrize(("right", "count"), [(3, 3), (0, 3), (2, 3), (1, 1), (18, 24), (29, 29)])
def test_few_clips_have_the_interval_of_wilson(right, count):
    from scipy.stats import binomtest

    wanted = binomtest(right, count).proportion_ci(method="wilson")
    assert wilson_interval(right / count, count) == pytest.approx((wanted.low, wanted.high), abs=1e-6)


@pytest.mark.parametrize("groups", [("",) * 6, ("a", "a", "b", "b", "c", "c")])
def test_a_few_right_answers_are_not_sure(groups):
    """Not [1, 1]: what was not seen is not known. Groups count as one each."""
    made = [ScoredClip(f"{k}.wav", np.array([0.9, 0.1] if k % 2 else [0.1, 0.9]), "ab"[1 - k % 2], group)
            for k, group in enumerate(groups)]  # fmt: skip
    figures = evaluate_clips(made, ("a", "b"), {"a": 0.5, "b": 0.5}).figures
    alone = len(set(groups)) if groups[0] else len(groups)
    assert figures["accuracy"].value == 1.0 and figures["accuracy"].high == pytest.approx(1.0)
    assert figures["accuracy"].low == pytest.approx(wilson_interval(1.0, alone)[0])
    for name, figure in figures.items():
        assert figure.low is None or figure.low < figure.high, name
