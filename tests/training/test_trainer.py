"""Training: a tiny network learns a task; a run that was killed goes on as if it had not been."""

from __future__ import annotations

import copy
import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from fixtures_models import (
    BATCH,
    LOG_MEL,
    RATE,
    TASK_MIX,
    TASK_TRAIN,
    TINY,
    recipe_of,
    table_of,
    tone_of,
    tone_task,
    write_dataset,
)
from safetensors.torch import load_file

from audiocnn.errors import AudiocnnError, DatasetError, RecipeError, UsageError
from audiocnn.model.model import CARD, ONNX, SENSITIVITIES, TOML, WEIGHTS, find_model, read_model
from audiocnn.model.network import Network
from audiocnn.recipe.recipe import read_recipe
from audiocnn.training import trainer as trainer_module
from audiocnn.training.batches import make_training_set
from audiocnn.training.events import EpochReport, Note, StepReport, TrainReport
from audiocnn.training.log import read_facts
from audiocnn.training.losses import soften_targets, training_loss
from audiocnn.training.release import strip_folders
from audiocnn.training.runs import read_run
from audiocnn.training.train import train
from audiocnn.training.trainer import Trainer
from audiocnn.training.validate import ValidationResult

LOGS = ("metrics.csv", "metrics.jsonl", "run.json", "clips.tsv")
SHORT = {"epochs": 3, "examples_per_epoch": 24, "batch_size": 8, "validation_examples": 4}
PICTURE = table_of(
    LOG_MEL,
    [{"conv": 4, "kernel": [3, 3]}, {"dropout": 0.2}, {"pool": "max", "size": [2, 1]}],
    {"window_seconds": 0.15, "layers": [{"dense": 8, "dropout": 0.5}]},
    defaults=BATCH,
)


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return tone_task(tmp_path_factory.mktemp("task") / "dataset", groups=4)


def epochs_of(reports):
    return [report for report in reports if isinstance(report, EpochReport)]


def until(reports, stop):
    """Take reports until one is as wanted, and no more: the process was killed there."""
    for report in reports:
        if stop(report):
            return


def all_epochs(recipe):
    """Whether a report is that of the last epoch; what comes after it is the export."""
    return lambda report: isinstance(report, EpochReport) and report.epoch == recipe.train.epochs


# Learning


def test_a_tiny_network_learns_to_hear_a_tone(trained):
    last, reports, _, _ = trained
    assert isinstance(last, TrainReport)
    assert last.figure_name == "auroc"
    assert last.figure > 0.95
    losses = [report.loss for report in epochs_of(reports)]
    assert losses[-1] < 0.7 * losses[0]
    assert last.figure == max(report.figure for report in epochs_of(reports))


def test_reports_say_where_a_training_is(trained):
    last, reports, _, _ = trained
    steps = [report for report in reports if isinstance(report, StepReport)]
    assert [(report.epoch, report.step) for report in steps[:7]] == [(1, n) for n in range(1, 7)] + [(2, 1)][:1]
    assert {report.steps for report in steps} == {6}
    epochs = epochs_of(reports)
    assert [report.epoch for report in epochs] == list(range(1, last.epochs + 1))
    assert epochs[0].best
    assert [report.epoch for report in epochs if report.best][-1] == last.best_epoch
    for report in epochs:
        assert report.epochs == 6
        assert report.loss > 0
        assert report.validation_loss > 0
        assert 0 <= report.waiting <= 1
        assert report.audio_seconds_per_second > 0
        assert report.seconds > 0
    assert epochs[-1].seconds_left == pytest.approx(0.0, abs=1e-9) or last.stopped_early


def test_a_run_holds_the_model_the_log_the_checkpoints_and_the_recipe(trained):
    last, reports, run, _ = trained
    assert {path.name for path in run.iterdir()} == {*LOGS, "recipe.toml", "checkpoints", "model"}
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"last.safetensors", "best.safetensors"}
    assert {path.name for path in (run / "model").iterdir()} == {TOML, WEIGHTS, ONNX, CARD, "recipe.toml"}
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert lines == [dataclasses.asdict(report) for report in epochs_of(reports)]
    recipe = read_recipe(run / "recipe.toml")
    assert (recipe.mix, recipe.train.epochs, recipe.seed) == (TASK_MIX, 6, 3)
    assert recipe.spec.table == recipe_of().spec.table
    assert find_model(run) == last.model
    assert last.export_difference <= 1e-4


