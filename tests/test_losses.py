"""The loss of whole clips: where it looks, what it smooths, what it weighs."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from audiocnn.losses import ClipLoss, clip_loss, loss_of, loss_of_clips, pooled_in

CLIPS = np.array([90, 9, 1])


def logits_of(scores):
    return torch.tensor(scores, dtype=torch.float64).log()


def test_scores_are_those_of_the_positions_inside_the_span():
    scores = [[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.9, 0.1]]
    pooled = pooled_in(logits_of([scores, scores]), torch.tensor([[1, 3], [0, 1]]), softmax=True)
    np.testing.assert_allclose(pooled[:, 0].exp(), [[0.3, 0.7], [0.9, 0.1]])
    odds = torch.logit(torch.tensor([scores], dtype=torch.float64))
    np.testing.assert_allclose(pooled_in(odds, torch.tensor([[1, 3]]), softmax=False).sigmoid()[0, 0], [0.3, 0.7])


@pytest.mark.parametrize("softmax", [True, False])
def test_nothing_is_learned_from_outside_the_span(softmax):
    logits = torch.randn(2, 5, 3, requires_grad=True)
    rows = pooled_in(logits, torch.tensor([[1, 3], [4, 5]]), softmax)
    loss_of_clips(rows, torch.eye(3)[None, :2].transpose(0, 1), softmax, ClipLoss()).backward()
    moved = logits.grad.abs().sum(dim=2) > 0
    assert moved.tolist() == [[False, True, True, False, False], [False, False, False, False, True]]


def test_smoothing_spreads_a_share_of_the_target():
    logits, target = logits_of([[[0.7, 0.2, 0.1]]]), torch.tensor([[[1.0, 0.0, 0.0]]], dtype=torch.float64)
    wanted = -(0.8 * math.log(0.7) + 0.1 * math.log(0.2) + 0.1 * math.log(0.1))
    assert float(loss_of_clips(logits, target, True, ClipLoss(0.3))) == pytest.approx(wanted)
    one = torch.zeros(1, 1, 1)
    assert float(loss_of_clips(one, one + 1, False, ClipLoss(0.2))) == pytest.approx(math.log(2))
    ends = [float(loss_of_clips(one + 3, one + label, False, ClipLoss(0.2))) for label in (0, 1)]
    assert ends[0] - ends[1] == pytest.approx(3 * 0.8)  # targets 0.1 and 0.9


def test_weights_make_up_for_counts_and_are_one_in_the_mean():
    whole = clip_loss(0.0, "loss", 1.0, CLIPS, softmax=True).weights
    np.testing.assert_allclose(whole.numpy() * CLIPS, whole[0] * 90, rtol=1e-6)
    root = clip_loss(0.0, "loss", 0.5, CLIPS, softmax=True).weights
    np.testing.assert_allclose(root[2] / root[0], math.sqrt(90), rtol=1e-6)
    for weights in (whole, root):
        assert float(weights @ torch.from_numpy(CLIPS).float()) == pytest.approx(100.0, rel=1e-5)
    logits, targets = torch.zeros(2, 1, 3), torch.tensor([[[1.0, 0, 0]], [[0, 0, 1.0]]])
    wanted = math.log(3) * float(whole[0] + whole[2]) / 2
    assert float(loss_of_clips(logits, targets, True, ClipLoss(weights=whole))) == pytest.approx(wanted, rel=1e-5)


def test_a_start_is_the_log_of_the_share():
    rule = clip_loss(0.0, "prior", 1.0, CLIPS, softmax=True)
    np.testing.assert_allclose(rule.start.exp(), [0.9, 0.09, 0.01], rtol=1e-5)
    np.testing.assert_allclose(clip_loss(0, "prior", 0.5, CLIPS, True).start * 2, rule.start, rtol=1e-5)
    rare = torch.tensor([[[0.0, 0.0, 1.0]]])
    assert float(loss_of_clips(torch.zeros(1, 1, 3), rare, True, rule)) == pytest.approx(-math.log(0.01), rel=1e-5)
    np.testing.assert_allclose(clip_loss(0, "prior", 1.0, CLIPS, False).start.sigmoid(), [0.9, 0.09, 0.01], rtol=1e-5)
    assert clip_loss(0.1, "none", 1.0, CLIPS, True) == ClipLoss(0.1)


def test_clips_without_a_label_are_nothing_to_a_softmax_and_negatives_to_a_sigmoid():
    logits = torch.tensor([[[2.0, -1.0]]])
    assert float(loss_of_clips(logits, torch.zeros(1, 1, 2), True, ClipLoss(0.5))) == 0.0
    weighted = loss_of_clips(logits, torch.zeros(1, 1, 2), False, ClipLoss(weights=torch.tensor([5.0, 5.0])))
    plain = loss_of_clips(logits, torch.zeros(1, 1, 2), False, ClipLoss())
    assert float(plain) > 0.0
    assert float(weighted) == pytest.approx(float(plain))


def test_the_loss_of_segments_knows_neither_spans_nor_rules():
    spec = SimpleNamespace(f=SimpleNamespace(output="softmax"), localises=False)
    network = SimpleNamespace(spec=spec, pooled=None)
    logits, targets = torch.randn(2, 6, 3), torch.eye(3)[torch.randint(0, 3, (2, 6))]
    rule = ClipLoss(0.5, torch.tensor([9.0, 1, 1]), torch.tensor([1.0, 2, 3]))
    spans = torch.tensor([[0, 6], [0, 6]])
    assert float(loss_of(network, logits, targets, spans, rule)) == float(loss_of(network, logits, targets))
