"""Compares segment rules on the same scores: errors, false segments and missed words.

    python -m benchmarks.rules -m speech_1d --rule 0.73,0.73,0.1 --rule 0.82,0.73,0 --rule 0.88,0.73,0

A rule is threshold, neg-threshold, min-duration. Pauses of 0.5 s are bridged and segments padded by 0.03 s unless
--min-silence and --pad are given. Scores are computed once, for part `tune` of data/recipes/speech_conditions.toml, for
the meetings, and for the clips of `python -m benchmarks.missed_clips`. Prints a Markdown table: the mean detection
error of `tune` and the meetings, and both errors; the share of recordings of `tune` without speech that have a segment;
the number of such clips of `dev` that certainly contain no voice, and of ../shared/more; and the percentage of words,
digits and voices of ../shared/more without a segment.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from audiocnn.data.sources import read_source
from audiocnn.errors import AudiocnnError, UsageError
from audiocnn.evaluation.annotated import Scorer, score_entries
from audiocnn.evaluation.operating_points import ScoreRuns, mean_figures
from audiocnn.evaluation.segments import JudgedRecording, detect_intervals
from audiocnn.segments.finder import SegmentRule
from benchmarks.levels import DATA, LABEL, SAMPLE_RATE, scorer_of, set_in, sounds_of
from benchmarks.missed_clips import clip_scores, clips_of, clips_without

PART = "tune"
FALSE, LOST = ("of these silent for sure", "more"), ("commands", "digits", "more")
HEAD = ("error, mean", PART, "meetings", f"{PART}, false", "dev, false", "more, false", "words lost", "digits", "more")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("-m", "--model", default="speech_1d", help="a model or a run")
    parser.add_argument(
        "--rule", action="append", default=[], help="threshold,neg-threshold,min-duration; may be repeated"
    )
    parser.add_argument("--min-silence", type=float, default=0.5)
    parser.add_argument("--pad", type=float, default=0.03)
    parser.add_argument("--set", type=Path, help="folder for the mixtures")
    given = parser.parse_args(arguments)
    try:
        rules = [read_rule(text, given.min_silence, given.pad) for text in given.rule]
        scorer = scorer_of(given.model)
        if not rules:
            rules = [scorer.rules[LABEL]]
        with tempfile.TemporaryDirectory(prefix="audiocnn-") as folder:
            sets = [mixtures(scorer, given.set or Path(folder)), meetings(scorer)]
        others, voices = dict(clips_without()), dict(clips_of())
        clips = {path: clip_scores(scorer, path) for own in (*others.values(), *voices.values()) for path in own}
    except AudiocnnError as problem:
        print(f"rules: {problem}", file=sys.stderr)
        return 2
    runs = ScoreRuns(sets, list(scorer.labels).index(LABEL), LABEL)
    print(f"| threshold, neg-threshold, min-duration | {' | '.join(HEAD)} |")
    print(f"|---|{'---:|' * len(HEAD)}")
    for rule in rules:
        cells = [*errors(runs, rule), *found_in(rule, clips, others, voices)]
        print(
            f"| {rule.threshold:g}, {rule.closing_threshold:g}, {rule.min_speech_seconds:g} s | {' | '.join(cells)} |"
        )
    return 0


def read_rule(text: str, min_silence: float, pad: float) -> SegmentRule:
    """Parse a rule. UsageError if it is not three numbers, or not a possible rule."""
    try:
        threshold, lower, shortest = map(float, text.split(","))
    except ValueError:
        raise UsageError(f'--rule "{text}": give threshold,neg-threshold,min-duration, such as 0.82,0.73,0') from None
    return SegmentRule(threshold, lower, shortest, min_silence, pad)


def mixtures(scorer: Scorer, folder: Path) -> list[JudgedRecording]:
    """Part `tune`, made in `folder` unless it exists, with its scores."""
    return [one for _, one in score_entries(set_in(folder, PART), scorer) if isinstance(one, JudgedRecording)]


def meetings(scorer: Scorer) -> list[JudgedRecording]:
    return [
        JudgedRecording(
            sound.name,
            scorer.score(sound.samples),
            scorer.hop_seconds,
            sound.samples.shape[1] / SAMPLE_RATE,
            sound.notes,
        )
        for sound in sounds_of(read_source(DATA / "meetings"))
    ]


def errors(runs: ScoreRuns, rule: SegmentRule) -> list[str]:
    sums = runs.count_rules([rule])[0].sum(axis=1)
    both, each = mean_figures(sums), [mean_figures(one[None]) for one in sums]
    values = [one["detection_error_rate"] for one in (both, *each)]
    return [*(f"{value:.3f}" for value in values), f"{100 * both.get('false_segment_share', 0.0):.1f} %"]


def found_in(
    rule: SegmentRule,
    clips: Mapping[Path, JudgedRecording],
    others: Mapping[str, Sequence[Path]],
    voices: Mapping[str, Sequence[Path]],
) -> list[str]:
    """The number of clips without a voice that have a segment, and the percentage of voices without one."""
    heard = {path for path, one in clips.items() if len(detect_intervals(one, LABEL, rule))}
    false = [str(sum(path in heard for path in others[kind])) for kind in FALSE]
    lost = [100 * sum(path not in heard for path in voices[kind]) / max(1, len(voices[kind])) for kind in LOST]
    return [*false, *(f"{share:.1f} %" for share in lost)]


if __name__ == "__main__":
    sys.exit(main())