def test_a_training_says_what_it_is(trained):
    last, _, run, _ = trained
    facts = read_facts(run)
    assert (facts["type"], facts["name"], facts["labels"], facts["device"]) == ("run", "tiny", ["tone"], "cpu")
    assert facts["parameters"] == last.model.parameters and facts["groups"] == {"train": 18, "validation": 6}
    found = read_run(run, "run")
    assert (found.state, found.figure_name, found.figure) == ("ended", "auroc", last.figure)
    assert (found.epochs, found.wanted, found.best_epoch) == (last.epochs, 6, last.best_epoch)
    assert (found.parameters, found.seconds) == (last.model.parameters, pytest.approx(last.seconds))


def test_the_model_says_how_it_was_trained(trained):
    last, _, run, _ = trained
    model = read_model(run)
    assert (model.name, model.labels) == ("tiny", ("tone",))
    assert 0.0 < model.thresholds["tone"] < 1.0
    assert model.tuned_on.startswith("24 mixtures of the part held out from training")
    assert set(model.points["tone"]) == set(SENSITIVITIES), "its scores stand alone"
    assert model.points["tone"]["balanced"].values["threshold"] == model.thresholds["tone"]
    assert "| tone | sensitive |" in (run / "model" / CARD).read_text(encoding="utf-8")
    said = model.training
    assert (said["seed"], said["epochs"], said["best_epoch"]) == (3, last.epochs, last.best_epoch)
    assert said["groups"] == {"train": 18, "validation": 6}
    assert said["validation"]["auroc"] == pytest.approx(last.figure, abs=1e-5)
    card = (run / "model" / CARD).read_text(encoding="utf-8")
    assert card.startswith("# tiny\n")
    assert "| labels | tone |" in card


def test_the_model_has_the_best_weights_and_not_the_last(trained):
    _, _, run, _ = trained
    best = load_file(run / "checkpoints" / "best.safetensors")
    weights = load_file(run / "model" / WEIGHTS)
    last = max(name for name in weights if name.startswith("f.") and name.endswith(".weight"))
    for name, weight in weights.items():
        if not name.startswith(last.removesuffix("weight")):
            assert torch.equal(weight, best[f"averaged.{name}"])
    gain = weights[last] / best[f"averaged.{last}"]  # calibration: one gain for all of them
    assert torch.allclose(gain, gain.flatten()[0].expand_as(gain), rtol=1e-4)
    assert gain.flatten()[0] > 0.0


def test_clips_of_a_folder_a_label_are_learned_with_softmax(tmp_path):
    recordings = [
        (f"{label}/{i}.wav", tone_of(0.5, 0.0, 0.5, hertz + 3 * i), {"label": label, "group": f"{i}"})
        for label, hertz in (("low", 200), ("middle", 400), ("high", 700))
        for i in range(8)
    ]
    dataset = write_dataset(tmp_path / "dataset", recordings)
    table = copy.deepcopy(TINY)
    table["f"]["output"] = "softmax"
    mix = dataclasses.replace(TASK_MIX, seconds=0.6, equaliser_db=0.0, band_masks=0)
    recipe = recipe_of(table, mix, epochs=5, examples_per_epoch=120)
    reports = train(recipe, dataset, tmp_path / "run")
    found = []
    until(reports, lambda report: found.append(report) or all_epochs(recipe)(report))
    best = max(epochs_of(found), key=lambda report: report.figure)
    assert best.figure_name == "accuracy"
    assert best.figure >= 0.9


# Going on


def last_of(run):
    return load_file(run / "checkpoints" / "last.safetensors")


