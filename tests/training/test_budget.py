"""How long a training takes: `--minutes`, and the pace that it is planned by."""

from __future__ import annotations

import time
import tomllib

import pytest
import torch
from fixtures_cli import audiocnn
from fixtures_models import recipe_of, tone_task
from sounds import sine, write

from audiocnn.data.ingest import IngestSettings, cached_dataset
from audiocnn.errors import UsageError
from audiocnn.training.batches import make_training_set
from audiocnn.training.budget import PLANNED_EPOCHS, Pace, fit_minutes, measure
from audiocnn.training.events import EpochReport, Note, StepReport
from audiocnn.training.train import train
from audiocnn.training.trainer import choose_precision, has_bfloat16
from audiocnn_cli.app.exits import ExitStatus

RATE = 8000


def pace_of(step=0.05, validation=0.4, end=1.0):
    return Pace(step, 0.001, validation, end, 100, (0.7,))


def seconds_of(recipe, pace):
    steps = recipe.train.examples_per_epoch // recipe.train.batch_size
    return recipe.train.epochs * (steps * pace.step_seconds + pace.validation_seconds) + pace.end_seconds


@pytest.mark.parametrize("minutes", [0.25, 1, 3, 20, 240])
@pytest.mark.parametrize("clips", [0, 40, 400, 5000])
@pytest.mark.parametrize(("step", "validation"), [(0.01, 0.0), (0.05, 0.4), (0.1, 5.0)])
def test_a_training_is_planned_to_take_the_minutes(minutes, clips, step, validation):
    pace = pace_of(step, validation)
    recipe = fit_minutes(recipe_of(batch_size=8), pace, clips, minutes)
    assert seconds_of(recipe, pace) == pytest.approx(60 * minutes, rel=0.2)
    assert 1 <= recipe.train.epochs <= PLANNED_EPOCHS[1]
    assert recipe.train.epochs * validation <= 0.25 * 60 * minutes or recipe.train.epochs == 1


def test_each_clip_once_an_epoch_where_there_is_time_for_it():
    recipe = fit_minutes(recipe_of(batch_size=8), pace_of(validation=0.0), 400, 1.5)
    assert recipe.train.epochs == int(89 / (50 * 0.05))
    assert recipe.train.examples_per_epoch == pytest.approx(400, rel=0.03)


def test_too_few_minutes_say_how_many_are_enough():
    recipe, pace = recipe_of(batch_size=8), pace_of(step=2.0, validation=10.0, end=30.0)
    with pytest.raises(
        UsageError, match=r"--minutes 0\.5: too few for this network .*; give (\d+\.\d) or more"
    ) as said:
        fit_minutes(recipe, pace, 400, 0.5)
    enough = float(str(said.value).split("give ")[1].split(" or")[0])
    assert fit_minutes(recipe, pace, 400, enough).train.epochs >= 1


def test_the_pace_is_measured_and_the_recipe_complete(tmp_path):
    recipe, pace, clips = measure(recipe_of(), tone_task(tmp_path / "dataset", groups=4), "cpu")
    assert pace.step_seconds > 0
    assert pace.validation_seconds > 0
    assert pace.epoch_seconds == pytest.approx(pace.steps * pace.step_seconds + pace.validation_seconds)
    assert len(pace.losses) > 1
    assert clips == 0  # mixtures
    assert not recipe.unset


def test_clips_are_counted_with_what_is_none_of_them(tmp_path, clip_folder):
    plan = recipe_of(examples_per_epoch=0)
    rate = plan.spec.input.sample_rate
    dataset = cached_dataset(clip_folder, tmp_path / "dataset", IngestSettings(sample_rate=rate, channels=1))
    recipe, _, clips = measure(plan, dataset, "cpu")
    assert clips == make_training_set(recipe, dataset).source.round


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips") / "sounds"
    for label, hertz in (("low", 300), ("high", 2000)):
        for number in range(12):
            write(folder / label / f"{number}.wav", sine(hertz + 5 * number, 0.5, RATE, 0.3), RATE)
    return folder


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--minutes", "0"), "--minutes 0: not a valid duration"),
        (("--minutes", "-3"), "--minutes -3: not a valid duration"),
        (("--minutes", "inf"), "--minutes inf: not a valid duration"),
        (("--minutes", "nan"), "--minutes nan: not a valid duration"),
        (("--minutes", "3", "--epochs", "4"), "--minutes and --epochs both set the training length"),
        (("--minutes", "3", "--resume"), "a resumed run already has a plan"),
        (("--minutes", "3", "--folds", "3"), "--minutes plans one training"),
        (("--minutes", "3", "--learning-curve", "0.5,1"), "--minutes plans one training"),
        (("--minutes", "0.0001", "--device", "cpu", "--from", "none"), "--minutes 0.0001: too few"),
    ],
)
def test_what_cannot_be_planned_is_refused(clip_folder, tmp_path, options, said):
    done = audiocnn("train", str(clip_folder), "-o", str(tmp_path / "run"), *options)
    assert done.status is ExitStatus.USAGE, done.err
    assert said in done.err
    assert not (tmp_path / "run" / "recipe.toml").exists()


