"""The benchmark of doubt: what it counts, on scores whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.doubtful import MEASURES, confident_first, margin, precisions, self_confidence


def test_a_network_that_knows_finds_every_changed_label():
    truth = np.arange(200) % 4
    scores = np.full((200, 4), 0.01)
    scores[np.arange(200), truth] = 0.97
    assert precisions(scores, truth, 0.1, 3) == dict.fromkeys(MEASURES, 1.0)


def test_a_network_that_knows_nothing_finds_them_by_chance():
    scores = np.full((400, 4), 0.25)
    found = precisions(scores, np.arange(400) % 4, 0.2, 5)
    assert found["log-odds"] == pytest.approx(0.2, abs=0.04)


def test_the_measures():
    scores, truth = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3]]), np.array([[0, 1, 0], [0, 1, 0]], bool)
    assert self_confidence(scores, truth).tolist() == [-0.2, -0.6]
    assert margin(scores, truth) == pytest.approx([0.5, -0.3])
    assert confident_first(scores, truth) == pytest.approx([0.5, -0.3])  # no clip carries another label
