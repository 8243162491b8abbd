"""Units that are 0 for everything: found in every kind of layer, warned of from a quarter of a layer on, logged."""

from __future__ import annotations

import csv
import dataclasses
import json

import pytest
import torch
from fixtures_models import LOG_MEL, TINY, network_of, recipe_of, table_of, tone_task
from torch import nn

from audiocnn.model.model import spec_folders
from audiocnn.spec.spec import load_spec, spec_from_table
from audiocnn.training.batches import make_training_set
from audiocnn.training.dead_units import MANY_DEAD, LayerUnits, relus_of, warn_of_dead_units, watch_units
from audiocnn.training.events import EpochReport, Note
from audiocnn.training.train import train
from audiocnn.training.trainer import Trainer
from audiocnn.training.validate import validate

F = {"window_seconds": 0.15, "layers": [{"dense": 8}]}
PLAIN = table_of({**LOG_MEL, "mels": 12}, [{"conv": 8, "kernel": 3}, {"conv": 8, "kernel": 3}], F)
CONV = {"conv": 4, "kernel": [3, 3], "padding": 1}
KINDS = {
    "conv in 1-D": (table_of(LOG_MEL, [{"conv": 6, "kernel": 3}], F), {"group A, layer 1": 6, "F, layer 1": 8}),
    "behind a norm": (
        table_of(LOG_MEL, [{"conv": 6, "kernel": [3, 3], "norm": "batch"}], F),
        {"group A, layer 1": 6, "F, layer 1": 8},
    ),
    "activation of its own": (
        table_of(LOG_MEL, [{**CONV, "activation": "none"}, {"activation": "relu"}], {"window_seconds": 0.15}),
        {"group A, layer 2": 4},
    ),
    "residual": (
        table_of(LOG_MEL, [CONV, {"residual": [CONV, CONV], "activation": "relu"}], {"window_seconds": 0.15}),
        {"group A, layer 1": 4, **{f"group A, layer 2, relu {number}": 4 for number in (1, 2, 3)}},
    ),
    "branches": (
        table_of(LOG_MEL, [{"branches": [[CONV], [CONV, CONV]]}], {"window_seconds": 0.15}),
        {f"group A, layer 1, relu {number}": 4 for number in (1, 2, 3)},
    ),
    "two dense layers": (
        table_of(LOG_MEL, [], {"window_seconds": 0.15, "layers": [{"dense": 5, "dropout": 0.5}, {"dense": 7}]}),
        {"F, layer 1": 5, "F, layer 2": 7},
    ),
    "none that can die": (
        table_of(LOG_MEL, [{**CONV, "activation": "leaky_relu"}], {"window_seconds": 0.15}),
        {},
    ),
}


def seen(network, samples):
    network.eval()
    with torch.no_grad(), watch_units(network) as watch:
        network(samples)
    return watch


def kill(relu):
    """Whatever comes: the first two units of a relu give 0."""

    def first_two(module, inputs, output):
        output = output.clone()
        output[:, :2] = 0.0
        return output

    return relu.register_forward_hook(first_two)


@pytest.mark.parametrize("name", KINDS)
def test_units_are_counted_where_they_are(name):
    table, units = KINDS[name]
    network = network_of(spec_from_table(table, "tiny", 2))
    samples = torch.from_numpy(noise(network))
    assert {layer: len(values) for layer, values in seen(network, samples).largest.items()} == units
    for layer, relu in relus_of(network).items():
        before = {one.name: one.dead for one in seen(network, samples).layers()}
        hook = kill(relu)
        found = {one.name: one for one in seen(network, samples).layers()}
        hook.remove()
        assert found[layer].units == units[layer]
        assert 2 <= found[layer].dead <= before.get(layer, 0) + 2


def noise(network):
    import numpy as np

    length = network.geometry.window_samples + 4 * network.geometry.hop_samples
    return np.random.default_rng(0).normal(0.0, 0.1, (3, 1, length)).astype(np.float32)


def test_one_example_is_enough_for_a_unit_to_be_alive():
    network = network_of(spec_from_table(PLAIN, "tiny", 2)).eval()
    conv = network.groups["A"][0][0]
    with torch.no_grad():
        conv.weight.zero_()
        conv.bias.copy_(torch.tensor([1.0, -1.0] * 4))
        with watch_units(network) as watch:
            network(torch.zeros(2, 1, 4000))
            conv.bias[1] = 1.0
            network(torch.zeros(1, 1, 4000))
    assert watch.layers()[0] == LayerUnits("group A, layer 1", 8, 3)
    assert not any(module._forward_hooks for module in network.modules())  # nothing is left behind


@pytest.mark.parametrize("path", [path for folder in spec_folders() for path in sorted(folder.glob("*.toml"))])
def test_layers_of_the_specs_that_ship_have_names_of_their_own(path):
    """As many names as relus: no two share one."""
    spec = load_spec(path, 2)
    if spec.parameters() > 12e6:
        pytest.skip("large")
    network = network_of(spec)
    assert len(relus_of(network)) == sum(isinstance(module, nn.ReLU) for module in network.modules())


