"""`audiocnn train FOLDER`, from nothing to a tested model: what is found, chosen, printed and saved."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import tomllib
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fixtures_cli import Stream, audiocnn, small_spec
from fixtures_models import SPECS, network_of, write_dataset, write_folder
from sounds import noise, sine, write

from audiocnn.audio.recording import read_samples
from audiocnn.data.dataset import Dataset
from audiocnn.data.duplicates import duplicates_of
from audiocnn.data.ingest import IngestSettings, cached_dataset
from audiocnn.data.sources import read_source
from audiocnn.data.sources.probe import lost_power, originals_of, take_evenly, with_several
from audiocnn.data.sources.settings import DataSettings
from audiocnn.errors import ModelError, UsageError
from audiocnn.model.export import export_onnx
from audiocnn.model.model import find_model
from audiocnn.recipe.choose import BACKBONE, BACKBONE_CLIPS, collect_clip_facts, describe_parts
from audiocnn.recipe.division import learned_labels
from audiocnn.recipe.recipe import Transfer
from audiocnn.spec.spec import spec_from_table
from audiocnn.training.train import train
from audiocnn.training.transfer import Origin, check_transfer
from audiocnn.workflows.judge import find_source, open_judged_dataset
from audiocnn.workflows.plan import (
    TrainingRequest,
    choose_recipe,
    find_run_recipe,
    fit_recipe,
    keep_labels,
    name_after_data,
)
from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.app.terminal import Terminal
from audiocnn_cli.io.listener import TerminalListener
from audiocnn_cli.main import command_of

RATE = 8000
SMALL = small_spec(1.0)
HERTZ = {"low": 300, "middle": 900, "high": 2700}


def sound(label, number, seconds=0.3, rate=RATE):
    """A tone of the label, each at a pitch of its own, in a little noise."""
    hiss = noise(seconds, rate, 100 * number + HERTZ[label]).astype(np.float32) / 32768.0
    return sine(HERTZ[label] * (1 + 0.01 * number), seconds, rate, 0.4) + 0.02 * hiss


def folder_of(root, clips, labels=tuple(HERTZ), rate=RATE):
    for label in labels:
        for number in range(clips):
            write(root / label / f"{number}.wav", sound(label, number, 0.25 + 0.01 * (number % 6), rate), rate)
    return root


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of one epoch on a folder of 16 clips a label, its home, and what was said."""
    home = tmp_path_factory.mktemp("own")
    folder_of(home / "sounds", 16)
    (home / "small.toml").write_text(SMALL)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setattr(
            "audiocnn.recipe.choose.DEFAULT_CLIP_SPEC", str(home / "small.toml")
        )  # the real one takes ten times as long
        done = audiocnn("train", "sounds", "--epochs", "1", "--device", "cpu")
    assert done.status is ExitStatus.OK, done.err
    return home, done


def terminal_of():
    """A terminal whose stderr can be looked at."""
    return Terminal(io.BytesIO(), Stream(False), Stream(False), {"COLUMNS": "100"})


def looked_at(data, tmp_path, request=TrainingRequest()):  # noqa: B008
    """What `train` would train, without the training: recipe, dataset, what was said."""
    terminal = terminal_of()
    request = dataclasses.replace(request, data=str(data), output=request.output or str(tmp_path / "run"))
    recipe, plain = choose_recipe(request)
    assert plain
    recipe, dataset = fit_recipe(recipe, tmp_path / "run", request, TerminalListener(terminal))
    return recipe, dataset, terminal.stderr.getvalue()


def test_it_says_what_it_found_chose_and_how_good_it_is(trained):
    _, done = trained
    said = done.err
    assert done.out == ""
    assert "found: 48 recordings, 13.1 s, 3 labels" in said
    assert "recordings of each: high 16, low 16, middle 16" in said
    assert "softmax: a clip has one label" in said
    assert "window: 0.3 s at 8000 Hz" in said
    assert "training: up to 1 epoch with each clip once" in said
    assert "6 for testing (15 % held out)" in said
    assert re.search(r"of 6 clips \(15 % held out\) not used in training, [0-6] are right \([01]\.\d\d\)", said)
    folds = "audiocnn train --recipe runs/sounds/recipe.toml --folds 5 -o runs/sounds-folds"
    assert f"6 clips give a rough estimate; `{folds}` tests on all 48, in about " in said
    order = [said.index(words) for words in ("not used in training", "to choose the epoch", "best epoch", "model: ")]
    assert order == sorted(order)
    assert "balanced accuracy" in said
    assert "macro F1" in said
    for verb in ("classify", "detect", "evaluate", "export"):
        assert f"audiocnn {verb} " in said