@pytest.fixture(scope="module", params=["1d", "2d"])
def straight(request, task, tmp_path_factory):
    """A recipe, and the tensors at the end of a run that nothing stopped."""
    recipe = recipe_of({"1d": TINY, "2d": PICTURE}[request.param], **SHORT)
    run = tmp_path_factory.mktemp("straight") / "run"
    until(train(recipe, task, run), all_epochs(recipe))
    return recipe, last_of(run)


KILLS = {
    "between epochs": (60.0, lambda report: isinstance(report, EpochReport) and report.epoch == 2),
    "inside an epoch": (-1.0, lambda report: isinstance(report, StepReport) and (report.epoch, report.step) == (2, 2)),
    "before the figures": (
        -1.0,
        lambda report: isinstance(report, StepReport) and (report.epoch, report.step) == (2, 3),
    ),
    "after steps that were not saved": (60.0, lambda report: isinstance(report, StepReport) and report.epoch == 3),
    "before anything was saved": (60.0, lambda report: isinstance(report, StepReport)),
}


@pytest.mark.parametrize("kill", KILLS)
def test_a_run_that_was_killed_goes_on_as_if_it_had_not_been(straight, task, tmp_path, monkeypatch, kill):
    """Weights, averages, optimizer and random state at the end are the same, bit by bit."""
    recipe, wanted = straight
    seconds, stop = KILLS[kill]
    monkeypatch.setattr(trainer_module, "CHECKPOINT_SECONDS", seconds)
    until(train(recipe, task, tmp_path / "run"), stop)
    torch.manual_seed(12345)  # another process begins with another state
    until(train(recipe, task, tmp_path / "run", resume=True), all_epochs(recipe))
    got = last_of(tmp_path / "run")
    assert got.keys() == wanted.keys()
    assert [name for name in wanted if not torch.equal(got[name], wanted[name])] == []
    lines = (tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3]


def test_a_run_that_has_ended_can_be_ended_again(trained, tmp_path):
    _, _, run, dataset = trained
    trainer = Trainer(recipe_of(epochs=6), make_training_set(recipe_of(epochs=6), dataset), run, "cpu")
    trainer.resume()
    assert list(trainer.epochs()) == []


def test_the_same_seed_trains_the_same_network_and_another_does_not(straight, task, tmp_path):
    recipe, wanted = straight
    for seed, same in ((recipe.seed, True), (recipe.seed + 1, False)):
        other = dataclasses.replace(recipe, seed=seed, train=dataclasses.replace(recipe.train, epochs=1))
        until(train(other, task, tmp_path / str(seed)), all_epochs(other))
        first = dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, epochs=1))
        until(train(first, task, tmp_path / f"{seed} again"), all_epochs(first))
        one, two = last_of(tmp_path / str(seed)), last_of(tmp_path / f"{seed} again")
        assert all(torch.equal(one[name], two[name]) for name in wanted) == same


def test_a_run_is_not_overwritten(task, tmp_path):
    recipe = recipe_of(**SHORT)
    until(train(recipe, task, tmp_path / "run"), lambda report: isinstance(report, StepReport))
    kept = (tmp_path / "run" / "recipe.toml").read_bytes()
    with pytest.raises(
        UsageError, match=r"run: already contains a run; continue it with --resume, start again with --force"
    ):
        next(train(recipe, task, tmp_path / "run"))
    changed = dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, learning_rate=1e-3))
    what = r"recipe\.toml: \[train\] differs from this recipe \(learning_rate: .* there, 0\.001 here\); continue"
    with pytest.raises(AudiocnnError, match=what):
        next(train(changed, task, tmp_path / "run", resume=True))
    assert (tmp_path / "run" / "recipe.toml").read_bytes() == kept
    (tmp_path / "none").mkdir()  # as a run that was killed before it wrote anything
    reports = train(recipe, task, tmp_path / "none", resume=True)
    assert isinstance(next(reports), Note) and isinstance(next(reports), StepReport)
    reports.close()
    assert (tmp_path / "none" / "recipe.toml").read_bytes() == kept
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").touch()
    with pytest.raises(UsageError, match=r"other: contains other files; choose a new folder with -o"):
        next(train(recipe, task, tmp_path / "other"))


