"""How a model combines the scores of a recording into one answer: `[classify]` of `model.toml`.

    [classify]                       # trained on whole clips
    clip_seconds = 1.0
    pool_seconds = 0.43

    [classify.labels.speech]         # trained on segments
    pool_seconds = 0.1
    gain = 1.257
    shift = -2.219
    thresholds = { balanced = 0.5, sensitive = 0.12, precise = 0.93 }

`inference.pooling` applies it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from audiocnn.toml import TomlTable


@dataclass(frozen=True)
class ClipPooling:
    """Pooling for a model that was trained on whole clips. clip_seconds: up to this length, a recording is a clip,
    whose score is the mean. pool_seconds: for a longer recording, the loudest part of this length is also used."""

    clip_seconds: float
    pool_seconds: float


@dataclass(frozen=True)
class LabelPooling:
    """Pooling for a label of a model that was trained on segments: the highest mean score over any `seconds` in a row
    (inf: the mean of all), with its log-odds multiplied by `gain` and increased by `shift`.

    thresholds: for the result, by operating point; if empty, those of segments.
    """

    seconds: float = math.inf
    gain: float = 1.0
    shift: float = 0.0
    thresholds: Mapping[str, float] = field(default_factory=dict)


def pooling_table(clip: ClipPooling | None, labels: Mapping[str, LabelPooling]) -> dict[str, Any]:
    """The content of `[classify]`; empty if the model states nothing."""
    if clip is not None:
        return {"clip_seconds": clip.clip_seconds, "pool_seconds": clip.pool_seconds}
    return {"labels": {label: _label_table(own) for label, own in labels.items()}} if labels else {}


def _label_table(own: LabelPooling) -> dict[str, Any]:
    seconds = {} if math.isinf(own.seconds) else {"pool_seconds": own.seconds}
    thresholds = {"thresholds": dict(own.thresholds)} if own.thresholds else {}
    return {**seconds, "gain": own.gain, "shift": own.shift, **thresholds}


def read_pooling(
    table: TomlTable, labels: Sequence[str], points: Sequence[str]
) -> tuple[ClipPooling | None, dict[str, LabelPooling]]:
    """Read `[classify]`. points: the names of operating points. Raises the error of the table."""
    clip = None
    if "clip_seconds" in table.values or "pool_seconds" in table.values:
        clip = ClipPooling(table.number("clip_seconds", above=True), table.number("pool_seconds", above=True))
    inside, found = table.table("labels"), {}
    if clip is not None and inside.values:
        raise table.wrong(
            'has both "clip_seconds" and "labels"; keep those that fit the training, on clips or on segments'
        )
    for label in labels:
        if label in inside.values:
            found[label] = _read_label(inside.table(label), points)
    inside.known.update(labels)
    inside.close()
    table.close()
    return clip, found


def _read_label(table: TomlTable, points: Sequence[str]) -> LabelPooling:
    seconds = table.number("pool_seconds", math.inf, above=True)
    gain, shift = table.number("gain", 1.0, above=True), table.number("shift", 0.0, least=-math.inf)
    inside = table.table("thresholds")
    thresholds = {name: inside.number(name, most=1.0) for name in points} if inside.values else {}
    inside.close()
    table.close()
    return LabelPooling(seconds, gain, shift, thresholds)


def mean_label_pooling(each: Sequence[LabelPooling], shares: Sequence[float]) -> LabelPooling:
    """The pooling for the mean of the scores of models, with these shares: the mean of their values."""
    names = each[0].thresholds.keys() if all(own.thresholds for own in each) else ()
    return LabelPooling(
        _mean([own.seconds for own in each], shares),
        _mean([own.gain for own in each], shares),
        _mean([own.shift for own in each], shares),
        {name: _mean([own.thresholds[name] for own in each], shares) for name in names},
    )


def mean_clip_pooling(each: Sequence[ClipPooling], shares: Sequence[float]) -> ClipPooling:
    """See `mean_label_pooling`."""
    whole = _mean([own.clip_seconds for own in each], shares)
    return ClipPooling(whole, _mean([own.pool_seconds for own in each], shares))


def _mean(values: Sequence[float], shares: Sequence[float]) -> float:
    return sum(share * value for share, value in zip(shares, values, strict=True)) / sum(shares)
