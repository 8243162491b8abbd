"""`audiocnn.train` and the command `train`: the same run, told to a callback."""

from __future__ import annotations

import dataclasses
import inspect
import io
import json
import signal
from contextlib import redirect_stderr, redirect_stdout

import numpy as np
import pytest
from fixtures_cli import audiocnn as command
from fixtures_cli import small_spec
from sounds import noise, sine, write

import audiocnn
from audiocnn.errors import AudiocnnError
from audiocnn.files import read_json
from audiocnn.toml import read_toml
from audiocnn.training.checkpoint import LAST_CHECKPOINT
from audiocnn.workflows.plan import TrainingRequest
from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.app.options import LabelOptions
from audiocnn_cli.commands.train.options import LearningOptions, PartOptions, RunOptions

RATE = 8000
SMALL = small_spec(0.2, rate=8000)
PLAIN = {"epochs": 2, "seed": 3, "device": "cpu"}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder of two sounds, and a network that learns them at once."""
    home = tmp_path_factory.mktemp("home")
    (home / "small.toml").write_text(SMALL)
    for label, hertz in (("low", 300), ("high", 2000)):
        for number in range(24):
            sound = sine(hertz + 5 * number, 0.25, RATE, 0.3) + noise(0.25, RATE, number) / 2_000_000
            write(home / "sounds" / label / f"{number}.wav", sound.astype(np.float32), RATE)
    (home / "sounds" / "low" / "broken.wav").write_bytes(b"RIFF")
    return home


@pytest.fixture(scope="module")
def whole(home):
    """A training that nothing disturbed, and what it told. It prints nothing."""
    told: list[audiocnn.Progress] = []
    given = {"output": home / "whole", "spec": home / "small.toml", **PLAIN}
    printed = io.StringIO()
    with redirect_stdout(printed), redirect_stderr(printed):
        result = audiocnn.train(home / "sounds", progress=told.append, **given)
    assert printed.getvalue() == ""
    return result, told


def weights_of(run):
    return (run / "model" / "model.safetensors").read_bytes()


@pytest.mark.long
def test_the_function_and_the_command_make_the_same_run(home, whole):
    result, _ = whole
    options = [word for name, value in PLAIN.items() for word in (f"--{name}", value)]
    done = command("train", home / "sounds", "-o", home / "by" / "whole", "--spec", home / "small.toml", *options)
    assert done.status is ExitStatus.SOME_FAILED  # one file is no sound
    assert weights_of(home / "by" / "whole") == weights_of(result.folder)
    recipes = [read_toml(run / "recipe.toml", AudiocnnError) for run in (result.folder, home / "by" / "whole")]
    assert recipes[0] == recipes[1]
    reports = [read_json(run / "report.json") for run in (result.folder, home / "by" / "whole")]
    assert reports[0]["clip"] == reports[1]["clip"]
    assert {path.name for path in result.folder.iterdir()} == {path.name for path in (home / "by" / "whole").iterdir()}


def test_what_comes_back_can_be_used(home, whole):
    result, _ = whole
    assert result.folder == home / "whole"
    assert result.model.labels == ("high", "low")
    assert (
        result.evaluation.figures["accuracy"].value
        == read_json(result.folder / "report.json")["clip"]["figures"]["accuracy"]["value"]
    )
    assert result.epochs == PLAIN["epochs"]
    assert any("recordings of each: high 24, low 24" in line for line in result.notes)
    assert any(line.startswith("low/broken.wav: ") for line in result.warnings)
    samples = sine(310, 0.25, RATE, 0.3)
    by_model = audiocnn.classify(samples, result.model, sample_rate=RATE)
    by_folder = audiocnn.classify(samples, result.folder, sample_rate=RATE)
    assert by_model.label == by_folder.label == "low"


def test_epochs_and_figures_are_tables(whole):
    pytest.importorskip("pandas")
    result, _ = whole
    epochs = result.to_dataframe()
    assert epochs["epoch"].tolist() == [1, 2]
    assert epochs["loss"].notna().all()
    figures = result.evaluation.to_dataframe()
    accuracy = figures[(figures["of"] == "clips") & (figures["figure"] == "accuracy")]
    assert accuracy["value"].tolist() == [result.evaluation.figures["accuracy"].value]


def test_progress_goes_through_the_stages_to_their_ends(whole):
    _, told = whole
    assert list(dict.fromkeys(one.stage for one in told)) == ["ingest", "survey", "train", "test"]
    for stage in ("ingest", "survey", "train", "test"):
        counts = [(one.done, one.total) for one in told if one.stage == stage]
        assert [done for done, _ in counts] == sorted(done for done, _ in counts)
        assert counts[-1][0] == counts[-1][1]
    steps = [one for one in told if one.stage == "train"]
    assert [one.done for one in steps] == list(range(1, steps[-1].total + 1))
    assert {one.epoch for one in steps} == {1, 2}
    assert all(one.loss > 0 for one in steps)
    assert steps[0].figure is None
    assert 0 <= steps[-1].figure <= 1


class EnoughError(Exception):
    """A program's own reason to stop."""


