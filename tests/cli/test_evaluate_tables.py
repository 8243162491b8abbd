"""Tables of `evaluate` for several models: origins of thresholds, differences, and reports that cannot be compared."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from audiocnn.evaluation.report import EvaluationReport
from audiocnn.evaluation.results import BY_RECORDING, EvaluationSettings, Figure
from audiocnn.evaluation.segments import JudgedRecording, evaluate_scores
from audiocnn.report.evaluation import render_evaluation
from audiocnn.segments.finder import SegmentRule
from audiocnn.segments.segment import Annotation
from audiocnn_cli.app.draw import format_figure
from audiocnn_cli.app.terminal import Terminal
from audiocnn_cli.commands.evaluate.tables import with_differences, write_table

HOP = 0.02


def report(name, shift=1.0, labels=("speech",), count=8, threshold=0.5, thresholds=None, by="source"):
    rng = np.random.default_rng(0)
    recordings = []
    for number in range(count):
        middles = (np.arange(300) + 0.5) * HOP
        log_odds = rng.normal(-1, 1, 300) + shift * ((middles > 1) & (middles < 4))
        scores = np.repeat(1 / (1 + np.exp(-log_odds)), len(labels)).reshape(300, -1).astype(np.float32)
        notes = [Annotation(1, 4, "speech")]
        recordings.append(JudgedRecording(f"{number}.wav", scores, HOP, 6.0, notes, {"source": "ab"[number % 2]}))
    rules = dict.fromkeys(labels, SegmentRule(threshold=threshold, pad_seconds=0.0))
    settings = EvaluationSettings(resamples=50, group_by=(by,))
    evaluation = evaluate_scores(recordings, labels, rules, settings)
    return EvaluationReport(name, None, "some set", thresholds or {}, "data", None, evaluation, 48.0, 1.0)


@pytest.fixture
def terminal():
    """A terminal of 200 columns whose streams are text."""
    return Terminal(io.BytesIO(), io.StringIO(), io.StringIO(), {"COLUMNS": "200"})


def test_the_origin_of_a_threshold():
    assert report("a", threshold=0.4, thresholds={"speech": 0.4}).origin("speech") == "some set"
    assert report("a", threshold=0.4, thresholds={"speech": 0.5}).origin("speech") == "given"
    assert replace(report("a"), tuned_on="").origin("speech") == "not tuned"
    assert report("a", threshold=0.4).origin("speech") == "given"


def test_a_peer_has_a_version_and_no_folder():
    said = replace(report("peer"), version="6.2").to_dict()
    assert list(said)[:6] == ["schema", "type", "model", "version", "folder", "tuned_on"]
    assert (said["model"], said["version"], said["folder"]) == ("peer", "6.2", None)
    assert said["labels"]["speech"]["tuned_on"] == "some set"
    assert "version" not in report("model").to_dict()


def test_differences_stand_behind_each_but_the_first(terminal):
    reports = with_differences([report("one"), report("two", 1.5), report("three", 1.0)], terminal)
    assert [r.difference_to for r in reports] == [None, "one", "one"]
    write_table(reports, terminal, every=True)
    rows = {line.split("  ")[0].strip(): line for line in terminal.stdout.getvalue().splitlines()}
    assert rows[""].split() == ["one", "two", "difference", "three", "difference"]
    first = reports[1].difference.labels["speech"].figures["auroc"]
    assert f"{first.value:+.4f} *" in terminal.stdout.getvalue()
    assert rows["AUROC"].count("*") == 1
    assert rows["AUROC"].count("[") == 5
    assert "+0.0000" in rows["AUROC"]
    for name in ("AUROC, smoothed 0.2 s", "FPR at 5 % miss, smoothed 0.6 s", "detection error rate, collar 0.5 s"):
        assert rows[name].count("[") == 5
    assert rows["tuned on"].split("  ")[1:].count("") > 0
    assert rows["tuned on"].count("some set") == 3
    assert terminal.stderr.getvalue() == ""


def test_one_model_has_no_differences(terminal):
    write_table(with_differences([report("one")], terminal), terminal)
    assert "difference" not in terminal.stdout.getvalue()
    assert "source = a: speech, 4 recordings, 24.0 s" in " ".join(terminal.stdout.getvalue().split())


def test_a_model_that_judged_other_recordings_is_shown_without_a_difference(terminal):
    reports = with_differences([report("one"), report("two", count=7), report("three")], terminal)
    assert [r.difference_to for r in reports] == [None, None, "one"]
    (line,) = terminal.stderr.getvalue().splitlines()
    assert line.startswith("audiocnn: warning: two: no comparison with one: ")
    assert "8 and 7 recordings" in line and "7.wav" in line and line.endswith("on the same recordings")
    write_table(reports, terminal)
    assert "difference" in terminal.stdout.getvalue()


def test_a_label_that_only_one_has_is_empty_for_the_other(terminal):
    reports = with_differences([report("one"), report("two", labels=("speech", "music"))], terminal)
    write_table(reports, terminal)
    text = terminal.stdout.getvalue()
    assert "music: 8 recordings" in text
    threshold = [line for line in text.splitlines() if line.startswith("threshold")]
    assert [line.split() for line in threshold] == [["threshold", "0.5", "0.5"], ["threshold", "-", "0.5"]]


@pytest.mark.parametrize(
    ("figure", "name", "signed", "text"),
    [
        (Figure(0.5, 0.4, 0.6), "auroc", False, "0.5000  [0.4000, 0.6000]"),
        (Figure(0.5), "auroc", False, "0.5000"),
        (Figure(-0.02, -0.03, -0.01), "auroc", True, "-0.0200 *  [-0.0300, -0.0100]"),
        (Figure(0.02, 0.0, 0.04), "auroc", True, "+0.0200  [+0.0000, +0.0400]"),
        (Figure(12.34, 10.0, 14.0), "onset_error_ms", True, "+12.3 *  [+10.0, +14.0]"),
        (Figure(None), "auroc", True, "-"),
        (None, "auroc", False, "-"),
    ],
)
def test_how_figures_are_shown(figure, name, signed, text):
    assert format_figure(figure, name, signed) == text


def test_the_manual_explains_every_figure_and_key():
    docs = Path(__file__).resolve().parents[2] / "docs"
    page = (docs / "how-to" / "evaluating.md").read_text(encoding="utf-8")
    fields = (docs / "reference" / "records.md").read_text(encoding="utf-8").partition("### `evaluation`")[2]
    found = with_differences([report("one"), report("two")], None)[1].to_dict()
    label = found["labels"]["speech"]
    optional = {"schema", "type"}
    for name in [*label["figures"], *label["curves"], "value", "low", "high", "smoothed"]:
        assert f"`{name}`" in page, name
    for name in set(found) - optional:
        assert f"`{name}`" in page or f"| `{name}` " in fields.partition("\n### ")[0], name


@pytest.mark.parametrize("every", [False, True])
def test_the_figures_that_say_most_come_first_and_the_rest_on_request(terminal, every):
    write_table([report("one")], terminal, every)
    table = terminal.stdout.getvalue()
    main = [table.index(one) for one in ("miss rate", "false alarm rate", "detection error rate", "F1", "AUROC")]
    rest = ("EER", "onset bias ms", "smoothed", "tuned on", "edges within 50 ms")
    assert [one in table for one in rest] == [every] * len(rest)
    assert ("--all-figures" in table) == (not every)
    assert every or main == sorted(main)
    assert len(replace(report("one")).to_dict()["labels"]["speech"]["figures"]) > len(main) + 5


@pytest.mark.parametrize(
    ("folders", "heads"),
    [
        (["models/one", "mine/other"], ["one", "other"]),
        (["a/model", "b/model"], ["a/model", "b/model"]),
        (["a/one", None], ["one", "same"]),
    ],
)
def test_models_of_one_name_are_told_apart_by_their_folders(terminal, folders, heads):
    reports = [replace(report("same"), folder=folder) for folder in folders]
    write_table(with_differences(reports, terminal), terminal)
    head = next(line for line in terminal.stdout.getvalue().splitlines() if "difference" in line).split()
    assert head == [heads[0], heads[1], "difference"]
    assert [one.to_dict()["model"] for one in reports] == ["same", "same"]


def test_models_of_different_names_keep_them(terminal):
    write_table([replace(report(name), folder=f"x/{name}-2") for name in ("one", "two")], terminal)
    assert "one-2" not in terminal.stdout.getvalue()


def test_by_recording_is_a_row_each_the_worst_first_in_table_and_page(terminal):
    reports = with_differences([report("one", by=BY_RECORDING), report("two", 1.5, by=BY_RECORDING)], terminal)
    errors = reports[0].evaluation.errors["speech"]
    ranked = [one.filename for one in errors]
    assert sorted(errors, key=lambda one: -one.error_rate) == list(errors) and len(set(ranked)) == 8
    assert list(reports[0].to_dict()["groups"]["recording"]) == ranked
    write_table(reports[:1], terminal)
    rows = [line.split() for line in terminal.stdout.getvalue().split("by recording")[1].splitlines()]
    shown = [row for row in rows if row and row[0] in ranked]
    assert [row[0] for row in shown] == ranked
    assert [float(row[-1]) for row in shown] == [pytest.approx(one.error_rate, abs=5e-4) for one in errors]
    page = render_evaluation([one.to_dict() for one in reports]).split("by recording, worst first")[1]
    assert [page.index(f">{name}<") for name in ranked] == sorted(page.index(f">{name}<") for name in ranked)
