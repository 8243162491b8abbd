"""A run that has moved, or is to learn more than it was: it goes on, or says in one line what is missing."""

from __future__ import annotations

import json
import math
import shutil
import tomllib

import numpy as np
import pytest
from fixtures_cli import audiocnn
from sounds import noise, sine, write

from audiocnn.data import decode
from audiocnn.data.dataset import Dataset
from audiocnn.data.ingest import IngestSettings, ingest
from audiocnn.recipe.recipe import map_paths, read_recipe
from audiocnn.training import trainer as trainer_module
from audiocnn.training.checkpoint import read_progress
from audiocnn.training.log import read_log
from audiocnn_cli.app.exits import ExitStatus

RATE = 8000
SMALL = """
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
background = true
"""
CLIPS = ["--spec", "small.toml", "--epochs", "3", "--device", "cpu"]


class KilledError(BaseException):
    """As a process that is killed: nothing is caught, nothing is saved."""


def without_end(patch):
    """Trainings end behind the last epoch: what is exported and tested takes seconds."""
    patch.setattr(trainer_module.Trainer, "finish", lambda trainer: trainer.state)
    patch.setattr("audiocnn_cli.commands.train.summary.finish_run", lambda *_: ExitStatus.OK)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project of recordings, as folders and as a table, with a run of each that was killed in the middle of its
    second epoch, and one that has ended; and data outside of it."""
    home = tmp_path_factory.mktemp("moved")
    project = home / "project"
    for root in (project / "clips", home / "outside"):
        for label, hertz in (("low", 300), ("high", 1500)):
            for number in range(12):
                hiss = noise(0.3, RATE, 100 * number + hertz) / np.float32(2**15)
                write(root / label / f"{number}.wav", sine(hertz + 20 * number, 0.3, RATE, 0.4) + 0.02 * hiss, RATE)
    names = [f"{path.parent.name}/{path.name},{path.parent.name}" for path in (project / "clips").glob("*/*.wav")]
    (project / "clips/table.csv").write_text("\n".join(["filename,label", *names]) + "\n")
    (project / "small.toml").write_text(SMALL)
    (project / "by_table.toml").write_text(
        'name = "by_table"\n[data]\nsource = "clips"\nrecordings = "table.csv"\nsample_rate = 8000\n'
        '[mix]\nseconds = 0.3\n[train]\nepochs = 3\nworkers = 0\nbatch_size = 4\n[spec]\nbase = "small.toml"\n'
    )
    list(ingest([project / "clips"], project / "stored", IngestSettings(sample_rate=RATE)))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        without_end(patch)
        assert audiocnn("train", "clips", "-o", "runs/ended", *CLIPS).status is ExitStatus.OK
        real, steps = trainer_module.Trainer.train_step, [0]

        def killed(self, *batch):
            steps[0] += 1
            if self.state.epoch == 1 and self.state.step == 2:
                raise KilledError
            return real(self, *batch)

        patch.setattr(trainer_module.Trainer, "train_step", killed)
        patch.setattr(trainer_module, "CHECKPOINT_SECONDS", 0.0)
        for data, name in (
            ("clips", "folder"), ("clips/table.csv", "table"), ("by_table.toml", "recipe"), ("stored", "dataset"),
            ("../outside", "outside"),
        ):  # fmt: skip
            options = () if data.endswith(".toml") else CLIPS
            with pytest.raises(KilledError):
                audiocnn("train", data, "-o", f"runs/{name}", *options)
            assert read_progress(project / f"runs/{name}/checkpoints/last.safetensors")["step"] == 2
    return home


@pytest.fixture
def home(made, tmp_path, monkeypatch):
    """A copy of all of it at another place; what was there before is out of sight."""
    shutil.copytree(made, tmp_path / "home")
    hidden = made.with_name("hidden")
    made.rename(hidden)
    (tmp_path / "home/project").rename(tmp_path / "home/renamed")
    monkeypatch.chdir(tmp_path / "home/renamed")
    without_end(monkeypatch)
    yield tmp_path / "home"
    hidden.rename(made)


def resume(*arguments):
    return audiocnn("train", *arguments, "--resume", "--device", "cpu")


@pytest.mark.parametrize("kind", ["folder", "table", "recipe", "dataset"])
@pytest.mark.parametrize("named", ["option", pytest.param("argument", marks=pytest.mark.long)])
def test_a_project_that_was_renamed_goes_on(home, kind, named):
    run = home / "renamed/runs" / kind
    done = resume(*(["-o", f"runs/{kind}"] if named == "option" else [f"runs/{kind}"]))
    assert done.status is ExitStatus.OK, done.err
    assert "continuing at epoch 2, step 3" in done.err
    assert [row["epoch"] for row in read_log(run)] == [1, 2, 3]
    facts = json.loads((run / "run.json").read_text())
    assert facts["folder"] == str(run)
    assert facts["data"].startswith(str(home))
    paths = []
    map_paths(tomllib.loads((run / "recipe.toml").read_text()), lambda path, _: paths.append(path) or path)
    assert paths and all(path.startswith(str(home)) for path in paths)
    assert {path.name for path in (home / "renamed/runs").glob("*.dataset")} == {
        f"{name}.dataset" for name in ("ended", "folder", "table", "recipe", "outside")
    }


@pytest.mark.parametrize("samples", ["moved along", "gone", "of another place"])
def test_samples_that_moved_along_are_not_read_anew(home, monkeypatch, samples):
    if samples == "gone":
        shutil.rmtree("runs/folder.dataset")
    opened, real = [], decode.open_recording
    monkeypatch.setattr(decode, "open_recording", lambda path: opened.append(path) or real(path))
    place = ()
    if samples == "of another place":
        (home / "renamed/clips").rename(home / "elsewhere")
        place = ("--data", str(home / "elsewhere"))
    assert resume("-o", "runs/folder", *place).status is ExitStatus.OK
    assert len(opened) == (24 if samples == "gone" else 0)
    sources = Dataset.open("runs/folder.dataset").sources
    assert sources == (str(home / ("elsewhere" if place else "renamed/clips")),)


@pytest.mark.parametrize("kind", ["folder", "table", "recipe", "dataset", "outside"])
def test_data_that_stayed_behind_are_asked_for_and_found(home, kind):
    """With --data, which may also name a dataset, or the folder that holds a table."""
    place = home / "new/place"
    place.parent.mkdir()
    old = home / "outside" if kind == "outside" else home / "renamed" / ("stored" if kind == "dataset" else "clips")
    old.rename(place)
    done = resume("-o", f"runs/{kind}")
    assert done.status is ExitStatus.USAGE
    (line,) = done.err.strip().splitlines()
    assert "--data" in line and old.name in line
    before = (home / f"renamed/runs/{kind}/recipe.toml").read_text()
    missing = resume("-o", f"runs/{kind}", "--data", "nowhere")
    assert missing.status is ExitStatus.USAGE and "nowhere: no such file" in missing.err
    assert (home / f"renamed/runs/{kind}/recipe.toml").read_text() == before
    found = resume("-o", f"runs/{kind}", "--data", str(place))
    assert found.status is ExitStatus.OK, found.err
    kept = read_recipe(home / f"renamed/runs/{kind}/recipe.toml").data
    assert kept.source == (place / "table.csv" if kind == "table" else place)
    assert resume("-o", f"runs/{kind}").status is ExitStatus.OK  # it knows by now


def test_the_samples_alone_are_enough(home):
    shutil.rmtree(home / "renamed/clips")
    said = resume("-o", "runs/folder").err
    assert "runs/folder.dataset" in said
    assert resume("-o", "runs/folder", "--data", "runs/folder.dataset").status is ExitStatus.OK


def test_other_recordings_are_no_place_of_the_data(home):
    (home / "renamed/clips").rename(home / "elsewhere")
    write(home / "elsewhere/low/99.wav", sine(333, 0.3, RATE), RATE)
    before = read_recipe(home / "renamed/runs/folder/recipe.toml").data.source
    done = resume("-o", "runs/folder", "--data", str(home / "elsewhere"))
    assert done.status is ExitStatus.USAGE and "differ from those of this run" in done.err
    assert read_recipe(home / "renamed/runs/folder/recipe.toml").data.source == before


@pytest.mark.parametrize(
    ("arguments", "fact"),
    [
        (("clips", "--data", "clips"), "--data clips: applies to a run to resume"),
        (("-o", "runs/none", "--resume", "--data", "clips"), "--data clips: applies to a run to resume"),
        (("clips", "-o", "runs/folder", "--resume", "--data", "clips"), "both name the data"),
    ],
)
def test_a_place_is_for_a_run_to_resume(home, arguments, fact):
    done = audiocnn("train", *arguments)
    assert done.status is ExitStatus.USAGE and fact in done.err


@pytest.mark.parametrize("kind", ["ended", "folder"])
@pytest.mark.parametrize("epochs", [5, 3])
def test_more_epochs_than_before(home, kind, epochs):
    run = home / "renamed/runs" / kind
    done = resume("-o", f"runs/{kind}", "--epochs", str(epochs))
    assert done.status is ExitStatus.OK, done.err
    rows = read_log(run)
    assert [row["epoch"] for row in rows] == list(range(1, epochs + 1))
    assert ("5 epochs instead of 3: the learning rate schedule is that of 5" in done.err) is (epochs == 5)
    assert ("all 3 epochs are done" in done.err) is (kind == "ended" and epochs == 3)
    assert read_recipe(run / "recipe.toml").train.epochs == epochs
    # The last step of an epoch: the rate is the one of so many epochs from where it goes on, and ends next to nothing.
    rates = [row["learning_rate"] for row in rows]
    first = next(n for n, row in enumerate(rows) if row["epochs"] == epochs)
    assert all(a > b for a, b in zip(rates[first:], rates[first + 1 :], strict=False))
    assert math.isclose(rates[-1], 0.0, abs_tol=1e-6)


@pytest.mark.parametrize(("kind", "epochs", "learned"), [("ended", 2, 3), ("ended", 1, 3)])
def test_fewer_epochs_than_are_learned(home, kind, epochs, learned):
    before = (home / f"renamed/runs/{kind}/recipe.toml").read_text()
    done = resume("-o", f"runs/{kind}", "--epochs", str(epochs))
    assert done.status is ExitStatus.USAGE
    assert f"already trained for {learned} epochs, not {epochs}" in done.err
    assert (home / f"renamed/runs/{kind}/recipe.toml").read_text() == before


def test_fewer_epochs_that_are_not_learned_yet_end_sooner(home):
    done = resume("-o", "runs/folder", "--epochs", "2")
    assert done.status is ExitStatus.OK and "2 epochs instead of 3" in done.err
    assert len(read_log(home / "renamed/runs/folder")) == 2


@pytest.mark.parametrize("epochs", [None, 30])
def test_a_run_that_stopped_early(home, epochs):
    """It is at its end; with more epochs its patience begins anew."""
    recipe = home / "renamed/runs/ended/recipe.toml"
    again = (
        recipe.read_text()
        .replace("patience = 20", "patience = 1")
        .replace("learning_rate = 0.002", "learning_rate = 1e-9")
    )
    (home / "renamed/stopped.toml").write_text(again.replace("epochs = 3", "epochs = 20"))
    learned_by = ("--recipe", "stopped.toml", "-o", "runs/early")
    assert audiocnn("train", "clips", *learned_by, "--device", "cpu").status is ExitStatus.OK
    stopped = len(read_log(home / "renamed/runs/early"))
    assert stopped < 20
    done = resume("-o", "runs/early", *([] if epochs is None else ["--epochs", str(epochs)]))
    assert done.status is ExitStatus.OK, done.err
    learned = len(read_log(home / "renamed/runs/early"))
    if epochs is None:
        assert learned == stopped and f"stopped early after epoch {stopped}" in done.err
    else:
        assert learned > stopped and f"continuing at epoch {stopped + 1}" in done.err
