"""--label-map, and messages of `evaluate` about the origin of labels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fixtures_cli import RATE, audiocnn, tone, tone_model  # noqa: F401
from sounds import write

from audiocnn.data.sources import read_source
from audiocnn.data.sources.settings import DataSettings
from audiocnn.errors import UsageError
from audiocnn.labels.formats import FORMATS
from audiocnn.labels.mapping import map_label, read_label_map
from audiocnn_cli.app.exits import ExitStatus


@pytest.fixture
def here(tmp_path, monkeypatch, tone_model):  # noqa: F811
    """Two recordings, of which somebody says when there is a beep, and a model that calls it a tone."""
    for name, spans in (("a", ((0.5, 1.0),)), ("b", ((0.3, 0.8), (1.2, 1.7)))):
        write(tmp_path / "in" / f"{name}.wav", tone(*spans), RATE)
        lines = "".join(f"{start}\t{end}\tbeep\n" for start, end in spans)
        (tmp_path / "in" / f"{name}.txt").write_text(lines)
    (tmp_path / "tone").symlink_to(tone_model)
    monkeypatch.chdir(tmp_path)
    return tmp_path


MAPS = {
    "talk=speech": {"talk": "speech"},
    "talk=speech,song=music": {"talk": "speech", "song": "music"},
    "talk,chat=speech": {"talk": "speech", "chat": "speech"},
    "a,b=x,c=y": {"a": "x", "b": "x", "c": "y"},
    "*=speech": {"*": "speech"},
    " two words = speech ": {"two words": "speech"},
    "a=b=c": {"a": "b=c"},
}


@pytest.mark.parametrize("text", MAPS)
def test_a_map_is_read(text):
    assert read_label_map(text) == MAPS[text]


@pytest.mark.parametrize("text", ["", "talk", "talk=", "=speech", ",talk=speech", "a=b,a=c", "a=b,c", "a=b,"])
def test_a_map_that_cannot_be(here, text):
    with pytest.raises(UsageError, match="--label-map cannot be"):
        read_label_map(text)
    done = audiocnn("evaluate", "in", "-m", "tone", f"--label-map={text}")
    assert done.status is ExitStatus.USAGE and len(done.err.splitlines()) == 1


def test_every_other_label_is_meant_by_a_star():
    found = {"talk": "speech", "*": "rest"}
    assert [map_label(one, found) for one in ("talk", "song", "rest")] == ["speech", "rest", "rest"]
    assert map_label("song", {"talk": "speech"}) == "song"


COMMANDS = {
    "evaluate": ("evaluate", "in", "-m", "tone", "--resamples", "0"),
    "tune": ("tune", "in", "-m", "tone"),
    "tune --operating-points": ("tune", "in", "-m", "tone", "--operating-points"),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("kind", ["audacity", "rttm", "textgrid", "csv", "jsonl", "elan"])
def test_labels_that_a_model_does_not_know_are_named_with_the_remedy(here, command, kind):
    if kind != "audacity":
        assert audiocnn("convert", "in", "--to", kind, "--output-dir", ".").status is ExitStatus.OK
        for path in Path("in").glob("*.txt"):
            path.unlink()
        for path in Path("in").glob("*.rttm"):  # with a confidence, as its names are labels
            path.write_text(path.read_text().replace("beep <NA>", "beep 0.9"))
    done = audiocnn(*COMMANDS[command])
    assert done.status is ExitStatus.USAGE and "--label-map beep=tone" in done.err
    done = audiocnn(*COMMANDS[command], "--label-map", "beep=tone")
    assert done.status is ExitStatus.OK, done.err
    assert f"in: labels from {kind} of 2 recordings" in done.err


@pytest.mark.parametrize("source", ["in", "in.csv", "in.toml", "folders"])
def test_every_source_gives_the_names_of_the_map(here, source):
    settings = DataSettings(Path(source), label_map={"beep": "tone"})
    if source == "in.csv":
        audiocnn("convert", "in", "-o", "in.csv")
    elif source == "in.toml":
        Path(source).write_text('[data]\nsource = "in"\nlabel_map = { beep = "tone" }\n')
        settings = Path(source)
    elif source == "folders":
        for name in ("beep", "noise"):
            write(here / "folders" / name / "x.wav", tone((0.1, 0.5)), RATE)
    items = read_source(settings).items
    labels = {label for item in items for label in item.all_labels()}
    assert labels == ({"tone", "noise"} if source == "folders" else {"tone"})


def test_ingest_and_train_and_a_recipe_know_it(here):
    done = audiocnn("ingest", "in", "-o", "set", "--label-map", "beep=tone", "--format", "json")
    assert json.loads(done.out)["labels"] == {"tone": 3}
    assert audiocnn("evaluate", "set", "-m", "tone", "--resamples", "0").status is ExitStatus.OK
    done = audiocnn("evaluate", "set", "-m", "tone", "--label-map", "beep=tone")
    assert done.status is ExitStatus.USAGE and "--label-map: set already has labels" in done.err
    Path("set.toml").write_text('[data]\nsource = "set"\nlabel_map = { beep = "tone" }\n')
    done = audiocnn("evaluate", "set.toml", "-m", "tone")
    assert done.status is ExitStatus.USAGE and "label_map" in done.err and "ingest" in done.err
    done = audiocnn("train", "in", "--label-map", "beep=tone", "--spec", "speech_1d", "--dry-run", "-o", "run")
    assert "beep" not in done.out + done.err and "tone" in done.out + done.err


@pytest.mark.parametrize("table", ['{ beep = "" }', "{ beep = 1 }"])
def test_a_map_of_a_recipe_that_cannot_be(here, table):
    Path("in.toml").write_text(f'[data]\nsource = "in"\nlabel_map = {table}\n')
    done = audiocnn("ingest", "in.toml", "-o", "set")
    assert done.status is ExitStatus.USAGE and '"label_map" must have a name for each label' in done.err


@pytest.mark.parametrize("kind", ["csv", "rttm", "jsonl", "textgrid"])
def test_convert_gives_the_names(here, kind):
    done = audiocnn("convert", "in", "--label-map", "beep=tone", "--to", kind, "--output-dir", "out")
    assert done.status is ExitStatus.OK
    text = "".join(path.read_text() for path in Path("out/in").iterdir())
    assert "tone" in text and "beep" not in text


@pytest.mark.parametrize("command", [("convert", "in", "--to", "csv"), ("ingest", "in", "-o", "set")])
def test_a_label_that_nothing_has_is_said(here, command):
    done = audiocnn(*command, "--label-map", "beap=tone")
    assert 'nothing is labelled "beap"; did you mean "beep"?' in done.err


# Where labels come from


def test_files_that_are_not_read_are_named(here):
    audiocnn("convert", "in", "--to", "rttm", "--output-dir", ".")
    done = audiocnn("evaluate", "in", "-m", "tone", "--label-map", "*=tone")
    assert (
        "in: labels from rttm of 2 recordings" in done.err
        and "not read" in done.err
        and "2 files of audacity" in done.err
    )
    assert "labels from" not in audiocnn("evaluate", "in", "-m", "tone", "-q").err


@pytest.mark.parametrize("kind", [name for name, one in FORMATS.items() if name not in ("srt", "vtt", "kaldi")])
def test_labels_of_detect_are_no_truth(here, kind):
    for path in Path("in").glob("*.txt"):
        path.unlink()
    assert audiocnn("detect", "in", "-m", "tone", "--output-dir", "in", "-f", kind).status is ExitStatus.OK
    done = audiocnn("evaluate", "in", "-m", "tone", "--resamples", "0", "--pad", "0.03")
    assert done.status is ExitStatus.OK, done.err
    assert "has no error for" in done.err and "`audiocnn detect` wrote these labels" in done.err
    assert ("labels were made by tone" in done.err) == (kind == "jsonl")


@pytest.mark.parametrize("options", [["--labels", "out.jsonl"], []])
def test_one_file_of_all_says_who_made_it(here, options):
    audiocnn("detect", "in", "-m", "tone", "-o", "out.jsonl", "--threshold", "0.3")
    done = audiocnn("evaluate", "in" if options else "out.jsonl", "-m", "tone", "--resamples", "0", *options)
    assert "labels from out.jsonl" in done.err and "labels were made by tone" in done.err


def test_labels_of_people_are_not_warned_of(here):
    Path("in/a.txt").write_text("0.4\t1.1\tbeep\n")
    done = audiocnn("evaluate", "in", "-m", "tone", "--resamples", "0", "--label-map", "beep=tone")
    assert "warning" not in done.err
