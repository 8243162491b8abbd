"""The losses: where that of clips looks, what it smooths and weighs; what is not known carries none."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from audiocnn.recipe.settings import TrainSettings
from audiocnn.training.losses import (
    ClipLoss,
    clip_cross_entropy,
    count_terms,
    make_clip_loss,
    pool_spans,
    soften_targets,
    training_loss,
)

CLIPS = np.array([90, 9, 1])


def logits_of(scores):
    return torch.tensor(scores, dtype=torch.float64).log()


def test_scores_are_those_of_the_positions_inside_the_span():
    scores = [[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.9, 0.1]]
    pooled = pool_spans(logits_of([scores, scores]), torch.tensor([[1, 3], [0, 1]]), softmax=True)
    np.testing.assert_allclose(pooled[:, 0].exp(), [[0.3, 0.7], [0.9, 0.1]])
    odds = torch.logit(torch.tensor([scores], dtype=torch.float64))
    np.testing.assert_allclose(pool_spans(odds, torch.tensor([[1, 3]]), softmax=False).sigmoid()[0, 0], [0.3, 0.7])


@pytest.mark.parametrize("softmax", [True, False])
def test_nothing_is_learned_from_outside_the_span(softmax):
    logits = torch.randn(2, 5, 3, requires_grad=True)
    rows = pool_spans(logits, torch.tensor([[1, 3], [4, 5]]), softmax)
    clip_cross_entropy(rows, torch.eye(3)[None, :2].transpose(0, 1), softmax, ClipLoss()).backward()
    moved = logits.grad.abs().sum(dim=2) > 0
    assert moved.tolist() == [[False, True, True, False, False], [False, False, False, False, True]]


def test_smoothing_spreads_a_share_of_the_target():
    logits, target = logits_of([[[0.7, 0.2, 0.1]]]), torch.tensor([[[1.0, 0.0, 0.0]]], dtype=torch.float64)
    wanted = -(0.8 * math.log(0.7) + 0.1 * math.log(0.2) + 0.1 * math.log(0.1))
    assert float(clip_cross_entropy(logits, target, True, ClipLoss(0.3))) == pytest.approx(wanted)
    one = torch.zeros(1, 1, 1)
    assert float(clip_cross_entropy(one, one + 1, False, ClipLoss(0.2))) == pytest.approx(math.log(2))
    ends = [float(clip_cross_entropy(one + 3, one + label, False, ClipLoss(0.2))) for label in (0, 1)]
    assert ends[0] - ends[1] == pytest.approx(3 * 0.8)  # targets 0.1 and 0.9


def loss_for(balance, power, softmax, smoothing=0.0):
    settings = TrainSettings(balance=balance, balance_power=power, label_smoothing=smoothing)
    return make_clip_loss(settings, CLIPS, softmax)


def test_weights_make_up_for_counts_and_are_one_in_the_mean():
    whole = loss_for("loss", 1.0, True).weights
    np.testing.assert_allclose(whole.numpy() * CLIPS, whole[0] * 90, rtol=1e-6)
    root = loss_for("loss", 0.5, True).weights
    np.testing.assert_allclose(root[2] / root[0], math.sqrt(90), rtol=1e-6)
    for weights in (whole, root):
        assert float(weights @ torch.from_numpy(CLIPS).float()) == pytest.approx(100.0, rel=1e-5)
    logits, targets = torch.zeros(2, 1, 3), torch.tensor([[[1.0, 0, 0]], [[0, 0, 1.0]]])
    wanted = math.log(3) * float(whole[0] + whole[2]) / 2
    assert float(clip_cross_entropy(logits, targets, True, ClipLoss(weights=whole))) == pytest.approx(wanted, rel=1e-5)


def test_a_start_is_the_log_of_the_share():
    rule = loss_for("prior", 1.0, True)
    np.testing.assert_allclose(rule.start.exp(), [0.9, 0.09, 0.01], rtol=1e-5)
    np.testing.assert_allclose(loss_for("prior", 0.5, True).start * 2, rule.start, rtol=1e-5)
    rare = torch.tensor([[[0.0, 0.0, 1.0]]])
    assert float(clip_cross_entropy(torch.zeros(1, 1, 3), rare, True, rule)) == pytest.approx(-math.log(0.01), rel=1e-5)
    np.testing.assert_allclose(loss_for("prior", 1.0, False).start.sigmoid(), [0.9, 0.09, 0.01], rtol=1e-5)
    assert loss_for("none", 1.0, True, smoothing=0.1) == ClipLoss(0.1)


def test_clips_without_a_label_are_nothing_to_a_softmax_and_negatives_to_a_sigmoid():
    logits = torch.tensor([[[2.0, -1.0]]])
    assert float(clip_cross_entropy(logits, torch.zeros(1, 1, 2), True, ClipLoss(0.5))) == 0.0
    weighted = clip_cross_entropy(logits, torch.zeros(1, 1, 2), False, ClipLoss(weights=torch.tensor([5.0, 5.0])))
    plain = clip_cross_entropy(logits, torch.zeros(1, 1, 2), False, ClipLoss())
    assert float(plain) > 0.0
    assert float(weighted) == pytest.approx(float(plain))


def test_the_loss_of_segments_knows_neither_spans_nor_rules():
    spec = SimpleNamespace(f=SimpleNamespace(output="softmax", background=False), localises=False)
    network = SimpleNamespace(spec=spec, pooled=None)
    logits, targets = torch.randn(2, 6, 3), torch.eye(3)[torch.randint(0, 3, (2, 6))]
    rule = ClipLoss(0.5, torch.tensor([9.0, 1, 1]), torch.tensor([1.0, 2, 3]))
    spans = torch.tensor([[0, 6], [0, 6]])
    assert float(training_loss(network, logits, targets, spans, rule)) == float(training_loss(network, logits, targets))


def network_with(output, localises=False):
    return SimpleNamespace(
        spec=SimpleNamespace(
            f=SimpleNamespace(output=output, background=False), localises=localises, classes=2, furthest_seconds=1.0
        ),
        geometry=SimpleNamespace(hop_seconds=0.02),
    )


@pytest.mark.parametrize(("output", "localises"), [("sigmoid", False), ("softmax", False), ("onset_offset", True)])
def test_what_is_not_known_carries_no_loss_and_no_gradient(output, localises):
    network, random = network_with(output, localises), torch.Generator().manual_seed(1)
    logits = torch.randn(2, 6, 6 if localises else 2, generator=random, requires_grad=True)
    targets = torch.zeros(2, 6, 2)
    targets[:, 1:3, 0] = 1.0
    unknown = targets.clone()
    unknown[:, 4:] = math.nan
    loss = training_loss(network, logits, unknown)
    loss.backward()
    assert torch.isfinite(loss)
    assert not logits.grad[:, 4:].any()
    assert logits.grad[:, 1:3].any()
    if not localises:
        expected = training_loss(network, logits[:, :4], targets[:, :4])
        assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-6)
    nothing = training_loss(network, logits, torch.full((2, 6, 2), math.nan))
    assert float(nothing.detach()) == 0.0


def test_parts_of_a_batch_weigh_by_what_is_known_in_them():
    targets = torch.zeros(2, 4, 1)
    targets[0, :3] = math.nan
    network = network_with("sigmoid")
    assert count_terms(network, targets) == pytest.approx(1.25)
    assert count_terms(network, targets[1:]) == 1.0


def test_softened_targets_are_means_over_what_is_known():
    marks = torch.tensor([0.0, 0.0, 1.0, math.nan, math.nan, 0.0, 0.0]).reshape(1, -1, 1)
    soft = soften_targets(marks, 3.0)[0, :, 0]
    assert soft[:3].tolist() == pytest.approx([0.0, 1 / 3, 0.5])
    assert soft[3:5].isnan().all()
    assert soft[5:].tolist() == [0.0, 0.0]


def background_network():
    network = network_with("softmax")
    network.spec.f.background = True
    return network


@pytest.mark.parametrize("spikes", [1, 4, 5, 40])
def test_what_is_none_of_the_labels_pays_for_a_moment_that_sounds_like_one(spikes):
    logits = torch.full((1, 40, 2), -10.0)
    logits[:, :spikes, 0] = 10.0
    none, label = torch.zeros(1, 1, 2), torch.tensor([[[1.0, 0.0]]])
    loss = float(training_loss(background_network(), logits, none))
    quarter = min(spikes, 10) / 10  # of the ten positions that count
    assert loss == pytest.approx(10.0 if quarter == 1 else -math.log(1 - quarter), rel=1e-3)
    assert float(training_loss(background_network(), logits, label)) == pytest.approx(
        -math.log(spikes / 40), rel=1e-3, abs=1e-3
    )


def test_of_what_is_none_of_the_labels_all_of_it_counts_and_of_a_clip_what_it_fills():
    logits = torch.full((2, 8, 2), -10.0)
    logits[:, 6:, 0] = 10.0
    targets = torch.tensor([[[0.0, 0.0]], [[1.0, 0.0]]])
    spans = torch.tensor([[0, 4], [6, 8]])
    each = [float(training_loss(background_network(), logits[[n]], targets[[n]], spans[[n]])) for n in range(2)]
    assert each == pytest.approx([10.0, 0.0], abs=1e-3)
    both = float(training_loss(background_network(), logits, targets, spans))
    assert both == pytest.approx(sum(each) / 2, abs=1e-3)
