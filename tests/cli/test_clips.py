"""`evaluate` on labelled clips: tables, JSON report, page, predictions, doubtful clips."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from fixtures_cli import RATE, audiocnn, tone, tone_model  # noqa: F401
from rich.text import Text
from sounds import sine, write

from audiocnn.data.sources.corrections import LEFT_OUT, Correction, read_settled
from audiocnn.evaluation.results import count_confusions
from audiocnn.model.export import export_onnx
from audiocnn.model.model import WEIGHTS, Model, write_model
from audiocnn.model.network import Network
from audiocnn.model.weights import save_weights
from audiocnn.segments.segment import NONE_LABEL
from audiocnn.spec.spec import spec_from_table
from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.commands.evaluate.tables import confusion_lines

HERTZ = {"deep": 400, "middle": 1000, "high": 2000}
# A map for each tone, its bin of the spectrum through a steep sigmoid; F takes the map with the highest mean.
SPEC = {
    "summary": "tells three tones",
    "input": {"features": "stft", "scale": "log", "sample_rate": RATE, "frame_seconds": 0.025, "fft_samples": 200},
    "groups": [{"name": "A", "layers": [{"conv": 3, "kernel": 1, "activation": "sigmoid"}]}],
    "f": {"window_seconds": 0.1, "output": "softmax"},
}


def write_tone_model(folder, output="softmax"):
    """A model with its weights set by hand."""
    spec = spec_from_table({**SPEC, "f": {**SPEC["f"], "output": output}}, "tones", 3)
    network = Network(spec).eval()
    with torch.no_grad():
        conv, dense = (module for module in network.modules() if isinstance(module, torch.nn.Conv1d))
        conv.weight.zero_()
        conv.bias.fill_(12.0)  # at a tenth of full scale a bin of the power is about 6
        dense.weight.zero_()
        for k, hertz in enumerate(HERTZ.values()):
            conv.weight[k, hertz * 200 // RATE] = 4.0
            dense.weight[k, k] = 6.0 / dense.weight.shape[-1]
        dense.bias.fill_(-3.0)
    labels = tuple(HERTZ)
    model = Model("tones", folder, network.spec, labels, dict.fromkeys(labels, 0.5), "paper")
    write_model(model)
    save_weights(network, folder / WEIGHTS)
    export_onnx(model, network)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {output: write_tone_model(folder / output / "tones", output) for output in ("softmax", "sigmoid")}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Four clips of each tone in the folder of its label, of which one lies in a wrong one."""
    for label, hertz in HERTZ.items():
        for number in range(4):
            wrong = HERTZ["high"] if (label, number) == ("deep", 3) else hertz
            write(tmp_path / "clips" / label / f"{number}.wav", sine(wrong, 0.4 + number / 10, RATE, 0.3), RATE)
    (tmp_path / "segments.tsv").write_text("filename\tonset\toffset\tevent_label\nclips/deep/0.wav\t0.0\t0.4\tdeep\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def evaluate(model, *args, **how):
    return audiocnn("evaluate", "clips", "-m", model, "--resamples", "20", *args, **how)


def table_of(path, delimiter):
    return list(csv.DictReader(Path(path).open(encoding="utf-8", newline=""), delimiter=delimiter))


def test_the_report_says_what_is_taken_for_what(here, models):
    done = evaluate(models["softmax"])
    assert done.status is ExitStatus.OK, done.err
    clip = json.loads(done.out)["clip"]
    assert list(clip) == [
        *("clips", "answer", "figures", "labels", "confusion", "pairs", "reliability", "groups", "examples", "notes"),
    ]
    assert (clip["clips"], clip["answer"]) == (12, "one")
    assert clip["figures"]["accuracy"]["value"] == pytest.approx(11 / 12, abs=1e-6)
    assert clip["confusion"] == {"labels": list(HERTZ), "counts": [[3, 0, 1], [0, 4, 0], [0, 0, 4]]}
    assert clip["pairs"] == [
        {"label": "deep", "answer": "high", "clips": 1, "share": 0.25, "files": ["deep/3.wav"]},
    ]
    assert [one["file"] for one in clip["examples"]["wrong"]] == ["deep/3.wav"]
    assert clip["labels"]["high"]["clips"] == 4


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("more", [{}, {"NO_COLOR": "1"}, {"LC_ALL": "C"}])
def test_the_table_fits_the_terminal(here, models, width, more):
    done = evaluate(models["softmax"], terminal=True, COLUMNS=str(width), **more)
    lines = [Text.from_ansi(line).plain for line in done.out.splitlines()]
    text = "\n".join(lines)
    assert max(len(line) for line in lines[1:]) <= max(width, 54)  # sentences wrap by themselves
    for said in (
        "accuracy",
        "macro F1",
        "3 labels",
        "answers (columns) for the clips",
        "deep/3.wav",
        "1 clip (25 % of",
    ):
        assert said in text
    assert ("deep → high" in text) is (more != {"LC_ALL": "C"})
    assert ("deep -> high" in text) is (more == {"LC_ALL": "C"})
    assert (width >= 64) is ("av. prec." in text)
    assert ("\x1b[" in done.out) is (more != {"NO_COLOR": "1"}) or "\x1b[3" not in done.out
    row = next(line for line in lines if re.match(r"(1 )?deep +3 +\. +1$", line))
    assert row


def test_labels_that_stand_alone_have_thresholds(here, models):
    done = evaluate(models["sigmoid"])
    clip = json.loads(done.out)["clip"]
    assert clip["answer"] == "several"
    assert clip["confusion"] is None
    assert clip["labels"]["deep"]["threshold"] == 0.5
    assert clip["figures"]["subset_accuracy"]["value"] == pytest.approx(11 / 12, abs=1e-6)
    text = evaluate(models["sigmoid"], "-f", "table").out
    assert "all labels right" in text
    assert "threshold" in text
    lowered = json.loads(evaluate(models["sigmoid"], "--threshold", "0.99999").out)["clip"]
    assert lowered["figures"]["micro_f1"]["value"] == 0.0


def test_two_models_have_a_difference(here, models):
    done = audiocnn(
        *(
            "evaluate",
            "clips",
            "-m",
            models["softmax"],
            "-m",
            models["softmax"],
            "--resamples",
            "20",
            "--html",
            "r.html",
        )
    )
    first, second = map(json.loads, done.out.splitlines())
    assert "difference_to" not in first
    assert second["difference_to"]["clip"]["figures"]["accuracy"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert "+0.0000" in Path("r.html").read_text()


def test_the_page_plays_clips_and_has_every_figure(here, models):
    done = evaluate(models["softmax"], "--html", "report.html", "-o", "report.json")
    assert done.status is ExitStatus.OK, done.err
    page = Path("report.html").read_text()
    clip = json.loads(Path("report.json").read_text())["clip"]
    figures = [clip["figures"], *(part["figures"] for part in clip["labels"].values())]
    for figure in (figure for part in figures for figure in part.values()):
        assert figure["value"] is None or f"{figure['value']:.4f}" in page
    assert page.count("data:audio/flac;base64,") == len(re.findall("<audio ", page)) >= 11
    assert page.index("deep/3.wav") < page.index("Right answers")
    for said in ("Answers of tones", "Reliability", "F1 by label", "deep → high", "<title>deep: 1 of 4 clips"):
        assert said in page
    outside = re.sub(r'src="data:audio/flac;base64,[^"]*"', "", page)
    assert "<script" not in page
    assert not re.search(r"https?:|//|url\(|@import| src=", outside)


def test_figures_by_a_column(here, models):
    rows = [f"clips/{label}/{k}.wav\t{label}\t{'near' if k < 2 else 'far'}" for label in HERTZ for k in range(4)]
    Path("clips.tsv").write_text("\n".join(["filename\tlabel\tplace", *rows]) + "\n")
    args = ("evaluate", "clips.tsv", "-m", models["softmax"], "--resamples", "0", "--by", "place")
    groups = json.loads(audiocnn(*args, "--html", "r.html").out)["clip"]["groups"]["place"]
    values = {value: (found["clips"], found["figures"]["accuracy"]["value"]) for value, found in groups.items()}
    assert values == {"far": (6, pytest.approx(5 / 6, abs=1e-6)), "near": (6, 1.0)}
    assert "place = far: 6 clips" in audiocnn(*args, "-f", "table").out
    assert "Clips by place" in Path("r.html").read_text()


def test_predictions_are_a_table(here, models):
    for name, delimiter in (("p.csv", ","), ("p.tsv", "\t")):
        done = evaluate(models["softmax"], "--predictions", name)
        assert done.status is ExitStatus.OK, done.err
        rows = table_of(name, delimiter)
        assert list(rows[0]) == ["filename", "label", "answer", "score", "right", *(f"score {x}" for x in HERTZ)]
        assert [row["right"] for row in rows].count("no") == 1
        wrong = next(row for row in rows if row["right"] == "no")
        assert (wrong["filename"], wrong["label"], wrong["answer"]) == ("deep/3.wav", "deep", "high")
        assert wrong["score"] == wrong["score high"]


def test_doubtful_clips_are_written_to_be_corrected(here, models):
    done = evaluate(models["softmax"], "--doubtful", "2")
    assert done.status is ExitStatus.OK, done.err
    assert json.loads(done.out)["clip"]["clips"] == 12
    assert "1 doubtful clip of 12, 1 of them likely wrong: listen and correct in doubtful.html" in done.err
    rows = table_of("doubtful.tsv", "\t")
    assert len(rows) == 1
    assert (rows[0]["filename"], rows[0]["label"], rows[0]["suggested"]) == ("deep/3.wav", "deep", "high")
    assert rows[0]["likely_wrong"] == "yes"
    page = Path("doubtful.html").read_text()
    assert page.count("<audio ") == 1
    assert "doubtful-corrected.tsv" in page
    done = evaluate(models["softmax"], "--doubtful", "100", "--doubtful-to", "a/all.tsv", "-q")
    assert (done.status, done.err) == (ExitStatus.OK, "")
    assert len(table_of("a/all.tsv", "\t")) == 1
    assert Path("a/all.html").is_file()


@pytest.mark.parametrize(
    ("args", "line"),
    [
        ("clips --doubtful 0", r"--doubtful"),
        ("clips --doubtful-to x.tsv", r"--doubtful-to needs the number of clips to write"),
        ("clips --doubtful 3 --doubtful-to x.csv", r"--doubtful-to x.csv: not the name of a table"),
        ("clips --doubtful 3 --doubtful-to there.tsv", r"--doubtful-to there.tsv: already exists; overwrite it with"),
        (
            "clips --doubtful 3 --html doubtful.html",
            r"--doubtful-to doubtful.html: another option already writes to this file",
        ),
        ("clips --predictions p.txt", r"--predictions p.txt: not the name of a table; .* ends in .csv or .tsv"),
        ("clips --predictions clips", r"--predictions clips: not the name of a table"),
        ("clips --predictions there.tsv", r"--predictions there.tsv: already exists"),
        (
            "clips --predictions there.tsv/p.csv",
            r"--predictions there.tsv/p.csv: there.tsv is not a folder; choose another",
        ),
        ("clips -m MODEL --predictions p.csv", r"--predictions: needs a single model, and 2 are given"),
        ("clips -m MODEL --doubtful 3", r"--doubtful: needs a single model, and 2 are given"),
        (
            "segments.tsv --doubtful 3",
            r"--doubtful: needs clips with a label for the whole clip; segments.tsv only has",
        ),
        ("segments.tsv --predictions p.csv", r"--predictions: needs clips with a label for the whole clip"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(here, models, args, line):
    Path("there.tsv").write_text("mine")
    words = [str(models["softmax"]) if word == "MODEL" else word for word in args.split()]
    done = audiocnn("evaluate", *words, "-m", models["softmax"], "--resamples", "0")
    assert done.status is ExitStatus.USAGE
    assert re.search(line, done.err), done.err
    assert "Traceback" not in done.err
    assert Path("there.tsv").read_text() == "mine"
    assert not Path("doubtful.tsv").exists()


def test_files_are_overwritten_by_force_alone(here, models):
    for _ in range(2):
        done = evaluate(models["softmax"], "--doubtful", "2", "--predictions", "p.csv", "--force")
        assert done.status is ExitStatus.OK, done.err
    assert evaluate(models["softmax"], "--predictions", "p.csv").status is ExitStatus.USAGE
    table = Path("doubtful.tsv").read_text()
    done = evaluate(models["softmax"], "--doubtful", "2")  # without a name, one that is free
    assert (done.status, Path("doubtful-2.tsv").read_text()) == (ExitStatus.OK, table), done.err


# The matrix on a terminal


def lines_of(count, width, length=5):
    labels = [f"label{k}"[-length:].rjust(length, "l") for k in range(count)]
    truth = np.repeat(np.arange(count), 3)
    answer = np.where(np.arange(3 * count) % 3 == 0, (truth + 1) % count, truth)
    confusion = count_confusions(labels, truth, answer, [""] * (3 * count), np.zeros(3 * count))
    return [line.plain for line in confusion_lines(confusion, width)]


@pytest.mark.parametrize(
    ("count", "width", "heads"),
    [
        *((2, 40, "names"), (2, 20, "names"), (10, 80, "names"), (10, 40, "numbers"), (35, 200, "numbers")),
        *((35, 80, None), (100, 200, None), (10, 30, None)),
    ],
)
def test_columns_have_names_then_numbers_then_there_is_no_matrix(count, width, heads):
    lines = lines_of(count, width)
    assert bool(lines) is (heads is not None)
    if heads is None:
        return
    assert len(lines) == count + 1
    assert max(len(line) for line in lines) <= width
    assert len({len(line) for line in lines}) == 1
    assert ("label1" in lines[0] or "abel1" in lines[0]) is (heads == "names")
    assert lines[1].split()[-1] in (".", "1")


def test_no_matrix_is_made_where_none_is_shown(monkeypatch):
    monkeypatch.setattr("audiocnn.evaluation.results.Confusion.counts", None)  # of 10,000 labels it takes a gigabyte
    assert lines_of(10_000, 200, length=9) == []


@pytest.mark.parametrize("answered", [True, False])
def test_none_of_these_is_left_out_where_nothing_is_there(answered):
    """Its row where no clip is none of the labels, its column where none got it."""
    labels = ["a", "b", "none of these"]
    truth, answer = np.array([0, 0, 1]), np.array([0, 2 if answered else 1, 1])
    lines = [line.plain for line in confusion_lines(count_confusions(labels, truth, answer, [""] * 3, truth * 0.0), 80)]
    assert len(lines) == 3 and not any(line.startswith("none") for line in lines)
    assert ("none of these" in lines[0]) is answered


def test_columns_are_as_wide_as_their_own_names():
    labels = ["a", "b", "c", "a long name", "d"]
    truth = np.arange(5)
    lines = [line.plain for line in confusion_lines(count_confusions(labels, truth, truth, [""] * 5, truth * 0.0), 40)]
    assert lines[0].split()[:3] == ["a", "b", "c"] and "a long name" in lines[0]
    assert {len(line) for line in lines} == {len(lines[0])} and len(lines[0]) <= 40


# The part that a training keeps apart


def test_the_test_part_of_a_training_is_judged_by_its_recipe(here, models):
    for label, hertz in HERTZ.items():
        for number in range(4, 20):
            write(here / "clips" / label / f"{number}.wav", sine(hertz, 0.3 + number / 100, RATE, 0.3), RATE)
    spec = 'spec = "conv_ab_2d"\nname = "own"\n'
    (here / "own.toml").write_text(f'{spec}[data]\nsource = "clips"\nsample_rate = {RATE}\n')
    args = ("evaluate", "own.toml", "-m", models["softmax"], "--resamples", "0")
    counts = {}
    for part in ("train", "validation", "test"):
        done = audiocnn(*args, "--split", part)
        assert done.status is ExitStatus.OK, done.err
        counts[part] = json.loads(done.out)["clip"]["clips"]
    assert sum(counts.values()) == 60
    assert counts["train"] > counts["test"] >= 6
    assert counts["validation"] > 0
    (here / "none.toml").write_text((here / "own.toml").read_text() + "[evaluate]\ntest_share = 0.0\n")
    done = audiocnn("evaluate", "none.toml", *args[2:], "--split", "test")
    assert done.status is ExitStatus.USAGE
    assert "--split test: the data has no such split, and the recipe makes none" in done.err


# `doubtful` run again: what was corrected or confirmed is left out, and stays in the table.


WRONG = ("deep/3.wav", "deep/4.wav", "high/4.wav", "middle/4.wav")


@pytest.fixture
def contradicted(here):
    """Of the 15 clips, the model contradicts the label of four."""
    for label, sounds_like in (("deep", "high"), ("middle", "deep"), ("high", "middle")):
        write(here / "clips" / label / "4.wav", sine(HERTZ[sounds_like], 0.5, RATE, 0.3), RATE)
    return here


def doubtful(models, *args):
    done = audiocnn("doubtful", "clips", "-m", models["softmax"], "--format", "json", *args)
    assert done.status is ExitStatus.OK, done.err
    return [json.loads(line)["file"] for line in done.out.splitlines()], done.err


def corrected_rows(name):
    return list(csv.DictReader(Path(name).open(encoding="utf-8", newline=""), delimiter="\t"))


def edit_table(name, change):
    rows = corrected_rows(name)
    for row in rows:
        row.update(change.get(row["filename"], {}))
    with Path(name).open("w", encoding="utf-8", newline="") as out:
        table = csv.DictWriter(out, list(rows[0]), delimiter="\t", lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def test_what_was_not_touched_comes_again(contradicted, models):
    first, _ = doubtful(models, "--top", "3")
    again, said = doubtful(models, "--top", "3")
    assert again == first and len(first) == 3 and "skipping" not in said
    assert Path("doubtful-2.tsv").is_file() and Path("doubtful-2.html").is_file()


def test_what_was_corrected_confirmed_or_left_out_comes_no_more_and_is_kept(contradicted, models):
    first, said = doubtful(models, "--top", "4")
    assert sorted(first) == sorted(WRONG)
    edit_table(
        "doubtful.tsv", {first[0]: {"label": "high"}, first[1]: {"label": LEFT_OUT}, first[2]: {"checked": "yes"}}
    )
    again, said = doubtful(models, "--top", "4")
    assert "skipping 3 clips corrected or confirmed in doubtful.tsv" in said
    assert again == first[3:]
    table = {row["filename"]: row for row in corrected_rows("doubtful-2.tsv")}
    assert [table[name]["label"] for name in first[:2]] == ["high", LEFT_OUT]
    assert {table[name]["checked"] for name in first[:3]} == {"yes"}
    assert "after correcting, train again: audiocnn train clips --corrections doubtful-2.tsv" in said
    third, said = doubtful(models, "--top", "4")  # the second table holds what the first had
    assert third == again and "3 clips corrected or confirmed in doubtful-2.tsv" in said


def test_the_table_of_a_review_settles_all_that_it_names(contradicted, models):
    Path("corrections.csv").write_text("filename,label\ndeep/3.wav,deep\nhigh/0.wav,high\nelsewhere.wav,high\n")
    found, said = doubtful(models, "--top", "20")
    assert "2 clips corrected or confirmed in corrections.csv" in said
    assert sorted(found) == sorted(set(WRONG) - {"deep/3.wav"})
    Path("doubtful.tsv").unlink()
    found, said = doubtful(models, "--top", "20", "--corrections", "none")
    assert sorted(found) == sorted(WRONG) and "skipping" not in said


def test_tables_that_are_named_are_taken_alone(contradicted, models):
    Path("corrections.csv").write_text("filename,label\ndeep/3.wav,deep\n")
    Path("mine.csv").write_text("filename,label\nhigh/4.wav,high\n")
    found, said = doubtful(models, "--top", "20", "--corrections", "mine.csv")
    assert sorted(found) == sorted(set(WRONG) - {"high/4.wav"}) and "1 clip corrected or confirmed in mine.csv" in said


def test_where_all_is_settled_that_is_said(contradicted, models):
    names = [f"{label}/{number}.wav,{label}" for label in HERTZ for number in range(5)]
    Path("corrections.csv").write_text("\n".join(["filename,label", *names]) + "\n")
    found, said = doubtful(models)
    assert (found, "all clips have been reviewed" in said) == ([], True)
    assert not Path("doubtful.tsv").exists()


def test_only_clips_of_some_labels(contradicted, models):
    found, _ = doubtful(models, "--label", "deep", "--label", "high", "--top", "20")
    assert sorted(found) == [name for name in WRONG if not name.startswith("middle/")]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--label", "depp"], 'did you mean "deep"?'),
        (["--corrections", "gone.csv"], "--corrections gone.csv: no such file"),
        (["--corrections", "segments.tsv"], 'no column "label"'),
    ],
)
def test_what_is_not_there_is_refused(contradicted, models, args, said):
    done = audiocnn("doubtful", "clips", "-m", models["softmax"], *args)
    assert done.status is ExitStatus.USAGE and said in done.err
    assert not Path("doubtful.tsv").exists()


@pytest.mark.parametrize(
    "name", ["doubtful-notes.tsv", "doubtful-2.tsv", "birds.tsv", "birds-labels.tsv", "birds-2.tsv"]
)
def test_a_table_that_doubtful_did_not_write_settles_nothing(contradicted, models, name):
    rows = [f"{label}/{number}.wav\t{label}" for label in HERTZ for number in range(5)]
    Path(name).write_text("\n".join(["filename\tlabel", *rows]) + "\n")
    found, said = doubtful(models, "--top", "20", "-o", "birds.tsv", "--force")
    assert sorted(found) == sorted(WRONG) and "skipping" not in said


@pytest.mark.parametrize("name", ["doubtful-notes.tsv", "doubtful-2.tsv"])
def test_another_file_with_such_a_name_is_no_error(contradicted, models, name):
    Path(name).write_text("what\tever\n1\t2\n")
    assert sorted(doubtful(models, "--top", "20")[0]) == sorted(WRONG)


@pytest.mark.parametrize("name", ["doubtful-corrected.tsv", "doubtful-2-corrected.tsv", "doubtful-corrected (1).tsv"])
def test_the_table_that_the_page_made_settles_all_that_it_names(contradicted, models, name):
    Path(name).write_text("filename\tlabel\nhigh/4.wav\thigh\n")
    found, said = doubtful(models, "--top", "20")
    assert (
        sorted(found) == sorted(set(WRONG) - {"high/4.wav"})
        and f"skipping 1 clip corrected or confirmed in {name}" in said
    )


def test_the_data_themselves_are_no_corrections(contradicted, models):
    rows = [f"clips/{label}/{number}.wav\t{label}\t1" for label in HERTZ for number in range(5)]
    Path("doubtful.tsv").write_text("\n".join(["filename\tlabel\tdoubt", *rows]) + "\n")
    done = audiocnn("doubtful", "doubtful.tsv", "-m", models["softmax"])
    assert done.status is ExitStatus.OK and "skipping" not in done.err, done.err
    assert len(done.out.splitlines()) == len(WRONG)


def test_the_end_of_evaluate_is_on_stderr_alone_and_quiet_silences_it(here, models):
    table = audiocnn("evaluate", "clips", "-m", models["softmax"], "--format", "table")
    assert "12 clips judged" in table.err and "audiocnn classify" in table.err
    assert "next: " not in table.out
    done = audiocnn("evaluate", "clips", "-m", models["softmax"])
    (record,) = map(json.loads, done.out.splitlines())  # which has it: it is not on stderr, too
    assert record["advice"][0]["command"] in table.err and done.err == "clips: labels from names of folders\n"
    assert audiocnn("evaluate", "clips", "-m", models["softmax"], "--format", "table", "-q").err == ""


def test_by_recording_of_clips_the_wrong_answers_come_first(here, models):
    done = audiocnn("evaluate", "clips", "-m", models["softmax"], "--by", "recording", "--html", "x.html")
    groups = json.loads(done.out)["clip"]["groups"]["recording"]
    assert len(groups) == 12 and next(iter(groups)) == "deep/3.wav"
    assert [one["figures"]["accuracy"]["value"] for one in groups.values()] == [0.0] + [1.0] * 11
    assert "deep/3.wav" in Path("x.html").read_text().split("Next steps")[1]
    done = audiocnn("evaluate", "clips", "-m", models["softmax"], "--by", "recording", "--format", "table")
    assert "1 clip of 12 wrong" in " ".join(done.out.split())
    assert "deep/3.wav" in done.out and "deep/0.wav" not in done.out.split("wrong")[1].split("labels")[0]


def test_clips_of_labels_that_a_model_of_one_does_not_know_are_no_pair_of_labels(tmp_path, monkeypatch, tone_model):  # noqa: F811
    """It answers each of them with its own label, which is wrong, and confused with no other of its labels."""
    monkeypatch.chdir(tmp_path)
    for number in range(20):
        for label in ("tone", "bell", "horn"):
            write(tmp_path / "clips" / label / f"{number}.wav", tone((0.2, 1.8)), RATE)
    done = evaluate(tone_model)
    assert done.status is ExitStatus.OK, done.err


def test_what_was_corrected_elsewhere_is_no_answer_to_an_old_question(contradicted, models):
    """A table that was not touched settles nothing, also once its labels are not those of the data any more."""
    doubtful(models, "--top", "20")
    wrong = contradicted / "clips" / "high" / "4.wav"
    wrong.rename(contradicted / "clips" / "high" / "was.wav")
    rows = [f"{label}/{number}.wav,{label}" for label in HERTZ for number in range(5) if (label, number) != ("high", 4)]
    Path("all.csv").write_text("\n".join(["filename,label", *rows, "high/was.wav,middle"]) + "\n")
    table = Path("doubtful.tsv").read_text().replace("high/4.wav", "high/was.wav")
    Path("doubtful.tsv").write_text(table)
    data = {"high/was.wav": ("middle",)} | {row.split(",")[0]: (row.split(",")[1],) for row in rows}
    assert read_settled(Path("doubtful.tsv"), False, data) == {}
    edit_table("doubtful.tsv", {"high/was.wav": {"label": "deep"}})
    assert read_settled(Path("doubtful.tsv"), False, data) == {"high/was.wav": Correction(("deep",))}


@pytest.mark.parametrize("word", ["none of these", "None of these"])
def test_the_suggestion_none_of_these_can_be_taken_as_it_stands(here, models, word):
    Path("mine.csv").write_text(f"filename,label\ndeep/3.wav,{word}\n")
    assert read_settled(Path("mine.csv"), False, {}) == {"deep/3.wav": Correction((NONE_LABEL,))}
    assert read_settled(Path("mine.csv"), True, {}) == {"deep/3.wav": Correction(())}
    done = audiocnn("train", "clips", "--corrections", "mine.csv", "--dry-run", "--device", "cpu", "--from", "none")
    assert done.status is ExitStatus.OK, done.err
    assert done.out.splitlines()[0].split(maxsplit=1) == ["labels", "deep, high, middle"]
    assert "corrections: 1 clip relabelled" in done.err


def test_a_table_in_a_folder_that_is_not_there_is_no_bug(contradicted, models):
    done = audiocnn("doubtful", "clips", "-m", models["softmax"], "-o", "nowhere/birds.tsv")
    assert "internal error" not in done.err
    assert done.status is ExitStatus.OK or (done.status is ExitStatus.USAGE and "nowhere" in done.err)
