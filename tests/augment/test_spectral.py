"""Other throats: what sounds at a frequency is heard at that frequency times the factor."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from audiocnn.augment.settings import MixSettings
from audiocnn.augment.spectral import BatchShare, augment_features, warp_bands, warped_positions
from audiocnn.spec.features import band_edges_hertz, default_input

LOG_MEL = default_input("log_mel", 16000)
EDGES = band_edges_hertz(LOG_MEL)
assert EDGES is not None
CENTRES = EDGES.mean(axis=1)


def tone_at(hertz: float, *shape: int) -> torch.Tensor:
    """(1, ..., bands, 3): one band sounds."""
    values = torch.zeros(1, *shape, len(CENTRES), 3)
    values[..., int(abs(CENTRES - hertz).argmin()), :] = 1.0
    return values


def heard(values: torch.Tensor) -> float:
    """The frequency of the loudest band, between bands by their weights."""
    weights = values.reshape(-1, len(CENTRES), 3)[0, :, 0].double().numpy()
    return float((weights * CENTRES).sum() / weights.sum())


@pytest.mark.parametrize("factor", [0.8, 0.9, 1.1, 1.25])
@pytest.mark.parametrize("hertz", [500.0, 1000.0, 3000.0])
def test_a_tone_moves_by_the_factor(factor: float, hertz: float) -> None:
    values = tone_at(hertz, 1)
    start = heard(values)
    assert heard(warp_bands(values, LOG_MEL, np.array([factor]))) == pytest.approx(start * factor, rel=0.06)


def test_each_example_has_its_own_factor_and_every_channel_the_same() -> None:
    values = tone_at(1000.0, 2).repeat(3, 1, 1, 1)
    got = warp_bands(values, LOG_MEL, np.array([0.8, 1.0, 1.25]))
    assert torch.equal(got[1], values[1])
    assert heard(got[:1]) < heard(values[:1]) < heard(got[2:])
    assert torch.equal(got[:, 0], got[:, 1])
    flat = warp_bands(values.flatten(1, 2), LOG_MEL, np.array([0.8, 1.0, 1.25]))
    assert torch.equal(flat, got.flatten(1, 2)), "1-D networks have channels and bands in one dimension"


@pytest.mark.parametrize("factor", [0.7, 1.0, 1.4])
def test_the_order_of_bands_stays_and_both_ends_stay(factor: float) -> None:
    places = warped_positions(CENTRES, 8000.0, factor)
    assert (np.diff(places) >= 0).all() and places.min() >= 0 and places.max() <= len(CENTRES) - 1
    assert abs(places[-1] - (len(CENTRES) - 1)) < 1.5, "the top of the spectrum stays where it is"


def test_features_that_are_no_frequencies_stay() -> None:
    values = torch.randn(2, 1, 13, 4)
    assert warp_bands(values, default_input("mfcc", 16000), np.array([0.8, 1.2])) is values


def test_the_recipe_says_how_much() -> None:
    mix = MixSettings(band_warp=(0.8, 1.25), equaliser_db=0.0, band_masks=0)
    values = torch.randn(4, 1, len(CENTRES), 6)
    whole = augment_features(values, mix, LOG_MEL, np.random.default_rng(3))
    assert not torch.equal(whole, values)
    half = augment_features(values[2:], mix, LOG_MEL, np.random.default_rng(3), BatchShare(range(2, 4), 4))
    assert torch.equal(half, whole[2:]), "a share of a batch gets what it would get as a part of the whole"
    plain = MixSettings(equaliser_db=0.0, band_masks=0)
    assert torch.equal(augment_features(values, plain, LOG_MEL, np.random.default_rng(3)), values)
