"""Scores made from known segments; a dataset that is a list; thresholds with a known best."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from audiocnn.audio.pcm import from_int16
from audiocnn.data.dataset import Entry
from audiocnn.errors import DatasetError, RecordingError, UsageError
from audiocnn.evaluation.annotated import Scorer, evaluate
from audiocnn.evaluation.clips import ScoredClip, evaluate_clips
from audiocnn.evaluation.metrics import CURVE_FIGURES
from audiocnn.evaluation.operating_points import ScoreRuns
from audiocnn.evaluation.results import EvaluationSettings
from audiocnn.evaluation.segments import JudgedRecording, evaluate_scores
from audiocnn.evaluation.thresholds import tune_threshold
from audiocnn.segments.finder import SegmentRule
from audiocnn.segments.segment import Annotation

HOP = 0.02
RULE = SegmentRule(pad_seconds=0.0)
FEW = EvaluationSettings(resamples=50)


def recording_of(segments, seconds=10.0, noise=0.1, seed=0, labels=("speech",), **settings):
    """Scores 0.1 and 0.9 with noise, from (onset, offset, label)."""
    rng = np.random.default_rng(seed)
    middles = (np.arange(round(seconds / HOP)) + 0.5) * HOP
    scores = np.full((len(middles), len(labels)), 0.1)
    for onset, offset, label in segments:
        if label in labels:
            scores[(onset <= middles) & (middles < offset), labels.index(label)] = 0.9
    scores = np.clip(scores + rng.normal(0, noise, scores.shape), 0, 1).astype(np.float32)
    annotations = [Annotation(*segment) for segment in segments]
    return JudgedRecording(f"{seed}.wav", scores, HOP, seconds, annotations, **settings)


def many_recordings(count=12, **settings):
    rng = np.random.default_rng(99)
    made = []
    for seed in range(count):
        onset = round(float(rng.uniform(0.5, 4)), 1)
        segments = [(onset, onset + 2, "speech"), (onset + 3, onset + 4, "speech")]
        made.append(recording_of(segments, seed=seed, **settings))
    return made


def speech(evaluation):
    return evaluation.labels["speech"]


def test_good_scores_give_good_figures():
    found = speech(evaluate_scores(many_recordings(noise=0.05), ["speech"], {"speech": RULE}, FEW))
    assert (found.recordings, found.seconds, found.notes) == (12, 120.0, ())
    assert found.reference_seconds == pytest.approx(36.0, abs=1e-9)
    assert found.figures["auroc"].value > 0.9999
    assert found.figures["detection_error_rate"].value < 0.01
    assert found.figures["edges_within_50ms"].value == 1.0
    assert list(found.figures)[:2] == ["auroc", "average_precision"]
    assert len(found.figures) == 21


def test_chance_gives_half():
    rng = np.random.default_rng(0)
    chance = [replace(r, scores=rng.random(r.scores.shape, np.float32)) for r in many_recordings()]
    found = speech(evaluate_scores(chance, ["speech"], {"speech": RULE}, FEW))
    assert found.figures["auroc"].value == pytest.approx(0.5, abs=0.02)
    assert found.figures["auroc"].low < 0.5 < found.figures["auroc"].high


def test_a_shift_of_the_scores_shows_in_the_edges():
    late = [replace(r, scores=np.roll(r.scores, 2, axis=0)) for r in many_recordings(noise=0.0)]
    figures = speech(evaluate_scores(late, ["speech"], {"speech": RULE}, FEW)).figures
    for name in ("onset_error_ms", "offset_error_ms", "onset_bias_ms", "offset_bias_ms"):
        assert figures[name].value == pytest.approx(40.0, abs=1e-6), name
    assert figures["detection_error_rate"].value == pytest.approx(2 * 2 * 0.04 / 3, abs=1e-9)
    collar = replace(FEW, collar_seconds=0.1)
    figures = speech(evaluate_scores(late, ["speech"], {"speech": RULE}, collar)).figures
    assert figures["detection_error_rate"].value == pytest.approx(2 * 2 * 0.04 / 3, abs=1e-9)
    assert figures["detection_error_rate_collar"].value == pytest.approx(0.0, abs=1e-9)


def test_each_label_has_its_column_and_its_rule():
    labels = ("speech", "music")
    segments = [(1, 3, "speech"), (2, 6, "music")]
    recordings = [recording_of(segments, seed=seed, labels=labels) for seed in range(3)]
    rules = {"speech": RULE, "music": replace(RULE, threshold=1.0, neg_threshold=1.0)}
    found = evaluate_scores(recordings, labels, rules, FEW).labels
    assert list(found) == ["speech", "music"]
    assert found["speech"].figures["f1"].value > 0.99
    assert found["music"].figures["auroc"].value > 0.999
    assert found["music"].figures["miss_rate"].value > 0.9
    assert found["music"].to_dict()["threshold"] == 1.0
    assert found["music"].reference_seconds == pytest.approx(12.0, abs=1e-9)


def test_one_recording_has_no_intervals():
    found = speech(evaluate_scores(many_recordings(1), ["speech"], {"speech": RULE}, FEW))
    assert found.figures["auroc"].value > 0.99
    assert all(figure.low is None and figure.high is None for figure in found.figures.values())
    assert found.notes == ("confidence intervals need more than one recording",)


def test_recordings_of_one_group_tell_no_more_than_one_of_them():
    """Each five times over, as one group: the intervals of each once. Standing alone, they would promise too much."""
    settings = replace(FEW, resamples=200)
    once = many_recordings(8, noise=0.4)
    often = [replace(recording, group=recording.filename) for recording in once for _ in range(5)]
    alone = [replace(recording, group="") for recording in often]
    few, many, wrong = (
        speech(evaluate_scores(made, ["speech"], {"speech": RULE}, settings)).figures for made in (once, often, alone)
    )
    for name in ("auroc", "calibration_error", "miss_rate", "onset_error_ms"):
        tolerance = 1e-4 if name == "auroc" else 1e-9  # bins
        expected = (few[name].value, few[name].low, few[name].high)
        assert (many[name].value, many[name].low, many[name].high) == pytest.approx(expected, abs=tolerance), name
    for name in ("auroc", "miss_rate"):
        assert wrong[name].high - wrong[name].low < 0.7 * (few[name].high - few[name].low)


def test_recordings_of_one_group_have_no_intervals():
    one = [replace(recording, group="anna") for recording in many_recordings(3)]
    found = speech(evaluate_scores(one, ["speech"], {"speech": RULE}, FEW))
    assert all(figure.low is None and figure.high is None for figure in found.figures.values())
    assert found.notes == ('every recording is in group "anna", but confidence intervals need more than one group',)


@pytest.mark.parametrize(
    ("segments", "note", "undefined"),
    [
        ([], 'no segment is annotated as "speech", so', "miss_rate"),
        ([(1, 2, "Speech")], 'did you mean "Speech"?', "detection_error_rate"),
        ([(0, 10, "speech")], 'every frame is annotated as "speech", so', "false_alarm_rate"),
    ],
)
def test_a_label_that_is_nowhere_or_everywhere(segments, note, undefined):
    recordings = [recording_of(segments, seed=seed) for seed in range(3)]
    found = speech(evaluate_scores(recordings, ["speech"], {"speech": RULE}, FEW))
    assert found.figures["auroc"].value is None
    assert found.figures[undefined].value is None
    assert (found.figures["detection_cost"].value is None) == (undefined != "false_alarm_rate")
    assert note in " ".join(found.notes)


def test_report_is_plain_json_with_stable_keys():
    settings = EvaluationSettings(resamples=20, group_by=("snr",))
    recordings = [*many_recordings(4, tags={"snr": "20"}), recording_of([], seed=9, tags={"snr": "0"})]
    report = evaluate_scores(recordings, ["speech"], {"speech": RULE}, settings).to_dict()
    assert report == json.loads(json.dumps(report, allow_nan=False))
    assert list(report) == [
        *("schema", "type", "grid", "collar", "smoothing", "resamples", "seed"),
        *("labels", "groups", "clip", "unknown_labels", "failures"),
    ]
    assert (report["schema"], report["type"], report["clip"], report["failures"]) == (
        1,
        "evaluation",
        None,
        [],
    )
    assert list(report["labels"]["speech"]) == [
        *("recordings", "seconds", "reference_seconds", "threshold", "neg_threshold"),
        *("min_speech", "min_silence", "pad", "max_speech", "figures", "smoothed", "curves", "notes"),
    ]
    assert list(report["labels"]["speech"]["smoothed"]) == ["0.2", "0.6"]
    assert list(report["labels"]["speech"]["smoothed"]["0.6"]) == list(CURVE_FIGURES)
    assert list(report["labels"]["speech"]["curves"]) == ["roc", "precision_recall", "histogram", "calibration"]
    assert "curves" not in report["groups"]["snr"]["20"]["speech"]
    assert list(report["labels"]["speech"]["figures"]) == [
        *("auroc", "average_precision", "tpr_at_5pct_fpr", "tpr_at_31_5pct_fpr", "fpr_at_5pct_miss", "eer"),
        *("calibration_error", "detection_error_rate", "detection_error_rate_collar", "miss_rate"),
        *("false_alarm_rate", "detection_cost", "f1", "segment_f1", "false_segment_share"),
        *("edges_within_50ms", "edges_within_100ms", "onset_error_ms", "offset_error_ms"),
        *("onset_bias_ms", "offset_bias_ms"),
    ]
    assert list(report["labels"]["speech"]["figures"]["eer"]) == ["value", "low", "high"]
    assert {value: part["speech"]["recordings"] for value, part in report["groups"]["snr"].items()} == {
        "0": 1,
        "20": 4,
    }
    assert report["groups"]["snr"]["0"]["speech"]["figures"]["auroc"]["value"] is None


def test_figures_are_seeded():
    recordings = many_recordings(5, noise=0.4)
    first, again, other = (
        evaluate_scores(recordings, ["speech"], {"speech": RULE}, replace(FEW, seed=seed)).to_dict()
        for seed in (0, 0, 1)
    )
    assert first == again
    assert first["labels"] != other["labels"]


def test_no_recordings_give_no_labels():
    assert evaluate_scores([], ["speech"], {"speech": RULE}).to_dict()["labels"] == {}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"grid_seconds": 0}, r"^grid_seconds 0: give a number of seconds above 0"),
        ({"collar_seconds": math.nan}, r"^--collar nan: give a number of seconds, 0 or more$"),
        ({"smoothing_seconds": (0.2, 0.0)}, r"^--smooth 0: give a number of seconds above 0"),
        ({"smoothing_seconds": (math.inf,)}, r"^--smooth inf: give a number of seconds above 0"),
        ({"resamples": -1}, r"^--resamples -1: give a number"),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(UsageError, match=message):
        EvaluationSettings(**settings)


@dataclass
class ListDataset:
    """What `evaluate` uses of a Dataset."""

    entries: list
    held: dict
    known: dict = field(default_factory=dict)
    sample_rate: int = 1000
    channels: int = 1
    folder: Path = Path("some/data")
    labels: tuple = ()
    several: bool = False
    unsure: str = ""

    def samples(self, entry):
        return self.held[entry.id]

    def waveform(self, entry):
        return from_int16(self.samples(entry), entry.scale)

    def annotations(self, entry):
        return self.known.get(entry.id, [])

    def duration_seconds(self, entry):
        return entry.samples / self.sample_rate


def loudness(samples):
    """(1, n) -> (rows, 1): the peak of each hop of 20 samples."""
    assert samples.dtype == np.float32
    rows = -(-samples.shape[1] // 20)
    padded = np.pad(samples[0], (0, rows * 20 - samples.shape[1]))
    return np.abs(padded).reshape(rows, 20).max(axis=1, keepdims=True)


SCORER = Scorer(loudness, 1000, HOP, ["speech"], {"speech": RULE})


def dataset_of(kinds):
    """2 s of each kind: segments, silence, unknown, or the label of a whole clip; loud where speech is."""
    entries, held, known = [], {}, {}
    for number, kind in enumerate(kinds):
        samples = np.zeros((1, 2000), np.int16)
        if kind in ("segments", "speech"):
            samples[0, 500:1500] = 29491  # 0.9
            known[number] = [Annotation(0.5, 1.5, "speech")] if kind == "segments" else []
        label = kind if kind in ("speech", "noise") else None
        split = "dev" if number % 2 else "train"
        annotated = kind in ("segments", "silence")
        entries.append(Entry(number, f"{number}.wav", 2000, label, annotated, f"g{number}", split, {"kind": kind}))
        held[number] = samples
    return ListDataset(entries, held, known)


def evaluation_of(dataset, scorer=SCORER, settings=FEW, split=None):
    *progress, last = evaluate(dataset, scorer, settings, split)
    assert last.evaluation is not None
    assert all(p.evaluation is None for p in progress)
    return progress, last.evaluation


def test_a_dataset_of_segments_and_clips():
    dataset = dataset_of(["segments", "silence", "speech", "noise", "unknown", "noise"])
    progress, found = evaluation_of(dataset)
    assert [(p.done, p.total, p.filename, p.seconds) for p in progress] == [
        (done, 5, f"{number}.wav", 2.0) for done, number in enumerate([0, 1, 2, 3, 5], start=1)
    ]
    assert speech(found).recordings == 2
    assert speech(found).figures["auroc"].value == 1.0
    assert speech(found).figures["detection_error_rate"].value == pytest.approx(0.0, abs=1e-9)
    assert found.clip.clips == 3
    assert found.clip.labels["speech"].figures["auroc"].value == 1.0
    # The mean score of the clip with speech is 0.45, below the threshold.
    assert found.clip.figures["accuracy"].value == pytest.approx(2 / 3, abs=1e-12)
    assert json.dumps(found.to_dict(), allow_nan=False)


def test_the_groups_of_a_dataset_are_drawn():
    dataset = dataset_of(["segments", "silence", "segments", "speech", "noise"])
    _, found = evaluation_of(dataset)
    assert found.drawn == ("g0", "g1", "g2")
    assert speech(found).figures["f1"].low is not None
    assert found.clip.figures["accuracy"].low is not None
    dataset.entries = [replace(entry, group="one") for entry in dataset.entries]
    _, found = evaluation_of(dataset)
    assert speech(found).figures["f1"].low is None
    assert found.clip.figures["accuracy"].low is None
    assert found.clip.notes == ('every clip is in group "one", but confidence intervals need more than one group',)


def test_a_split_of_a_dataset():
    dataset = dataset_of(["segments", "silence", "segments", "silence"])
    _, found = evaluation_of(dataset, split="dev")
    assert speech(found).recordings == 2
    assert speech(found).figures["auroc"].value is None
    with pytest.raises(DatasetError, match=r'^some/data: no recordings in split "de"; did you mean "dev"\?$'):
        evaluation_of(dataset, split="de")


def test_a_dataset_at_another_rate_is_resampled():
    dataset = dataset_of(["segments", "silence"])
    dataset.held = {number: np.repeat(samples, 2, axis=1) for number, samples in dataset.held.items()}
    dataset.sample_rate, dataset.entries = 2000, [replace(e, samples=4000) for e in dataset.entries]
    _, found = evaluation_of(dataset)
    assert speech(found).seconds == 4.0
    assert speech(found).figures["auroc"].value > 0.999


def test_a_recording_that_fails_does_not_sink_the_rest():
    def fragile(samples):
        if not samples.any():
            raise RecordingError("silence: cannot be scored; give sound")
        return loudness(samples)

    dataset = dataset_of(["segments", "silence", "segments"])
    progress, found = evaluation_of(dataset, replace(SCORER, score=fragile))
    assert [p.error for p in progress] == [None, "silence: cannot be scored; give sound", None]
    assert found.failures == (("1.wav", "silence: cannot be scored; give sound"),)
    assert found.to_dict()["failures"] == [{"file": "1.wav", "error": "silence: cannot be scored; give sound"}]
    assert speech(found).recordings == 2
    with pytest.raises(DatasetError, match=r"^some/data: none of the recordings could be scored; .*: silence"):
        evaluation_of(dataset_of(["silence"]), replace(SCORER, score=fragile))


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        ([], r"^some/data: no recordings$"),
        (["unknown"], r"^some/data: no recording has a reference label; ingest"),
    ],
)
def test_datasets_without_anything_to_judge(kinds, message):
    with pytest.raises(DatasetError, match=message):
        evaluation_of(dataset_of(kinds))


def test_clips_of_several_labels():
    labels = ["yes", "no", "stop"]
    made = [
        ("yes", [0.9, 0.1, 0.0]),
        ("no", [0.6, 0.5, 0.0]),
        ("no", [0.1, 0.8, 0.0]),
        ("dog", [0.1, 0.1, 0.2]),
    ]
    clips = [ScoredClip(f"{k}.wav", np.array(scores), label) for k, (label, scores) in enumerate(made)]
    found = evaluate_clips(clips, labels, dict.fromkeys(labels, RULE), FEW)
    assert found.figures["accuracy"].value == pytest.approx(2 / 3, abs=1e-12)
    assert found.labels["yes"].figures["auroc"].value == 1.0
    assert found.labels["no"].figures["auroc"].value == 1.0
    assert found.labels["stop"].figures["auroc"].value is None
    assert found.notes == (
        'no clip has the label "stop", so its curves are undefined',
        "1 clip has a label unknown to the model; accuracy excludes it",
    )


def tunable(low, high, seed=0):
    """Ten recordings with scores in [low, high] where there is speech, and [0, low) elsewhere."""
    rng = np.random.default_rng(seed)
    made = []
    for k in range(10):
        middles = (np.arange(500) + 0.5) * HOP
        inside = (middles > 2) & (middles < 6)
        scores = np.where(inside, rng.uniform(low, high, 500), rng.uniform(0, low, 500)).astype(np.float32)
        made.append(JudgedRecording(f"{k}.wav", scores[:, None], HOP, 10.0, [Annotation(2, 6, "speech")]))
    return made


@pytest.mark.parametrize("measure", ["detection_cost", "detection_error", "f1"])
@pytest.mark.parametrize(("low", "high", "best"), [(0.2, 0.25, 0.20), (0.7, 0.9, 0.70), (0.31, 0.33, 0.31)])
def test_tuning_finds_the_threshold_that_parts_them(measure, low, high, best):
    rule = replace(RULE, neg_threshold=1.0, threshold=1.0, min_silence_seconds=0.0, min_speech_seconds=0.0)
    threshold, value = tune_threshold(tunable(low, high), ["speech"], "speech", rule, measure)
    assert threshold == pytest.approx(best, abs=1e-9)
    assert value == pytest.approx(1.0 if measure == "f1" else 0.0, abs=1e-6)


def test_tuning_takes_the_equal_that_is_nearest_to_a_half():
    clear = [recording_of([(2, 6, "speech")], noise=0.0, seed=seed) for seed in range(3)]
    assert tune_threshold(clear, ["speech"], "speech", RULE) == (0.5, pytest.approx(0.0, abs=1e-9))


def test_tuning_looks_at_the_column_of_its_label():
    labels = ("music", "speech")
    both = [recording_of([(2, 6, "speech")], noise=0.0, seed=seed, labels=labels) for seed in range(3)]
    assert tune_threshold(both, labels, "speech", RULE, "f1") == (0.5, pytest.approx(1.0, abs=1e-9))
    with pytest.raises(DatasetError, match=r'^no tuning recording has the label "music"; add annotated'):
        tune_threshold(both, labels, "music", RULE)


@pytest.mark.long
def test_tuning_is_better_than_every_twentieth():
    noisy = [recording_of([(2, 6, "speech")], noise=0.45, seed=seed) for seed in range(6)]
    threshold, value = tune_threshold(noisy, ["speech"], "speech", RULE, "detection_error")
    for percent in range(5, 100, 5):
        rules = {"speech": replace(RULE, threshold=percent / 100)}
        figures = speech(evaluate_scores(noisy, ["speech"], rules, FEW)).figures
        assert value <= figures["detection_error_rate"].value + 1e-12
    figures = speech(evaluate_scores(noisy, ["speech"], {"speech": replace(RULE, threshold=threshold)}, FEW)).figures
    assert figures["detection_error_rate"].value == pytest.approx(value, abs=1e-12)


def test_what_nobody_is_sure_of_is_not_judged():
    sure = recording_of([(2, 4, "speech")], noise=0.0)
    loud = sure.scores.copy()
    rows = (np.arange(len(loud)) + 0.5) * HOP
    loud[(rows > 4) & (rows < 6)] = 0.9
    loud[(rows > 2) & (rows < 2.5)] = 0.1
    wrong = replace(sure, scores=loud)
    unsure = replace(wrong, unsure=[(4.0, 6.0), (1.0, 2.5)])  # what is marked for sure is judged all the same
    figures = [
        speech(evaluate_scores([one], ["speech"], {"speech": RULE}, EvaluationSettings(resamples=0))).figures
        for one in (wrong, unsure)
    ]
    assert figures[0]["detection_error_rate"].value == pytest.approx(1.25, abs=0.03)
    assert figures[1]["detection_error_rate"].value == pytest.approx(0.25, abs=0.03)
    assert figures[0]["false_alarm_rate"].value == pytest.approx(0.25, abs=0.01)
    assert figures[1]["false_alarm_rate"].value == 0.0
    assert figures[1]["auroc"].value > figures[0]["auroc"].value


def test_a_recording_of_which_nobody_is_sure_is_none_without_the_label():
    empty = recording_of([], noise=0.0)
    rows = (np.arange(len(empty.scores)) + 0.5) * HOP
    empty.scores[(rows > 2) & (rows < 4)] = 0.9
    silent = replace(empty, filename="b", scores=np.zeros_like(empty.scores))
    for unsure, share in (([], 0.5), ([(1.9, 4.1)], 0.0), ([(7.0, 7.5)], 0.0)):
        recordings = [replace(empty, unsure=unsure), silent]
        found = evaluate_scores(recordings, ["speech"], {"speech": RULE}, FEW)
        assert speech(found).figures["false_segment_share"].value == share
        sums = ScoreRuns([recordings], 0, "speech").count_rules([RULE]).sum(axis=(0, 1, 2))
        assert tuple(sums[-2:]) == (2.0 - bool(unsure), float(not unsure))


def test_stretches_of_a_dataset_that_are_unsure_are_not_judged():
    entry = Entry(1, "a.wav", 10_000, None, True, "a.wav", None)
    notes = [Annotation(2, 4, "speech"), Annotation(4, 6, "?")]
    data = ListDataset([entry], {1: np.zeros((1, 10_000))}, {1: notes}, unsure="?", labels=("speech",))
    score = np.full((500, 1), 0.1, np.float32)
    score[100:300] = 0.9
    scorer = Scorer(lambda samples: score, 1000, 0.02, ("speech",), {"speech": RULE})
    *_, last = evaluate(data, scorer, FEW)
    assert speech(last.evaluation).figures["detection_error_rate"].value == 0.0


def test_by_recording_the_worst_come_first_and_their_errors_add_up():
    bad = recording_of([(1, 3, "speech"), (5, 7, "speech")], seed=3)
    bad = replace(bad, scores=np.full_like(bad.scores, 0.05))  # all of it is missed
    empty = replace(recording_of([], seed=4), scores=bad.scores)
    recordings = [*many_recordings(3), bad, empty]
    found = evaluate_scores(recordings, ["speech"], {"speech": RULE}, EvaluationSettings(group_by=("recording",)))
    errors = found.errors["speech"]
    assert (errors[0].filename, errors[0].missed_seconds, errors[0].error_rate) == ("3.wav", pytest.approx(4.0), 1.0)
    assert next(iter(found.groups["recording"])) == "3.wav" and len(found.groups["recording"]) == 5
    assert errors[-1].filename == "4.wav" and errors[-1].error_rate == 0.0
    whole = found.labels["speech"]
    assert sum(one.reference_seconds for one in errors) == pytest.approx(whole.reference_seconds)
    wrong = sum(one.wrong_seconds for one in errors) / whole.reference_seconds
    assert wrong == pytest.approx(whole.figures["detection_error_rate"].value)
    alone = found.groups["recording"]["3.wav"]["speech"].figures["miss_rate"]
    assert (alone.value, alone.low) == (1.0, None)  # one recording has no interval


def test_a_column_called_recording_is_a_column():
    recordings = [replace(one, tags={"recording": "first"}) for one in many_recordings(3)]
    found = evaluate_scores(recordings, ["speech"], {"speech": RULE}, EvaluationSettings(group_by=("recording",)))
    assert list(found.groups["recording"]) == ["first"]
