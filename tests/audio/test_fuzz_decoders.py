"""Spoiled recordings, a few of those that `python -m tests.helpers.fuzz.decoders` makes, and what makes them."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
from sounds import as_bytes, noise

from audiocnn.audio.recording import read_samples
from tests.helpers.fuzz.binaries import FRAMES, MUTATIONS, RATE, samples, seal_pages, seeds, spoil
from tests.helpers.fuzz.decoders import Figures, fuzz


def test_the_seeds_are_good(tmp_path):
    made = seeds()
    assert len(made) > 110
    assert {name.split("-")[0] for name in made} == set(soundfile.available_formats()) - {"RAW", "SD2"}
    for name in ("WAV-PCM_16", "FLAC-PCM_16", "CAF-ALAC_16", "AIFF-PCM_24"):
        path = tmp_path / name
        path.write_bytes(made[name])
        got, rate = read_samples(path)
        assert rate == RATE
        assert np.abs(got[0, :FRAMES] - samples(1)[:, 0]).max() < 1e-4


def test_the_same_seed_spoils_in_the_same_way():
    made = list(seeds().values())
    first, second = ([spoil(data, made, random) for data in made] for random in map(np.random.default_rng, (3, 3)))
    assert first == second
    assert sum(one == data for one, data in zip(first, made, strict=True)) < len(made) / 10


@pytest.mark.parametrize("mutation", sorted(set(MUTATIONS), key=lambda one: one.__name__), ids=lambda one: one.__name__)
def test_every_mutation_takes_any_bytes(mutation):
    random = np.random.default_rng(0)
    for data in (b"", b"x", b"RIFF", bytes(1000)):
        for _ in range(20):
            assert isinstance(bytes(mutation(bytearray(data), [b"other"], random)), bytes)


def test_pages_are_sealed_as_libogg_seals_them():
    data = as_bytes(noise(1, 8000), 8000, "OGG", "VORBIS")
    spoiled = bytearray(data)
    for place in range(22, 26):
        spoiled[place] = 0
    assert bytes(seal_pages(spoiled)) == data


@pytest.mark.parametrize("count", [40, pytest.param(400, marks=pytest.mark.long)])
def test_spoiled_recordings_do_no_harm(tmp_path, count):
    figures: Figures = fuzz(count, seed=1, folder=tmp_path)
    assert figures.wrong == []
    assert figures.crashes == []
    assert figures.count == count
    assert figures.whole + figures.noted + figures.later + figures.refused == count
    assert figures.past_header > 0.4
