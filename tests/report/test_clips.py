"""Clips on the page of an evaluation, learning curves and folds; and that the manual names what a report holds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from audiocnn.evaluation.clips import ScoredClip, evaluate_clips
from audiocnn.evaluation.doubtful import DOUBT_COLUMNS
from audiocnn.evaluation.results import Evaluation, EvaluationSettings
from audiocnn.report.charts import MOST_CONFUSION_LABELS, NUMBERED_LABELS, confusion_plot, label_plot, learning_plot
from audiocnn.report.evaluation import render_evaluation
from audiocnn.report.folds import LEARNING_CURVE_FILE, find_learning_curve
from audiocnn.report.folds import render_folds as to_repeats_page
from audiocnn.report.sound import ClipSound

BAD = "</td><script>alert('&')</script>\""


def report_of(labels=("cat", "dog", "hen", "owl"), answer="one", files="{}.wav", by=("room",)):
    """What report.json holds of forty clips, of which a quarter gets a wrong answer."""
    clips = []
    for k in range(40):
        scores = np.full(len(labels), 0.1)
        scores[(k + (k % 4 == 0)) % len(labels)] = 0.6
        label = labels[k % len(labels)]
        clips.append(ScoredClip(files.format(k), scores, label, labels=(label,), tags={"room": "ab"[k % 2]}))
    settings = EvaluationSettings(resamples=10, group_by=by)
    clip = evaluate_clips(clips, labels, dict.fromkeys(labels, 0.5), settings, answer)
    about = {"model": "birds", "data": "some data", "split": None, "sound_seconds": 40.0, "times_real_time": 12.0}
    return {**about, **Evaluation(settings, clip=clip).to_dict()}


def figures_in(report):
    """Every value of a report, as the page writes it."""
    clip = report["clip"]
    parts = [clip, *clip["labels"].values(), *(part for groups in clip["groups"].values() for part in groups.values())]
    for part in parts:
        for values in part["figures"].values():
            yield from (f"{value:.4f}" for value in values.values() if value is not None)


@pytest.mark.parametrize("answer", ["one", "several"])
def test_every_figure_is_on_the_page(answer):
    report = report_of(answer=answer)
    page = render_evaluation([report])
    assert len(list(figures_in(report))) > 60
    for number in figures_in(report):
        assert number in page
    assert ("Answers of birds" in page) is (answer == "one")
    assert "Curves use frames" not in page  # there are no segments
    assert "tuned on" not in page


def test_names_are_text():
    report = report_of(("cat", BAD, "hen"), files=BAD + "{}.wav")
    report["clip"]["groups"] = {BAD: {BAD: report["clip"]["groups"]["room"]["a"]}}
    sound = ClipSound("data:audio/flac;base64,AAAA", 1.0, 10.0, 20.0)
    sounds = {one["file"]: sound for one in report["clip"]["examples"]["wrong"]}
    page = render_evaluation([report], sounds)
    assert "<script" not in page
    assert "</td><s" not in page
    assert page.count("<audio ") >= 10
    assert "the loudest part: 1.0 to 11.0 s of 20.0 s" in page


def test_two_models_stand_side_by_side():
    first, second = report_of(), {**report_of(), "model": "other"}
    second["difference_to"] = {
        "model": "birds",
        "labels": {},
        "groups": {},
        "clip": {"figures": {"accuracy": {"value": 0.0123, "low": 0.01, "high": 0.02}}},
    }
    page = render_evaluation([first, second])
    assert "+0.0123 *" in page
    for said in ("Answers of birds", "Answers of other", 'Most frequent confusions, <span class="m1 name">other'):
        assert said in page


@pytest.mark.parametrize("count", [2, NUMBERED_LABELS, NUMBERED_LABELS + 1, MOST_CONFUSION_LABELS])
def test_a_matrix_has_a_cell_for_what_there_is(count):
    counts = np.eye(count, dtype=int) * 3
    counts[0, 1] = 1
    svg = confusion_plot({"labels": [f"label {k}" for k in range(count)], "counts": counts.tolist()}, "birds")
    assert svg.count('class="cell right"') == count
    assert svg.count('class="cell wrong"') == 1
    assert "<title>label 0: 1 of 4 clips answered label 1</title>" in svg
    assert (svg.count('class="count"') == count + 1) is (count <= NUMBERED_LABELS)


def test_a_matrix_that_would_be_dots_is_left_out():
    count = MOST_CONFUSION_LABELS + 1
    assert confusion_plot({"labels": ["x"] * count, "counts": np.eye(count, dtype=int).tolist()}, "birds") == ""


def test_labels_are_ordered_from_the_worst():
    clip = {"labels": {name: {"figures": {"f1": {"value": f1, "low": None, "high": None}}} for name, f1 in (
        ("good", 0.9), ("bad", 0.1), ("none", None)
    )}}  # fmt: skip
    svg, shown = label_plot("f1", "F1", [(0, "birds", clip)])
    assert shown == 3
    assert svg.index(">bad<") < svg.index(">good<")
    assert ">none<" not in svg


# Several trainings

CURVE_SAID = {
    "schema": 1,
    "type": "learning_curve",
    "points": [
        {"share": 1.0, "clips": 1000, "figures": {"accuracy": {"value": 0.95, "low": 0.93, "high": 0.97}}},
        {"share": 0.1, "clips": 100, "figures": {"accuracy": {"value": 0.75, "low": 0.7, "high": 0.8}, "odd": {}}},
    ],
}


def test_a_learning_curve_is_a_picture_and_a_table():
    page = to_repeats_page(CURVE_SAID)
    for said in ("0.9500", "[0.7000, 0.8000]", "10 %", ">1,000<", "accuracy: 0.7500 with 100 clips"):
        assert said in page
    assert page.index(">100<") < page.index("0.9500")
    assert "odd" not in page
    assert "<script" not in page


@pytest.mark.parametrize("points", [[], [(50.0, 0.5, None, None)], [(10.0, 0.2, 0.1, 0.3), (1000.0, 0.9, 0.85, 0.95)]])
def test_a_curve_of_any_number_of_points(points):
    svg = learning_plot("accuracy", {"birds": points})
    assert svg.count("<circle") == len(points)
    assert "nan" not in svg


def test_folds_have_a_mean_and_a_spread():
    folds = [
        {"fold": name, "clips": 50, "figures": {"accuracy": {"value": value, "low": None, "high": None}}}
        for name, value in (("1", 0.8), (BAD, 0.9))
    ]
    said = {"schema": 1, "type": "folds", "folds": folds, "figures": {"accuracy": {"mean": 0.85, "spread": 0.0707}}}
    page = to_repeats_page(said)
    assert "0.8500 ± 0.0707" in page
    assert "2 folds" in page
    assert "<script" not in page


@pytest.mark.parametrize("point", [{}, 3, {"clips": "1"}, {"figures": []}, {"figures": {"accuracy": 3}},
                                   {"share": None}, {"figures": {"accuracy": {"value": "x"}}}, {"clips": [1]},
                                   {"clips": 10**400},
                                   {"figures": {"accuracy": {"value": 0.5, "low": {}}}}])  # fmt: skip
def test_a_stray_file_that_has_the_name_of_a_curve_is_none(tmp_path, point):
    good = CURVE_SAID["points"][0]
    wrong = CURVE_SAID | {"points": [good, good | point if isinstance(point, dict) and point else point]}
    (tmp_path / LEARNING_CURVE_FILE).write_text(json.dumps(wrong))
    assert find_learning_curve(tmp_path) is None
    (tmp_path / LEARNING_CURVE_FILE).write_text("[" * 100_000)
    assert find_learning_curve(tmp_path) is None
    (tmp_path / LEARNING_CURVE_FILE).unlink()
    (tmp_path / LEARNING_CURVE_FILE).symlink_to("/dev/zero")
    assert find_learning_curve(tmp_path) is None


def test_the_curve_of_a_run_is_found_from_its_models(tmp_path):
    model = tmp_path / "run" / "share-1" / "model"
    model.mkdir(parents=True)
    assert find_learning_curve(model) is None
    (tmp_path / "run" / LEARNING_CURVE_FILE).write_text("{")
    assert find_learning_curve(model) is None
    (tmp_path / "run" / LEARNING_CURVE_FILE).write_text(json.dumps(CURVE_SAID))
    assert find_learning_curve(model) == CURVE_SAID
    page = render_evaluation([report_of()], None, CURVE_SAID)
    assert "<h2>Learning curve</h2>" in page


def test_the_manual_explains_every_key_and_figure():
    text = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "clips.md").read_text(encoding="utf-8")
    one, several = report_of()["clip"], report_of(answer="several")["clip"]
    more = report_of(tuple("abcdefg"))["clip"]["figures"]
    label = one["labels"]["cat"]
    names = {*one, *one["figures"], *several["figures"], *more, *label, *label["figures"], *DOUBT_COLUMNS}
    names |= {*one["pairs"][0], *one["confusion"], *one["examples"], *one["examples"]["wrong"][0]}
    for name in names:
        assert f"`{name}`" in text, name