def stop_with(error, step):
    """A callback that raises at a step: an error, or a signal, as Ctrl-C makes it."""

    def progress(moment):
        if moment.stage == "train" and moment.done == step:
            if error is KeyboardInterrupt:
                signal.raise_signal(signal.SIGINT)
            else:
                raise error("enough")

    return progress


# Of 20 steps in two epochs.
@pytest.mark.parametrize(
    ("error", "step"),
    [
        pytest.param(EnoughError, 3, marks=pytest.mark.long),
        pytest.param(SystemExit, 17, marks=pytest.mark.long),
        (KeyboardInterrupt, 3),
    ],
)
def test_a_training_that_was_stopped_goes_on_to_the_same_model(home, whole, error, step, tmp_path):
    result, _ = whole
    run = tmp_path / "run"
    given = {"spec": home / "small.toml", **PLAIN}
    with pytest.raises(error):
        audiocnn.train(home / "sounds", output=run, progress=stop_with(error, step), **given)
    assert (run / LAST_CHECKPOINT).is_file()
    assert not (run / "model").exists()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with pytest.raises(AudiocnnError, match="resume"):
        audiocnn.train(home / "sounds", output=run, **given)
    goes_on = audiocnn.train(output=run, resume=True, device="cpu")
    assert any("continuing at epoch" in line for line in goes_on.notes)
    assert weights_of(run) == weights_of(result.folder)


def test_an_error_while_recordings_are_read_leaves_nothing_half(home, tmp_path):
    def progress(moment):
        raise EnoughError(moment.stage)

    with pytest.raises(EnoughError, match="ingest"):
        audiocnn.train(home / "sounds", output=tmp_path / "run", spec=home / "small.toml", progress=progress, **PLAIN)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"data": "nowhere"}, "nowhere: no such file or folder"),
        ({"data": None, "output": "nowhere", "resume": True}, "no run to resume"),
        ({"minutes": 1, "epochs": 1}, "--minutes and --epochs"),
        ({"minutes": -1}, "not a valid duration"),
        ({"device": "gpu"}, '--device: "gpu" is not'),
        ({"batch_size": 0}, "--batch-size"),
        ({"spec": "no_such_net"}, "no_such_net"),
        ({"from_model": "no_such_model"}, "no_such_model"),
        ({"keep_labels": ["nois"]}, "no recording has this label"),
        ({"group": "a", "group_pattern": "(a)"}, "give only one"),
        ({"corrections": "nowhere.csv"}, "no such file"),
        ({"labels": "nowhere.txt"}, "no such file"),
        ({"data": 3.5}, "float is neither a string nor a path"),
        ({"moved_to": "elsewhere"}, "applies to a run to resume"),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, dict) else "",
)
def test_what_cannot_be_is_one_line(home, given, said, tmp_path):
    given = {"data": home / "sounds", "output": tmp_path / "run", "spec": home / "small.toml", "device": "cpu", **given}
    with pytest.raises(AudiocnnError) as caught:
        audiocnn.train(given.pop("data"), **given)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_function_has_the_options_of_the_command():
    """But those that train several models, and what is only tried."""
    renamed = {"source": "from_model", "keep_label": "keep_labels", "moved": "moved_to"}
    fields = {field.name for field in dataclasses.fields(TrainingRequest)}
    wanted = {renamed.get(name, name) for name in fields - {"folds", "learning_curve"}}
    assert set(inspect.signature(audiocnn.train).parameters) - {"progress"} == wanted


@pytest.mark.parametrize("options", [RunOptions, LearningOptions, PartOptions, LabelOptions])
def test_a_request_has_the_defaults_of_the_options(options):
    known = {field.name: field.default for field in dataclasses.fields(TrainingRequest)}
    assert {field.name: known[field.name] for field in dataclasses.fields(options)} == {
        field.name: field.default for field in dataclasses.fields(options)
    }


def test_the_report_of_a_run_is_what_evaluate_says(whole):
    result, _ = whole
    kept = json.loads((result.folder / "report.json").read_text())
    assert kept == json.loads(json.dumps(result.evaluation.to_dict()))


def test_one_name_is_a_text_and_not_its_letters(home, tmp_path):
    with pytest.raises(AudiocnnError, match="--keep-label lo:"):
        audiocnn.train(home / "sounds", output=tmp_path / "run", keep_labels="lo", device="cpu")


def test_clips_that_a_model_learned_from_are_warned_of(home, whole):
    result, _ = whole
    found = audiocnn.evaluate(home / "sounds", model=result.folder)
    assert any("was trained on" in warning for warning in found.warnings)


def test_what_the_last_progress_raises_comes_out(home, whole, tmp_path):
    last = max(one.done for one in whole[1] if one.stage == "train")
    given = {"output": tmp_path / "run", "spec": home / "small.toml", **PLAIN}
    with pytest.raises(EnoughError):
        audiocnn.train(home / "sounds", progress=stop_with(EnoughError, last), **given)
