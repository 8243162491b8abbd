"""Make a folder of short clips for trying a training: five labels with 24 clips each, two clips in the wrong folder.

    python examples/make_sounds.py sounds/

All clips are synthetic, so nobody holds rights to them. The same seed gives the same clips. The two clips with a wrong
label are meant to be found by `audiocnn doubtful`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

RATE = 16000
CLIPS = 24  # per label
WRONG = {("bell", 7): "whistle", ("engine", 15): "rain"}  # (true label, number of the clip) -> folder
Samples = NDArray[np.float64]


def bell(rng: np.random.Generator, times: Samples) -> Samples:
    """Inharmonic partials, struck once, which decay at different rates."""
    pitch = rng.uniform(400, 900)
    partials = [(1.0, 1.0), (2.0, 0.6), (2.4, 0.5), (3.0, 0.4), (4.5, 0.3), (5.3, 0.2)]
    return np.asarray(
        sum(
            weight * np.exp(-times * ratio * rng.uniform(2, 4)) * np.sin(2 * np.pi * pitch * ratio * times)
            for ratio, weight in partials
        )
    )


def whistle(rng: np.random.Generator, times: Samples) -> Samples:
    """A gliding tone with a little breath noise."""
    glide = rng.uniform(1200, 2400) * 2 ** (rng.uniform(-0.5, 0.5) * times / times[-1])
    wobble = 1 + 0.01 * np.sin(2 * np.pi * rng.uniform(4, 7) * times)
    phase = 2 * np.pi * np.cumsum(glide * wobble) / RATE
    return np.asarray(np.sin(phase) * np.hanning(len(times)) + 0.02 * rng.standard_normal(len(times)))


def knock(rng: np.random.Generator, times: Samples) -> Samples:
    """Two to five dull strokes."""
    sound = np.zeros(len(times))
    for start in np.cumsum(rng.uniform(0.09, 0.2, rng.integers(2, 6))):
        after = np.maximum(times - start, 0)
        stroke = np.exp(-after * 60) * np.sin(2 * np.pi * rng.uniform(120, 260) * after)
        sound += np.where(times >= start, stroke, 0)
    return sound


def engine(rng: np.random.Generator, times: Samples) -> Samples:
    """A low tone with many harmonics and a regular pulse."""
    pitch = rng.uniform(45, 95)
    tones = np.asarray(sum(np.sin(2 * np.pi * pitch * k * times + rng.uniform(0, 6)) / k**0.7 for k in range(1, 25)))
    return tones * (1 + 0.5 * np.sin(2 * np.pi * pitch / 4 * times)) + 0.3 * rng.standard_normal(len(times))


def rain(rng: np.random.Generator, times: Samples) -> Samples:
    """A hiss with drops."""
    hiss = np.diff(rng.standard_normal(len(times) + 1))
    drops = (rng.random(len(times)) < rng.uniform(30, 90) / RATE) * rng.uniform(4, 12, len(times))
    return hiss + np.convolve(drops, np.exp(-np.arange(200) / 40) * np.sin(np.arange(200) * 1.2), mode="same")


SOUNDS: dict[str, Callable[[np.random.Generator, Samples], Samples]] = {
    "bell": bell,
    "engine": engine,
    "knock": knock,
    "rain": rain,
    "whistle": whistle,
}


def make_clip(label: str, rng: np.random.Generator) -> Samples:
    """A clip of `label` with a random length and level, in faint room noise."""
    times = np.arange(int(rng.uniform(0.8, 1.4) * RATE)) / RATE
    sound = SOUNDS[label](rng, times)
    sound *= 10 ** (rng.uniform(-20, -3) / 20) / np.abs(sound).max()
    return sound + rng.standard_normal(len(times)) * 10 ** (rng.uniform(-70, -50) / 20)


def make_folder(folder: Path, seed: int = 1) -> None:
    """Write CLIPS clips of each label into a folder of that name; those in WRONG go to another folder."""
    rng = np.random.default_rng(seed)
    for label in SOUNDS:
        for number in range(1, CLIPS + 1):
            path = folder / WRONG.get((label, number), label) / f"take_{label[0]}{number:02}.flac"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, make_clip(label, rng), RATE, subtype="PCM_16")


def make_evening(path: Path, seed: int = 2) -> None:
    """Half a minute of a quiet room in which the five sounds occur one after another."""
    rng = np.random.default_rng(seed)
    evening = rng.standard_normal(30 * RATE) * 10 ** (-60 / 20)
    for start, label in zip((2, 8, 13, 19, 25), ("knock", "bell", "engine", "whistle", "rain"), strict=True):
        clip = make_clip(label, rng)
        evening[start * RATE : start * RATE + len(clip)] += clip
    soundfile.write(path, evening, RATE, subtype="PCM_16")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a new folder for the clips")
    parser.add_argument("--evening", type=Path, help="also write a recording of half a minute with all five sounds")
    chosen = parser.parse_args()
    make_folder(chosen.folder)
    if chosen.evening:
        make_evening(chosen.evening)
    print(f"{len(SOUNDS) * CLIPS} clips of {len(SOUNDS)} labels in {chosen.folder}")
