"""The set that a file of conditions makes, for `evaluate` to judge on."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from audiocnn_cli.progress import Bar
from audiocnn_cli.terminal import Terminal

if TYPE_CHECKING:
    from audiocnn.conditions import Conditions
    from audiocnn.dataset import Dataset
    from audiocnn.sources import DataSettings

REPORTED = "dev"  # the part that figures are of, unless another is asked for


def part_of(data: str, split: str | None) -> str | None:
    """What `--split` means: a part of conditions, if data are such, and else a split, or all."""
    from audiocnn.conditions import is_conditions

    return REPORTED if split is None and is_conditions(data) else split


def recordings_of(conditions: Conditions, part: str) -> DataSettings:
    """What to ingest for the set of a part: the recordings of its split, no others."""
    return dataclasses.replace(conditions.data, split=conditions.part(part).split)


def set_of(conditions: Conditions, dataset: Dataset, part: str, folder: Path, terminal: Terminal) -> Dataset:
    """The set, made of ingested recordings into `folder`, or found there."""
    from audiocnn.condition_sets import make_set

    with Bar(terminal, "mix") as bar:
        return make_set(
            conditions,
            dataset,
            part,
            folder,
            lambda done, total, name: bar.update(done, total, f"{done} of {total}"),
        )
