"""Thresholds and times: scores whose best rule is known, and a model that keeps what was found."""

from __future__ import annotations

import errno
import json
import os
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from fixtures_cli import audiocnn, tone_model, write_tones  # noqa: F401

from audiocnn.errors import DatasetError, ModelError
from audiocnn.evaluation.clips import ScoredClip
from audiocnn.evaluation.segments import JudgedRecording
from audiocnn.evaluation.thresholds import GOALS, TRIED_SECONDS, TunedRule, sweep_clips, sweep_segments
from audiocnn.model.model import Model, read_model
from audiocnn.segments.finder import SegmentRule
from audiocnn.segments.segment import Annotation
from audiocnn_cli.app.exits import ExitStatus

HOP = 0.05


def recording_of(name, spans, scores, seconds=10.0, group=""):
    """A recording with annotations, and a score for stretches of it; elsewhere it is 0.02."""
    rows = np.full((round(seconds / HOP), 1), 0.02, np.float32)
    for start, end, score in scores:
        rows[round(start / HOP) : round(end / HOP)] = score
    notes = [Annotation(start, end, "a") for start, end in spans]
    return JudgedRecording(name, rows, HOP, seconds, notes, group=group)


def rule_of(**values):
    return SegmentRule(**{"pad_seconds": 0.0, **values})


def tuned(recordings, goal="f1", fixed=None, rule=rule_of):
    *steps, found = sweep_segments(recordings, ["a"], "a", rule, goal, fixed)
    assert isinstance(found, TunedRule)
    assert steps == sorted(steps) and all(step <= found.tried for step in steps)
    return found


# Speech is scored 0.4 with a pause of 0.45 s in it, noise 0.3.
PAUSED = [(1.0, 3.0, 0.4), (3.45, 6.0, 0.4), (8.0, 9.0, 0.3)]


@pytest.mark.parametrize("goal", GOALS)
def test_the_rule_that_makes_no_mistake_is_found(goal):
    found = tuned([recording_of("x", [(1.0, 6.0)], PAUSED), recording_of("y", [(1.0, 6.0)], PAUSED)], goal)
    perfect = 0.0 if goal.startswith("detection") else 1.0
    assert found.best.value == perfect
    assert (found.best.figures["miss_rate"], found.best.figures["false_alarm_rate"]) == (0.0, 0.0)
    rule = found.best.rule
    assert 0.3 < rule.threshold <= 0.4
    assert rule.min_silence_seconds > 0.45
    assert rule.min_speech_seconds == SegmentRule.min_speech_seconds, "what makes no difference stays"
    assert found.before.rule == rule_of() and found.before.figures["miss_rate"] == 1.0
    assert found.gain.value > 0 and found.changed
    thresholds, silences, values = found.grid
    assert values.shape == (len(TRIED_SECONDS["min_silence_seconds"]), len(thresholds))
    better = values[silences > 0.5][:, np.isclose(thresholds, 0.35)]
    assert (better == perfect).all() and (values[:, thresholds > 0.4] != perfect).all()


def test_hysteresis_is_found_where_a_segment_fades():
    fading = [(1.0, 2.0, 0.9), (2.0, 5.0, 0.35), (7.0, 8.0, 0.55)]
    found = tuned([recording_of("x", [(1.0, 5.0)], fading)], fixed={"threshold": 0.6, "min_speech_seconds": 0.25})
    assert found.best.value == 1.0
    assert found.best.rule.threshold == 0.6 and found.best.rule.closing_threshold <= 0.35
    assert found.grid is None, "the threshold was given"


def test_what_is_given_stays_and_nothing_better_changes_nothing():
    easy = [recording_of("x", [(1.0, 2.0)], [(1.0, 2.0, 0.9)])]
    found = tuned(easy)
    assert not found.changed and found.best == found.before and found.gain.value == 0.0
    fixed = {"threshold": 0.7, "min_silence_seconds": 0.2, "min_speech_seconds": 0.5, "neg_threshold": 0.3}
    rule = tuned([recording_of("x", [(1.0, 6.0)], PAUSED)], fixed=fixed).best.rule
    assert rule == rule_of(**fixed)


