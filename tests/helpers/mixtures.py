"""Mixers and measures that tests of mixtures and backgrounds share."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from fixtures_models import RATE, mark, write_dataset

from audiocnn.augment.effects import power
from audiocnn.augment.mixture import Mixer
from audiocnn.augment.settings import MixSettings

HOP = 40  # samples

BARE = MixSettings(
    seconds=3.0, foreground_share=1.0, gap_seconds=(0.0, 0.0), level_db=(0.0, 0.0), speed=(1.0, 1.0), overlap_share=0.0,
    background_share=0.0, coloured_share=0.0, snr_db=(10.0, 10.0), murmur_share=0.0, murmur_db=(20.0, 20.0),
    gain_db=(0.0, 0.0), audible_db=(200.0, 200.0), room_share=0.0, telephone_share=0.0, tilt_db=0.0, clip_share=0.0,
    event_share=0.0, background_speed=(1.0, 1.0), reversed_share=0.0,
)  # fmt: skip


def constant(seconds, onset=0.0, offset=math.inf, value=0.3):
    """(samples,) of a value from onset to offset, surrounded by zeros."""
    times = np.arange(round(seconds * RATE)) / RATE
    return np.where((times >= onset) & (times < offset), value, 0.0)


FOREGROUND = [
    ("a.wav", constant(1.0, 0.3, 0.7), mark("tone", 0.3, 0.7)),
    ("b.wav", constant(0.6, 0.1, 0.25), mark("tone", 0.1, 0.25)),
    ("long.wav", constant(9.0, 1.0, 8.0), mark("tone", 1.0, 8.0)),
]


def mixer_of(folder, recordings, labels=("tone",), seed=1, **changes):
    dataset = write_dataset(folder, recordings)
    return Mixer(dataset, dataset.entries, labels, dataclasses.replace(BARE, **changes), HOP, seed)


def share_of_rows(samples):
    """(rows,) the share of each hop that is not zero."""
    rows = -(-len(samples) // HOP)
    padded = np.zeros(rows * HOP)
    padded[: len(samples)] = samples != 0
    return padded.reshape(rows, HOP).mean(axis=1)


def rms(samples):
    return math.sqrt(power(np.asarray(samples, np.float32).ravel()))
