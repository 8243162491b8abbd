"""A few hundred spoiled files of labels; thousands by `python -m tests.helpers.fuzz.labels`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from audiocnn.labels.formats import FORMATS, label_format, read_labelled_recordings
from tests.helpers.fuzz.labels import fuzz, seeds
from tests.helpers.fuzz.mutating import CHANGES, mutant, noisy


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.long)])
def test_spoiled_labels_are_labels_or_one_line(tmp_path: Path, count: int) -> None:
    figures = fuzz(count, 7, tmp_path)
    assert figures.wrong == []
    assert figures.count == figures.converted == count
    assert set(figures.by_format) == set(FORMATS)
    assert 0.1 < figures.share < 0.9, "mutants that all parse, or none, show nothing"


@pytest.mark.parametrize("number", range(len(seeds())))
def test_the_files_that_are_spoiled_were_good(tmp_path: Path, number: int) -> None:
    name, data = seeds()[number]
    path = tmp_path / f"x{FORMATS[name].suffixes[0]}"
    path.write_bytes(data)
    assert label_format(path) == name
    assert read_labelled_recordings(path, name)[0].segments


def test_the_same_seed_makes_the_same_mutants() -> None:
    (_, data), others = seeds()[0], [content for _, content in seeds()]
    first, again = ([mutant(data, others, np.random.default_rng(3)) for _ in range(5)] for _ in range(2))
    assert first == again


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_takes_any_text(change) -> None:
    random = np.random.default_rng(1)
    for text in ("", "\n", "x", '{"a": 1, "b": [1, 2]}\n', "a\t0.5\t1.0\tdog\nb\t1\t2\t\n", "<A B='1'><C/></A>"):
        for _ in range(20):
            assert isinstance(change(text, random), str)


def test_noise_takes_any_bytes() -> None:
    random = np.random.default_rng(1)
    assert all(isinstance(noisy(data, random), bytes) for data in (b"", b"x", b"abc" * 50) for _ in range(50))