@pytest.mark.long
def test_the_command_takes_about_the_minutes(clip_folder, tmp_path):
    audiocnn("train", str(clip_folder), "-o", str(tmp_path / "first"), "--minutes", "0.1", "--device", "cpu")  # imports
    started = time.monotonic()
    done = audiocnn("train", str(clip_folder), "-o", str(tmp_path / "run"), "--minutes", "0.5", "--device", "cpu")
    seconds = time.monotonic() - started
    assert done.status is ExitStatus.OK, done.err
    assert "minutes: " in done.err
    recipe = tomllib.loads((tmp_path / "run" / "recipe.toml").read_text())
    ended = len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
    assert seconds < 2 * 30
    assert seconds > 15 or ended < recipe["train"]["epochs"]  # it may have learned all there is before


@pytest.mark.parametrize(
    ("soon", "said"), [(0.0, ["about 1 minute on this machine"]), pytest.param(1e6, [], marks=pytest.mark.long)]
)
def test_how_long_it_takes_is_said_when_it_has_begun(soon, said, tmp_path, monkeypatch):
    monkeypatch.setattr("audiocnn.training.trainer._SOON_SECONDS", soon)
    recipe = recipe_of(batch_size=2, examples_per_epoch=24, epochs=2)
    reports = list(train(recipe, tone_task(tmp_path / "dataset", groups=4), tmp_path / "run"))
    notes = [(number, one.text) for number, one in enumerate(reports) if isinstance(one, Note) and "about" in one.text]
    assert [text for _, text in notes] == said
    assert all(isinstance(one, StepReport | Note) for one in reports[: notes[0][0] if notes else 0])


def test_the_precision_of_clips_is_what_the_processor_multiplies_fastest():
    assert choose_precision("auto", torch.device("cpu")) == ("bfloat16" if has_bfloat16() else "float32")
    assert choose_precision("auto", torch.device("mps")) == "float32"


class _Clock:
    """Seconds that go on by themselves, as many at each look as the epoch in hand takes."""

    def __init__(self, seconds):
        self.seconds, self.now, self.looks = seconds, 0.0, 0

    def __call__(self):
        self.looks += 1
        return self.now

    def tick(self, epoch):
        self.now += self.seconds(epoch)


def trained_by_the_clock(tmp_path, budget, seconds, epochs=8):
    """The epochs of a training whose epochs take so many seconds by a clock that is not that of the machine."""
    recipe = recipe_of(batch_size=2, examples_per_epoch=4, epochs=epochs, patience=100)
    clock, ended, said = _Clock(seconds), [], []
    for report in train(
        recipe, tone_task(tmp_path / "dataset", groups=4), tmp_path / "run", budget_seconds=budget, clock=clock
    ):
        if isinstance(report, StepReport) and report.step == report.steps:
            clock.tick(report.epoch)
        if isinstance(report, EpochReport):
            ended.append(report)
        if isinstance(report, Note) and "than measured" in report.text:
            said.append(report.text)
    return ended, said, clock.now


@pytest.mark.parametrize(
    "slower", [1.5, *(pytest.param(slower, marks=pytest.mark.long) for slower in (1.0, 1.05, 2.0, 3.0))]
)
def test_a_slower_machine_learns_fewer_epochs_in_the_same_time(tmp_path, slower):
    """Within a fifth of the time, and with a learning rate that has fallen to its end."""
    ended, said, seconds = trained_by_the_clock(tmp_path, 80.0, lambda epoch: 10.0 * slower)
    assert seconds <= 1.2 * 80.0
    assert seconds >= 0.8 * 80.0
    assert bool(said) is (slower > 1.1)
    assert ended[-1].learning_rate < 0.3 * max(report.learning_rate for report in ended)
    recipe = tomllib.loads((tmp_path / "run" / "recipe.toml").read_text())
    assert recipe["train"]["epochs"] == len(ended)


@pytest.mark.long
def test_a_machine_that_was_busy_for_a_while_learns_as_many_as_it_can(tmp_path):
    ended, said, seconds = trained_by_the_clock(tmp_path, 80.0, lambda epoch: 20.0 if epoch == 2 else 10.0)
    assert len(ended) in (7, 8) and 64 <= seconds <= 96
    assert all("instead of" in line for line in said)


@pytest.mark.long
def test_without_minutes_no_clock_counts(tmp_path):
    ended, said, _ = trained_by_the_clock(tmp_path, None, lambda epoch: 1000.0, epochs=3)
    assert (len(ended), said) == (3, [])
