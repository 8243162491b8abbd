"""`--sensitivity` in every command that has it, and how `tune` makes the three operating points."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import onnx
import pytest
from fixtures_cli import RATE, RULES, audiocnn, copy_with_points, tone, tone_model, write_tones  # noqa: F401
from sounds import write

import audiocnn as library
from audiocnn.model.model import SENSITIVITIES, read_model
from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.app.options import SegmentOptions, detect_settings
from audiocnn_cli.commands.detect import detect_provenance

# Two tones with a pause of 0.1 s, which `precise` does not bridge.
SPANS = ((0.5, 1.0), (1.1, 1.6))
COUNTS = {"balanced": 1, "sensitive": 1, "precise": 2}
COMMANDS = {
    "detect": ("detect", "a.wav"),
    "split": ("split", "a.wav", "--output-dir", "cuts", "--force"),
    "plot": ("plot", "a.wav", "-o", "a.png", "--force"),
    "classify": ("classify", "a.wav"),
    "evaluate": ("evaluate", "a.tsv", "--resamples", "0"),
}


@pytest.fixture
def here(tmp_path, monkeypatch, tone_model):  # noqa: F811
    """A recording, what is in it, and a model with operating points."""
    copy_with_points(tone_model, tmp_path / "m")
    write(tmp_path / "a.wav", tone(*SPANS), RATE)
    (tmp_path / "a.tsv").write_text("filename\tonset\toffset\tevent_label\na.wav\t0.5\t1.6\ttone\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def records(command, *options, model="m"):
    done = audiocnn(*COMMANDS[command], "-m", model, *options)
    assert done.status is ExitStatus.OK, done.err
    return [json.loads(line) for line in done.out.splitlines()]


@pytest.mark.parametrize("name", SENSITIVITIES)
def test_each_command_takes_the_rule_of_the_operating_point(here, name):
    segments = [one for one in records("detect", "--sensitivity", name) if one["type"] == "segment"]
    assert len(segments) == COUNTS[name]
    assert [one["type"] for one in records("split", "--sensitivity", name)].count("piece") == COUNTS[name]
    assert records("plot", "--sensitivity", name)[-1]["segments"] == COUNTS[name]
    judged = records("evaluate", "--sensitivity", name)[0]["labels"]["tone"]
    assert (judged["threshold"], judged["pad"]) == (RULES[name].threshold, RULES[name].pad_seconds)
    assert judged["tuned_on"] == "paper", "the threshold is the model's own"
    answers = [one for one in records("classify", "--sensitivity", name) if one["type"] != "error"]
    assert (answers[0]["label"] == "tone") == (RULES[name].threshold < 0.3)


@pytest.mark.parametrize("name", ["speech_1d", "speech_2d"])
def test_a_released_model_is_described_with_its_operating_points(name):
    """The spec has the same name; a live detector waits for the shortest speech of the model."""
    (record,) = (json.loads(line) for line in audiocnn("describe", name).out.splitlines())
    points = record["operating_points"]["speech"]
    assert set(points) == set(SENSITIVITIES)
    rows = max(1, round(points["balanced"]["min_speech"] / record["hop"]))
    assert record["onset_latency"] == pytest.approx(record["latency"] + rows * record["hop"])
    assert "operating_points" not in json.loads(audiocnn("describe", "speech_bands").out)


def test_without_the_option_it_is_balanced(here):
    for command in COMMANDS:
        if command != "evaluate":  # which says how fast it was
            assert records(command) == records(command, "--sensitivity", "balanced"), command


@pytest.mark.parametrize("command", [*COMMANDS, "split --labels"])
def test_what_cannot_be_is_one_line(here, tone_model, command):  # noqa: F811
    if command == "split --labels":
        done = audiocnn(*COMMANDS["split"], "--labels", "a.tsv", "--sensitivity", "precise")
        assert (done.status, done.err.count("\n")) == (ExitStatus.USAGE, 1) and "--sensitivity" in done.err
        return
    for model, name in (("m", "loud"), (tone_model, "loud"), (tone_model, "precise")):
        done = audiocnn(*COMMANDS[command], "-m", model, "--sensitivity", name)
        assert (done.status, done.err.count("\n"), done.out) == (ExitStatus.USAGE, 1, "")
        if name == "loud":
            assert all(one in done.err for one in SENSITIVITIES)
        else:
            assert f"audiocnn tune DATA --model {tone_model} --operating-points --save" in done.err


def test_an_answer_that_is_always_the_best_has_no_operating_point(here):
    done = audiocnn("classify", "a.wav", "-m", "digits", "--sensitivity", "precise")
    assert (done.status, done.err.count("\n")) == (ExitStatus.USAGE, 1)


@pytest.mark.parametrize("name", SENSITIVITIES)
def test_a_stream_and_python_give_the_segments_of_the_file(here, name):
    found = records("detect", "--sensitivity", name)
    known = [(one["start"], one["end"]) for one in found if one["type"] == "segment"]
    done = audiocnn(
        "detect", "--follow", "-", "-f", "csv", "-m", "m", "--sensitivity", name, stdin=(here / "a.wav").read_bytes()
    )
    rows = csv.DictReader(done.out.splitlines())
    assert [(float(row["start"]), float(row["end"])) for row in rows] == known
    segments = library.detect("a.wav", "m", library.DetectSettings(sensitivity=name))
    assert [(round(one.start, 4), round(one.end, 4)) for one in segments] == known


def test_the_digest_of_the_settings_knows_the_operating_point(here):
    model = read_model(here / "m")

    def digest(**options):
        return detect_provenance(model, detect_settings(SegmentOptions(**options)), None, None).settings

    assert len({digest(sensitivity=name) for name in SENSITIVITIES}) == 3
    assert digest() == digest(sensitivity="balanced")


def test_work_with_another_operating_point_is_not_gone_on_with(here):
    out = ("-o", "found.jsonl", "--resume")
    assert audiocnn("detect", "a.wav", "-m", "m", "--sensitivity", "precise", *out).status is ExitStatus.OK
    again = audiocnn("detect", "a.wav", "-m", "m", "--sensitivity", "sensitive", *out)
    assert again.status is ExitStatus.USAGE


def test_evaluate_says_which_operating_point_fits_best(here, tone_model):  # noqa: F811
    judged = records("evaluate")[0]["labels"]["tone"]
    assert set(judged["operating_points"]) == set(SENSITIVITIES)
    errors = {name: one["detection_error_rate"] for name, one in judged["operating_points"].items()}
    assert judged["best_operating_point"] == min(errors, key=errors.get) == "balanced"
    for name in SENSITIVITIES:
        own = records("evaluate", "--sensitivity", name)[0]["labels"]["tone"]["figures"]
        assert own["detection_error_rate"]["value"] == pytest.approx(errors[name], abs=1e-5)
    table = audiocnn("evaluate", "a.tsv", "-m", "m", "--format", "table", "--html", "page.html").out
    assert "does best with --sensitivity balanced" in Path("page.html").read_text()
    assert "best --sensitivity" in table and "balanced: " in table
    assert "best --sensitivity" not in audiocnn("evaluate", "a.tsv", "-m", tone_model, "--format", "table").out
    assert "operating_points" not in records("evaluate", model=tone_model)[0]["labels"]["tone"]


def test_describe_shows_all_three_with_their_figures(here, tone_model):  # noqa: F811
    record = json.loads(audiocnn("describe", "m").out)["operating_points"]["tone"]
    assert list(record) == list(SENSITIVITIES)
    assert record["balanced"]["figures"] == {"detection_error_rate": 0.2, "miss_rate": 0.15}
    assert (record["sensitive"]["threshold"], record["precise"]["min_silence"]) == (0.1, 0.02)
    table = audiocnn("describe", "m", "--format", "table").out
    assert all(name in table for name in SENSITIVITIES) and "measured on ten meetings" in table
    assert "operating_points" not in audiocnn("describe", tone_model).out


# How they are made


@pytest.fixture
def untuned(tmp_path, monkeypatch, tone_model):  # noqa: F811
    """Three recordings, their segments, and a model without operating points, which has a card."""
    write_tones(tmp_path)
    folder = shutil.copytree(tone_model, tmp_path / "m")
    (folder / "README.md").write_text("# tone\n\n| | |\n|---|---|\n| thresholds | tone 0.5 |\n\n## Figures\n\nmany\n")
    monkeypatch.chdir(tmp_path)
    return folder


def test_tune_makes_them_and_saves_them(untuned):
    graph = onnx.load("m/model.onnx").graph
    done = audiocnn("tune", "tones.tsv", "-m", "m", "--operating-points", "--save")
    assert done.status is ExitStatus.OK, done.err
    found = [json.loads(line) for line in done.out.splitlines()]
    assert [(one["type"], one["sensitivity"]) for one in found] == [("operating_point", x) for x in SENSITIVITIES]
    model = read_model(untuned)
    assert set(model.points["tone"]) == set(SENSITIVITIES)
    for one in found:
        rule = model.rule("tone", one["sensitivity"])
        assert (rule.threshold, rule.pad_seconds) == (one["threshold"], one["pad"])
        assert model.points["tone"][one["sensitivity"]].figures == one["figures"]
        assert "3 recordings of tones.tsv; tuned and measured on the same" in one["measured_on"]
        judged = audiocnn("evaluate", "tones.tsv", "-m", "m", "--resamples", "0", "--sensitivity", one["sensitivity"])
        figures = json.loads(judged.out)["labels"]["tone"]["figures"]
        assert all(figures[key]["value"] == pytest.approx(x, abs=1e-4) for key, x in one["figures"].items())
    again = onnx.load("m/model.onnx")
    said = {entry.key: entry.value for entry in again.metadata_props}
    assert again.graph == graph and said["audiocnn"] == Path("m/model.toml").read_text()
    card = Path("m/README.md").read_text()
    assert card.index("## Operating points") < card.index("## Figures") and "| tone | sensitive |" in card


@pytest.mark.parametrize("kind", ["--operating-points", "--for=f1"])
def test_what_reads_the_output_may_end_before_the_model_is_saved(untuned, monkeypatch, kind):
    def closed(*_, **__):
        raise BrokenPipeError

    before = Path("m/model.toml").read_text()
    (untuned / "model.toml").write_text(before.replace("tone = 0.5", "tone = 0.9999"))
    monkeypatch.setattr("audiocnn_cli.app.terminal.Terminal.write", closed)
    assert audiocnn("tune", "tones.tsv", "-m", "m", kind, "--save").status is ExitStatus.OK
    assert 0 < read_model(untuned).thresholds["tone"] < 0.9999


def test_a_threshold_that_is_saved_later_is_the_new_balanced(untuned):
    assert audiocnn("tune", "tones.tsv", "-m", "m", "--operating-points", "--save").status is ExitStatus.OK
    before = read_model(untuned)
    # Nothing is better than what was found, so that it is made worse first.
    text = (untuned / "model.toml").read_text()
    text = text.replace(f"tone = {before.thresholds['tone']:g}", "tone = 0.9999")
    (untuned / "model.toml").write_text(re.sub("neg_threshold = .*", "neg_threshold = 0.9999", text, count=1))
    done = audiocnn("tune", "tones.tsv", "-m", "m", "--for", "detection_error", "--save")
    assert done.status is ExitStatus.OK, done.err
    after, found = read_model(untuned), json.loads(done.out)["best"]
    assert after.rule("tone").threshold == after.points["tone"]["balanced"].values["threshold"] == found["threshold"]
    assert after.rule("tone").pad_seconds == before.rule("tone").pad_seconds
    assert after.points["tone"]["balanced"].measured_on == "3 recordings of tones.tsv, detection error"
    for name in ("sensitive", "precise"):
        assert after.points["tone"][name] == before.points["tone"][name]


def test_several_data_count_the_same_and_the_figures_say_how_they_were_made(untuned):
    done = audiocnn(
        "tune", "tones.tsv", "tones.tsv", "-m", "m", "--operating-points", "--cross-fit", "--scores", "kept.npz"
    )
    assert done.status is ExitStatus.OK, done.err
    assert json.loads(done.out.splitlines()[0])["measured_on"] == (
        "3 recordings of tones.tsv; 3 recordings of tones.tsv; tuned on one half of each, measured on the other"
    )
    for one in map(json.loads, done.out.splitlines()):
        assert [own["figures"] for own in one["by_data"]] == [one["figures"]] * 2
    assert Path("kept.npz").is_file() and Path("kept-2.npz").is_file()
    table = audiocnn("tune", "tones.tsv", "tones.tsv", "-m", "m", "--operating-points", "--format", "table").out
    assert table.count("tone: 3 recordings of tones.tsv") == 2
    assert all(one in table for one in ("now", *SENSITIVITIES, "save it:", "--save"))


def test_whole_clips_have_three_thresholds(untuned):
    for more in ((), ("--cross-fit",)):
        done = audiocnn("tune", "labels", "-m", "m", "--operating-points", "--save", *more)
        assert done.status is ExitStatus.OK, done.err
        found = {one["sensitivity"]: one for one in map(json.loads, done.out.splitlines())}
        assert list(found) == list(SENSITIVITIES) and all(one["kept"] for one in found.values())
    model = read_model(untuned)
    for name in SENSITIVITIES:
        assert model.point_values("tone", name) == {"threshold": found[name]["threshold"]}
        for kind, answer in (("tone", "tone"), ("none", None)):
            said = audiocnn("classify", f"labels/{kind}/0.wav", "-m", "m", "--sensitivity", name)
            assert json.loads(said.out)["label"] == answer


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--operating-points", "--threshold", "0.5"), "--threshold"),
        (("--operating-points", "--pad", "0.1"), "--pad"),
        (("--operating-points", "--for", "segment_f1"), "--for segment_f1"),
        (("--operating-points", "--plot", "a.png"), "--plot"),
        (("--operating-points", "-m", "digits"), "mutually exclusive"),
        (("--operating-points", "-m", "speech_1d", "--save"), "released model"),
        (("--operating-points", "labels"), "one kind at a time"),
        (("--cross-fit",), "--cross-fit"),
        (("tones.tsv",), "several DATA need --operating-points"),
        (("--sensitivity", "precise"), "--sensitivity"),
    ],
)
def test_what_tune_cannot_do_is_one_line(untuned, options, said):
    model = () if "-m" in options else ("-m", "m")
    done = audiocnn("tune", "tones.tsv", *options, *model)
    assert done.status is ExitStatus.USAGE and said in done.err, done.err
    assert done.err.count("error:") == 1