def test_the_card_has_the_result_of_the_test(trained):
    home, _ = trained
    right = json.loads((home / "runs/sounds/report.json").read_text())
    accuracy = (right[0] if isinstance(right, list) else right)["clip"]["figures"]["accuracy"]["value"]
    card = (home / "runs/sounds/model/README.md").read_text()
    validation, test = re.findall(r"^\| (?:validation|test): accuracy \| (.*) \|$", card, re.MULTILINE)
    assert float(validation) <= 1.0
    assert test.startswith(f"{accuracy:.4f}, 95 % interval ") and test.endswith("of 6 clips (15 % held out)")


def test_the_figures_of_held_out_clips_are_those_of_evaluate(trained, monkeypatch):
    home, done = trained
    monkeypatch.chdir(home)
    said = re.search(r"clips used to choose the epoch, so slightly optimistic: (.*)", done.err)[1]
    said = dict(one.rsplit(" ", 1) for one in said.split(", "))
    run = "runs/sounds"
    judged = audiocnn("evaluate", f"{run}/recipe.toml", "-m", run, "--split", "validation")
    figures = json.loads(judged.out)["clip"]["figures"]
    names = ("accuracy", "balanced_accuracy", "macro_f1")
    assert list(said.values()) == [f"{figures[name]['value']:.4f}" for name in names]


def test_the_run_has_model_report_and_the_recipe_in_full(trained):
    home, _ = trained
    run = home / "runs" / "sounds"
    assert {path.name for path in run.iterdir()} == {
        "recipe.toml", "run.json", "clips.tsv", "metrics.csv", "metrics.jsonl", "curves.png", "batch.png",
        "precision_recall.png", "checkpoints", "model", "report.json", "report.html", "confusion.png",
    }  # fmt: skip
    report = json.loads((run / "report.json").read_text())
    assert (report["model"], report["split"]) == ("sounds", "15 % held out")
    assert report["clip"]["clips"] == 6
    recipe = tomllib.loads((run / "recipe.toml").read_text())
    assert recipe["name"] == "sounds"
    assert recipe["spec"]["input"]["sample_rate"] == RATE
    assert (recipe["spec"]["f"]["window_seconds"], recipe["mix"]["seconds"]) == (0.3, 0.3)
    assert recipe["evaluate"]["test_share"] == 0.15


def test_the_kept_recipe_does_the_same_again(trained, tmp_path, monkeypatch):
    home, _ = trained
    monkeypatch.chdir(tmp_path)
    again = audiocnn("train", home / "runs" / "sounds" / "recipe.toml", "-o", "again", "--device", "cpu")
    assert again.status is ExitStatus.OK, again.err
    figures = [
        json.loads((run / "report.json").read_text())["clip"] for run in (home / "runs" / "sounds", Path("again"))
    ]
    assert figures[0] == figures[1]
    logs = [json.loads((run / "metrics.jsonl").read_text()) for run in (home / "runs" / "sounds", Path("again"))]
    assert logs[0]["loss"] == logs[1]["loss"]


def test_a_run_that_has_ended_is_left_alone(trained, monkeypatch):
    home, _ = trained
    monkeypatch.chdir(home)
    refused = audiocnn("train", "sounds", "--device", "cpu")
    assert refused.status is ExitStatus.USAGE
    assert "already contains a run; continue it with --resume" in refused.err
    done = audiocnn("train", "sounds", "--resume", "--device", "cpu")
    assert done.status is ExitStatus.OK, done.err
    assert "is finished" in done.err
    (Path("runs") / "sounds" / "report.json").rename("kept.json")  # killed before it was tested
    done = audiocnn("train", "sounds", "--resume", "--device", "cpu")
    assert done.status is ExitStatus.OK and "accuracy" in done.err, done.err


