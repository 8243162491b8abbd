"""A label whose files all fail is reported with its files; the other labels are trained and evaluated."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from fixtures_cli import audiocnn, tone_model  # noqa: F401
from sounds import as_bytes, sine, write

from audiocnn.data.dataset import Dataset
from audiocnn_cli.app.exits import ExitStatus

RATE = 8000
WHOLE = as_bytes(sine(500, 0.3, RATE), RATE, "WAV")
BROKEN = {
    "empty": b"",
    "no audio": b"no sound at all" * 20,
    "no samples": as_bytes(np.zeros(0, np.float32), RATE, "WAV"),
    "half a header": WHOLE[:20],
    "not a number": as_bytes(np.full(100, np.nan, np.float32), RATE, "WAV", "FLOAT"),
    "a link": None,
}
SPEC = """
[input]
features = "log_mel"
mels = 12
sample_rate = 8000
[[groups]]
name = "A"
layers = [{ conv = 4, kernel = 3 }, { global = "average" }]
[f]
window_seconds = 0.3
output = "softmax"
"""


def make(root: Path, good: tuple[str, ...], kind: str = "empty") -> Path:
    """Folders of labels: good ones of six clips, and one, "lost", of three that cannot be read."""
    for label in good:
        for number in range(6):
            write(root / label / f"{number}.wav", sine(300 + 200 * good.index(label) + number, 0.3, RATE), RATE)
    (root / "lost").mkdir(parents=True)
    for number in range(3):
        place = root / f"lost/{number}.wav"
        if BROKEN[kind] is None:
            place.symlink_to("/nowhere/x.wav")
        else:
            place.write_bytes(BROKEN[kind])
    return root


def table_of(root: Path) -> Path:
    rows = [f"{path.relative_to(root).as_posix()},{path.parent.name}" for path in sorted(root.glob("*/*.wav"))]
    (root / "table.csv").write_text("\n".join(["filename,label", *rows]) + "\n")
    return root / "table.csv"


def segments_of(root: Path) -> Path:
    """The same as segments in recordings, by files of labels beside them."""
    for path in root.glob("*/*.wav"):
        path.with_suffix(".txt").write_text(f"0.05\t0.2\t{path.parent.name}\n")
    return root


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "small.toml").write_text(SPEC)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("kind", BROKEN)
def test_every_way_to_fail_is_named(here, kind):
    done = audiocnn("ingest", make(here / "in", ("a", "b"), kind), "-o", "dataset", "-f", "json")
    assert done.status is ExitStatus.SOME_FAILED, done.err
    assert all(f"refused: lost/{number}.wav: " in done.err for number in range(3))
    assert ('"lost"' if kind != "a link" else "lost/: a label folder without recordings") in done.err
    dataset = Dataset.open("dataset")
    assert dataset.labels == ("a", "b") and len(dataset.entries) == 12
    assert json.loads(done.out)["labels"] == {"a": 6, "b": 6}


@pytest.mark.parametrize("source", [Path, table_of, segments_of])
def test_ingest_names_the_label_and_forgets_it_when_it_is_mended(here, source):
    data = source(make(here / "in", ("a", "b")))
    done = audiocnn("ingest", data, "-o", "dataset")
    fact = 'label "lost": none of its 3 files can be read (lost/0.wav, lost/1.wav, lost/2.wav)'
    assert done.status is ExitStatus.SOME_FAILED and done.err.count(fact) == 1
    assert Dataset.open("dataset").lost == {"lost": ("lost/0.wav", "lost/1.wav", "lost/2.wav")}
    (here / "in/lost/0.wav").write_bytes(WHOLE)
    assert fact not in audiocnn("ingest", data, "-o", "dataset").err
    dataset = Dataset.open("dataset")
    assert (dataset.labels, dataset.lost) == (("a", "b", "lost"), {})


@pytest.mark.parametrize("source", [Path, table_of, segments_of, "recipe", "dataset"])
def test_the_others_are_trained(here, source):
    data = make(here / "in", ("a", "b"))
    if source == "recipe":  # which names all three
        (here / "r.toml").write_text(
            f'[data]\nsource = "{table_of(data)}"\nlabels = ["a", "lost", "b"]\nsample_rate = {RATE}\n'
            '[mix]\nseconds = 0.3\n[train]\nworkers = 0\nbatch_size = 4\n[spec]\nbase = "small.toml"\n'
        )
        arguments = ["r.toml"]
    elif source == "dataset":
        audiocnn("ingest", data, "-o", "dataset", "--sample-rate", RATE)
        arguments = ["dataset", "--spec", "small.toml"]
    else:
        arguments = [source(data), "--spec", "small.toml"]
    done = audiocnn("train", *arguments, "--dry-run", "--device", "cpu")
    assert done.status is ExitStatus.OK, done.err
    assert "labels    a, b\n" in done.out
    assert source == "dataset" or 'label "lost": none of its 3 files' in done.err


@pytest.mark.parametrize("recipe", [False, True])
def test_where_one_label_is_left_the_lost_one_is_the_remedy(here, recipe):
    data = make(here / "in", ("a",))
    (here / "r.toml").write_text('[data]\nsource = "in/table.csv"\n[train]\nworkers = 0\n[spec]\nbase = "small.toml"\n')
    table_of(data)
    done = audiocnn("train", *(["r.toml"] if recipe else [data, "--spec", "small.toml"]), "--device", "cpu")
    assert done.status is ExitStatus.USAGE
    last = done.err.splitlines()[-1]
    assert '"a"' in last and '"lost": none of its 3 files' in last and "lost/0.wav" in last and "repair them" in last


def test_a_label_that_nothing_ever_had_is_an_error_as_before(here):
    data = table_of(make(here / "in", ("a", "b")))
    (here / "r.toml").write_text(f'[data]\nsource = "{data}"\nlabels = ["a", "bb"]\n[spec]\nbase = "small.toml"\n')
    done = audiocnn("train", "r.toml", "--dry-run", "--device", "cpu")
    assert done.status is ExitStatus.USAGE and '"bb"' in done.err.splitlines()[-1]


@pytest.mark.parametrize("source", [Path, table_of, segments_of])
def test_the_others_are_judged(here, source, tone_model):  # noqa: F811
    data = source(make(here / "in", ("tone", "other")))
    done = audiocnn("evaluate", data, "-m", tone_model, "-o", "report.json")
    assert done.status is ExitStatus.SOME_FAILED, done.err
    assert 'label "lost": none of its 3 files' in done.err
    assert json.loads((here / "report.json").read_text())


def test_many_lost_labels_and_files_are_counted(here):
    data = make(here / "in", ("a",))
    for label in ("worse", "worst"):
        for number in range(9):
            (data / label).mkdir(exist_ok=True)
            (data / label / f"{number}.wav").write_bytes(b"")
    last = audiocnn("train", data, "--spec", "small.toml", "--device", "cpu").err.splitlines()[-1]
    assert '"lost": none of its 3 files' in last and "2 other labels" in last
    assert "and 4 more" in audiocnn("ingest", data, "-o", "dataset").err
