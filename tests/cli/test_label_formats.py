"""Every annotation format with every command that reads annotated recordings: all read what `detect` writes."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pytest
import torch
from fixtures_cli import RATE, TONE, audiocnn, tone_model  # noqa: F401
from sounds import write

from audiocnn.data.dataset import Dataset
from audiocnn.labels.formats import FORMATS, READERS
from audiocnn.model.export import export_onnx
from audiocnn.model.model import WEIGHTS, Model, find_model, write_model
from audiocnn.model.network import Network
from audiocnn.model.weights import save_weights
from audiocnn.spec.spec import spec_from_table
from audiocnn_cli.app.exits import ExitStatus

TONES = {"dog": 1000, "cat": 2000}  # Hz
SPANS = {"dog": (0.5, 1.2), "cat": (1.5, 2.3)}
SPEC = """
[input]
features = "log_mel"
sample_rate = 8000
mels = 8
[[groups]]
name = "A"
layers = [{ conv = 4, kernel = 3 }]
[f]
window_seconds = 0.15
"""
RAVEN = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)"
COMMANDS = ("ingest", "train", "evaluate", "tune")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model that hears two tones, each with a bin of a spectrum of its own."""
    layers = [{"conv": 2, "kernel": 1, "activation": "sigmoid"}]
    network = Network(spec_from_table({**TONE, "groups": [{"name": "A", "layers": layers}]}, "two", 2)).eval()
    half = math.log((0.3 * 200 / 4) ** 2 / 4)
    with torch.no_grad():
        conv, dense = (module for module in network.modules() if isinstance(module, torch.nn.Conv1d))
        for layer in (conv, dense):
            layer.weight.zero_()
        for k, hertz in enumerate(TONES.values()):
            conv.weight[k, hertz * 200 // RATE] = 4.0
            dense.weight[k, k] = 20.0 / dense.weight.shape[-1]
        conv.bias.fill_(-4.0 * half)
        dense.bias.fill_(-10.0)
    folder = tmp_path_factory.mktemp("models") / "two"
    found = Model("two", folder, network.spec, tuple(TONES), dict.fromkeys(TONES, 0.5))
    write_model(found)
    save_weights(network, folder / WEIGHTS)
    export_onnx(found, network)
    (folder / "tiny.toml").write_text(SPEC)
    return folder


def sounds(folder, count=4):
    """Recordings of 3 s with both tones."""
    times = np.arange(3 * RATE) / RATE
    for number in range(count):
        samples = np.random.default_rng(number).normal(0, 0.002, len(times))
        for label, (start, end) in SPANS.items():
            inside = (times >= start) & (times < end)
            samples += np.where(inside, 0.3 * np.sin(2 * np.pi * TONES[label] * times), 0.0)
        write(folder / f"a{number}.wav", samples.astype(np.float32), RATE)
    return folder


def clips(folder, count=6):
    """Recordings of 1 s of one tone each, those of `dog` first."""
    times = np.arange(RATE) / RATE
    for label, hertz in TONES.items():
        for number in range(count):
            write(folder / f"{label}{number}.wav", (0.3 * np.sin(2 * np.pi * hertz * times)).astype(np.float32), RATE)
    return folder


@pytest.fixture(scope="module")
def heard(tmp_path_factory, model):
    """`heard(format)` -> what `detect` wrote in it of recordings, which lie there: a file, or a folder of files."""
    root = tmp_path_factory.mktemp("heard")
    sounds(root / "sounds")
    made = {}

    def of(name):
        if name not in made:
            folder = root / name
            shutil.copytree(root / "sounds", folder)
            many = FORMATS[name].many
            made[name] = folder / f"all{FORMATS[name].suffixes[0]}" if many else folder
            where = ("-o", made[name]) if many else ("--output-dir", folder)
            done = audiocnn("detect", folder, "-m", model, "-f", name, *where)
            assert done.status is ExitStatus.OK, done.err
        return made[name]

    return of


def read_by(command, source, model, output, *options):
    """A command that reads labels, on what needs the least time."""
    more = {
        "ingest": ("-o", output / "dataset"),
        "train": ("--spec", model / "tiny.toml", "-o", output / "run", "--dry-run"),
        "evaluate": ("-m", model, "--resamples", 0, "-f", "json"),
        "tune": ("-m", model, "-f", "json", "--threshold", 0.5),
    }
    return audiocnn(command, source, *more[command], *options)


def labels_said(command, done):
    """The labels that a command says to have read."""
    if command == "train":
        line = next(line for line in done.out.splitlines() if line.startswith("labels"))
        return set(line.removeprefix("labels").strip().split(", "))
    records = [json.loads(line) for line in done.out.splitlines()]
    if command == "tune":
        return {record["label"] for record in records}
    return set(records[0]["labels"] or (records[0].get("clip") or {}).get("labels", ()))


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", FORMATS)
def test_every_command_reads_what_detect_writes(heard, model, tmp_path, name, command):
    done = read_by(command, heard(name), model, tmp_path)
    assert done.status is ExitStatus.OK, done.err
    assert labels_said(command, done) == set(TONES)
    if command == "ingest":
        dataset = Dataset.open(tmp_path / "dataset")
        assert len(dataset.entries) == 4
        for entry in dataset.entries:
            found = {note.label: (note.onset, note.offset) for note in dataset.annotations(entry)}
            assert found == {label: pytest.approx(span, abs=0.06) for label, span in SPANS.items()}
    if command == "evaluate":
        assert all(one["figures"]["f1"]["value"] > 0.9 for one in json.loads(done.out)["labels"].values())


@pytest.mark.parametrize("name", FORMATS)
def test_labels_that_lie_elsewhere(heard, model, tmp_path, name):
    source = heard(name)
    shutil.copytree(source if source.is_dir() else source.parent, tmp_path / "sounds")
    (tmp_path / "labels").mkdir()
    for path in list((tmp_path / "sounds").iterdir()):
        if path.suffix != ".wav":
            path.rename(tmp_path / "labels" / path.name)
    labels = tmp_path / "labels" if source.is_dir() else tmp_path / "labels" / source.name
    done = read_by("ingest", tmp_path / "sounds", model, tmp_path, "--labels", labels)
    assert done.status is ExitStatus.OK, done.err
    dataset = Dataset.open(tmp_path / "dataset")
    assert dataset.labels == tuple(sorted(TONES))
    assert [len(dataset.annotations(entry)) for entry in dataset.entries] == [2] * 4


@pytest.mark.parametrize("command", COMMANDS)
def test_labels_elsewhere_in_every_command(heard, model, tmp_path, command):
    sounds(tmp_path / "sounds")
    done = read_by(command, tmp_path / "sounds", model, tmp_path, "--labels", heard("jsonl"))
    assert done.status is ExitStatus.OK, done.err
    assert labels_said(command, done) == set(TONES)
    done = read_by(command, tmp_path / "sounds", model, tmp_path, "--labels", tmp_path / "nowhere")
    assert done.status is ExitStatus.USAGE
    assert "--labels" in done.err


@pytest.mark.long
def test_a_training_by_labels_of_a_detector(heard, model, tmp_path):
    """The whole way once; `--dry-run` goes it up to the first step in every format."""
    train = "epochs = 1\nexamples_per_epoch = 16\nbatch_size = 8\nvalidation_examples = 8\nworkers = 0\n"
    recipe = tmp_path / "recipe.toml"
    text = f'spec = "{model / "tiny.toml"}"\n[data]\nsource = "{heard("nemo")}"\n[mix]\nseconds = 1.5\n[train]\n{train}'
    recipe.write_text(text)
    done = audiocnn("train", "--recipe", recipe, "-o", tmp_path / "run")
    assert done.status is ExitStatus.OK, done.err
    assert find_model(tmp_path / "run").labels == tuple(sorted(TONES))


# Raven


def raven(folder, columns, rows, file="a{}.Table.1.selections.txt"):
    """Selections beside four recordings: both tones, with the cells of `rows` for each."""
    sounds(folder)
    for number in range(4):
        lines = ["\t".join([RAVEN, *columns])]
        for one, (label, (start, end)) in enumerate(SPANS.items(), 1):
            lines.append("\t".join([str(one), "Spectrogram 1", "1", str(start), str(end), "0", "4000", *rows[label]]))
        (folder / file.format(number)).write_text("\n".join(lines) + "\n")
    return folder


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("column", ["species", "Type", "Wort"])
def test_the_only_column_with_texts_is_the_label_and_that_is_said(model, tmp_path, command, column):
    folder = raven(tmp_path / "raven", [column, "Count"], {label: (label, "3") for label in TONES})
    done = read_by(command, folder, model, tmp_path)
    assert done.status is ExitStatus.OK, done.err
    assert labels_said(command, done) == set(TONES)
    assert done.err.count(f'column "{column}"') == 1


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("file", ["a{}.selections.txt", "a{}.Table.1.selections.txt"])
def test_several_columns_with_texts_are_asked_about(model, tmp_path, command, file):
    rows = {"dog": ("dog", "call"), "cat": ("cat", "song")}
    folder = raven(tmp_path / "raven", ["species", "Type"], rows, file)
    done = read_by(command, folder, model, tmp_path)
    assert done.status is ExitStatus.USAGE
    assert all(word in done.err for word in ('"species"', '"Type"', "--label-column"))
    assert "speech" not in done.out
    done = read_by(command, folder, model, tmp_path, "--label-column", "SPECIES")
    assert done.status is ExitStatus.OK, done.err
    assert labels_said(command, done) == set(TONES)
    done = read_by(command, folder, model, tmp_path / "other", "--label-column", "kind")
    assert done.status is ExitStatus.USAGE
    assert '"kind"' in done.err


def test_a_table_of_raven_without_a_label_is_an_error(model, tmp_path):
    done = read_by("ingest", raven(tmp_path / "raven", ["Count"], dict.fromkeys(TONES, ("3",))), model, tmp_path)
    assert done.status is ExitStatus.USAGE
    assert "no label column" in done.err and "Count" in done.err and "--label-column" in done.err
    rows = {"dog": ("dog",), "cat": ("",)}
    done = read_by("ingest", raven(tmp_path / "raven", ["species"], rows), model, tmp_path)
    assert done.status is ExitStatus.USAGE
    assert ":3: found nothing, expected a label" in done.err


def test_tables_of_raven_are_read_alike(model, tmp_path):
    folder = raven(tmp_path / "raven", ["species"], {label: (label,) for label in TONES})
    odd = folder / "a3.Table.1.selections.txt"
    odd.write_text(odd.read_text().replace("species", "Type"))
    done = read_by("ingest", folder, model, tmp_path)
    assert done.status is ExitStatus.SOME_FAILED
    assert all(word in done.err for word in ('"species"', '"Type"', "--label-column"))


def test_convert_and_split_take_the_column_too(tmp_path):
    rows = {"dog": ("dog", "call"), "cat": ("cat", "song")}
    folder = raven(tmp_path / "raven", ["species", "Type", "Who"], {k: (*v, "me") for k, v in rows.items()})
    table = folder / "a0.Table.1.selections.txt"
    done = audiocnn("convert", table, "--to", "csv")
    assert done.status is ExitStatus.USAGE
    assert "--label-column" in done.err
    done = audiocnn("convert", table, "--to", "csv", "--label-column", "species")
    assert done.status is ExitStatus.OK
    assert [line.split(",")[4] for line in done.out.splitlines()[1:]] == ["dog", "cat"]
    cut = ("split", folder / "a0.wav", "--output-dir", tmp_path / "cuts", "--labels", table)
    assert audiocnn(*cut).status is ExitStatus.USAGE
    assert audiocnn(*cut, "--label-column", "Type").status is ExitStatus.OK
    assert sorted(path.name for path in (tmp_path / "cuts").iterdir() if "call" in path.name or "song" in path.name)


# Names that may be speakers


@pytest.mark.parametrize("command", COMMANDS)
def test_names_in_rttm_are_speakers_unless_they_are_labels(model, tmp_path, command):
    folder = sounds(tmp_path / "sounds")
    rows = [
        f"SPEAKER a{number} 1 {start} {end - start:.2f} <NA> <NA> {label} <NA> <NA>"
        for number in range(4)
        for label, (start, end) in SPANS.items()
    ]
    (folder / "all.rttm").write_text("\n".join(rows) + "\n")
    done = read_by(command, folder, model, tmp_path)
    if command in ("evaluate", "tune"):
        assert (done.status, "speech" in done.err) == (ExitStatus.USAGE, True)
    else:
        assert labels_said(command, done) == {"speech"}
    assert "--label-column name" in done.err
    done = read_by(command, folder, model, tmp_path, "--label-column", "name")
    assert done.status is ExitStatus.OK, done.err
    assert labels_said(command, done) == set(TONES)


@pytest.mark.parametrize("name", [name for name in READERS if name not in ("raven", "rttm", "csv", "tsv", "dcase")])
def test_a_column_is_named_only_where_there_are_some(heard, model, tmp_path, name):
    done = read_by("ingest", heard(name), model, tmp_path, "--label-column", "label")
    assert done.status is ExitStatus.USAGE
    assert "--label-column" in done.err


# What a model does not know


def table_of(folder, names, header="filename,label"):
    path = folder / "clips.csv"
    path.write_text("\n".join([header, *(f"{file},{label}" for file, label in names.items())]) + "\n")
    return path


@pytest.mark.parametrize("command", ["evaluate", "tune"])
def test_a_label_that_the_model_does_not_know_is_said_first(heard, model, tmp_path, command):
    folder = tmp_path / "sounds"
    shutil.copytree(heard("csv").parent, folder)
    (folder / "all.csv").write_text(
        (folder / "all.csv").read_text() + "a0.wav,0,2.5,2.7,horse,\na1.wav,0,2.5,2.6,cow,\n"
    )
    done = read_by(command, folder / "all.csv", model, tmp_path)
    assert done.status is ExitStatus.OK, done.err
    (line,) = [line for line in done.err.splitlines() if "unknown to" in line]
    assert '2 labels unknown to two, not evaluated: "cow" (1), "horse" (1)' in line
    if command == "evaluate":
        assert json.loads(done.out)["unknown_labels"] == {"cow": 1, "horse": 1}


@pytest.mark.parametrize("command", ["evaluate", "tune"])
@pytest.mark.parametrize("timed", [True, False])
def test_figures_that_stand_on_no_label_are_an_error(heard, model, tmp_path, command, timed):
    if timed:
        folder = tmp_path / "sounds"
        shutil.copytree(heard("csv").parent, folder)
        data = folder / "all.csv"
        data.write_text(data.read_text().replace("dog", "Dog").replace("cat", "horse"))
    else:
        clips(tmp_path)
        data = table_of(tmp_path, {f"{label}{k}.wav": f"{label}s" for label in TONES for k in range(3)})
    done = read_by(command, data, model, tmp_path)
    assert (done.status, done.out) == (ExitStatus.USAGE, "")
    assert all(word in done.err for word in ("no label that two knows", "did you mean"))
    assert str(data) in done.err
    *where, error = done.err.splitlines()
    assert error.startswith("audiocnn: error: ") and where == [f"{data}: labels from {data}"]


def test_what_is_called_background_is_none_of_the_labels(tone_model, tmp_path):  # noqa: F811
    clips(tmp_path)
    data = table_of(tmp_path, {f"cat{k}.wav": "other" for k in range(3)})
    done = audiocnn("evaluate", data, "-m", tone_model, "--resamples", 0, "-f", "json")
    assert done.status is ExitStatus.OK, done.err
    found = json.loads(done.out)["clip"]
    assert found["figures"]["accuracy"]["value"] == 1.0
    assert found["labels"]["tone"]["figures"]["f1"]["value"] is None


def test_silence_alone_is_judged_by_its_false_alarms(model, tmp_path):
    write(tmp_path / "a.wav", np.zeros(2 * RATE, np.float32), RATE)
    write(tmp_path / "b.wav", np.zeros(2 * RATE, np.float32), RATE)
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text("")
    done = audiocnn("evaluate", tmp_path, "-m", model, "--resamples", 0, "-f", "json")
    assert done.status is ExitStatus.OK, done.err
    figures = {name: one["value"] for name, one in json.loads(done.out)["labels"]["dog"]["figures"].items()}
    assert figures["false_alarm_rate"] == 0.0
    alone = ("false_alarm_rate", "false_segment_share", "calibration_error")
    assert {name: value for name, value in figures.items() if name not in alone} == dict.fromkeys(
        name for name in figures if name not in alone
    )
