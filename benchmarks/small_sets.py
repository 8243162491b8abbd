"""The recordings of `small_data`: few clips of a set, test voices, and synthetic sounds with uneven counts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from audiocnn.data.dataset import Dataset, Entry
from audiocnn.data.ingest import IngestSettings, cached_dataset
from audiocnn.data.sources.settings import data_settings

RATE = 16_000
MADE_SECONDS = 0.4
BLOCK = 1 << 14  # samples
STEPS, RATIO = 10, 1.15  # of each of two tones
LOWEST = np.array([200.0, 1200.0])  # hertz


@dataclass(frozen=True)
class Parts:
    """The clips of one training (including those for early stopping) and of its test."""

    train: Dataset
    test: list[Entry]


def dataset_of(plan: Mapping[str, Any], folder: Path, home: Path) -> Dataset:
    """A set, ingested once: recordings given as in `[data]` of a recipe, or synthetic ones."""
    settings = IngestSettings(sample_rate=RATE, channels=1)
    if "made" not in plan:
        return cached_dataset(data_settings(dict(plan["data"]), home, f"{plan['name']}: data"), folder, settings)
    sounds = folder.with_name(folder.name + ".sounds")
    if not sounds.exists():
        write_made(sounds, plan["made"])
    return cached_dataset(sounds, folder, settings)


def parts_of(plan: Mapping[str, Any], dataset: Dataset, clips: int, seed: int) -> Parts:
    """Some clips of each label, and the clips of the seed's voices; for synthetic sounds all clips, by name."""
    if "made" in plan:
        tested = [entry for entry in dataset.entries if Path(entry.filename).name.startswith("test")]
        names = {entry.filename for entry in tested}
        return Parts(dataset.with_entries(e for e in dataset.entries if e.filename not in names), tested)
    groups = sorted({entry.group for entry in dataset.entries}, key=rank)
    count = plan.get("test_groups") or round(plan["test_share"] * len(groups))
    out = {groups[(seed * count + number) % len(groups)] for number in range(count)}
    rest = sorted((e for e in dataset.entries if e.group not in out), key=lambda e: rank(f"{seed} {e.filename}"))
    taken: dict[str, list[Entry]] = {}
    for entry in rest:
        taken.setdefault(str(entry.label), [])
        if len(taken[str(entry.label)]) < clips:
            taken[str(entry.label)].append(entry)
    kept = [entry for entries in taken.values() for entry in entries]
    return Parts(dataset.with_entries(kept), [entry for entry in dataset.entries if entry.group in out])


def rank(name: str) -> str:
    """A place in an order that does not depend on names."""
    return hashlib.sha256(name.encode()).hexdigest()


def counts_of(made: Mapping[str, Any]) -> list[int]:
    """The number of clips per label, from the most to the least in equal ratios."""
    return [round(value) for value in np.geomspace(made["most"], made["least"], made["labels"])]


def write_made(folder: Path, made: Mapping[str, Any]) -> None:
    """Write recordings with a folder per label: `most` clips of the first to `least` of the last for training, and a
    fixed number of each for the test, with these lengths, rates and formats, and a number of broken files. The
    sounds of the labels are shuffled, so that rare ones are not similar."""
    partial = folder.with_name(folder.name + ".part")
    kinds = np.random.default_rng(5).permutation(made["labels"])
    shortest, longest = made.get("seconds", (MADE_SECONDS, MADE_SECONDS))
    rates, formats = made.get("rates", [RATE]), made.get("formats", ["wav"])
    for label, count in enumerate(counts_of(made)):
        home = partial / f"sound{label:03}"
        home.mkdir(parents=True, exist_ok=True)
        for part, many in (("train", count), ("test", made["tested"])):
            for number in range(many):
                random = np.random.default_rng([label, number, part == "test"])
                form = np.random.default_rng([label, number, part == "test", 1])
                seconds = float(np.exp(form.uniform(np.log(shortest), np.log(longest))))
                rate, suffix = int(form.choice(rates)), str(form.choice(formats))
                path = home / f"{part}{number:03}.{suffix}"
                write_in_blocks(path, sound(random, int(kinds[label]), seconds, rate), rate)
    for number in range(made.get("broken", 0)):
        (partial / "sound000" / f"broken{number}.{formats[number % len(formats)]}").write_bytes(b"not a sound" * number)
    partial.rename(folder)


def write_in_blocks(path: Path, samples: NDArray[np.float32], rate: int) -> None:
    """Write (samples,) in blocks, since libsndfile may crash when it gets much Vorbis at a time."""
    with soundfile.SoundFile(path, "w", rate, 1) as file:
        for start in range(0, len(samples), BLOCK):
            file.write(samples[start : start + BLOCK])


def sound(
    random: np.random.Generator, kind: int, seconds: float = MADE_SECONDS, rate: int = RATE
) -> NDArray[np.float32]:
    """(samples,) of one of the kinds: a low and a high tone over noise. Their frequencies are drawn around those of the
    kind, so that neighbours overlap a little."""
    times = np.arange(round(seconds * rate)) / rate
    steps = np.array([kind % STEPS, kind // STEPS]) + random.normal(0.0, 0.2, 2)
    tones = [
        random.uniform(0.1, 0.2) * np.sin(2 * np.pi * hertz * times + random.uniform(0.0, 6.28))
        for hertz in LOWEST * RATIO**steps
    ]
    mixed = sum(tones) + random.uniform(0.02, 0.1) * random.standard_normal(len(times))
    return np.asarray(np.clip(mixed, -1.0, 1.0), dtype=np.float32)


def names_of(plans: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of sets or trials."""
    return [str(plan["name"]) for plan in plans]
