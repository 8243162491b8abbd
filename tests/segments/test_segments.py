"""Scores made by hand, whose segments are known; and a slow reference for scores made by chance."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from audiocnn.errors import UsageError
from audiocnn.segments.finder import SegmentFinder, SegmentRule, find_segments
from audiocnn.segments.segment import Segment

HOP = 0.02
BARE = {"min_speech_seconds": 0.0, "min_silence_seconds": 0.0, "pad_seconds": 0.0}
TOLERANCE_SECONDS = 1e-9


def scores_of(*runs):
    """(score, rows), ... -> float32 (rows,)"""
    return np.concatenate([np.full(rows, score, np.float32) for score, rows in runs])


def edges(scores, hop=HOP, duration=None, **rule):
    duration = len(scores) * hop if duration is None else duration
    found = find_segments(scores, hop, duration, "speech", SegmentRule(**rule))
    return [(segment.start, segment.end) for segment in found]


def close(expected):
    return [pytest.approx(pair, abs=TOLERANCE_SECONDS) for pair in expected]


def test_half_a_second_of_tone_between_silences():
    scores = scores_of((0.0, 50), (0.9, 25), (0.0, 50))
    (segment,) = find_segments(scores, HOP, 2.5, "tone", SegmentRule(pad_seconds=0.0))
    assert (segment.start, segment.end) == pytest.approx((1.0, 1.5), abs=TOLERANCE_SECONDS)
    assert segment.label == "tone"
    assert segment.score == pytest.approx(0.9, abs=1e-6)


def test_defaults_are_those_of_the_design():
    rule = SegmentRule()
    assert (rule.threshold, rule.neg_threshold, rule.min_speech_seconds) == (0.5, None, 0.25)
    assert (rule.min_silence_seconds, rule.pad_seconds, rule.max_speech_seconds) == (0.1, 0.03, math.inf)


@pytest.mark.parametrize(
    ("threshold", "neg_threshold", "closing"),
    [
        (0.5, None, 0.35),
        (0.1, None, 0.01),
        (0.005, None, 0.005),
        (0.0, None, 0.0),
        (0.5, 0.5, 0.5),
        (0.7, 0, 0),
    ],
)
def test_closing_threshold(threshold, neg_threshold, closing):
    assert SegmentRule(threshold, neg_threshold).closing_threshold == pytest.approx(closing, abs=1e-12)


@pytest.mark.parametrize("scores", [[], np.zeros(0, np.float32), np.zeros(500, np.float32), np.full(500, 0.49)])
def test_nothing_is_found_in_nothing(scores):
    assert edges(np.asarray(scores)) == []


def test_all_ones_is_one_segment_that_ends_with_the_recording():
    assert edges(np.ones(100), duration=1.99) == close([(0.0, 1.99)])
    assert edges(np.ones(1), duration=0.013, min_speech_seconds=0.0) == close([(0.0, 0.013)])


def test_hysteresis():
    scores = scores_of((0.4, 10), (0.5, 1), (0.4, 10), (0.34, 1), (0.4, 10))
    assert edges(scores, **BARE) == close([(0.0, 0.42)])
    assert edges(scores, **BARE, neg_threshold=0.45) == close([(0.2, 0.22)])
    assert edges(scores, **BARE, neg_threshold=0.3) == close([(0.0, 0.64)])
    assert edges(scores, **BARE, threshold=0.51) == []


def test_a_segment_starts_where_its_score_rose():
    scores = scores_of((0.4, 5), (0.2, 1), (0.4, 10), (0.9, 5), (0.4, 5), (0.2, 5))
    assert edges(scores, **BARE) == close([(0.12, 0.52)])  # not before it was low
    assert edges(scores[:16], **BARE) == []  # a rise alone is nothing
    slow = scores_of((0.4, 100), (0.9, 5), (0.0, 5))
    assert edges(slow, **BARE) == close([(2.0 - 0.3, 2.1)])  # and not more than 0.3 s before
    # The rise counts: 13 rows of 0.02 s are 0.26 s.
    assert edges(scores_of((0, 5), (0.4, 10), (0.9, 3), (0, 5)), min_speech_seconds=0.26, pad_seconds=0) != []
    assert edges(scores_of((0, 5), (0.4, 9), (0.9, 3), (0, 5)), min_speech_seconds=0.26, pad_seconds=0) == []


@pytest.mark.parametrize("rows", [1, 3, 15, 16, 40])
def test_a_rise_may_lie_in_earlier_blocks(rows):
    scores = scores_of((0, 30), (0.4, 25), (0.9, 20), (0, 30))
    finder = SegmentFinder("speech", HOP, SegmentRule(pad_seconds=0.0))
    found = [s for at in range(0, len(scores), rows) for s in finder.push(scores[at : at + rows])]
    found += finder.finish(2.1)
    assert [(s.start, s.end) for s in found] == close([(0.8, 1.5)])
    assert found[0].score == pytest.approx((15 * 0.4 + 20 * 0.9) / 35, abs=1e-6)


def test_float32_scores_at_the_thresholds():
    # 0.35 in float32 is a hair below 0.35 in float64, and must still not close.
    scores = np.array([0.0, 0.8, 0.65, 0.6499, 0.0], np.float32)
    assert edges(scores, **BARE, threshold=0.8) == close([(0.02, 0.06)])
    scores = np.array([0.5, 0.35, 0.3499, 0.0], np.float32)
    assert edges(scores, **BARE) == close([(0.0, 0.04)])


def test_min_silence_bridges_what_is_shorter():
    for rows, expected in (
        (4, [(0.0, 0.88)]),
        (5, [(0.0, 0.4), (0.5, 0.9)]),
        (6, [(0.0, 0.4), (0.52, 0.92)]),
    ):
        scores = scores_of((1, 20), (0, rows), (1, 20))
        assert edges(scores, pad_seconds=0) == close(expected), rows


def test_silence_starts_again_when_the_score_comes_back_above_the_closing_threshold():
    scores = scores_of((1, 20), (0, 4), (0.4, 1), (0, 4), (1, 20))
    assert edges(scores, pad_seconds=0) == close([(0.0, 0.98)])


def test_a_fall_at_the_end_of_the_recording_ends_the_segment():
    assert edges(scores_of((1, 20), (0, 2)), pad_seconds=0) == close([(0.0, 0.4)])


@pytest.mark.parametrize(("rows", "found"), [(12, False), (13, True), (14, True)])
def test_min_speech_in_whole_rows(rows, found):
    # 0.25 s are 12.5 rows of 0.02 s: 12 are too few.
    expected = [(0.2, 0.2 + rows * HOP)] if found else []
    assert edges(scores_of((0, 10), (1, rows), (0, 10)), pad_seconds=0) == close(expected)


def test_min_speech_is_not_lost_to_rounding():
    # 3 * 0.1 - 2 * 0.1 and the like: every one of these is exactly 0.3 s long in decimal.
    for start in range(100):
        scores = scores_of((0, start), (1, 3), (0, 20))
        assert len(edges(scores, hop=0.1, min_speech_seconds=0.3)) == 1, start


def test_min_speech_counts_a_last_row_only_as_far_as_the_recording_goes():
    scores = scores_of((0, 10), (1, 13))
    assert edges(scores, duration=0.46, pad_seconds=0) == close([(0.2, 0.46)])
    assert edges(scores, duration=0.449, pad_seconds=0) == []


def test_pad_stops_at_both_ends():
    scores = scores_of((0, 1), (1, 20), (0, 1))
    assert edges(scores, duration=0.43, pad_seconds=0.5) == close([(0.0, 0.43)])
    assert edges(scores_of((0, 10), (1, 20), (0, 10))) == close([(0.17, 0.63)])


def test_pads_of_neighbours_meet_in_the_middle():
    scores = scores_of((0, 10), (1, 20), (0, 5), (1, 20), (0, 10))
    assert edges(scores, pad_seconds=0.06) == close([(0.14, 0.65), (0.65, 1.16)])
    assert edges(scores, pad_seconds=0.04) == close([(0.16, 0.64), (0.66, 1.14)])


def test_a_dropped_segment_is_no_neighbour():
    scores = scores_of((1, 20), (0, 5), (1, 2), (0, 5), (1, 20))
    assert edges(scores, pad_seconds=0.12) == close([(0.0, 0.52), (0.52, 1.04)])


def test_score_is_the_mean_over_unpadded_rows_with_bridged_gaps():
    scores = scores_of((0.3, 10), (0.8, 10), (0.1, 2), (0.6, 8), (0.2, 10))
    (segment,) = find_segments(scores, HOP, 0.8, "speech", SegmentRule())
    assert segment.score == pytest.approx((10 * 0.8 + 2 * 0.1 + 8 * 0.6) / 20, abs=1e-7)


CUT = {"max_speech_seconds": 1.0, "pad_seconds": 0.0}


def test_max_speech_without_any_dip():
    expected = [(0.2, 1.2), (1.2, 2.2), (2.2, 2.7)]
    assert edges(scores_of((0, 10), (1, 125), (0, 10)), **CUT) == close(expected)
    assert edges(scores_of((0, 10), (1, 50), (0, 10)), **CUT) == close([(0.2, 1.2)])


def test_max_speech_cuts_at_the_longest_gap_of_the_second_half():
    scores = scores_of((1, 10), (0, 4), (1, 18), (0, 3), (1, 5), (0, 2), (1, 20))
    # Gaps at 0.20 (first half), 0.64 to 0.70, 0.80 to 0.84: the second is the longest that counts.
    assert edges(scores, **CUT) == close([(0.0, 0.64), (0.70, 1.24)])


def test_max_speech_uses_a_gap_that_lies_across_the_limit():
    scores = scores_of((1, 48), (0, 4), (1, 20))
    assert edges(scores, **CUT) == close([(0.0, 0.96), (1.04, 1.44)])


def test_max_speech_cuts_before_the_lowest_row_of_the_second_half():
    scores = scores_of((1, 20), (0.36, 1), (1, 20), (0.4, 1), (1, 5), (0.45, 1), (1, 20))
    assert edges(scores, **CUT) == close([(0.0, 0.82), (0.82, 1.36)])


def test_max_speech_keeps_short_parts_and_scores_each():
    scores = scores_of((0.8, 50), (0.6, 1), (0, 20))
    found = find_segments(scores, HOP, 1.42, "speech", SegmentRule(**CUT))
    assert [(s.start, s.end) for s in found] == close([(0.0, 1.0), (1.0, 1.02)])
    assert [s.score for s in found] == pytest.approx([0.8, 0.6], abs=1e-6)


def test_padding_never_passes_max_speech():
    scores = scores_of((0, 50), (1, 49), (0, 50))
    # The pad before a segment counts: 0.9 s of sound fill 1 s. The pad behind it takes what is left.
    assert edges(scores, max_speech_seconds=1.0, pad_seconds=0.1) == close([(0.9, 1.9), (1.9, 2.08)])
    scores = scores_of((0, 50), (1, 43), (0, 50))
    assert edges(scores, max_speech_seconds=1.0, pad_seconds=0.1) == close([(0.9, 1.9)])
    assert edges(np.ones(70), max_speech_seconds=1.0) == close([(0.0, 1.0), (1.0, 1.4)])


def test_bounded_memory_and_early_results():
    finder = SegmentFinder("speech", HOP, SegmentRule())
    block = scores_of((0, 10), (1, 30), (0, 10))
    assert finder.push(block) == [Segment(0.17, pytest.approx(0.83, abs=1e-9), "speech", 1.0)]
    for _ in range(200):
        assert len(finder.push(block)) == 1
    assert finder.push(np.ones(50_000)) == []
    assert [round(s.end - s.start, 6) for s in finder.finish(201 * 1.0 + 1000)] == [1000.03]


def reference_segments(scores, hop, duration, rule):
    """The rule of the module, written row by row for a whole recording: (start, end, score)."""
    low, rows = rule.closing_threshold, len(scores)
    pad = min(rule.pad_seconds, max(0.0, rule.max_speech_seconds - rule.min_speech_seconds - hop))
    rise_seconds = min(0.3, max(0.0, rule.max_speech_seconds - pad) / 2)
    most_rise = math.floor((rise_seconds + 1e-9) / hop)
    wholes, k = [], 0
    while k < rows:
        if scores[k] < rule.threshold:
            k += 1
            continue
        start, end = k, rows
        while start > 0 and scores[start - 1] >= low and k - start < most_rise:
            start -= 1
        while k < rows:
            if scores[k] >= low:
                k += 1
                continue
            fell = k
            while k < rows and scores[k] < low:
                k += 1
            if k == rows or (k - fell) * hop >= rule.min_silence_seconds - 1e-9:
                end = fell
                break
        wholes.append((start, end))
    parts, previous = [], -math.inf
    spare = max(0.0, rule.max_speech_seconds - rule.min_speech_seconds - hop)
    for start, end in wholes:
        length = min(end * hop, duration) - start * hop
        if length >= rule.min_speech_seconds - 1e-9 and length > 0:
            padded = max(start * hop - min(rule.pad_seconds, spare), (previous + start * hop) / 2, 0.0)
            most = rule.max_speech_seconds - (start * hop - padded)
            cuts = reference_cuts(scores, start, end, hop, rule, most)
            parts += [(*cut, padded if number == 0 else None) for number, cut in enumerate(cuts)]
            previous = end * hop
    return reference_pads(scores, parts, hop, duration, rule)


def reference_cuts(scores, start, end, hop, rule, most_seconds):
    if (end - start) * hop <= most_seconds + 1e-9:
        return [(start, end)]
    most = max(1, math.floor((most_seconds + 1e-9) / hop))
    half, limit, low = start + (most + 1) // 2, start + most, rule.closing_threshold
    gaps, k = [], start
    while k < end:
        fell = k
        while k < end and scores[k] < low:
            k += 1
        if k > fell and k > half and fell <= limit:
            gaps.append((k - fell, fell, k))
        k += k == fell
    if gaps:
        _, first, second = max(gaps)
    else:
        doubtful = [(scores[m], -m) for m in range(half, limit) if scores[m] < rule.threshold]
        first = second = -min(doubtful)[1] if doubtful else limit
    return [(start, first), *reference_cuts(scores, second, end, hop, rule, rule.max_speech_seconds)]


def reference_pads(scores, parts, hop, duration, rule):
    seconds = [(a * hop, min(b * hop, duration), padded, slice(a, b)) for a, b, padded in parts if a * hop < duration]
    found = []
    for i, (a, b, start, rows) in enumerate(seconds):
        if start is None:
            room = max(0.0, (rule.max_speech_seconds - (b - a)) / 2)
            start = max(a - min(rule.pad_seconds, room), (seconds[i - 1][1] + a) / 2)
        else:
            room = max(0.0, rule.max_speech_seconds - (b - start))
        pad = min(rule.end_pad, room)
        right = (b + seconds[i + 1][0]) / 2 if i + 1 < len(seconds) else duration
        found.append((start, min(b + pad, right, duration), float(np.mean(scores[rows], dtype=np.float64))))
    return found


def random_case(rng):
    rows = int(rng.integers(0, 400))
    wander = np.clip(0.5 + np.cumsum(rng.normal(0, 0.15, rows)) * rng.uniform(0.1, 1), -0.2, 1.2)
    scores = np.clip(wander + rng.normal(0, rng.uniform(0, 0.4), rows), 0, 1)
    scores = np.round(scores, int(rng.integers(1, 4))).astype(np.float32)
    hop = float(rng.choice([0.01, 0.02, 0.04, 0.1]))
    threshold = round(float(rng.uniform(0.05, 0.95)), 2)
    shortest = round(float(rng.choice([0, 1, 3.5, 10]) * hop), 4)
    rule = SegmentRule(
        threshold=threshold,
        neg_threshold=None if rng.random() < 0.5 else round(float(rng.uniform(0, threshold)), 2),
        min_speech_seconds=shortest,
        min_silence_seconds=round(float(rng.choice([0, 1, 2.5, 6, 40]) * hop), 4),
        pad_seconds=round(float(rng.choice([0, 0.5, 2, 9]) * hop), 4),
        max_speech_seconds=max(shortest + hop, float(rng.choice([math.inf, 1, 4, 11.5, 30]) * hop)),
        end_pad_seconds=(None, None, 0.0, 0.5 * hop, 2 * hop, 9 * hop)[rows % 6],
    )
    duration = max(0.0, (rows - float(rng.choice([0, 0.3, 0.9]))) * hop)
    return scores, hop, duration, rule


def test_random_scores_in_random_blocks_equal_the_slow_reference():
    rng = np.random.default_rng(5)
    segments = cut = 0
    for case in range(1500):
        scores, hop, duration, rule = random_case(rng)
        whole = find_segments(scores, hop, duration, "speech", rule)
        found = [(s.start, s.end, s.score) for s in whole]
        expected = reference_segments(scores, hop, duration, rule)
        assert found == [pytest.approx(e, abs=TOLERANCE_SECONDS) for e in expected], (case, rule)
        finder, pieces, position = SegmentFinder("speech", hop, rule), [], 0
        while position < len(scores):
            size = int(rng.integers(0, rng.choice([3, 30, 300])))
            pieces += finder.push(scores[position : position + size])
            position += size
        assert pieces + finder.finish(duration) == whole, (case, rule)  # to the last bit
        segments += len(whole)
        cut += sum(a.end == b.start for a, b in itertools.pairwise(whole))
        assert all(a.end <= b.start for a, b in itertools.pairwise(whole)), case
        assert all(0 <= s.start < s.end <= duration for s in whole), case
        assert all(s.end - s.start <= rule.max_speech_seconds + hop + 1e-9 for s in whole), case
    assert segments > 3000  # the cases are not trivial
    assert cut > 300


def onsets_row_by_row(scores, hop, duration, rule, heard_rows=0):
    """(onsets as (start, rows seen), segments), from a finder that gets one row after the other."""
    finder, told, segments = SegmentFinder("speech", hop, rule), [], []
    for row in range(len(scores)):
        segments += finder.push(scores[row : row + 1])
        heard = min((row + 1 + heard_rows) * hop, duration) if heard_rows else 0.0
        told += [(start, row + 1) for start in finder.onsets(heard)]
    segments += finder.finish(duration)
    return told + [(start, len(scores)) for start in finder.onsets()], segments


def test_rows_that_pass_leave_all_else_as_it_would_be():
    rng = np.random.default_rng(8)
    passed = asked = 0
    for case in range(400):
        scores, hop, duration, rule = random_case(rng)
        size = int(rng.integers(1, 6))
        finder, plain = SegmentFinder("speech", hop, rule), SegmentFinder("speech", hop, rule)
        for first in range(0, len(scores), size):
            block = scores[first : first + size]
            heard = (first + len(block)) * hop
            expected = (plain.push(block), plain.onsets(heard))
            asked += 1
            if finder.passes(block.tolist()):
                passed += 1
                assert expected == ([], []), case
            else:
                assert (finder.push(block), finder.onsets(heard)) == expected, case
            assert finder.earliest_onset() == plain.earliest_onset(), case
        assert finder.finish(duration) == plain.finish(duration), case  # to the last bit
    assert 0.3 < passed / asked < 0.95  # the cases are not trivial


def test_an_onset_is_certain_after_min_speech_and_a_row_more():
    scores = scores_of((0, 10), (1, 30), (0, 10), (1, 12), (0, 10))
    told, segments = onsets_row_by_row(scores, HOP, 10.0, SegmentRule())
    # 0.25 s are 12.5 rows of 0.02 s: 13 rows; were the 13th the last, the recording might end inside of it.
    assert told == [(segments[0].start, 10 + 14)]
    assert segments[0].start == pytest.approx(0.17, abs=TOLERANCE_SECONDS)
    # Where the recording is known to go on, the 13th row is enough.
    assert onsets_row_by_row(scores, HOP, 10.0, SegmentRule(), heard_rows=5)[0] == [(segments[0].start, 10 + 13)]
    # A fall that may be bridged delays it to the row that comes back.
    dip = scores_of((0, 10), (1, 10), (0, 4), (1, 10), (0, 10))
    assert [rows for _, rows in onsets_row_by_row(dip, HOP, 10.0, SegmentRule())[0]] == [25]


def test_a_cut_segment_has_one_onset():
    rule = SegmentRule(max_speech_seconds=1.0)
    told, segments = onsets_row_by_row(scores_of((0, 10), (1, 200), (0, 10)), HOP, 4.4, rule)
    assert len(segments) == 5 and segments[0].start == told[0][0] and len(told) == 1
    assert all(a.end - a.start <= 1.0 + TOLERANCE_SECONDS for a in segments)


def test_every_onset_has_its_segment_and_comes_as_early_as_can_be():
    rng = np.random.default_rng(6)
    onsets = parts = 0
    for case in range(250):
        scores, hop, duration, rule = random_case(rng)
        told, segments = onsets_row_by_row(scores, hop, duration, rule)
        starts = [start for start, _ in told]
        assert segments == find_segments(scores, hop, duration, "speech", rule), case
        assert starts == sorted(starts) and len(set(starts)) == len(starts), case
        assert set(starts) <= {segment.start for segment in segments}, (case, rule)
        for segment in segments:  # without an onset are the parts that a cut leaves over
            if segment.start not in starts:
                before = [s for s in segments if s.start < segment.start]
                assert before and rule.max_speech_seconds < math.inf, case
                assert segment.start - before[-1].end < rule.min_silence_seconds + 1e-9, case
                parts += 1
        for start, rows in told:
            if duration > (rows - 1) * hop + 1e-6:
                assert would_stay(scores[:rows], start, hop, rule), (case, rule, rows)
            if rows < len(scores):
                assert not would_stay(scores[: rows - 1], start, hop, rule), (case, rule, rows)
        onsets += len(told)
    assert onsets > 300 and parts > 50


def would_stay(scores, start, hop, rule):
    """Whether these rows alone make sure of a segment that starts there: were they all, and were silence to follow."""
    alone = find_segments(scores, hop, (len(scores) - 1) * hop + 1e-6, "speech", rule) if len(scores) else []
    silence = np.concatenate([scores, np.zeros(100, scores.dtype)])
    quiet = find_segments(silence, hop, len(silence) * hop, "speech", rule)
    return all(any(abs(s.start - start) < 1e-9 for s in found) for found in (alone, quiet))


@pytest.mark.parametrize("block", [1, 7, 100])
def test_onsets_of_blocks(block):
    rng = np.random.default_rng(7)
    for case in range(200):
        scores, hop, duration, rule = random_case(rng)
        finder, found = SegmentFinder("speech", hop, rule), []
        for first in range(0, len(scores), block):
            finder.push(scores[first : first + block])
            found += finder.onsets()
        finder.finish(duration)
        found += finder.onsets()
        assert found == [start for start, _ in onsets_row_by_row(scores, hop, duration, rule)[0]], case
        assert finder.onsets() == []


@pytest.mark.parametrize("scores", [np.array([0.1, math.nan]), np.zeros((2, 3))])
def test_scores_that_only_a_bug_can_make(scores):
    with pytest.raises(ValueError, match=r"NaN|shape"):
        find_segments(scores, HOP, 1.0, "speech", SegmentRule())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threshold": 1.5}, r"^--threshold 1\.5: not between 0 and 1; give a probability such as 0\.5$"),
        ({"threshold": -0.1}, r"^--threshold -0\.1: "),
        ({"threshold": math.nan}, r"^--threshold nan: "),
        ({"neg_threshold": math.nan}, r"^--neg-threshold nan: "),
        ({"neg_threshold": -1}, r"^--neg-threshold -1: "),
        ({"neg_threshold": 0.6}, r"^--neg-threshold 0\.6 is above --threshold 0\.5, but .*$"),
        ({"min_speech_seconds": -1}, r"^--min-duration -1: .* give seconds, 0 or more$"),
        ({"min_speech_seconds": math.inf}, r"^--min-duration inf: "),
        ({"min_silence_seconds": math.nan}, r"^--min-silence nan: "),
        ({"pad_seconds": -0.03}, r"^--pad -0\.03: "),
        ({"end_pad_seconds": -0.03}, r"^--pad -0\.03: "),
        ({"max_speech_seconds": 0}, r"^--max-duration 0: give seconds above 0, or inf$"),
        ({"max_speech_seconds": math.nan}, r"^--max-duration nan: "),
        ({"max_speech_seconds": 0.1}, r"^--max-duration 0\.1 is below --min-duration 0\.25: .*$"),
    ],
)
def test_rules_that_cannot_be(settings, message):
    with pytest.raises(UsageError, match=message) as error:
        SegmentRule(**settings)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("longest", [0.0001, 0.009])
def test_a_longest_duration_below_one_hop_is_refused(longest):
    rule = SegmentRule(min_speech_seconds=0.0, max_speech_seconds=longest)
    with pytest.raises(UsageError, match=r"--max-duration .* is below the hop of the model \(0\.01 s\).*raise it"):
        SegmentFinder("speech", 0.01, rule)
    SegmentFinder("speech", longest, rule)