@pytest.mark.parametrize(("rate", "chosen"), [(8000, 8000), (11025, 11025), (16000, 16000), (44100, 16000)])
def test_the_rate_is_that_of_the_recordings(tmp_path, rate, chosen):
    recipe, dataset, said = looked_at(folder_of(tmp_path / "sounds", 3, rate=rate), tmp_path)
    assert recipe.spec.input.sample_rate == dataset.sample_rate == recipe.data.sample_rate == chosen
    assert f" s at {chosen} Hz" in said


def test_flags_override_what_would_be_chosen(tmp_path):
    learning = TrainingRequest(epochs=2, batch_size="4", sample_rate=6000, seed=5)
    recipe, dataset, _ = looked_at(folder_of(tmp_path / "sounds", 3), tmp_path, learning)
    assert (recipe.train.epochs, recipe.train.batch_size, recipe.seed) == (2, 4, 5)
    assert recipe.spec.input.sample_rate == dataset.sample_rate == 6000
    named = TrainingRequest(spec="conv_ab_2d", output=str(tmp_path / "named"))
    recipe, _, _ = looked_at(tmp_path / "sounds", tmp_path, named)
    assert (recipe.spec.name, recipe.spec.f.window_seconds, recipe.spec.input.sample_rate) == ("conv_ab_2d", 0.5, 16000)


def test_samples_kept_at_another_rate_are_kept_and_others_made_beside_them(tmp_path):
    folder_of(tmp_path / "sounds", 3)
    _, first, _ = looked_at(tmp_path / "sounds", tmp_path)
    _, second, _ = looked_at(tmp_path / "sounds", tmp_path, TrainingRequest(sample_rate=4000))
    assert (first.sample_rate, second.sample_rate) == (8000, 4000)
    assert first.folder != second.folder
    assert Dataset.open(first.folder).sample_rate == 8000


def test_a_dataset_gives_its_own_rate(tmp_path):
    folder_of(tmp_path / "sounds", 3)
    assert audiocnn("ingest", tmp_path / "sounds", "-o", tmp_path / "kept", "--sample-rate", "5000").status == 0
    recipe, dataset, _ = looked_at(tmp_path / "kept", tmp_path)
    assert (recipe.spec.input.sample_rate, dataset.folder) == (5000, tmp_path / "kept")


def test_segments_are_for_a_detector(tmp_path):
    rows = ["filename\tonset\toffset\tevent_label"]
    for number in range(2):
        write(tmp_path / f"{number}.wav", sound("low", number, 2.0), RATE)
        rows.append(f"{number}.wav\t0.5\t1.0\tlow")
    (tmp_path / "marks.tsv").write_text("\n".join(rows) + "\n")
    recipe, _, said = looked_at(tmp_path / "marks.tsv", tmp_path)
    assert recipe.spec.name == "speech_1d"
    assert "softmax" not in said and "a clip has" not in said


@pytest.mark.parametrize(
    ("rows", "output", "separator"),
    [
        (["0.wav\tlow", "1.wav\thigh"], "softmax", ""),
        (["0.wav\tlow", "0.wav\thigh", "1.wav\thigh"], "sigmoid", ""),
        (["0.wav\tlow;high", "1.wav\thigh"], "sigmoid", ";"),
    ],
)
def test_clips_of_several_labels_are_seen_to_have_them(tmp_path, rows, output, separator):
    for number in range(2):
        write(tmp_path / f"{number}.wav", sound("low", number), RATE)
    (tmp_path / "labels.tsv").write_text("\n".join(["filename\tlabel", *rows]) + "\n")
    recipe, _, _ = looked_at(tmp_path / "labels.tsv", tmp_path)
    assert (recipe.spec.f.output, recipe.data.separator) == (output, separator)
    assert recipe.data.labels_per_clip == ("several" if output == "sigmoid" else "one")


@pytest.mark.parametrize(
    ("cells", "per_clip", "separator"),
    [
        (("dog|cat", "", "dog"), "several", "|"),
        (("dog", "", "cat"), "several", ""),
        (("dog;cat", *["dog"] * 99), "several", ";"),
        (("", "", ""), "one", ""),  # which says why it cannot be read
    ],
)
def test_a_model_of_several_labels_is_judged_on_tables_that_may_have_several(tmp_path, cells, per_clip, separator):
    for number in range(len(cells)):
        (tmp_path / f"{number}.wav").touch()
    table = tmp_path / "labels.csv"
    table.write_text("\n".join(["filename,label", *(f"{k}.wav,{cell}" for k, cell in enumerate(cells))]) + "\n")
    source, part, recipe = find_source(str(table), "test", True)
    assert (source.labels_per_clip, source.separator, part, recipe) == (per_clip, separator, "test", None)