def test_a_run_does_not_go_on_with_other_data(task, tmp_path):
    recipe = recipe_of(**SHORT)
    until(train(recipe, task, tmp_path / "run"), lambda report: isinstance(report, EpochReport))
    fewer = task.with_entries(task.entries[:-1])
    fact = "the recordings, labels or parts differ from those of this run; start again with --force"
    with pytest.raises(AudiocnnError, match=f"run: {fact} instead of --resume, or choose another -o"):
        next(train(recipe, fewer, tmp_path / "run", resume=True))
    next(train(recipe, task, tmp_path / "run", resume=True))


def test_a_checkpoint_of_another_network_is_not_resumed(task, tmp_path):
    recipe = recipe_of(**SHORT)
    until(train(recipe, task, tmp_path / "run"), lambda report: isinstance(report, EpochReport))
    (tmp_path / "run" / "checkpoints" / "last.safetensors").write_bytes(b"")
    with pytest.raises(AudiocnnError, match=r"last\.safetensors: cannot be resumed .* start again with --force"):
        next(train(recipe, task, tmp_path / "run", resume=True))


def test_data_that_does_not_fit_is_refused_and_leaves_no_run_behind(tmp_path):
    dataset = write_dataset(tmp_path / "d", [("a.wav", np.zeros(RATE), {"label": "x"})], sample_rate=8000)
    with pytest.raises(DatasetError, match="has 8000 Hz, but the spec expects 2000"):
        next(train(recipe_of(), dataset, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


# The loop, piece by piece


def test_a_loss_that_is_not_finite_says_where_and_what_to_do(task, tmp_path):
    table = table_of(LOG_MEL, [{"conv": 4, "kernel": 3}], {"window_seconds": 0.15})
    recipe = recipe_of(table, **SHORT)
    trainer = Trainer(recipe, make_training_set(recipe, task), tmp_path / "run", "cpu")
    with torch.no_grad():
        next(trainer.network.parameters()).fill_(torch.nan)
    fact = r"^the loss is not finite at epoch 1, step 1 \((tone|noise)\d\d\.wav, .*\)"
    with pytest.raises(RecipeError, match=fact + r"; lower \[train\] learning_rate$"):
        next(trainer.epochs())


def test_weights_that_are_lost_in_the_last_step_of_an_epoch_say_so_too(task, tmp_path):
    recipe = recipe_of(**SHORT)
    trainer = Trainer(recipe, make_training_set(recipe, task), tmp_path / "run", "cpu")
    reports = trainer.epochs()
    until(reports, lambda report: report.step == report.steps)
    with torch.no_grad():
        next(trainer.ema.parameters()).fill_(torch.nan)
    with pytest.raises(
        RecipeError, match=r"^the scores at the end of an epoch are not finite; lower \[train\] learning_rate$"
    ):
        next(reports)


def test_training_stops_early_when_nothing_becomes_better(task, tmp_path):
    recipe = recipe_of(**SHORT | {"epochs": 9, "patience": 2, "learning_rate": 1e-30})
    trainer = Trainer(recipe, make_training_set(recipe, task), tmp_path / "run", "cpu")
    for module in (trainer.network, trainer.ema):  # scores that cannot change
        torch.nn.init.zeros_(module.f.layers[-1].weight)
    assert [report.best for report in epochs_of(trainer.epochs())] == [True, False, False]
    assert trainer.out_of_patience


def test_of_equal_figures_the_lower_loss_is_better(task, tmp_path):
    trainer = Trainer(recipe_of(**SHORT), make_training_set(recipe_of(**SHORT), task), tmp_path / "run", "cpu")
    better = []
    for loss, figure in ((0.5, 0.9), (0.6, 0.9), (0.4, 0.9), (0.1, 0.8), (0.9, 0.95)):
        better.append(trainer.end_epoch(ValidationResult(loss, "auroc", figure), 1.0, 0.0, 1.0).best)
    assert better == [True, False, True, False, True]


def test_a_figure_that_is_no_number_is_better_than_none_and_worse_than_any(task, tmp_path):
    trainer = Trainer(recipe_of(**SHORT), make_training_set(recipe_of(**SHORT), task), tmp_path / "run", "cpu")
    figures = [math.nan, math.nan, 0.6, 0.5, 0.7]
    better = [trainer.end_epoch(ValidationResult(0.5, "auroc", figure), 1.0, 0.0, 1.0).best for figure in figures]
    assert better == [True, True, True, False, True]


def test_the_learning_rate_warms_up_and_falls_like_half_a_cosine(task, tmp_path):
    recipe = recipe_of(epochs=10, examples_per_epoch=160, batch_size=16, warmup_share=0.1, learning_rate=0.5)
    trainer = Trainer(recipe, make_training_set(recipe, task), tmp_path / "run", "cpu")
    rates = []
    for epoch in range(10):
        for step in range(10):
            trainer.state.epoch, trainer.state.step = epoch, step
            rates.append(trainer.learning_rate)
    assert rates[:10] == pytest.approx([0.5 * (n / 10 + 1e-3) for n in range(10)])
    assert rates[10:] == pytest.approx([0.25 * (1 + math.cos(math.pi * n / 90)) for n in range(90)])


def test_averaged_weights_follow_and_without_averaging_are_the_weights(task, tmp_path):
    for averaging in (0.0, 0.9):
        recipe = recipe_of(**SHORT | {"averaging": averaging, "epochs": 1})
        trainer = Trainer(recipe, make_training_set(recipe, task), tmp_path / "run", "cpu")
        begin = next(trainer.network.parameters()).clone()
        until(trainer.epochs(), lambda report: report.step == 3)
        new, mean = next(trainer.network.parameters()), next(trainer.ema.parameters())
        assert not torch.equal(new, begin)
        assert torch.equal(new, mean) == (averaging == 0.0)
        if averaging:
            assert (mean - begin).norm() < (new - begin).norm()


def network_with(output):
    table = table_of(LOG_MEL, [], {"output": output})
    return Network(recipe_of(table).spec.with_classes(3))


def test_the_loss_of_hops_is_the_cross_entropy_by_hand():
    logits = torch.tensor([[[0.0, 2.0, -1.0], [1.0, 0.0, 0.5]]])
    targets = torch.tensor([[[0.0, 1.0, 0.0], [1.0, 0.0, 1.0]]])
    signs = torch.where(targets > 0, -1.0, 1.0)
    terms = [math.log1p(math.exp(value)) for value in (signs * logits).flatten().tolist()]
    assert float(training_loss(network_with("sigmoid"), logits, targets)) == pytest.approx(sum(terms) / 6, rel=1e-6)
    softmax = torch.log_softmax(logits, dim=-1)[0]
    wanted = -(softmax[0, 1] + (softmax[1, 0] + softmax[1, 2]) / 2) / 2
    assert float(training_loss(network_with("softmax"), logits, targets)) == pytest.approx(float(wanted), rel=1e-6)


def test_softened_marks_are_the_mean_around_each_hop():
    marks = torch.tensor([0, 0, 0, 1, 1, 1, 1, 0, 1, 1.0])[None, :, None].repeat(2, 1, 3)
    thirds = torch.tensor([0, 0, 1, 2, 3, 3, 2, 2, 2, 3.0]) / 3
    for rows in (3.0, 3.4, 2.2):  # the nearest odd number
        assert torch.allclose(soften_targets(marks, rows), thirds[None, :, None].expand(2, 10, 3))
    step = torch.tensor([0.0] * 8 + [1.0] * 8)[None, :, None]
    ramp = soften_targets(step, 5.0)[0, :, 0]
    assert ramp[7] < 0.5 < ramp[8] and ramp[7] + ramp[8] == pytest.approx(1.0)  # one half where the step was
    assert torch.allclose(soften_targets(step, 99.0), torch.full_like(step, 0.5))
    for rows in (0.0, 1.0, 1.9):
        assert torch.equal(soften_targets(marks, rows), marks)
    clip = torch.tensor([[[0.0, 1.0]]])
    assert torch.equal(soften_targets(clip, 11.0), clip)


def test_the_loss_of_a_clip_is_that_of_its_mean_score():
    logits = torch.tensor([[[0.0, 2.0, -1.0], [1.0, 0.0, 0.5], [5.0, 1.0, 0.5]]])
    targets = torch.tensor([[[0.0, 1.0, 0.0]]])
    right = logits.softmax(dim=-1).mean(dim=1)[0, 1]
    assert float(training_loss(network_with("softmax"), logits, targets)) == pytest.approx(-math.log(right), rel=1e-6)
    scores = logits.sigmoid().mean(dim=1)[0]
    wanted = -float(torch.log(torch.stack([1 - scores[0], scores[1], 1 - scores[2]])).mean())
    assert float(training_loss(network_with("sigmoid"), logits, targets)) == pytest.approx(wanted, rel=1e-6)


def test_hops_without_a_label_do_not_count_with_softmax():
    logits = torch.randn(1, 2, 3, requires_grad=True)
    training_loss(network_with("softmax"), logits, torch.tensor([[[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]])).backward()
    assert not logits.grad[0, 1].any()
    nothing = training_loss(network_with("softmax"), logits, torch.zeros(1, 2, 3))
    assert nothing.item() == 0.0


def test_the_defaults_of_the_task_are_not_those_of_the_recipe():
    """The suite must stay fast: no worker processes, few examples."""
    assert (TASK_TRAIN.workers, TASK_TRAIN.examples_per_epoch) == (0, 96)


def test_a_model_keeps_its_recipe_without_the_paths_of_the_machine(trained):
    last, _, run, _ = trained
    kept = read_recipe(last.model.folder / "recipe.toml")
    assert (kept.train, kept.mix, kept.seed) == (read_recipe(run / "recipe.toml").train, TASK_MIX, 3)
    table = {
        "data": {
            "source": "/far/away/sounds",
            "recordings": "/far/away/sounds/a.tsv",
            "segments": "/else/b.tsv",
            "corrections": "/home/me/doubtful.tsv",
        },
        "evaluate": {"conditions": "/far/conditions.toml", "part": "tune"},
        "train": {"teacher": "/far/runs/wise", "epochs": 3},
        "seed": 1,
    }
    assert strip_folders(table) == {
        "data": {"source": "sounds", "recordings": "a.tsv", "segments": "b.tsv", "corrections": "doubtful.tsv"},
        "evaluate": {"conditions": "conditions.toml", "part": "tune"},
        "train": {"teacher": "wise", "epochs": 3},
        "seed": 1,
    }
    assert table["train"]["teacher"] == "/far/runs/wise"


def test_the_card_says_on_what_it_was_trained(trained):
    last, _, _, _ = trained
    card = (last.model.folder / CARD).read_text()
    assert f"({last.model.training['machine']})" in card
    assert last.model.training["machine"].startswith("cpu, ")


@pytest.mark.long  # tests of losses, batches and calibration have the parts
def test_a_training_goes_through_where_nobody_is_sure_of_some_stretches(tmp_path):
    """Learned, validated, calibrated and tuned without them."""
    dataset = tone_task(tmp_path / "dataset", unsure=True)
    mix = dataclasses.replace(TASK_MIX, bridged_share=0.5, silence_share=0.1, float_share=0.5)
    recipe = recipe_of(mix=mix, epochs=6, edge_seconds=0.1)
    examples = make_training_set(recipe, dataset).validation
    assert any(np.isnan(example.targets).any() for example in examples)
    *reports, last = train(recipe, dataset, tmp_path / "run")
    losses = [report.validation_loss for report in reports if isinstance(report, EpochReport)]
    assert len(losses) == 6
    assert all(math.isfinite(loss) for loss in losses)
    assert last.figure > 0.95
    assert 0 < find_model(str(tmp_path / "run")).thresholds["tone"] < 1
