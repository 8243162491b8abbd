"""Corpora to ingest, and the contents of the resulting datasets. Used by several tests."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from sounds import noise, write

from audiocnn.data.dataset import Dataset, Entry
from audiocnn.data.ingest import IngestSettings, IngestStep, ingest


def make_corpus(folder: Path) -> Path:
    """Ten seconds of white noise in ten recordings in two folders. `seed_of` gives the seed of each."""
    for i in range(5):
        write(folder / f"dog/{i}.wav", noise(1, 16000, i), 16000)
        write(folder / f"cat/{i}.flac", noise(1, 16000, 10 + i), 16000)
    return folder


def seed_of(entry: Entry) -> int:
    """The seed of the noise in a recording of `make_corpus`."""
    return {"d": 0, "c": 10}[entry.filename[0]] + int(Path(entry.filename).stem)


def run(source: Path, output: Path, **settings: Any) -> list[IngestStep]:
    return list(ingest([source], output, IngestSettings(**settings)))


def counts(steps: list[IngestStep]) -> dict[str, int]:
    return dict(Counter(step.outcome for step in steps))


def said(dataset: Dataset) -> list[tuple[Any, ...]]:
    """Everything that a dataset stores about its recordings, except the samples."""
    return [
        (e.filename, e.samples, e.label, e.annotated, e.group, e.split, e.tags, dataset.annotations(e))
        for e in dataset.entries
    ]


def brief(dataset: Dataset) -> dict[str, Any]:
    """filename -> label, or annotations as (onset, offset, label)."""
    return {
        e.filename: [(a.onset, a.offset, a.label) for a in dataset.annotations(e)] if e.annotated else e.label
        for e in dataset.entries
    }


def text(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(line + "\n" for line in lines))
    return path


def same_dataset(one: Path, other: Path) -> None:
    first, second = Dataset.open(one), Dataset.open(other)
    assert said(first) == said(second)
    assert (first.labels, first.refused) == (second.labels, second.refused)
    for a, b in zip(first.entries, second.entries, strict=True):
        assert np.array_equal(first.samples(a), second.samples(b))
    shards = [{path.name: path.read_bytes() for path in folder.glob("*.npy")} for folder in (one, other)]
    assert shards[0] == shards[1]