def test_a_table_with_segments_has_no_labels_of_clips(tmp_path):
    (tmp_path / "0.wav").touch()
    table = tmp_path / "labels.csv"
    table.write_text("filename,onset,offset,label\n0.wav,0.1,0.2,dog\n")
    assert find_source(str(table), None, True)[0].labels_per_clip == "one"


def test_a_recipe_whose_source_is_a_dataset_is_judged(tmp_path):
    dataset = write_dataset(
        tmp_path / "d",
        [(f"{k}.wav", sound("low", k), {"label": "low" if k % 2 else "high"}) for k in range(60)],
        RATE,
    )
    recipe, fixed = tmp_path / "r.toml", tmp_path / "fixed.csv"
    fixed.write_text("filename,label\n0.wav,-\n")
    recipe.write_text('spec = "sound_2d"\n[data]\nsource = "d"\ncorrections = "fixed.csv"\n')
    engines = [SimpleNamespace(channels=1, model=SimpleNamespace(answer="one", folder=tmp_path / "model"))]
    with open_judged_dataset(str(recipe), None, None, engines, [], None) as (found, part):
        assert (len(found.entries), found.folder, part) == (59, dataset.folder, None)
    with open_judged_dataset(str(recipe), "test", None, engines, [], None) as (found, part):
        assert (0 < len(found.entries) < 20, part) == (True, None)
    recipe.write_text('spec = "sound_2d"\n[data]\nsource = "d"\nsplit = "dev"\n')
    with open_judged_dataset(str(recipe), None, None, engines, [], None) as (found, part):
        assert (len(found.entries), part) == (60, "dev")


def test_two_labels_of_one_clip_in_a_hundred_are_a_slip_of_the_pen(tmp_path):
    rows = [f"{number}.wav\t{'low' if number % 2 else 'high'}" for number in range(100)] + ["0.wav\tlow"]
    for number in range(100):
        (tmp_path / f"{number}.wav").touch()
    (tmp_path / "labels.tsv").write_text("\n".join(["filename\tlabel", *rows]) + "\n")
    assert with_several(DataSettings(tmp_path / "labels.tsv")).labels_per_clip == "one"


@pytest.mark.parametrize(
    ("rows", "taken"),
    [
        (["0.wav\ta;b", "0.wav\tc", "1.wav\ta", "1.wav\tb", "2.wav\tc"], ";"),  # both ways
        (["0.wav\ta|b", "1.wav\ta", "2.wav\tb"], "|"),
        (["0.wav\ta", "0.wav\tb", "1.wav\ta", "2.wav\tb"], ""),
        (["0.wav\ta;", "0.wav\tb", "1.wav\ta", "2.wav\tb"], ";"),
        (["0.wav\ta", "1.wav\tb;", "2.wav\tb"], None),
    ],
)
def test_a_separator_of_labels_is_found_beside_several_rows(tmp_path, rows, taken):
    for number in range(3):
        (tmp_path / f"{number}.wav").touch()
    (tmp_path / "labels.tsv").write_text("\n".join(["filename\tlabel", *rows]) + "\n")
    found = with_several(DataSettings(tmp_path / "labels.tsv"))
    assert (found.labels_per_clip, found.separator) == (("one", "") if taken is None else ("several", taken))
    assert "a;b" not in {label for item in read_source(found).items for label in item.labels}


def test_a_few_clips_make_a_model_that_nobody_is_told_to_trust(tmp_path):
    recipe, dataset, said = looked_at(folder_of(tmp_path / "sounds", 4), tmp_path)
    assert "warning: 3 labels have fewer than 20 clips, the rarest 4 clips: enough to try things out" in said
    assert "to test on" not in said
    assert collect_clip_facts(dataset, recipe).clips == {"low": 4, "middle": 4, "high": 4}


def test_one_label_is_refused_in_one_line(tmp_path, monkeypatch):
    folder_of(tmp_path / "sounds", 2, ["low"])
    monkeypatch.chdir(tmp_path)
    done = audiocnn("train", "sounds", "--device", "cpu")
    assert done.status is ExitStatus.USAGE
    assert 'error: found only one label, "low": nothing to distinguish' in done.err
    assert not Path("runs/sounds").exists()


