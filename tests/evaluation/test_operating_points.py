"""Operating points: scores whose best rules are known, and arithmetic that gives what segments would."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from audiocnn.errors import DatasetError
from audiocnn.evaluation import operating_points
from audiocnn.evaluation.clips import ScoredClip
from audiocnn.evaluation.metrics import SegmentSums, count_segments, segment_values
from audiocnn.evaluation.operating_points import (
    ScoreRuns,
    as_points,
    measure_rules,
    tune_clip_points,
    tune_operating_points,
)
from audiocnn.evaluation.segments import JudgedRecording, detect_intervals, reference_intervals
from audiocnn.evaluation.thresholds import MEASURES
from audiocnn.model.model import SENSITIVITIES
from audiocnn.segments.finder import SegmentRule
from audiocnn.segments.segment import Annotation

HOP = 0.05
EDGES = (0.0, 0.1, 0.25)


def recording_of(name, spans, scores, seconds=10.0, group="", **tags):
    """A recording with annotations, and a score for stretches of it; elsewhere it is 0."""
    rows = np.zeros((round(seconds / HOP), 1), np.float32)
    for start, end, score in scores:
        rows[round(start / HOP) : round(end / HOP)] = score
    return JudgedRecording(name, rows, HOP, seconds, [Annotation(*span, "a") for span in spans], tags, group=group)


def random_recordings(count, seed=0):
    """Scores that rise and fall, of all lengths, none included; the last row is cut somewhere."""
    random = np.random.default_rng(seed)
    for number in range(count):
        length = int(random.integers(0, 250)) if number else 0
        smooth = np.convolve(random.random(length + 10), np.ones(11) / 11, "valid")[:length]
        scores = np.clip((smooth - 0.5) * 5 + 0.5, 0, 1).astype(np.float32)[:, None]
        seconds = max(length * HOP - random.random() * HOP, 0.0)
        notes = [Annotation(float(x), float(x + random.random()), "a") for x in random.random(number % 4) * seconds]
        unsure = [(float(x), float(x + random.random())) for x in random.random(number % 3) * seconds]
        yield JudgedRecording(f"{number:03}", scores, HOP, seconds, notes, unsure=unsure)


RULES = [
    SegmentRule(opens, opens - gap, speech, silence, pad, end_pad_seconds=end_pad)
    for opens, gap, speech, silence, (pad, end_pad) in itertools.product(
        (0.4, 0.7), (0.0, 0.3), EDGES, EDGES, ((0.0, None), (0.1, None), (0.4, 0.02))
    )
]


def test_arithmetic_counts_what_segments_would_give():
    sets = [list(random_recordings(20, seed)) for seed in (0, 1)]
    found = ScoreRuns(sets, 0, "a").count_rules(RULES)
    for rule, by_set in zip(RULES, found, strict=True):
        for recordings, counts in zip(sets, by_set, strict=True):
            alone = [dataclasses.replace(one, scores=one.scores[:, 0]) for one in recordings]
            segments = [detect_intervals(one, "a", rule) for one in alone]
            sums = [
                count_segments(reference_intervals(one, "a"), own, one.duration_seconds, unsure=one.unsure).sums
                for one, own in zip(alone, segments, strict=True)
            ]
            wanted = [sum(getattr(one, name) for one in sums) for name in operating_points._COLUMNS]
            assert counts.sum(axis=0) == pytest.approx(wanted, abs=1e-6), rule


@pytest.mark.parametrize(("more_missed", "chosen"), [(0.01, 0.1), (0.09, 0.1), (0.11, 0.6)])
def test_precise_keeps_short_words_where_they_cost_little(more_missed, chosen):
    long, short, all_found = SegmentRule(min_speech_seconds=0.6), SegmentRule(min_speech_seconds=0.1), SegmentRule()
    columns = {  # hit, miss, false alarm, rest, recordings without, those with a segment
        long: (70.0, 30.0, 0.0, 100.0, 400.0, 1.0),
        short: (70.0 - 100 * more_missed, 30.0 + 100 * more_missed, 0.0, 100.0, 400.0, 2.0),
        all_found: (100.0, 0.0, 1.0, 99.0, 400.0, 40.0),
    }
    rules, sums = list(columns), np.array(list(columns.values()))[:, None, None]
    best = operating_points._choose(rules, sums, "detection_error")
    assert rules[best[0]] is all_found
    assert rules[best[2]].min_speech_seconds == chosen


def test_sensitive_finds_segments_as_short_as_balanced_does():
    columns = {  # hit, miss, false alarm, rest, recordings without, those with a segment
        SegmentRule(min_speech_seconds=0.1): (95.0, 5.0, 1.0, 99.0, 400.0, 9.0),
        SegmentRule(min_speech_seconds=0.25): (98.0, 2.0, 20.0, 80.0, 400.0, 99.0),
        SegmentRule(min_speech_seconds=0.0): (99.0, 1.0, 30.0, 70.0, 400.0, 200.0),
    }
    rules, sums = list(columns), np.array(list(columns.values()))[:, None, None]
    assert operating_points._choose(rules, sums, "detection_error")[:2] == [0, 2]


def test_no_recordings_and_no_segments_are_counted_as_nothing():
    for recordings in ([], [recording_of("x", [(1, 2)], [])]):
        found = ScoreRuns([recordings], 0, "a").count_rules([SegmentRule()])
        assert found.shape == (1, 1, 2, 6) and found[..., [0, 2, 5]].sum() == 0


# Speech is scored 0.9, a fortieth of it 0.3 and another 0.1; noise is 0.2 in one recording, a quiet clip 0.6.
SPEECH = [(1.0, 8.6, 0.9), (8.6, 8.8, 0.3), (8.8, 9.0, 0.1)]


def speech_and_noise(clips=4, wrong=1):
    speech = [recording_of(f"speech{k}", [(1.0, 9.0)], SPEECH) for k in range(4)]
    noise = [recording_of(f"noise{k}", [], [(2.0, 4.0, 0.97)] if k < wrong else []) for k in range(clips)]
    return [*speech, *noise]


def tuned(*sets, **more):
    return tune_operating_points(sets, ["a"], "a", **more)


def test_each_point_does_what_its_name_promises():
    found = tuned(speech_and_noise())
    assert list(found) == list(SENSITIVITIES)
    balanced, sensitive, precise = found.values()
    assert sensitive.figures["miss_rate"] <= 0.03 and sensitive.kept
    assert sensitive.figures["miss_rate"] <= balanced.figures["miss_rate"]
    assert precise.figures["false_segment_share"] == 0.0 and precise.kept
    assert precise.rule.threshold > 0.9, "the scores of noise are higher"
    errors = {name: one.figures["detection_error_rate"] for name, one in found.items()}
    assert errors["balanced"] == min(errors.values())


def test_live_no_rule_asks_for_a_shortest_segment():
    """Though the short noise would be left out by one."""
    speech = [recording_of(f"s{k}", [(1.0, 9.0)], [(1.0, 9.0, 0.9)]) for k in range(3)]
    noise = [recording_of(f"n{k}", [], [(2.0, 2.5, 0.95)]) for k in range(3)]
    assert {point.rule.min_speech_seconds for point in tuned([*speech, *noise], live=True).values()} == {0.0}
    assert {point.rule.min_speech_seconds for point in tuned([*speech, *noise]).values()} != {0.0}


def test_precise_does_not_miss_more_than_it_must():
    """Noise of half a second, scored as speech is, is left out by the shortest speech and not by the threshold."""
    speech = [recording_of(f"s{k}", [(1.0, 9.0)], [(1.0, 9.0, 0.9)]) for k in range(3)]
    noise = [recording_of(f"n{k}", [], [(2.0, 2.5, 0.95)]) for k in range(3)]
    precise = tuned([*speech, *noise])["precise"]
    assert (precise.figures["false_segment_share"], precise.figures["miss_rate"]) == (0.0, 0.0)
    assert precise.rule.min_speech_seconds > 0.5


def test_a_promise_that_no_rule_keeps_is_told():
    speech = [recording_of(f"s{k}", [(1.0, 9.0)], [(1.0, 5.0, 0.9)]) for k in range(3)]
    noise = [recording_of(f"n{k}", [], [(0.0, 10.0, 1.0)]) for k in range(3)]
    found = tuned([*speech, *noise])
    assert {name: one.kept for name, one in found.items()} == {"balanced": True, "sensitive": False, "precise": False}
    assert found["sensitive"].figures["miss_rate"] > 0.03
    assert found["precise"].figures["false_segment_share"] == 1.0


def test_where_all_recordings_hold_speech_precise_counts_time():
    rows = [recording_of(f"{k}", [(1.0, 6.0)], [(1.0, 6.0, 0.9), (7.5, 8.5, 0.8)]) for k in range(3)]
    found = tuned(rows)
    assert found["precise"].figures["false_alarm_rate"] <= 0.005 and found["precise"].kept
    assert "false_segment_share" not in found["precise"].figures


def test_sets_count_the_same_however_long_they_are():
    """Scores of 0.3 are speech in the short set and noise in the long one: alone, each would want its own threshold."""
    short = [recording_of("x", [(1.0, 5.0), (7.0, 8.0)], [(1.0, 5.0, 0.9), (7.0, 8.0, 0.3)])]
    long = [recording_of(f"{k}", [(1.0, 2.0)], [(1.0, 2.0, 0.9), (4.0, 7.0, 0.3)]) for k in range(20)]
    both = tuned(short, long)["balanced"]
    assert both.figures["detection_error_rate"] == pytest.approx(0.2 / 2), "the short set pays, half of its error"
    figures = measure_rules([short, long], ["a"], "a", {"x": both.rule})["x"]
    assert figures == pytest.approx(both.figures)
    assert tuned(short)["balanced"].figures["detection_error_rate"] == 0.0


def test_what_balanced_is_best_at_can_be_chosen():
    recordings = speech_and_noise(clips=1)
    best = [tuned(recordings, measure=measure)["balanced"].rule for measure in MEASURES]
    sums = ScoreRuns([recordings], 0, "a").count_rules(best).sum(axis=(1, 2))
    values = segment_values(SegmentSums(*sums.T[:4]))
    for at, (measure, figure) in enumerate(MEASURES.items()):
        assert values[figure][at] == (max if measure == "f1" else min)(values[figure])


def test_a_rule_that_the_model_has_is_tried_too():
    """A segment of 0.7 s is speech, one of 0.65 s is not: no rule of the grid is so exact."""
    rows = [recording_of(f"{k}", [(1.0, 1.7)], [(1.0, 1.7, 0.9), (4.0, 4.65, 0.9), (7.0, 7.65, 0.9)]) for k in range(3)]
    known = SegmentRule(0.5, 0.35, 0.68, 0.1, 0.0)
    assert tuned(rows)["balanced"].figures["detection_error_rate"] > 0
    found = tuned(rows, known=[known])["balanced"]
    assert found.rule.min_speech_seconds == 0.68
    assert found.figures["detection_error_rate"] == pytest.approx(0.0, abs=1e-9)
    assert tuned(rows, known=[SegmentRule(1.0, 1.0), SegmentRule(0.0, 0.0)])["balanced"].kept, "odds without an end"


def test_thresholds_of_clips_are_cross_fitted():
    clips = [
        ScoredClip(f"{half}{has}{k}", np.array([score + shift]), "", labels=("a",) * has)
        for half, shift in (("a", 0.0), ("b", 0.3))
        for has, score in ((True, 0.6), (False, 0.4))
        for k in range(4)
    ]
    same, crossed = (tune_clip_points(clips, ["a"], "a", cross_fit=cross) for cross in (False, True))
    assert {name: one.rule for name, one in same.items()} == {name: one.rule for name, one in crossed.items()}
    # The halves want thresholds of 0.5 and 0.8: each is wrong for one kind of the other half.
    assert crossed["balanced"].figures == {"miss_rate": 0.5, "false_alarm_rate": 0.5}
    for labels in (("a",), ()):
        with pytest.raises(DatasetError, match='"a"'):
            tune_clip_points([dataclasses.replace(one, labels=labels) for one in clips], ["a"], "a")


def test_cross_fitted_figures_are_of_the_other_half():
    """The first half, by name, is scored high and the second low: what suits one half finds nothing in the other, or
    too much; a rule of both halves makes no mistake."""
    first = [recording_of(f"a{k}", [(1.0, 9.0)], [(0.0, 10.0, 0.5), (1.0, 9.0, 0.95)]) for k in range(3)]
    second = [recording_of(f"b{k}", [(1.0, 9.0)], [(1.0, 9.0, 0.3)]) for k in range(3)]
    same, crossed = tuned([*first, *second]), tuned([*first, *second], cross_fit=True)
    assert {name: one.rule for name, one in same.items()} == {name: one.rule for name, one in crossed.items()}
    assert crossed["balanced"].figures["detection_error_rate"] > same["balanced"].figures["detection_error_rate"]
    assert crossed["balanced"].figures["miss_rate"] >= 0.5, "the threshold of the first half is above the second"
    again = tuned([*first, *second], cross_fit=True, known=[one.rule for one in same.values()])
    assert again == crossed, "what was tuned on both halves is not tried on one"


def test_halves_hold_whole_groups_of_each_source():
    rows = [recording_of(f"{k}", [], [], group=f"g{k // 2}", source="s" if k < 8 else "t") for k in range(12)]
    folds = operating_points._halves(rows)
    assert folds == {"g0": 0, "g1": 0, "g2": 1, "g3": 1, "g4": 0, "g5": 1}
    meetings = [recording_of(f"trn{k:02}", [], []) for k in range(10)]
    assert [operating_points._halves(meetings)[one.filename] for one in meetings] == [0] * 5 + [1] * 5


def test_nothing_to_tune_on_is_told():
    with pytest.raises(DatasetError, match='labelled "a"'):
        tuned([recording_of("x", [], SPEECH)])
    with pytest.raises(DatasetError, match="--cross-fit"):
        tuned([recording_of("x", [(1.0, 2.0)], SPEECH), recording_of("y", [], SPEECH)], cross_fit=True)


def test_what_a_model_keeps_is_the_rule_as_it_was_tried():
    found = tuned(speech_and_noise())
    for name, point in as_points(found, "four recordings").items():
        assert SegmentRule(**point.values) == found[name].rule
        assert point.measured_on == "four recordings"
