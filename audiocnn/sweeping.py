"""Which thresholds and times suit a model best: scores are made once, and many rules are tried on them.

Of recordings whose segments are known, threshold, hysteresis, min_speech and min_silence are tried, each rule by
`find_segments`, the one way in which scores become segments. First the threshold with min_silence, on a grid, then one
after the other, until nothing becomes better. Of clips that have any number of labels, or one, the threshold alone.
What is best on these recordings is a little better there than on others: judge it on others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from audiocnn.clips import ScoredClip
from audiocnn.errors import DatasetError
from audiocnn.evaluation import MEASURES
from audiocnn.figures import Figure
from audiocnn.intervals import Floats, merge
from audiocnn.judging import ScoredRecording, detected_in, reference_of
from audiocnn.metrics import SegmentSums, count_segments, detection_seconds, segment_values
from audiocnn.resampling import Draws, draw_recordings, with_interval
from audiocnn.segments import SegmentRule

GOALS = {**MEASURES, "segment_f1": "segment_f1"}  # what to tune for, and the figure of `metrics`
LOWER_IS_BETTER = ("detection_cost", "detection_error")
SHOWN = ("f1", "detection_error_rate", "detection_cost", "miss_rate", "false_alarm_rate")
THRESHOLDS = tuple(round(0.05 * k, 2) for k in range(1, 20))
FINE = 0.01  # step around the best of these
HYSTERESIS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4)  # a segment ends so much below where it begins
SECONDS = {
    "min_silence_seconds": (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.2),
    "min_speech_seconds": (0.0, 0.05, 0.1, 0.15, 0.25, 0.4, 0.6, 1.0),
}
APART = ("pad_seconds", "max_speech_seconds")  # no model has these: they are the same before and after
MOST_ROUNDS = 4
RESAMPLES = 1000
SAME = 1e-12

RuleOf = Callable[..., SegmentRule]
"""`Model.rule` of one label: what is to be otherwise -> the rule."""


@dataclass(frozen=True)
class Tried:
    """A rule, and how good it is: value is the figure that was tuned for, figures those of `SHOWN`."""

    rule: SegmentRule
    value: float
    figures: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """A part of a record."""
        return rule_dict(self.rule) | {
            "value": round(self.value, 6),
            "figures": {name: None if math.isnan(x) else round(x, 6) for name, x in self.figures.items()},
        }


@dataclass(frozen=True)
class Tuned:
    """What was found for one label.

    before, best: with `before_figure` and `best_figure`, the figure that was tuned for, with their intervals; gain is
    the difference, draw by draw, above 0 where the best is better. over_threshold: the best rule at other thresholds.
    grid: thresholds, silences in seconds, and (silences, thresholds) values; None where silences were not tried.
    """

    label: str
    goal: str
    before: Tried
    best: Tried
    before_figure: Figure
    best_figure: Figure
    gain: Figure
    over_threshold: tuple[Tried, ...]
    tried: int
    grid: tuple[Floats, Floats, Floats] | None = None
    clips: bool = False  # whole clips, of which only the threshold counts

    @property
    def changed(self) -> bool:
        """Whether what was found is another rule than the one before."""
        return self.best.rule != self.before.rule

    def to_dict(self) -> dict[str, Any]:
        """A record, as JSON has it."""
        return {
            "schema": 1, "type": "tuned", "label": self.label, "for": self.goal, "tried": self.tried,
            "before": self.before.to_dict() | {"interval": self.before_figure.to_dict()},
            "best": self.best.to_dict() | {"interval": self.best_figure.to_dict()},
            "gain": self.gain.to_dict(),
            "over_threshold": [one.to_dict() for one in self.over_threshold],
        }  # fmt: skip


def rule_dict(rule: SegmentRule) -> dict[str, float]:
    """What is tuned of a rule, by the names of the options."""
    return {
        "threshold": rule.threshold,
        "neg_threshold": round(rule.closing_threshold, 6),
        "min_speech": rule.min_speech_seconds,
        "min_silence": rule.min_silence_seconds,
    }


class Sweep:
    """Tries rules on the scores of one label; each rule once."""

    def __init__(self, rows: Callable[[SegmentRule], Floats], goal: str, groups: Sequence[str], seed: int) -> None:
        self.rows, self.goal, self.sign = rows, goal, -1.0 if goal in LOWER_IS_BETTER else 1.0
        self.draws: Draws = draw_recordings(len(groups), RESAMPLES, seed, groups)
        self.known: dict[SegmentRule, Tried] = {}
        self.tables: dict[SegmentRule, Floats] = {}

    def tried(self, rule: SegmentRule) -> Tried:
        """How good a rule is."""
        if rule not in self.known:
            table = self.rows(rule)
            values = {name: float(x) for name, x in segment_values(SegmentSums(*table.sum(axis=0))).items()}
            value = values[GOALS[self.goal]]
            worst = math.inf if self.sign < 0 else 0.0
            self.known[rule] = Tried(
                rule, worst if math.isnan(value) else value, {name: values[name] for name in SHOWN}
            )
            self.tables[rule] = table
        return self.known[rule]

    def better(self, one: SegmentRule, other: SegmentRule) -> bool:
        """Whether one rule is better than another, beyond rounding."""
        return self.sign * (self.tried(one).value - self.tried(other).value) > SAME

    def best(self, rules: Sequence[SegmentRule], now: SegmentRule) -> SegmentRule:
        """The best of some rules; the one that is there stays unless another is better."""
        for rule in rules:
            if self.better(rule, now):
                now = rule
        return now

    def drawn(self, rule: SegmentRule) -> Floats:
        """(draws,) the figure of each draw of recordings."""
        self.tried(rule)
        sums = (self.draws @ self.tables[rule]).T if len(self.draws) else np.zeros((self.tables[rule].shape[1], 0))
        found: Floats = np.asarray(segment_values(SegmentSums(*sums))[GOALS[self.goal]], dtype=np.float64)
        return found

    def tuned(self, label: str, before: SegmentRule, best: SegmentRule, line: Sequence[SegmentRule]) -> Tuned:
        """What was found, with intervals."""
        drawn = [self.drawn(rule) for rule in (before, best)]
        values = [self.tried(rule).value for rule in (before, best)]
        return Tuned(
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


def tune_segments(
    recordings: Sequence[ScoredRecording],
    labels: Sequence[str],
    label: str,
    rule_of: RuleOf,
    goal: str,
    fixed: Mapping[str, float] | None = None,
    seed: int = 0,
) -> Iterator[int | Tuned]:
    """The best rule for a label; yields how many were tried, and last what was found. fixed: values of the rule, by its
    names, that are given; what was before is the rule without them. DatasetError where nothing is annotated as
    `label`."""
    fixed = dict(fixed or {})
    sweep = Sweep(rows_of(recordings, labels, label, goal), goal, [one.group for one in recordings], seed)
    before = rule_of(**{name: value for name, value in fixed.items() if name in APART})
    now = start = rule_of(**fixed)
    free = [name for name in SECONDS if name not in fixed]
    # Labels that exclude each other end at one half, whatever the threshold: `Model.rule` knows where.
    follows = "neg_threshold" not in fixed and rule_of(threshold=0.5).closing_threshold < 0.5

    def ruled(rule: SegmentRule, **changes: float) -> SegmentRule | None:
        return moved(rule, rule_of, fixed, follows, **changes)

    if "threshold" not in fixed:
        silences = SECONDS["min_silence_seconds"] if "min_silence_seconds" in free else (now.min_silence_seconds,)
        for silence in silences:
            rules = [ruled(now, threshold=x, min_silence_seconds=silence) for x in THRESHOLDS]
            now = sweep.best([rule for rule in rules if rule], now)
            yield len(sweep.known)
    for _ in range(MOST_ROUNDS):
        was = now
        for kinds in neighbours(now, free, follows, "threshold" in fixed):
            rules = [ruled(now, **changes) for changes in kinds]
            now = sweep.best([rule for rule in rules if rule], now)
            yield len(sweep.known)
        if now == was:
            break
    now = simplest(sweep, now, start, (*SECONDS, "neg_threshold", "threshold") if follows else tuple(SECONDS))
    line = [rule for x in THRESHOLDS if (rule := ruled(now, threshold=x))]
    found = sweep.tuned(label, before, now, line)
    if "threshold" not in fixed and "min_silence_seconds" in free:
        found = replace(found, grid=grid_of(sweep, now, ruled))
    yield found


def neighbours(rule: SegmentRule, free: Sequence[str], follows: bool, opens: bool) -> Iterator[list[dict[str, float]]]:
    """What is tried next, one value after the other."""
    for name in free:
        yield [{name: value} for value in SECONDS[name]]
    if follows:
        yield [{"hysteresis": value} for value in HYSTERESIS]
    if not opens:
        near = [round(rule.threshold + FINE * k, 2) for k in range(-4, 5)]
        yield [{"threshold": value} for value in near if 0.0 < value < 1.0]


def moved(
    rule: SegmentRule, rule_of: RuleOf, fixed: Mapping[str, float], follows: bool, **changes: float
) -> SegmentRule | None:
    """The rule with changes; None where it cannot be. The distance to where a segment ends stays with the threshold."""
    values = {name: getattr(rule, name) for name in SECONDS} | changes
    threshold, gap = float(values.pop("threshold", rule.threshold)), values.pop("hysteresis", None)
    if values["min_speech_seconds"] > rule.max_speech_seconds or fixed.get("neg_threshold", 0.0) > threshold:
        return None
    if follows and gap is None and rule.neg_threshold is not None:
        gap = rule.threshold - rule.neg_threshold
    closing = {} if gap is None else {"neg_threshold": round(min(threshold, max(0.01, threshold - gap)), 4)}
    return rule_of(**(dict(fixed) | values | {"threshold": threshold} | closing))


def simplest(sweep: Sweep, best: SegmentRule, before: SegmentRule, names: Sequence[str]) -> SegmentRule:
    """The best rule, with each of the named values that makes no difference as it was before."""
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


def grid_of(sweep: Sweep, best: SegmentRule, ruled: Callable[..., SegmentRule | None]) -> tuple[Floats, Floats, Floats]:
    """Values over threshold and min_silence, all else as in the best rule."""
    silences = SECONDS["min_silence_seconds"]
    values = np.full((len(silences), len(THRESHOLDS)), np.nan)
    for row, silence in enumerate(silences):
        for column, threshold in enumerate(THRESHOLDS):
            rule = ruled(best, threshold=threshold, min_silence_seconds=silence)
            if rule is not None:
                values[row, column] = sweep.tried(rule).value
    return np.array(THRESHOLDS), np.array(silences), values


def rows_of(
    recordings: Sequence[ScoredRecording], labels: Sequence[str], label: str, goal: str
) -> Callable[[SegmentRule], Floats]:
    """For a rule, the sums of each recording (recordings, sums), as `metrics.SegmentSums` names them."""
    column = list(labels).index(label)
    mine = [replace(recording, scores=recording.scores[:, column]) for recording in recordings]
    stretches = [reference_of(recording, label) for recording in mine]
    references = [merge(one, r.duration_seconds) for one, r in zip(stretches, mine, strict=True)]
    if not any(len(reference) for reference in references):
        raise DatasetError(f'no recording to tune on has "{label}"; give annotated ones, or leave it out with --label')
    width = len(SegmentSums._fields)

    def rows(rule: SegmentRule) -> Floats:
        table = np.zeros((len(mine), width))
        for number, (recording, reference) in enumerate(zip(mine, references, strict=True)):
            seconds, found = recording.duration_seconds, detected_in(recording, label, rule)
            if goal == "segment_f1":
                table[number] = count_segments(stretches[number], found, seconds).sums
            else:
                table[number, :4] = detection_seconds(reference, merge(found, seconds), seconds)
        return table

    return rows


def tune_clips(clips: Sequence[ScoredClip], labels: Sequence[str], label: str, rule: SegmentRule, goal: str) -> Tuned:
    """The best threshold for the mean score of clips; figures count clips as those of segments count seconds.
    DatasetError where no clip, or every clip, has the label."""
    column = list(labels).index(label)
    scores = np.array([clip.scores[column] for clip in clips], dtype=np.float64)
    has = np.array([label in clip.all_labels for clip in clips])
    if has.all() or not has.any():
        which = "every clip" if has.all() else "no clip"
        raise DatasetError(f'{which} to tune on has "{label}"; give some that have it and some that have not')

    def rows(tried: SegmentRule) -> Floats:
        said = scores >= tried.threshold
        kinds = (has & said, has & ~said, ~has & said, ~has & ~said)
        table = np.zeros((len(clips), len(SegmentSums._fields)))
        table[:, :4] = np.stack(kinds, axis=1)
        return table

    sweep = Sweep(rows, goal, [clip.group for clip in clips], 0)
    found = np.unique(scores)
    middles = np.unique(np.round((found[1:] + found[:-1]) / 2, 6))
    usable = [float(x) for x in middles[:: max(1, len(middles) // 2000)] if 0.0 < x < 1.0]
    usable.sort(key=lambda x: abs(x - rule.threshold))  # of equals the one that changes least
    best = sweep.best([replace(rule, threshold=x, neg_threshold=None) for x in usable], rule)
    line = [replace(rule, threshold=x, neg_threshold=None) for x in THRESHOLDS]
    return replace(sweep.tuned(label, rule, best, line), clips=True)