def test_what_only_ffmpeg_reads_is_said_to_be_left_out(tmp_path, monkeypatch):
    folder_of(tmp_path / "sounds", 3)
    (tmp_path / "sounds" / "low" / "video.m4a").write_bytes(b"0" * 100)
    monkeypatch.setattr("audiocnn.audio.find.find_program", lambda: None)
    _, dataset, said = looked_at(tmp_path / "sounds", tmp_path)
    assert "warning: 1 file is skipped (1 .m4a): only ffmpeg reads them" in said
    assert len(dataset.entries) == 9


def test_headers_say_the_rates_and_broken_files_none(tmp_path):
    folder_of(tmp_path / "sounds", 2)
    write(tmp_path / "sounds" / "low" / "stereo.wav", np.zeros((100, 2), np.float32), 44100)
    (tmp_path / "sounds" / "low" / "broken.wav").write_text("no audio")
    found = originals_of(DataSettings(tmp_path / "sounds"))
    assert found.rates == Counter({8000: 6, 44100: 1})
    assert found.channels == Counter({1: 6, 2: 1})
    assert not found.timed


@pytest.mark.parametrize(("count", "most", "taken"), [(0, 5, 0), (3, 5, 3), (10, 5, 5), (1001, 400, 400)])
def test_headers_are_read_evenly_spread(count, most, taken):
    paths = [Path(str(number)) for number in range(count)]
    found = take_evenly(paths, most)
    assert len(found) == len(set(found)) == taken
    if taken > 1:
        assert int(found[-1].name) >= count - 1 - count / taken


def test_groups_that_are_kept_together_are_said(tmp_path):
    from fixtures_models import recipe_of, write_dataset

    from audiocnn.recipe.division import divide

    def clips(grouped):
        for label in ("low", "high"):
            for number in range(30):
                more = {"group": f"g{number // 3}"} if grouped else {}
                yield f"{label}{number}.wav", sound(label, number, 0.2, 2000), {"label": label, **more}

    for grouped, said in ((True, "by group"), (False, "--group-pattern keeps a speaker")):
        dataset = write_dataset(tmp_path / str(grouped), clips(grouped))
        assert said in describe_parts(divide(dataset, dataclasses.replace(recipe_of(), data=None)), dataset)[1]


@pytest.mark.parametrize(
    ("splits", "share", "said"),
    [
        (("train",) * 3, 0.1, "split: clip by clip"),
        (("train", "test", "train"), 0.1, "split: validation part taken from the rest, clip by clip"),
        (("train", "val", "train"), 0.1, "split: validation part taken from the rest, clip by clip"),
        (("train", "test", "val"), 0.1, None),
        (("train", "test", "train"), 0.0, None),
    ],
)
def test_only_what_is_cut_here_is_said_to_be(tmp_path, splits, share, said):
    from fixtures_models import recipe_of, write_dataset

    from audiocnn.recipe.division import divide

    clips = [
        (f"{label}{n}.wav", sound(label, n, 0.2, 2000), {"label": label, "split": splits[n % 3]})
        for label in ("low", "high")
        for n in range(30)
    ]
    recipe = dataclasses.replace(recipe_of(), data=None)
    recipe = dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, validation_share=share))
    dataset = write_dataset(tmp_path / "d", clips)
    lines = describe_parts(divide(dataset, recipe), dataset)
    assert len(lines) == (1 if said is None else 2)
    assert said is None or lines[1].startswith(said)


def test_what_is_found_is_said(tmp_path):
    root = folder_of(tmp_path / "sounds", 6)
    for number in range(6, 24):
        write(root / "low" / f"{number}.wav", sound("low", number, 1.0, 16000), 16000)
    (root / "high" / "copy.wav").write_bytes((root / "low" / "8.wav").read_bytes())
    (root / "high" / "broken.wav").write_text("no audio")
    recipe, _, said = looked_at(root, tmp_path)
    assert "found: 37 recordings" in said
    assert "19 16000 Hz, 18 8000 Hz" in said or "16000 Hz" in said
    assert "refused: 1 file, such as high/broken.wav" in said
    assert "has 4 times as many recordings as the rarest" in said
    assert "labels are drawn equally often" in said
    assert recipe.train.balance == "sampling"