@pytest.mark.parametrize("fixed", [{"threshold": 0.35}, {"neg_threshold": 0.08}])
def test_before_is_the_model_and_not_what_is_given(fixed):
    found = tuned([recording_of("x", [(1.0, 6.0)], PAUSED)], fixed={**fixed, "max_speech_seconds": 5.5})
    assert found.before.rule == rule_of(max_speech_seconds=5.5)
    assert found.best.rule.max_speech_seconds == 5.5 and found.changed
    assert all(getattr(found.best.rule, name) == value for name, value in fixed.items())
    easy = tuned([recording_of("x", [(1.0, 2.0)], [(1.0, 2.0, 0.9)])], fixed=fixed)
    assert easy.before.rule == rule_of() and easy.changed
    assert all(getattr(easy.best.rule, name) == value for name, value in fixed.items())


def test_labels_that_exclude_each_other_end_at_one_half(tone_model):  # noqa: F811
    model = read_model(tone_model)
    softmax = Model("m", Path(), model.spec, ("a", "b"), {"a": 0.5, "b": 0.5}, answer="one")
    exclusive = type("Exclusive", (Model,), {"usual_answer": "one"})(**vars(softmax))
    rows = [recording_of("x", [(1.0, 5.0)], [(1.0, 2.0, 0.9), (2.0, 5.0, 0.35)])]
    found = tuned(rows, rule=partial(exclusive.rule, "a", pad_seconds=0.0))
    tried = [one.rule for one in found.over_threshold if one.rule.threshold >= 0.5]
    assert tried and all(rule.closing_threshold >= 0.5 for rule in tried)


def test_intervals_are_of_groups_of_recordings():
    rows = [recording_of(f"{k}", [(1.0, 6.0)], PAUSED[: 1 + k % 3], group=f"g{k % 4}") for k in range(12)]
    found = tuned(rows)
    assert found.best_figure.low <= found.best.value <= found.best_figure.high
    assert found.before_figure.value == found.before.value
    alone = tuned([recording_of("x", [(1.0, 6.0)], PAUSED)])
    assert (alone.best_figure.low, alone.gain.low) == (None, None)


def test_a_label_that_nothing_has_is_told():
    with pytest.raises(DatasetError, match='no tuning recording has the label "a"'):
        tuned([recording_of("x", [], PAUSED)])
    for truth, said in ((True, "every tuning clip"), (False, "no tuning clip")):
        clips = [ScoredClip(str(k), np.array([0.5]), "a" if truth else "", labels=("a",) * truth) for k in range(3)]
        with pytest.raises(DatasetError, match=f'{said} has the label "a"'):
            sweep_clips(clips, ["a"], "a", SegmentRule(), "f1")


@pytest.mark.parametrize(("goal", "low", "high"), [("f1", 0.2, 0.3), ("detection_cost", 0.2, 0.3)])
def test_the_threshold_of_clips_lies_between_those_that_have_it_and_those_that_have_not(goal, low, high):
    scores = [(0.1, False), (0.2, False), (0.3, True), (0.45, True), (0.6, True)]
    clips = [ScoredClip(f"{x}", np.array([0.9, x]), "", labels=("b",) * has) for x, has in scores]
    found = sweep_clips(clips, ["a", "b"], "b", SegmentRule(), goal)
    assert low < found.best.rule.threshold < high
    assert found.best.value == (1.0 if goal == "f1" else 0.0)
    assert found.before.figures["miss_rate"] == pytest.approx(2 / 3)
    assert found.clips and found.grid is None


# What a model keeps


