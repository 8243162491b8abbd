"""First weights: drawn as the papers say, or fitted to the first batch, so that no unit is born dead."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from fixtures_models import LOG_MEL, TINY, network_of, recipe_of, table_of, tone_task
from torch import nn

from audiocnn.spec.hints import INITIALISATIONS
from audiocnn.spec.spec import spec_from_table
from audiocnn.training.batches import make_training_set
from audiocnn.training.dead_units import relus_of, watch_units
from audiocnn.training.initialise import initialise
from audiocnn.training.trainer import Trainer

F = {"window_seconds": 0.15, "layers": [{"dense": 64}, {"dense": 16}]}
CONV = {"conv": 16, "kernel": [3, 3]}
PLAIN = table_of({**LOG_MEL, "mels": 12}, [CONV, {"pool": "max", "size": [2, 2]}, CONV], F)
KINDS = {
    "2-D": PLAIN,
    "1-D": table_of({**LOG_MEL, "mels": 12}, [{"conv": 16, "kernel": 3}] * 2, F),
    "no groups": table_of(LOG_MEL, [], F),
    "branches": table_of(LOG_MEL, [{"branches": [[CONV], [CONV]]}], F),
}


def loud_features(network, examples=16):
    """Values around 5 that differ little: what a floor that most bands lie at looks like behind mean and deviation."""
    samples = torch.from_numpy(np.random.default_rng(0).normal(0.0, 0.1, (examples, 1, 4000)).astype(np.float32))
    with torch.no_grad():
        features = network.features(samples)
    return (features - features.mean()) / features.std() * 0.2 + 5.0


def made(table, kind, seed=0):
    torch.manual_seed(seed)
    network = network_of(spec_from_table(table, "tiny", 3))
    initialise(network, kind, lambda: loud_features(network))
    return network


@pytest.mark.parametrize("name", KINDS)
def test_fitted_units_have_mean_0_and_variance_1_and_none_is_born_dead(name):
    network = made(KINDS[name], "data")
    seen = {}
    for layer, relu in relus_of(network).items():
        relu.register_forward_hook(lambda module, inputs, output, layer=layer: seen.update({layer: inputs[0]}))
    with torch.no_grad(), watch_units(network) as watch:
        network.eval().logits_of(loud_features(network))
    assert len(seen) == len(relus_of(network)) and watch.layers() == ()
    for values in seen.values():
        units = values.transpose(0, 1).flatten(1)
        torch.testing.assert_close(units.mean(dim=1), torch.zeros(len(units)), atol=1e-3, rtol=0)
        torch.testing.assert_close(units.std(dim=1), torch.ones(len(units)), atol=2e-2, rtol=0)
    he = made(KINDS[name], "he")
    with torch.no_grad(), watch_units(he) as watch:
        he.eval().logits_of(loud_features(he))
    assert sum(layer.dead for layer in watch.layers()) > 8  # what this is for


def test_what_a_norm_follows_and_the_logits_stay_as_they_were():
    normed = {**TINY, "defaults": {"norm": "batch"}}
    one, other = made(normed, "he"), made(normed, "data")
    assert torch.equal(one.groups["A"][0][0].weight, other.groups["A"][0][0].weight)
    assert torch.equal(one.f.layers[-1].weight, other.f.layers[-1].weight)
    assert not torch.equal(one.f.layers[0].weight, other.f.layers[0].weight)
    assert one.training == other.training
    for name, value in one.state_dict().items():  # the statistics of norms are as new
        if "running" in name:
            assert torch.equal(value, other.state_dict()[name])
    assert not any(module._forward_hooks for module in other.modules())


def test_a_unit_that_is_the_same_for_all_examples_stays_finite():
    torch.manual_seed(0)
    network = network_of(spec_from_table(PLAIN, "tiny", 3))
    initialise(network, "data", lambda: torch.full_like(loud_features(network), 5.0))
    assert all(torch.isfinite(weight).all() for weight in network.parameters())


@pytest.mark.parametrize("kind", ["glorot", "orthogonal", "he"])
def test_drawn_weights_are_those_of_the_papers(kind):
    weights = made({**TINY, "defaults": {"norm": "none"}}, kind).groups["A"][1][0]  # 8 maps of 3 taps on 8 channels
    matrix = weights.weight.detach().flatten(1)
    if kind == "glorot":
        bound = math.sqrt(6.0 / (8 * 3 + 8 * 3))
        assert 0.9 * bound < matrix.abs().max() <= bound
    elif kind == "orthogonal":
        torch.testing.assert_close(matrix @ matrix.T, torch.eye(8), atol=1e-5, rtol=0)
    else:
        assert matrix.std().item() == pytest.approx(math.sqrt(2.0 / 24), rel=0.25)
    assert weights.bias.abs().max() == 0.0


@pytest.mark.parametrize("kind", INITIALISATIONS)
def test_a_training_begins_with_them_and_its_average_too(kind, tmp_path):
    task = tone_task(tmp_path / "d", groups=4)

    def begun(kind):
        torch.manual_seed(3)
        recipe = recipe_of(PLAIN, initialisation=kind)
        return Trainer(recipe, make_training_set(recipe, task), tmp_path)

    trainer, again, plain = begun(kind), begun(kind), begun("he")
    for one in (trainer.ema, again.network):  # the same every time
        assert all(map(torch.equal, trainer.network.parameters(), one.parameters()))
    same = [torch.equal(a, b) for a, b in zip(trainer.network.parameters(), plain.network.parameters(), strict=True)]
    assert all(same) if kind == "he" else not all(same)
    assert isinstance(trainer.network.f.layers[0], nn.Conv1d)