@pytest.mark.parametrize(
    ("data", "name"), [("sounds", "sounds"), ("kept.dataset", "kept"), ("labels.tsv", "labels"), ("v1.2", "v1.2")]
)
def test_a_model_is_called_as_its_data(tmp_path, data, name):
    path = tmp_path / data
    path.touch() if path.suffix == ".tsv" else path.mkdir()
    assert name_after_data(path) == name
    assert find_run_recipe(str(path), TrainingRequest()) == Path("runs") / name / "recipe.toml"
    assert find_run_recipe(None, TrainingRequest(output="run")) == Path("run/recipe.toml")
    assert find_run_recipe(None, TrainingRequest()) is None


def test_the_guide_names_commands_and_options_that_are_there():
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "own-sounds.md").read_text(encoding="utf-8")
    lines = re.findall(r"(?m)^ {4,}audiocnn (\w+)(.*?)(?: {2,}#.*)?$", page)
    assert {verb for verb, _ in lines} >= {"train", "classify", "detect", "evaluate", "export"}
    for verb, rest in lines:
        options = {option for param in command_of(verb).params for option in param.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= options, f"audiocnn {verb}{rest}"
    of_train = {option for param in command_of("train").params for option in param.opts}
    for option in set(re.findall(r"`(--[a-z-]+)", page)):
        assert option in of_train, option


def test_a_folder_of_other_sounds_is_no_label_but_learned(tmp_path):
    folder_of(tmp_path / "sounds", 20)
    for name, number in (("Noise", 5), ("_background_noise_", 2)):
        for k in range(number):
            write(tmp_path / "sounds" / name / f"{k}.wav", noise(0.5, RATE, k).astype(np.float32) / 32768.0, RATE)
    recipe, dataset, said = looked_at(tmp_path / "sounds", tmp_path)
    facts = collect_clip_facts(dataset, recipe)
    assert facts.clips == {"low": 20, "middle": 20, "high": 20}
    assert facts.others == {"Noise": 5, "_background_noise_": 2}
    assert "a clip has one label, or none of them" in said
    assert '7 clips of "Noise", "_background_noise_" count as this' in said
    assert learned_labels(dataset, recipe) == ("high", "low", "middle")
    assert recipe.mix.nothing_share > 0


# What few clips begin with


@pytest.mark.parametrize(
    ("clips", "rate", "run", "begins"),
    [
        pytest.param(12, 16000, TrainingRequest(), True, marks=pytest.mark.long),
        pytest.param(12, 44100, TrainingRequest(), True, marks=pytest.mark.long),  # heard at 16 kHz
        (BACKBONE_CLIPS, 16000, TrainingRequest(), False),  # enough to learn all of it from them
        (12, 8000, TrainingRequest(), False),  # its groups know 16 kHz
        (12, 16000, TrainingRequest(source="none"), False),
        (12, 16000, TrainingRequest(spec="lenet5"), False),  # a network that a person named
    ],
)
def test_few_clips_begin_with_a_model_that_knows_many_sounds(clips, rate, run, begins, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder_of(tmp_path / "sounds", clips, ["low", "high"], rate)  # a folder of its name is no model
    recipe, dataset, said = looked_at("sounds", tmp_path, run)
    assert (recipe.transfer is not None) is begins
    assert ("weights: start from sounds" in said) is begins
    if begins:
        assert recipe.transfer.model == BACKBONE
        assert check_transfer(recipe).name == BACKBONE
        assert recipe.spec.f.window_seconds == 0.3  # that of the clips
        assert recipe.spec.f.background
        *_, origin = (
            report for report in train(one_step(recipe), dataset, tmp_path / "run") if isinstance(report, Origin)
        )
        assert origin.groups == ("A", "B", "C", "D")
        assert (origin.frozen, origin.new, origin.f) == ((), (), "new")


def one_step(recipe):
    changed = dataclasses.replace(recipe.train, epochs=1, examples_per_epoch=recipe.train.batch_size)
    return dataclasses.replace(recipe, train=changed)


def test_a_recipe_that_begins_with_a_model_may_be_told_to_begin_with_none(tmp_path):
    (tmp_path / "a.toml").write_text('name = "a"\nspec = "sound_2d"\n[train]\nfrom = "sounds"\n')
    assert choose_recipe(TrainingRequest(str(tmp_path / "a.toml")))[0].transfer == Transfer("sounds")
    assert choose_recipe(TrainingRequest(str(tmp_path / "a.toml"), source="none"))[0].transfer is None


def test_a_label_called_noise_can_be_kept(tmp_path):
    folder_of(tmp_path / "sounds", 20, ["low", "high"])
    for k in range(20):
        write(tmp_path / "sounds" / "noise" / f"{k}.wav", noise(0.5, RATE, k).astype(np.float32) / 32768.0, RATE)
    request = TrainingRequest(str(tmp_path / "sounds"), output=str(tmp_path / "run"), keep_label=["noise"])
    recipe, _ = choose_recipe(request)
    recipe, dataset = fit_recipe(recipe, tmp_path / "run", request, TerminalListener(terminal_of()))
    assert learned_labels(dataset, recipe) == ("high", "low", "noise")
    with pytest.raises(UsageError, match='--keep-label nois: no recording has this label; did you mean "noise"'):
        keep_labels(recipe, dataset, ["nois"])


def test_one_label_beside_other_sounds_is_enough(tmp_path):
    folder_of(tmp_path / "sounds", 20, ["low"])
    folder_of(tmp_path / "more", 20, ["high"])
    (tmp_path / "more" / "high").rename(tmp_path / "sounds" / "other")
    recipe, dataset, _ = looked_at(tmp_path / "sounds", tmp_path)
    assert learned_labels(dataset, recipe) == ("low",)
    assert recipe.spec.with_classes(1).f.output == "sigmoid"


@pytest.mark.long
def test_a_model_that_must_choose_is_said_to(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.wav", sound("low", 1), 2000)
    plain = SPECS["valid_2d"]
    for name, background in (("plain", False), ("other", True)):
        table = {**plain, "f": {**plain["f"], "output": "softmax", "background": background}}
        network = network_of(spec_from_table(table, name, 3))
        export_onnx(write_folder(network, tmp_path / name, name, labels=("low", "middle", "high")), network)
        done = audiocnn("detect", "a.wav", "-m", name)
        assert done.status is ExitStatus.OK
        said = f"warning: {name} assigns one of its labels to every sound" in done.err
        assert said != background
        assert bool(done.err) != background


def chirps(root, each, rate, seconds, pulse_seconds, hertz):
    """Clips of soft noise with a few pulses of one pitch at random times, in a folder for each pitch."""
    random = np.random.default_rng(0)
    for label, pitch in hertz.items():
        for number in range(each):
            samples = random.normal(0, 0.003, round(seconds * rate)).astype(np.float32)
            for _ in range(random.integers(2, 5)):
                count = round(random.uniform(0.6, 1.2) * pulse_seconds * rate)
                start = int(random.integers(len(samples) - count))
                turns = np.cumsum(pitch * random.uniform(0.97, 1.03) * np.linspace(1.05, 0.95, count)) / rate
                samples[start : start + count] += (0.1 * np.sin(2 * np.pi * turns) * np.hanning(count)).astype(
                    np.float32
                )
            write(root / label / f"{number}.wav", samples, rate)
    return root


BATS = {"rate": 250_000, "seconds": 0.4, "pulse_seconds": 0.006, "hertz": {"noctule": 40_000, "pipistrelle": 55_000}}
WHALES = {"rate": 200, "seconds": 12.0, "pulse_seconds": 1.2, "hertz": {"fin": 20, "minke": 45}}


def test_bands_and_window_follow_the_rate(tmp_path):
    learning = TrainingRequest(sample_rate=250_000)
    recipe, dataset, _ = looked_at(chirps(tmp_path / "bats", 3, **BATS), tmp_path / "a", learning)
    settings = recipe.spec.input
    assert (settings.sample_rate, settings.high_hertz) == (250_000, pytest.approx(0.475 * 250_000))
    assert settings.hop_seconds == pytest.approx(0.01 * 48 / 250)
    assert recipe.spec.f.window_seconds == pytest.approx(2.0 * 48 / 250)
    recipe, dataset, said = looked_at(chirps(tmp_path / "whales", 3, **WHALES), tmp_path / "b")
    settings = recipe.spec.input
    assert (settings.sample_rate, settings.low_hertz, settings.high_hertz) == (200, pytest.approx(2.5), 100)
    assert settings.hop_seconds == pytest.approx(0.2)
    assert recipe.spec.f.window_seconds == pytest.approx(12.0)
    assert "same sound" not in said
    assert not duplicates_of(dataset, dataset.entries)


def test_copies_are_found_at_any_rate(tmp_path):
    for name, task in (("bats", BATS), ("whales", WHALES)):
        folder = chirps(tmp_path / name, 4, **task)
        label = next(iter(task["hertz"]))
        samples, rate = read_samples(folder / label / "0.wav")
        write(folder / label / "again.wav", 0.5 * samples[0, rate // 50 :], rate)
        dataset = cached_dataset(folder, tmp_path / f"{name}.dataset", IngestSettings(sample_rate=rate))
        found = [sorted(entry.filename for entry in dataset.entries if entry.id in twins.ids)
                 for twins in duplicates_of(dataset, dataset.entries)]  # fmt: skip
        assert found == [[f"{label}/0.wav", f"{label}/again.wav"]], name


def test_what_is_lost_by_the_rate_is_said(tmp_path):
    _, _, said = looked_at(chirps(tmp_path / "bats", 3, **BATS), tmp_path / "a")
    assert re.search(r'warning: (9\d|100) % of the power of "\w+" lies above 8000 Hz, .*'
                     r"--sample-rate (128000|192000)", said)  # fmt: skip
    _, _, said = looked_at(folder_of(tmp_path / "sounds", 3, rate=44100), tmp_path / "b")
    assert "lies above" not in said


def test_no_power_is_lost_where_nothing_is_heard(tmp_path):
    write(tmp_path / "sounds" / "a" / "silent.wav", np.zeros(44100, np.float32), 44100)
    write(tmp_path / "sounds" / "a" / "short.wav", np.ones(10, np.float32), 44100)
    (tmp_path / "sounds" / "a" / "broken.wav").write_text("no audio")
    assert lost_power(DataSettings(tmp_path / "sounds"), 16000) is None


@pytest.mark.long
@pytest.mark.parametrize(
    ("task", "options"), [(BATS, ("--sample-rate", "250000")), (WHALES, ())], ids=["bats", "whales"]
)
def test_bats_and_whales_are_told_apart(tmp_path, task, options):
    chirps(tmp_path / "sounds", 40, **task)
    done = audiocnn("train", tmp_path / "sounds", "-o", tmp_path / "run", "--device", "cpu", *options)
    assert done.status is ExitStatus.OK, done.err
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["clip"]["figures"]["accuracy"]["value"] == 1.0


def test_a_run_that_has_ended_says_so_in_one_line(trained, monkeypatch):
    home, _ = trained
    monkeypatch.chdir(home)
    done = audiocnn("train", "sounds", "--resume", "--device", "cpu")
    assert (done.status, done.out, done.err.count("\n")) == (ExitStatus.OK, "", 1)
    assert "runs/sounds: is finished (best epoch 1 of 1); --epochs with more than 1 " in done.err


def test_folds_are_tried_before_they_are_trained(trained, monkeypatch):
    home, _ = trained
    monkeypatch.chdir(home)
    made = sorted(path.name for path in Path("runs").iterdir())
    done = audiocnn("train", "sounds", "--folds", "3", "--dry-run", "--device", "cpu", "--spec", "small.toml")
    assert done.status is ExitStatus.OK, done.err
    assert "3 trainings; of fold-3:" in done.err and done.out.endswith("nothing was written\n")
    assert sorted(path.name for path in Path("runs").iterdir()) == made


@pytest.mark.parametrize("wrong", ["mine", "runs/mina", "runs/min"])
def test_a_wrong_name_suggests_the_runs_beside(tmp_path, monkeypatch, wrong):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "mine" / "model").mkdir(parents=True)
    (tmp_path / "runs" / "mine" / "model" / "model.toml").write_text("")
    with pytest.raises(ModelError, match=r'did you mean "runs/mine"'):
        find_model(wrong)
    done = audiocnn("classify", "a.wav", "-m", wrong)
    assert done.status is ExitStatus.USAGE and 'did you mean "runs/mine"' in done.err


def test_recordings_without_labels_can_be_labelled_on_a_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "new ones" / "a.wav", sound("low", 0), RATE)
    done = audiocnn("train", "new ones")
    assert done.status is ExitStatus.USAGE and "`audiocnn review 'new ones'`" in done.err