def test_a_model_keeps_times_and_an_older_one_has_none(tone_model, tmp_path):  # noqa: F811
    folder = shutil.copytree(tone_model, tmp_path / "tone")
    before = (folder / "model.toml").read_text()
    assert "segments" not in before
    assert read_model(folder).rule("tone") == SegmentRule(0.5)
    added = "\n[segments.tone]\nneg_threshold = 0.4\nmin_silence = 0.7\n"
    (folder / "model.toml").write_text(before + added)
    model = read_model(folder)
    assert model.rule("tone") == SegmentRule(0.5, 0.4, min_silence_seconds=0.7)
    assert model.rule("tone", min_silence_seconds=0.2, neg_threshold=0.1) == SegmentRule(
        0.5, 0.1, min_silence_seconds=0.2
    )
    assert model.rule("tone", threshold=0.2) == SegmentRule(0.2, min_silence_seconds=0.7), "0.4 would be above it"
    assert model.to_table()["segments"] == {"tone": {"neg_threshold": 0.4, "min_silence": 0.7}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[segments.tone]\nneg_threshold = 0.9", r"model\.toml: \[segments\]: tone: --neg-threshold 0\.9 is above"),
        ("[segments.tone]\nmin_silense = 0.9", r'unknown key "min_silense"; did you mean "min_silence"\?'),
        ("[segments.speech]\nmin_silence = 0.9", r'unknown key "speech"'),
        ("[segments.tone]\nmin_silence = -1", r'"min_silence" must be a number at least 0'),
    ],
)
def test_damaged_times_are_told(tone_model, tmp_path, text, said):  # noqa: F811
    folder = shutil.copytree(tone_model, tmp_path / "tone")
    (folder / "model.toml").write_text((folder / "model.toml").read_text() + "\n" + text + "\n")
    with pytest.raises(ModelError, match=said):
        read_model(folder)


# The command