@pytest.mark.parametrize(("dead", "warned"), [(0, False), (16, False), (17, True), (64, True)])
def test_more_than_a_quarter_is_warned_of_in_one_line_with_what_helps(dead, warned):
    layers = [LayerUnits("F, layer 1", 64, dead), LayerUnits("group A, layer 1", 100, 3)]
    text = warn_of_dead_units(layers, "after the first epoch", 2e-3)
    assert bool(text) == warned == (dead > MANY_DEAD * 64)
    if warned:
        assert f"{dead} of 64 units of F, layer 1" in text and "\n" not in text
        assert all(remedy in text for remedy in ("--learning-rate 0.0007", "--seed", "leaky_relu"))


def test_the_worst_layer_is_named_and_others_are_counted():
    layers = [
        LayerUnits("group A, layer 1", 8, 3),
        LayerUnits("F, layer 1", 8, 8),
        LayerUnits("group B, layer 1", 8, 1),
    ]
    text = warn_of_dead_units(layers, "after the first epoch", 2e-3)
    assert "8 of 8 units of F, layer 1" in text and "1 other layer" in text and "group" not in text


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return tone_task(tmp_path_factory.mktemp("tones") / "d", groups=6)


def killed(trainer):
    """The maps of the second layer can give nothing but 0 any more, and do not learn."""
    for network in (trainer.network, trainer.ema):
        with torch.no_grad():
            network.groups["A"][1][0].bias[:] = -1e6


def test_a_training_warns_after_its_first_epoch_and_at_its_end_and_logs_the_count(task, tmp_path, monkeypatch):
    recipe = recipe_of(PLAIN, epochs=2, examples_per_epoch=16, validation_examples=8, learning_rate=1e-3)
    begin = Trainer.__init__

    def born_dead(self, *arguments, **options):
        begin(self, *arguments, **options)
        killed(self)

    monkeypatch.setattr(Trainer, "__init__", born_dead)
    reports = [r for r in train(recipe, task, tmp_path / "run") if isinstance(r, (Note, EpochReport))]
    kinds = [type(report) for report in reports]
    assert kinds == [EpochReport, Note, EpochReport, Note]
    assert all(note.warning and "8 of 8 units of group A, layer 2" in note.text for note in reports[1::2])
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert all(row["dead_units"] >= 8 and "8 of 8 units of group A, layer 2" in row["dead_layers"] for row in rows)
    with (tmp_path / "run" / "metrics.csv").open() as file:
        assert [row["dead_units"] for row in csv.DictReader(file)] == [str(row["dead_units"]) for row in rows]


def test_a_sound_network_is_not_warned_of_and_counting_changes_nothing(task, tmp_path):
    recipe = recipe_of(TINY, epochs=2, examples_per_epoch=32, validation_examples=8)
    reports = list(train(recipe, task, tmp_path / "run"))
    epochs = [report for report in reports if isinstance(report, EpochReport)]
    assert not any(isinstance(report, Note) and report.warning for report in reports)
    assert all(type(report.dead_units) is int for report in epochs)
    training_set = make_training_set(recipe, task)
    network = network_of(recipe.spec)
    one = validate(network, training_set, 8)
    relu = relus_of(network)["F, layer 1"]
    hook = relu.register_forward_hook(lambda module, inputs, output: output * 0.0)
    other = validate(network, training_set, 8)
    hook.remove()
    assert next(layer for layer in other.dead if layer.name == "F, layer 1").dead == 8
    assert validate(network, training_set, 8) == one != other


@pytest.mark.long
def test_with_nothing_held_out_nothing_is_counted(task, tmp_path):
    recipe = recipe_of(TINY, epochs=1, examples_per_epoch=16, validation_share=0.0)
    epochs = [report for report in train(recipe, task, tmp_path / "run") if isinstance(report, EpochReport)]
    assert [(report.dead_units, report.dead_layers) for report in epochs] == [(None, "")]


def test_a_resumed_run_still_knows_at_its_end(task, tmp_path):
    recipe = recipe_of(PLAIN, epochs=2, examples_per_epoch=16, validation_examples=8, learning_rate=1e-3)
    trainer = Trainer(recipe, make_training_set(recipe, task), tmp_path)
    killed(trainer)
    for report in trainer.epochs():
        if isinstance(report, EpochReport):
            break
    again = Trainer(recipe, trainer.training_set, tmp_path)
    again.resume()
    again.settings = dataclasses.replace(again.settings, epochs=1)  # nothing is left to learn
    again.state.epoch = 2
    notes = [report for report in again.epochs() if isinstance(report, Note)]
    assert len(notes) == 1 and "in epoch 1, the best, 8 of 8 units of group A, layer 2" in notes[0].text
