"""Finds the best thresholds and times for a model: scores are computed once, and many rules are tried on them.

For recordings with known segments, threshold, hysteresis, min_speech and min_silence are tried, each rule with
`find_segments`, which is the only way that scores become segments. First threshold and min_silence on a grid, then one
value at a time, until nothing improves. For clips with one or more labels, only the threshold is tried. The best values
fit these recordings slightly better than others, so evaluate them on others.

`sweep_segments` and `sweep_clips` are used by `tune`, `tune_threshold` by a training for its model. `save_scores` and
`load_scores` store the scores in a file, so that they are computed only once.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from audiocnn.data.dataset import Dataset, Entry
from audiocnn.errors import DatasetError, UsageError
from audiocnn.evaluation.bootstrap import Draws, draw_recordings, with_interval
from audiocnn.evaluation.clips import ScoredClip
from audiocnn.evaluation.metrics import SegmentSums, count_segments, detection_seconds, segment_values
from audiocnn.evaluation.results import Figure
from audiocnn.evaluation.segments import JudgedRecording, detect_intervals, reference_intervals
from audiocnn.files import write_whole
from audiocnn.model.model import ONNX, WEIGHTS, Model
from audiocnn.segments.finder import SegmentRule
from audiocnn.segments.segment import Floats, merge

Measure = Literal["detection_cost", "detection_error", "f1"]
# Goals of tuning, and their metrics.
MEASURES: dict[Measure, str] = {
    "detection_cost": "detection_cost",
    "detection_error": "detection_error_rate",
    "f1": "f1",
}
GOALS = {**{str(name): figure for name, figure in MEASURES.items()}, "segment_f1": "segment_f1"}
LOWER_IS_BETTER = ("detection_cost", "detection_error")
SWEEP_FIGURES = ("f1", "detection_error_rate", "detection_cost", "miss_rate", "false_alarm_rate")
_THRESHOLDS = tuple(round(0.05 * k, 2) for k in range(1, 20))
_FINE = 0.01  # step around the best of these
_HYSTERESIS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4)  # by how much the closing threshold is below the opening one
TRIED_SECONDS = {
    "min_silence_seconds": (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.2),
    "min_speech_seconds": (0.0, 0.05, 0.1, 0.15, 0.25, 0.4, 0.6, 1.0),
}
# Not stored in models: the same before and after tuning.
_APART = ("pad_seconds", "end_pad_seconds", "max_speech_seconds")
_MOST_ROUNDS = 4
_RESAMPLES = 1000
_SAME = 1e-12
KeptScores = dict[str, NDArray[np.float32]]
"""(rows, outputs) by recording name, stored in an .npz file with the `score_digest` of everything they depend on."""
_RuleFactory = Callable[..., SegmentRule]
"""`Model.rule` of one label: values to override -> the rule."""


@dataclass(frozen=True)
class _TriedRule:
    """A rule with its results. value: of the tuning goal. figures: those of `SWEEP_FIGURES`."""

    rule: SegmentRule
    value: float
    figures: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        return rule_to_dict(self.rule) | {
            "value": round(self.value, 6),
            "figures": {name: None if math.isnan(x) else round(x, 6) for name, x in self.figures.items()},
        }


@dataclass(frozen=True)
class TunedRule:
    """The result for one label.

    before, best: with `before_figure` and `best_figure`, the value of the tuning goal with its interval. gain: the
    paired difference, positive if the best is better. over_threshold: the best rule at other thresholds. grid:
    thresholds, silences in seconds, and (silences, thresholds) values; None if silences were not tried.
    """

    label: str
    goal: str
    before: _TriedRule
    best: _TriedRule
    before_figure: Figure
    best_figure: Figure
    gain: Figure
    over_threshold: tuple[_TriedRule, ...]
    tried: int
    grid: tuple[Floats, Floats, Floats] | None = None
    clips: bool = False  # whole clips, for which only the threshold counts

    @property
    def changed(self) -> bool:
        return self.best.rule != self.before.rule

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": 1, "type": "tuned", "label": self.label, "for": self.goal, "tried": self.tried,
            "before": self.before.to_dict() | {"interval": self.before_figure.to_dict()},
            "best": self.best.to_dict() | {"interval": self.best_figure.to_dict()},
            "gain": self.gain.to_dict(),
            "over_threshold": [one.to_dict() for one in self.over_threshold],
        }  # fmt: skip


def rule_to_dict(rule: SegmentRule) -> dict[str, float]:
    """The tuned values of a rule, by the names of the options."""
    return {
        "threshold": rule.threshold,
        "neg_threshold": round(rule.closing_threshold, 6),
        "min_speech": rule.min_speech_seconds,
        "min_silence": rule.min_silence_seconds,
    }


class _Sweep:
    """Tries rules on the scores of one label, each rule once."""

    def __init__(self, rows: Callable[[SegmentRule], Floats], goal: str, groups: Sequence[str], seed: int) -> None:
        self.rows, self.goal, self.sign = rows, goal, -1.0 if goal in LOWER_IS_BETTER else 1.0
        self.draws: Draws = draw_recordings(len(groups), _RESAMPLES, seed, groups)
        self.known: dict[SegmentRule, _TriedRule] = {}
        self.tables: dict[SegmentRule, Floats] = {}

    def tried(self, rule: SegmentRule) -> _TriedRule:
        if rule not in self.known:
            table = self.rows(rule)
            values = {name: float(x) for name, x in segment_values(SegmentSums(*table.sum(axis=0))).items()}
            value = values[GOALS[self.goal]]
            worst = math.inf if self.sign < 0 else 0.0
            self.known[rule] = _TriedRule(
                rule, worst if math.isnan(value) else value, {name: values[name] for name in SWEEP_FIGURES}
            )
            self.tables[rule] = table
        return self.known[rule]

    def better(self, one: SegmentRule, other: SegmentRule) -> bool:
        """Whether one rule is better than another by more than rounding."""
        return self.sign * (self.tried(one).value - self.tried(other).value) > _SAME

    def best(self, rules: Sequence[SegmentRule], now: SegmentRule) -> SegmentRule:
        """The best of some rules. `now` is kept unless another is better."""
        for rule in rules:
            if self.better(rule, now):
                now = rule
        return now

    def drawn(self, rule: SegmentRule) -> Floats:
        """(draws,) the value of each bootstrap sample."""
        self.tried(rule)
        sums = (self.draws @ self.tables[rule]).T if len(self.draws) else np.zeros((self.tables[rule].shape[1], 0))
        found: Floats = np.asarray(segment_values(SegmentSums(*sums))[GOALS[self.goal]], dtype=np.float64)
        return found

    def tuned(self, label: str, before: SegmentRule, best: SegmentRule, line: Sequence[SegmentRule]) -> TunedRule:
        drawn = [self.drawn(rule) for rule in (before, best)]
        values = [self.tried(rule).value for rule in (before, best)]
        return TunedRule(
            label,
            self.goal,
            self.tried(before),
            self.tried(best),
            before_figure=with_interval(values[0], drawn[0]),
            best_figure=with_interval(values[1], drawn[1]),
            gain=with_interval(self.sign * (values[1] - values[0]), self.sign * (drawn[1] - drawn[0])),
            over_threshold=tuple(self.tried(rule) for rule in line),
            tried=len(self.known),
        )


def sweep_segments(
    recordings: Sequence[JudgedRecording],
    labels: Sequence[str],
    label: str,
    rule_of: _RuleFactory,
    goal: str,
    fixed: Mapping[str, float] | None = None,
    seed: int = 0,
) -> Iterator[int | TunedRule]:
    """The best rule for a label. Yields the number of rules tried, and finally the result. fixed: given values of the
    rule, by name; the rule before tuning is without them. DatasetError if nothing is annotated as `label`."""
    fixed = dict(fixed or {})
    sweep = _Sweep(_count_rule(recordings, labels, label, goal), goal, [one.group for one in recordings], seed)
    before = rule_of(**{name: value for name, value in fixed.items() if name in _APART})
    now = start = rule_of(**fixed)
    free = [name for name in TRIED_SECONDS if name not in fixed]
    # For labels that exclude each other, segments end at one half, whatever the threshold. See `Model.rule`.
    follows = "neg_threshold" not in fixed and rule_of(threshold=0.5).closing_threshold < 0.5

    def ruled(rule: SegmentRule, **changes: float) -> SegmentRule | None:
        return _change_rule(rule, rule_of, fixed, follows, **changes)

    if "threshold" not in fixed:
        silences = TRIED_SECONDS["min_silence_seconds"] if "min_silence_seconds" in free else (now.min_silence_seconds,)
        for silence in silences:
            rules = [ruled(now, threshold=x, min_silence_seconds=silence) for x in _THRESHOLDS]
            now = sweep.best([rule for rule in rules if rule], now)
            yield len(sweep.known)
    for _ in range(_MOST_ROUNDS):
        was = now
        for kinds in _neighbours(now, free, follows, "threshold" in fixed):
            rules = [ruled(now, **changes) for changes in kinds]
            now = sweep.best([rule for rule in rules if rule], now)
            yield len(sweep.known)
        if now == was:
            break
    names = (*TRIED_SECONDS, "neg_threshold", "threshold") if follows else tuple(TRIED_SECONDS)
    now = _simplify(sweep, now, start, names)
    line = [rule for x in _THRESHOLDS if (rule := ruled(now, threshold=x))]
    found = sweep.tuned(label, before, now, line)
    if "threshold" not in fixed and "min_silence_seconds" in free:
        found = replace(found, grid=_value_grid(sweep, now, ruled))
    yield found


def _neighbours(rule: SegmentRule, free: Sequence[str], follows: bool, opens: bool) -> Iterator[list[dict[str, float]]]:
    for name in free:
        yield [{name: value} for value in TRIED_SECONDS[name]]
    if follows:
        yield [{"hysteresis": value} for value in _HYSTERESIS]
    if not opens:
        near = [round(rule.threshold + _FINE * k, 2) for k in range(-4, 5)]
        yield [{"threshold": value} for value in near if 0.0 < value < 1.0]


def _change_rule(
    rule: SegmentRule, rule_of: _RuleFactory, fixed: Mapping[str, float], follows: bool, **changes: float
) -> SegmentRule | None:
    """The rule with changes; None if it is invalid. The distance to the closing threshold moves with the threshold."""
    values = {name: getattr(rule, name) for name in TRIED_SECONDS} | changes
    threshold, gap = float(values.pop("threshold", rule.threshold)), values.pop("hysteresis", None)
    if values["min_speech_seconds"] > rule.max_speech_seconds or fixed.get("neg_threshold", 0.0) > threshold:
        return None
    if follows and gap is None and rule.neg_threshold is not None:
        gap = rule.threshold - rule.neg_threshold
    closing = {} if gap is None else {"neg_threshold": round(min(threshold, max(0.01, threshold - gap)), 4)}
    return rule_of(**(dict(fixed) | values | {"threshold": threshold} | closing))


def _simplify(sweep: _Sweep, best: SegmentRule, before: SegmentRule, names: Sequence[str]) -> SegmentRule:
    """The best rule, with each of the named values reset to that of `before` if it makes no difference."""
    for name in names:
        value = getattr(before, name)
        if name == "neg_threshold" and value is not None and value > best.threshold:
            continue
        if name == "threshold" and best.neg_threshold is not None and best.neg_threshold > value:
            continue
        back = replace(best, **{name: value})
        if not sweep.better(best, back):
            best = back
    return best


def _value_grid(
    sweep: _Sweep, best: SegmentRule, ruled: Callable[..., SegmentRule | None]
) -> tuple[Floats, Floats, Floats]:
    """Values over threshold and min_silence, with everything else as in the best rule."""
    silences = TRIED_SECONDS["min_silence_seconds"]
    values = np.full((len(silences), len(_THRESHOLDS)), np.nan)
    for row, silence in enumerate(silences):
        for column, threshold in enumerate(_THRESHOLDS):
            rule = ruled(best, threshold=threshold, min_silence_seconds=silence)
            if rule is not None:
                values[row, column] = sweep.tried(rule).value
    return np.array(_THRESHOLDS), np.array(silences), values


def _count_rule(
    recordings: Sequence[JudgedRecording], labels: Sequence[str], label: str, goal: str
) -> Callable[[SegmentRule], Floats]:
    """A function from a rule to the sums of each recording (recordings, sums), in the order of
    `metrics.SegmentSums`."""
    mine, references = _recordings_of_label(recordings, labels, label, "or exclude it with --label")
    width = len(SegmentSums._fields)

    def rows(rule: SegmentRule) -> Floats:
        table = np.zeros((len(mine), width))
        for number, (recording, reference) in enumerate(zip(mine, references, strict=True)):
            seconds, found = recording.duration_seconds, detect_intervals(recording, label, rule)
            if goal == "segment_f1":
                table[number] = count_segments(
                    reference_intervals(recording, label), found, seconds, unsure=recording.unsure
                ).sums
            else:
                table[number, :4] = detection_seconds(
                    reference, merge(found, seconds), seconds, unsure=recording.unsure
                )
        return table

    return rows


def sweep_clips(
    clips: Sequence[ScoredClip], labels: Sequence[str], label: str, rule: SegmentRule, goal: str
) -> TunedRule:
    """The best threshold for the mean score of clips. Metrics count clips instead of seconds. DatasetError if no clip,
    or every clip, has the label."""
    column = list(labels).index(label)
    scores = np.array([clip.scores[column] for clip in clips], dtype=np.float64)
    has = np.array([label in clip.all_labels for clip in clips])
    if has.all() or not has.any():
        which = "every tuning clip has" if has.all() else "no tuning clip has"
        raise DatasetError(f'{which} the label "{label}"; add clips with it and clips without it')

    def rows(tried: SegmentRule) -> Floats:
        detected = scores >= tried.threshold
        kinds = (has & detected, has & ~detected, ~has & detected, ~has & ~detected)
        table = np.zeros((len(clips), len(SegmentSums._fields)))
        table[:, :4] = np.stack(kinds, axis=1)
        return table

    sweep = _Sweep(rows, goal, [clip.group for clip in clips], 0)
    found = np.unique(scores)
    middles = np.unique(np.round((found[1:] + found[:-1]) / 2, 6))
    usable = [float(x) for x in middles[:: max(1, len(middles) // 2000)] if 0.0 < x < 1.0]
    usable.sort(key=lambda x: abs(x - rule.threshold))  # of equals, the one that changes least
    best = sweep.best([replace(rule, threshold=x, neg_threshold=None) for x in usable], rule)
    line = [replace(rule, threshold=x, neg_threshold=None) for x in _THRESHOLDS]
    return replace(sweep.tuned(label, rule, best, line), clips=True)


def tune_threshold(
    recordings: Sequence[JudgedRecording],
    labels: Sequence[str],
    label: str,
    rule: SegmentRule,
    measure: Measure = "detection_cost",
) -> tuple[float, float]:
    """The threshold from 0.05 to 0.95, in steps of 0.01, with the best segments, and the value of the measure.

    Only the threshold of `rule` is varied (and neg_threshold with it, unless it is given). Of equals, the one nearest
    to 0.5 is used. Raises DatasetError if nothing is annotated as `label`.
    """
    mine, references = _recordings_of_label(recordings, labels, label, "or give a threshold")

    def loss(threshold: float) -> float:
        lower = None if rule.neg_threshold is None else min(rule.neg_threshold, threshold)
        tried = replace(rule, threshold=threshold, neg_threshold=lower)
        seconds = [
            detection_seconds(
                true,
                merge(detect_intervals(r, label, tried), r.duration_seconds),
                r.duration_seconds,
                unsure=r.unsure,
            )
            for r, true in zip(mine, references, strict=True)
        ]
        values = segment_values(SegmentSums(*np.sum(seconds, axis=0)))
        return -float(values["f1"]) if measure == "f1" else float(values[MEASURES[measure]])

    coarse = _least(loss, range(5, 100, 5))
    best = _least(loss, range(max(5, coarse - 4), min(95, coarse + 4) + 1))
    return best / 100, abs(loss(best / 100))


def _least(loss: Callable[[float], float], percents: range) -> int:
    """The percentage with the lowest loss; of equals, the one nearest to 50."""
    return min(percents, key=lambda percent: (round(loss(percent / 100), 12), abs(percent - 50)))


def _recordings_of_label(
    recordings: Sequence[JudgedRecording], labels: Sequence[str], label: str, remedy: str
) -> tuple[list[JudgedRecording], list[Floats]]:
    """The recordings with the scores of one label, (rows,), and their merged intervals of it. DatasetError with the
    remedy if there are none."""
    column = list(labels).index(label)
    mine = [replace(recording, scores=recording.scores[:, column]) for recording in recordings]
    references = [merge(reference_intervals(recording, label), recording.duration_seconds) for recording in mine]
    if not any(len(reference) for reference in references):
        raise DatasetError(f'no tuning recording has the label "{label}"; add annotated recordings, {remedy}')
    return mine, references


def score_digest(model: Model, dataset: Dataset, entries: Iterable[Entry]) -> str:
    """SHA-256 of everything that scores depend on: weights, specs, and the samples under their names."""
    digest = hashlib.sha256()
    for name in (WEIGHTS, ONNX):
        if (path := model.folder / name).is_file():
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
            break
    tables = [spec.table for spec in model.specs]
    digest.update(json.dumps([tables, model.shares, model.labels, dataset.sample_rate], sort_keys=True).encode())
    for entry in entries:
        digest.update(entry.filename.encode(errors="surrogateescape") + b"\0")
        digest.update(np.ascontiguousarray(dataset.samples(entry)).data)
        digest.update(b"" if entry.scale == 1.0 else f"{entry.scale}".encode())
    return digest.hexdigest()


def load_scores(path: Path, digest: str | None = None) -> KeptScores:
    """The scores in a file; empty if there is none. UsageError if it is damaged, or has another digest than the given
    one."""
    if not path.exists():
        return {}
    remedy = "give another file, or delete this one"
    try:
        with np.load(path, allow_pickle=False) as file:
            if str(file["digest"]) != digest and digest is not None:
                raise UsageError(f"--scores {path}: has scores of another model or of other recordings; {remedy}")
            names = [name.decode(errors="surrogateescape") for name in file["names"].tolist()]
            return {name: file[f"scores_{number}"] for number, name in enumerate(names)}
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, AttributeError):
        raise UsageError(f"--scores {path}: not a file of scores; {remedy}") from None


def save_scores(path: Path, digest: str, kept: KeptScores) -> None:
    """Write the file completely or not at all. UsageError if that fails."""
    content = io.BytesIO()
    names = np.array([name.encode(errors="surrogateescape") for name in kept], dtype=np.bytes_)
    rows = {f"scores_{number}": scores for number, scores in enumerate(kept.values())}
    np.savez(content, digest=np.array(digest), names=names, **rows)  # type: ignore[arg-type]
    try:
        write_whole(path, content.getvalue())
    except OSError as problem:
        raise UsageError(f"--scores {path}: cannot be written ({problem.strerror}); give another file") from None