@pytest.fixture
def here(tmp_path, monkeypatch, tone_model):  # noqa: F811
    """Three recordings, their segments, and a model whose threshold is too high for them."""
    write_tones(tmp_path)
    folder = shutil.copytree(tone_model, tmp_path / "tone")
    text = (folder / "model.toml").read_text()
    (folder / "model.toml").write_text(text.replace("tone = 0.5", "tone = 0.9999"))
    (folder / "README.md").write_text("# tone\n\n| | |\n|---|---|\n| labels | tone |\n| thresholds | tone 0.9999 |\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_saving_makes_the_model_as_good_as_was_said(here):
    graph = onnx.load("tone/model.onnx").graph
    done = audiocnn("tune", "tones.tsv", "-m", "tone", "--save", "--plot", "sweep.png")
    assert done.status is ExitStatus.OK, done.err
    found = json.loads(done.out)
    assert 0.9 < found["before"]["value"] < found["best"]["value"] and found["gain"]["value"] > 0
    judged = json.loads(audiocnn("evaluate", "tones.tsv", "-m", "tone", "--resamples", "0").out)
    assert judged["labels"]["tone"]["figures"]["f1"]["value"] == found["best"]["value"]
    model = read_model(here / "tone")
    assert model.thresholds["tone"] == found["best"]["threshold"]
    assert model.tuned_on == "3 recordings of tones.tsv, f1"
    assert f"| thresholds | tone {found['best']['threshold']:g}" in Path("tone/README.md").read_text()
    again = onnx.load("tone/model.onnx")
    assert again.graph == graph
    said = {entry.key: entry.value for entry in again.metadata_props}
    assert said["audiocnn"] == Path("tone/model.toml").read_text()
    assert "threshold 0.9999" in done.err and "-> threshold" in done.err and "saved: tone/model.toml" in done.err
    assert Path("sweep.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("failing", ["_write_metadata", "_write_card", "write_model"])
def test_saving_that_is_cut_off_is_done_whole_the_next_time(here, monkeypatch, failing):
    def full(model):
        raise OSError(errno.ENOSPC, "No space left on device")

    before = Path("tone/model.toml").read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(f"audiocnn.evaluation.save_thresholds.{failing}", full)
        done = audiocnn("tune", "tones.tsv", "-m", "tone", "--save")
    assert done.status is not ExitStatus.OK and "tone: cannot be written (No space left on device)" in done.err
    assert Path("tone/model.toml").read_bytes() == before
    assert audiocnn("tune", "tones.tsv", "-m", "tone", "--save").status is ExitStatus.OK
    said = {entry.key: entry.value for entry in onnx.load("tone/model.onnx").metadata_props}
    assert said["audiocnn"] == Path("tone/model.toml").read_text() != before.decode()
    assert "0.9999" not in Path("tone/README.md").read_text()


@pytest.mark.parametrize(("name", "said"), [("da ta", "da ta"), (b"a\xff", "a\\udcff"), ("a\nb", "a\\nb")])
def test_what_it_was_tuned_on_has_a_name(here, monkeypatch, name, said):
    monkeypatch.chdir(shutil.move("labels", here / os.fsdecode(name)))
    done = audiocnn("tune", ".", "-m", here / "tone", "--save")
    assert done.status is ExitStatus.OK, done.err
    assert f" of {said}, f1" in read_model(here / "tone").tuned_on


def test_the_table_over_thresholds_has_tenths(here):
    done = audiocnn("tune", "tones.tsv", "-m", "tone", "--neg-threshold", "0.08", "--format", "table")
    shown = [line.split()[0] for line in done.out.partition("by threshold")[2].splitlines()[3:] if line.strip()]
    assert shown[:9] == [f"0.{tenth}" for tenth in range(1, 10)]


def test_nothing_is_changed_unasked(here):
    before = {path.name: path.read_bytes() for path in Path("tone").iterdir()}
    done = audiocnn("tune", "tones.tsv", "-m", "tone", terminal=True)
    assert done.status is ExitStatus.OK, done.err
    assert {path.name: path.read_bytes() for path in Path("tone").iterdir()} == before
    for said in (
        "now",
        "best",
        "gain",
        "by threshold",
        "--save",
        "audiocnn evaluate tones.tsv --model tone --threshold 0.",
    ):
        assert said in done.out, said


def test_what_was_given_and_is_worse_is_said(here):
    done = audiocnn("tune", "tones.tsv", "-m", "tone", "--min-duration", "30", "--format", "table")
    assert "the best rule is worse than the current one" in done.out


def test_a_picture_that_is_there_is_named_by_its_option(here):
    (here / "sweep.png").write_bytes(b"mine")
    done = audiocnn("tune", "tones.tsv", "-m", "tone", "--plot", "sweep.png")
    assert done.status is ExitStatus.USAGE and "or give another --plot" in done.err


def test_damaged_scores_are_refused_before_recordings_are_read(here):
    (here / "kept.npz").write_bytes(b"no scores")
    done = audiocnn("tune", "tones.tsv", "-m", "tone", "--scores", "kept.npz")
    assert done.status is ExitStatus.USAGE and "--scores kept.npz: not a file of scores" in done.err
    assert not (here / "kept.dataset").exists()


def test_scores_are_made_once(here, monkeypatch):
    args = ("tune", "tones.tsv", "-m", "tone", "--scores", "kept.npz")
    first = audiocnn(*args)
    assert first.status is ExitStatus.OK, first.err
    monkeypatch.setattr("audiocnn.inference.engine.Engine.outputs", None)
    second = audiocnn(*args, "--for", "f1")
    assert (second.status, second.out) == (ExitStatus.OK, first.out)
    Path("tones.tsv").write_text("\n".join(Path("tones.tsv").read_text().splitlines()[:3]) + "\n")
    third = audiocnn(*args)
    assert third.status is ExitStatus.USAGE
    assert "kept.npz: has scores of another model or of other recordings; give another file" in third.err
    for content in (b"", b"PK\x03\x04", b"scores"):
        Path("kept.npz").write_bytes(content)
        damaged = audiocnn(*args)
        assert (damaged.status, damaged.out) == (ExitStatus.USAGE, "")
        assert "kept.npz: not a file of scores; give another file, or delete this one" in damaged.err


@pytest.mark.parametrize("option", ["--threshold", "--neg-threshold", "--min-duration", "--min-silence"])
def test_what_clips_have_no_rule_for_is_refused(here, option):
    done = audiocnn("tune", "labels", "-m", "tone", option, "0.4")
    assert done.status is ExitStatus.USAGE
    assert f"{option}: for whole clips only the threshold is tuned; omit it" in done.err


def test_clips_are_tuned_by_their_labels(here):
    done = audiocnn("tune", "labels", "-m", "tone")
    assert done.status is ExitStatus.OK, done.err
    found = json.loads(done.out)
    assert (found["label"], found["best"]["value"], found["best"]["figures"]["miss_rate"]) == ("tone", 1.0, 0.0)
