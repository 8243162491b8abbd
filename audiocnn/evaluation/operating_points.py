"""Operating points: the best segment rules of one label for `balanced`, `sensitive` and `precise`.

    balanced    lowest detection error, or lowest value of another measure
    sensitive   at most 3 % of the speech missed, and neither more than in balanced nor longer minimum segments; of
                these the lowest false alarm rate
    precise     a segment in at most 0.5 % of the recordings without the label, and in no more than in balanced; of
                these the lowest miss rate, where each second of minimum segment length counts as 20 % missed, because
                it loses whole words. A set without such recordings: false alarms in 0.5 % of the time without speech

Errors and misses are means over the sets; the limit of `precise` holds in each set. If no rule meets a limit, the one
that comes closest is used, and the results say so.

For whole clips, an operating point is only the threshold of their mean score: `tune_clip_points`.

Thousands of rules are tried, so segments are not made one by one. The scores of all recordings are concatenated, and a
rule becomes arithmetic on the borders of runs of rows. `count_rules` equals the result of `find_segments` and
`metrics`. Unsure time is not evaluated.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiocnn.errors import DatasetError
from audiocnn.evaluation.clips import ScoredClip
from audiocnn.evaluation.metrics import SegmentSums, log_odds, segment_values
from audiocnn.evaluation.segments import JudgedRecording, reference_intervals
from audiocnn.evaluation.thresholds import MEASURES, Measure
from audiocnn.model.model import POINT_FIGURES, POINT_KEYS, SENSITIVITIES, OperatingPoint
from audiocnn.segments.finder import RISE_SECONDS, SegmentRule
from audiocnn.segments.segment import EPSILON_SECONDS, Floats, merge

MOST_MISSED = 0.03  # of the speech, in `sensitive`
MOST_FALSE = 0.005  # of the recordings without speech, in `precise`
_LOST_WORDS = 0.2  # in `precise`: share of the speech that counts as missed for each second of minimum segment length
LEAST_THRESHOLD = 1e-6  # of clips: the scores of a rare label may all be below some thousandths
_STEP = 0.5  # of the log-odds of thresholds
_FINE_STEP = 0.1
_GAPS = (1, 0, 2, 4)  # steps from the threshold down to that which ends a segment
# Of equally good rules the first is used. So values nearest to the defaults come first.
_SPEECH_SECONDS = (0.25, 0.1, 0.4, 0.0, 0.6)
_SILENCE_SECONDS = (0.1, 0.2, 0.3, 0.0, 0.5)  # longer ones fit only the data that they were tuned on
_PAD_SECONDS = (0.03, 0.0, 0.06, 0.1, 0.15, 0.2)
_GAP_SECONDS = 1.0  # between concatenated recordings
_FOLDS = 2
_COLUMNS = ("hit", "miss", "false_alarm", "rest", "empty", "empty_found")
_Rows = NDArray[np.int64]


@dataclass(frozen=True)
class TunedPoint:
    """A rule, its results as means over the sets (those of `POINT_FIGURES` that are defined), whether it meets the
    limit of its name, and the results of each set."""

    rule: SegmentRule
    figures: dict[str, float]
    kept: bool = True
    by_set: tuple[dict[str, float], ...] = ()


def tune_operating_points(
    sets: Sequence[Sequence[JudgedRecording]],
    labels: Sequence[str],
    label: str,
    measure: Measure = "detection_error",
    cross_fit: bool = False,
    known: Sequence[SegmentRule] = (),
    live: bool = False,
) -> dict[str, TunedPoint]:
    """The best rules of a label, by `SENSITIVITIES`, tuned on all sets. known: more rules to try, all with an explicit
    closing threshold. live: no rule has a minimum segment length, which would delay every onset.

    cross_fit: the results are of rules that were tuned on one half of each set and measured on the other; halves
    consist of whole groups. DatasetError if nothing is annotated as `label`, or nothing in one of the halves.
    """
    runs = ScoreRuns(sets, list(labels).index(label), label)
    grid, halves = (
        list(_grid((0.0,) if live else _SPEECH_SECONDS)),
        [slice(k, k + 1) for k in range(_FOLDS)] if cross_fit else [],
    )
    rules = [*grid, *known]
    sums = runs.count_rules(rules)
    for folds in (slice(0, _FOLDS), *halves):
        _check_speech(sums[:, :, folds], label, half=folds in halves)
    found = _search(runs, rules, sums, slice(0, _FOLDS), measure)
    whole = pooled = np.stack([counts.sum(axis=1) for _, counts in found])
    if cross_fit:  # each rule on the half that it was not tuned on; known rules may have been tuned on both
        first, second = (_search(runs, grid, sums[: len(grid)], half, measure) for half in halves)
        pooled = np.stack([a[:, 1] + b[:, 0] for (_, a), (_, b) in zip(first, second, strict=True)])
    return {
        name: TunedPoint(rule, mean_figures(counts), own, tuple(mean_figures(one[None]) for one in counts))
        for name, (rule, _), counts, own in zip(SENSITIVITIES, found, pooled, _keep_promises(whole), strict=True)
    }


def _search(
    runs: ScoreRuns, rules: Sequence[SegmentRule], sums: Floats, folds: slice, measure: Measure
) -> list[tuple[SegmentRule, Floats]]:
    """The best of the rules, or of rules at nearby thresholds, in these folds, by `SENSITIVITIES`, each with its sums
    (sets, folds, columns). sums: of the rules, as in `count_rules`."""
    best = _choose(rules, sums[:, :, folds], measure)
    near = list(dict.fromkeys(rule for index in best for rule in _neighbours(rules[index])))
    rules, sums = [*rules, *near], np.concatenate([sums, runs.count_rules(near)])
    return [(rules[index], sums[index]) for index in _choose(rules, sums[:, :, folds], measure)]


def tune_clip_points(
    clips: Sequence[ScoredClip], labels: Sequence[str], label: str, cross_fit: bool = False
) -> dict[str, TunedPoint]:
    """The thresholds of `clip_thresholds` for the mean scores of clips. Rates are of clips with the label, and of the
    others. cross_fit: as in `tune_operating_points`. DatasetError if all or no clips of a half have the label."""
    column = list(labels).index(label)
    scores = np.array([clip.scores[column] for clip in clips], np.float64)
    has = np.array([label in clip.all_labels for clip in clips], np.bool_)
    folds = _halves(clips)
    fold = np.array([folds[clip.group or clip.filename] for clip in clips])
    chosen = [np.ones(len(clips), np.bool_), *([fold == k for k in range(_FOLDS)] if cross_fit else [])]
    if any(has[part].all() or not has[part].any() for part in chosen):
        remedy = "omit --cross-fit" if cross_fit else "add clips with it and clips without it"
        where = f" in one half; {remedy}" if cross_fit else f"; {remedy}"
        raise DatasetError(f'either every tuning clip has the label "{label}", or none has it{where}')
    whole, *halves = [clip_thresholds(scores[part], has[part]) for part in chosen]
    points = {}
    for name, exact in whole.items():
        threshold = round(exact, 6)
        at = np.array([half[name] for half in halves])[1 - fold] if halves else threshold
        figures, own = clip_figures(scores, has, at), clip_figures(scores, has, threshold)
        promises = {"sensitive": own["miss_rate"] <= MOST_MISSED, "precise": own["false_alarm_rate"] <= MOST_FALSE}
        points[name] = TunedPoint(SegmentRule(threshold), figures, promises.get(name, True))
    return points


def clip_figures(scores: Floats, positive: NDArray[np.bool_], threshold: Floats | float) -> dict[str, float]:
    """(clips,) mean scores, and whether each has the label -> the rates of missed and of wrongly found clips."""
    found = scores >= threshold
    return {"miss_rate": float((~found[positive]).mean()), "false_alarm_rate": float(found[~positive].mean())}


def measure_rules(
    sets: Sequence[Sequence[JudgedRecording]], labels: Sequence[str], label: str, rules: Mapping[str, SegmentRule]
) -> dict[str, dict[str, float]]:
    """For each rule, the defined ones of `POINT_FIGURES` as means over the sets."""
    sums = ScoreRuns(sets, list(labels).index(label), label).count_rules(list(rules.values()))
    return {name: mean_figures(counts.sum(axis=1)) for name, counts in zip(rules, sums, strict=True)}


def as_points(found: Mapping[str, TunedPoint], measured_on: str, clips: bool = False) -> dict[str, OperatingPoint]:
    """The stored form for a model: values by the names of `SegmentRule`; for clips only the threshold."""
    names = ["threshold", *([] if clips else POINT_KEYS.values())]
    return {
        name: OperatingPoint(
            {key: getattr(one.rule, key) for key in names},
            {key: round(value, 4) for key, value in one.figures.items()},
            measured_on,
        )
        for name, one in found.items()
    }


def mean_figures(sums: Floats) -> dict[str, float]:
    """(sets, columns) sums -> those of `POINT_FIGURES` that some set defines, as means over these sets."""
    values = _figures(sums)
    means = {name: values[name][~np.isnan(values[name])] for name in POINT_FIGURES}
    return {name: float(own.mean()) for name, own in means.items() if len(own)}


def _figures(sums: NDArray[Any]) -> dict[str, Floats]:
    """(..., columns) sums -> values (...)."""
    return segment_values(SegmentSums(**{name: sums[..., k] for k, name in enumerate(_COLUMNS)}))


def _grid(shortest: Sequence[float]) -> Iterator[SegmentRule]:
    """All rules to try, for these minimum segment lengths. Rules that differ only in the pad are consecutive."""
    odds = sorted(np.arange(-5.0, 5.0 + _STEP, _STEP).tolist(), key=lambda x: (abs(x), x))
    for gap, silence, speech, opens, pad in product(_GAPS, _SILENCE_SECONDS, shortest, odds, _PAD_SECONDS):
        yield SegmentRule(_score(opens), _score(opens - gap * _STEP), speech, silence, pad)


def _neighbours(rule: SegmentRule) -> Iterator[SegmentRule]:
    """The rule at nearby thresholds, with the same log-odds distance to the closing threshold."""
    opens, closes = log_odds(np.array([rule.threshold, rule.closing_threshold])).tolist()
    for k in range(-4, 5):
        shift = k * _FINE_STEP
        yield replace(rule, threshold=_score(opens + shift), neg_threshold=_score(closes + shift))


def _score(odds: float) -> float:
    """The score of log-odds."""
    return round(1.0 / (1.0 + math.exp(-odds)), 4)


def _choose(rules: Sequence[SegmentRule], sums: Floats, measure: Measure) -> list[int]:
    """Rules and their sums (rules, sets, folds, columns) -> the index of the best rule, by `SENSITIVITIES`."""
    values = _figures(sums.sum(axis=2))
    sign = -1.0 if measure == "f1" else 1.0
    loss = _mean(sign * values[MEASURES[measure]])
    missed, false_share = _mean(values["miss_rate"]), _worst_false(values)
    false_alarm = _mean(values["detection_error_rate"] - values["miss_rate"])  # relative to the speech, like misses
    balanced = _least(loss)
    # A long minimum length loses whole words, even if they are a small part of the speech.
    shortest = np.array([rule.min_speech_seconds for rule in rules])
    missed_words = np.where(shortest <= shortest[balanced], missed, np.inf)
    sensitive = _least(false_alarm, missed_words, min(MOST_MISSED, float(missed[balanced])))
    words = missed + _LOST_WORDS * shortest
    precise = _least(words, false_share, min(MOST_FALSE, float(false_share[balanced])))
    return [balanced, sensitive, precise]


def _keep_promises(sums: Floats) -> list[bool]:
    """(sensitivities, sets, columns) -> whether each point meets its limit. `balanced` has none."""
    values = _figures(sums)
    missed, false_share = _mean(values["miss_rate"]), _worst_false(values)
    return [True, bool(missed[1] <= MOST_MISSED), bool(false_share[2] <= MOST_FALSE)]


def _worst_false(values: Mapping[str, Floats]) -> Floats:
    """(rules,) the share of recordings without the label that have a segment, in the worst set."""
    shares = values["false_segment_share"]
    each = np.where(np.isnan(shares), values["false_alarm_rate"], shares)
    worst: Floats = np.nan_to_num(each).max(axis=1)
    return worst


def _mean(values: Floats) -> Floats:
    """(rules, sets) -> (rules,), over the sets where the value is defined; 0 if there are none."""
    defined = ~np.isnan(values)
    means: Floats = np.where(defined, values, 0.0).sum(axis=1) / np.maximum(defined.sum(axis=1), 1)
    return means


def _least(values: Floats, promised: Floats | None = None, most: float = 0.0) -> int:
    """The first of the smallest values, among those that meet a limit, or come closest to it."""
    if promised is not None:
        reached = max(most, float(promised.min()))
        values = np.where(promised <= reached + 1e-12, values, np.inf)
    return int(np.argmin(np.round(values, 9)))


def _check_speech(sums: Floats, label: str, half: bool) -> None:
    if not sums[0, :, :, :2].sum():
        where = "one half of the tuning recordings has no segment" if half else "no tuning recording has a segment"
        remedy = "add recordings, or omit --cross-fit" if half else "add annotated recordings"
        raise DatasetError(f'{where} labelled "{label}"; {remedy}')


def _halves(recordings: Iterable[JudgedRecording | ScoredClip]) -> dict[str, int]:
    """The fold of each group (a recording without one is its own group): for each source, and for clips each label, the
    first half by name, and the rest."""
    source_of: dict[str, str] = {}
    for one in recordings:
        source = ",".join(one.all_labels) if isinstance(one, ScoredClip) else one.tags.get("source", "")
        source_of.setdefault(one.group or one.filename, source)
    folds: dict[str, int] = {}
    for _, members in groupby(sorted(source_of, key=lambda name: (source_of[name], name)), key=source_of.__getitem__):
        names = list(members)
        folds |= {name: int(2 * k >= len(names)) for k, name in enumerate(names)}
    return folds


def best_threshold(scores: Floats, positive: NDArray[np.bool_]) -> float:
    """The threshold of (clips,) scores with the best F1 of clips, halfway between two scores; the lowest of equally
    good ones."""
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(positive[order])
    f1 = 2.0 * hits / (np.arange(1, len(hits) + 1) + positive.sum())
    f1[:-1][ranked[:-1] == ranked[1:]] = -1.0  # equal scores are on one side of every threshold
    best = len(f1) - 1 - int(np.argmax(f1[::-1]))
    below = ranked[best + 1] if best + 1 < len(ranked) else 0.0
    return float(np.clip((ranked[best] + below) / 2.0, LEAST_THRESHOLD, 1.0 - LEAST_THRESHOLD))


def clip_thresholds(scores: Floats, positive: NDArray[np.bool_]) -> dict[str, float]:
    """The thresholds of (clips,) scores by `SENSITIVITIES`, for clips with and without the label: the best F1; the
    highest that misses at most 3 %; the lowest at which at most 0.5 % of the others are found. The second is never
    above the first, and the third never below it."""
    balanced = best_threshold(scores, positive)
    held, others = np.sort(scores[positive]), np.sort(scores[~positive])[::-1]
    lowest = held[int(MOST_MISSED * len(held))]  # of those that must be found
    highest = others[int(MOST_FALSE * len(others))]  # of those that must not be found
    below = (lowest + scores[scores < lowest].max(initial=0.0)) / 2
    above = (highest + scores[scores > highest].min(initial=1.0)) / 2
    below, above = np.clip([below, above], LEAST_THRESHOLD, 1.0 - LEAST_THRESHOLD).tolist()
    return dict(zip(SENSITIVITIES, (balanced, min(balanced, below), max(balanced, above)), strict=True))


class ScoreRuns:
    """The concatenated scores of one label in all recordings, and the correct seconds of its segments.

    Recordings are in the order of their cells; a cell is a fold of a set. After each there is a row below every
    threshold, so that no run continues into the next. Times count from the start of the first, with gaps between.
    """

    def __init__(self, sets: Sequence[Sequence[JudgedRecording]], column: int, label: str) -> None:
        placed = []
        for number, recordings in enumerate(sets):
            folds = _halves(recordings)
            placed += [(_FOLDS * number + folds[one.group or one.filename], one) for one in recordings]
        placed.sort(key=lambda pair: pair[0])
        self._cells, mine = np.array([cell for cell, _ in placed], np.int64), [one for _, one in placed]
        self._sets = len(sets)
        self._hop_seconds = mine[0].hop_seconds if mine else 1.0
        lengths = np.array([len(one.scores) for one in mine], np.int64)
        self._first_rows = np.concatenate([[0], np.cumsum(lengths + 1)])[:-1].astype(np.int64)
        below = np.full(1, -1.0, np.float32)
        self._scores = np.concatenate([below[:0], *(part for one in mine for part in (one.scores[:, column], below))])
        self._seconds = np.array([one.duration_seconds for one in mine])
        self._offsets = np.concatenate([[0.0], np.cumsum(self._seconds + _GAP_SECONDS)])[:-1]
        true = [merge(reference_intervals(one, label), one.duration_seconds) for one in mine]
        covered = [
            merge([*map(tuple, own.tolist()), *one.unsure], one.duration_seconds)
            for own, one in zip(true, mine, strict=True)
        ]
        self._true, self._covered = (_SecondsBefore(of, self._offsets) for of in (true, covered))
        self._empty = np.array([not len(own) for own in covered], np.bool_)  # and nothing is unsure either
        self._reference, self._other = self._by_cell(_lengths(true)), self._by_cell(self._seconds - _lengths(covered))
        self._empties = self._by_cell(self._empty.astype(float))

    def _by_cell(self, of_recordings: Floats) -> Floats:
        return np.bincount(self._cells, of_recordings, self._sets * _FOLDS).astype(np.float64)

    def count_rules(self, rules: Sequence[SegmentRule]) -> Floats:
        """(rules, sets, folds, columns of `_COLUMNS`): the sums of each rule. Fast if rules that differ only in the pad
        or the minimum length are consecutive. Segments are not split: max_speech is ignored."""
        found = np.zeros((len(rules), self._sets * _FOLDS, len(_COLUMNS)))
        done = 0
        for rule, alike in groupby(rules, key=lambda rule: replace(rule, pad_seconds=0.0, end_pad_seconds=None)):
            pads = np.array([(one.pad_seconds, one.end_pad) for one in alike]).reshape(-1, 2)
            found[done : done + len(pads)] = self._count(rule, pads)
            done += len(pads)
        return found.reshape(len(rules), self._sets, _FOLDS, len(_COLUMNS))

    def _count(self, rule: SegmentRule, pads: Floats) -> Floats:
        """(pads, cells, columns) of a rule with each of the pads (pads, 2)."""
        starts, ends, owners = self._segments(rule)
        shift = self._offsets[owners]
        starts, ends = starts + shift, ends + shift
        same = owners[1:] == owners[:-1]
        # Pads that would overlap meet in the middle of the gap.
        middles = np.where(same, (ends[:-1] + starts[1:]) / 2, np.nan)
        least = np.fmax(np.concatenate([[np.nan], middles]), shift) if len(starts) else starts
        most = np.fmin(np.concatenate([middles, [np.nan]]), shift + self._seconds[owners]) if len(starts) else ends
        begins = np.maximum(starts[:, None] - pads[:, 0], least[:, None])
        stops = np.minimum(ends[:, None] + pads[:, 1], most[:, None])
        hit = self._sum_cells(self._true(stops) - self._true(begins), owners)
        false_seconds = stops - begins - (self._covered(stops) - self._covered(begins))
        false_alarm = self._sum_cells(false_seconds, owners)
        columns = [
            hit,
            self._reference - hit,
            false_alarm,
            self._other - false_alarm,
            np.broadcast_to(self._empties, hit.shape),
            self._count_empty(false_seconds > EPSILON_SECONDS, owners),
        ]
        return np.maximum(np.stack(columns, axis=2), 0.0)  # rounding may go below 0

    def _segments(self, rule: SegmentRule) -> tuple[Floats, Floats, _Rows]:
        """(segments,) starts and ends in seconds of their recordings, before padding, and the indexes of these."""
        high = self._scores >= rule.closing_threshold
        borders = np.flatnonzero(high[1:] != high[:-1]) + 1
        if high[:1].any():
            borders = np.concatenate([[0], borders])
        rises, falls = borders[0::2], borders[1::2]  # the last row is low, so that every run ends
        starts, ends = rises, falls
        owners = np.searchsorted(self._first_rows, starts, side="right") - 1
        rows = max(1, math.ceil((rule.min_silence_seconds - EPSILON_SECONDS) / self._hop_seconds))
        apart = (starts[1:] - ends[:-1] >= rows) | (owners[1:] != owners[:-1])
        first, last = np.concatenate([[True], apart]), np.concatenate([apart, [True]])
        starts, ends, owners = (starts[first], ends[last], owners[first]) if len(starts) else (starts, ends, owners)
        # The first row that reaches the threshold opens a segment.
        opening = np.flatnonzero(self._scores >= rule.threshold)
        nearest = np.searchsorted(opening, starts)
        opens = np.append(opening, len(self._scores))[nearest]
        there = opens < ends
        opens, ends, owners = opens[there], ends[there], owners[there]
        # The segment starts where the scores rose to that row.
        rise_rows = math.floor((RISE_SECONDS + EPSILON_SECONDS) / self._hop_seconds)
        starts = np.maximum(rises[np.searchsorted(rises, opens, side="right") - 1], opens - rise_rows)
        begin = (starts - self._first_rows[owners]) * self._hop_seconds
        stop = np.minimum((ends - self._first_rows[owners]) * self._hop_seconds, self._seconds[owners])
        kept = (stop > begin) & (stop - begin >= rule.min_speech_seconds - EPSILON_SECONDS)
        return begin[kept], stop[kept], owners[kept]

    def _count_empty(self, found: NDArray[np.bool_], owners: _Rows) -> Floats:
        """(segments, pads) whether a segment counts -> (pads, cells): recordings without the label that have one."""
        counts = np.zeros((found.shape[1], self._sets * _FOLDS))
        for pad, own in enumerate(found.T):
            with_segment = np.zeros(len(self._empty))
            with_segment[owners[own]] = 1.0
            counts[pad] = self._by_cell(with_segment * self._empty)
        return counts

    def _sum_cells(self, values: Floats, owners: _Rows) -> Floats:
        """(segments, pads) -> (pads, cells)."""
        sums = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])
        places = np.searchsorted(self._cells[owners], np.arange(self._sets * _FOLDS + 1))
        return np.diff(sums[places], axis=0).T


class _SecondsBefore:
    """Seconds of merged intervals, of recordings at these offsets, before given times (of any shape)."""

    def __init__(self, intervals: Sequence[Floats], offsets: Floats) -> None:
        borders = [own.ravel() + offset for own, offset in zip(intervals, offsets, strict=True)]
        self._borders = np.concatenate(borders) if borders else np.zeros(0)
        total = np.concatenate([[0.0], np.cumsum(np.diff(self._borders.reshape(-1, 2), axis=1).ravel())])
        self._passed = np.stack([total[:-1], total[1:]], axis=1).ravel()

    def __call__(self, times: Floats) -> Floats:
        if not len(self._borders):
            return np.zeros_like(times)
        passed = np.interp(times.ravel(), self._borders, self._passed)
        return np.asarray(passed, np.float64).reshape(times.shape)


def _lengths(intervals: Sequence[Floats]) -> Floats:
    """(recordings,) seconds."""
    return np.array([float(np.diff(own, axis=1).sum()) for own in intervals])
