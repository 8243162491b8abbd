"""Suggests what to do next, from the results of an evaluation: `advise`.

evaluation -> rules -> Advice, largest gain first, at most three. A rule applies only if enough was evaluated to rule
out chance, and then says how much that was. If no rule applies, the only advice is how to use the model.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from audiocnn.errors import UsageError, as_argument, format_command, show_name
from audiocnn.evaluation.doubtful import Doubt, find_doubtful
from audiocnn.evaluation.results import ClipEvaluation, Evaluation, JudgedClip, LabelEvaluation, RecordingErrors
from audiocnn.segments.segment import NONE_OF_THESE
from audiocnn.units import clock, count_noun

MOST_ADVICE = 3  # readers ignore more
FEW_CLIPS = 20  # training clips per label; with fewer, models trained on different halves differ by a tenth or more
LEAST_CLIPS = 10  # evaluated, of two labels; with fewer, one in three wrong is compatible with one in twenty
LEAST_JUDGED = 20  # clips in total; with fewer, no advice is given
LEAST_RECALL = 0.5  # of the clips of a label; one that is missed more often cannot be relied on
GOOD_SHARE = 0.9  # of the answers right; a worse model has something to improve, even if no cause stands out
LEAST_WRONG = 3  # clips; one or two may be chance
CONFUSED_SHARE = 0.1  # of the clips of two labels; every model confuses some
SURE_DOUBT = math.log(10.0)  # another label is ten times as likely; below this, mostly the model is wrong
TRUSTED_SHARE = 0.6  # of the answers right; a worse model doubts what it does not know
LEAST_RECORDINGS = 4  # with segments; one bad microphone would be a third of three recordings
LEAST_REFERENCE_SECONDS = 20.0  # annotated, about ten sentences; with less, one missed sentence is a tenth
LEAST_MISSED = 0.1  # of the annotated time; less is not worth another sensitivity
ONE_SIDED = 3.0  # ratio of missed to false (or the reverse) that points to the threshold
LEAST_POINT_GAIN = 0.03  # of the detection error, by another sensitivity; less is within the confidence intervals
WORST_ERROR_SHARE, WORST_TIME = 0.5, 0.25  # at least this share of the errors in at most this share of the time
MOST_WORST = 3  # recordings to list


@dataclass(frozen=True)
class Advice:
    """A fact, and the command that helps, as words. gain: the share of the errors that this would remove, up to 1."""

    fact: str
    command: tuple[str, ...]
    gain: float = 0.0

    @property
    def command_line(self) -> str:
        return format_command(self.command)

    @property
    def line(self) -> str:
        return f"{self.fact}: {self.command_line}"

    def to_dict(self) -> dict[str, Any]:
        return {"fact": self.fact, "command": self.command_line}


@dataclass(frozen=True)
class Subject:
    """The model and data that were evaluated, as the command line names them.

    options: those of the data, which `evaluate` and `doubtful` share (`--split test`). clips: the number of training
    clips by label, if known. retrain: the command that trains again, if known. example: a recording to try the model
    on, or "".
    """

    model: str
    data: str
    options: tuple[str, ...] = ()
    clips: Mapping[str, int] = field(default_factory=dict)
    retrain: tuple[str, ...] = ()
    example: str = ""

    def command(self, name: str, *more: str) -> tuple[str, ...]:
        """A command that evaluates the model on the data."""
        return ("audiocnn", name, as_argument(self.data), "--model", as_argument(self.model), *self.options, *more)


def advise(evaluation: Evaluation | None, subject: Subject) -> list[Advice]:
    """At most three pieces of advice, largest gain first. If there is nothing to improve, a single one on how to use
    the model. evaluation: None if nothing was tested."""
    found: list[Advice] = []
    if evaluation is not None:
        if evaluation.clip is not None:
            found += _of_clips(evaluation.clip, subject)
        for label, ranked in evaluation.errors.items():
            if is_enough(ranked):
                found += _of_segments(evaluation.labels[label], ranked, subject)
    found.sort(key=lambda one: -one.gain)
    return found[:MOST_ADVICE] or list(_use(evaluation, subject))


def is_enough(ranked: tuple[RecordingErrors, ...]) -> bool:
    """Whether the recordings with segments are enough for advice on a label."""
    annotated = sum(one.reference_seconds for one in ranked)
    return len(ranked) >= LEAST_RECORDINGS and annotated >= LEAST_REFERENCE_SECONDS


def _of_clips(clip: ClipEvaluation, subject: Subject) -> Iterator[Advice]:
    wrong = [answer for answer in clip.answers if answer.right is False]
    yield from _few_clips(clip, wrong, subject)
    if clip.clips < LEAST_JUDGED:
        return
    doubts = doubted_labels(clip)
    doubted = {doubt.filename for doubt in doubts}
    if len(doubts) >= LEAST_WRONG:
        fact = f"{count_noun(len(doubts), 'label')} of {clip.clips:,} clips look wrong"
        yield Advice(fact, subject.command("doubtful", "--top", str(len(doubts))), len(doubts) / clip.clips)
    confused = list(_confused([answer for answer in wrong if answer.filename not in doubted], clip, subject))
    yield from confused
    named = {word for advice in confused for word in advice.command}
    yield from _not_recognised(clip, subject, named)


def doubted_labels(clip: ClipEvaluation) -> list[Doubt]:
    """Clips whose label is likely wrong, if the model is right often enough to be trusted."""
    known = [answer.right for answer in clip.answers if answer.right is not None]
    if not known or sum(known) < TRUSTED_SHARE * len(known):
        return []
    try:
        doubts = find_doubtful(clip, len(clip.answers))
    except UsageError:  # the model knows no label
        return []
    return [doubt for doubt in doubts if doubt.likely_wrong and doubt.doubt >= SURE_DOUBT]


def _few_clips(clip: ClipEvaluation, wrong: list[JudgedClip], subject: Subject) -> Iterator[Advice]:
    """Labels with few training clips, if some of their test clips are not recognised."""
    few = {label for label, count in subject.clips.items() if count < FEW_CLIPS}
    missed = Counter(label for answer in wrong for label in answer.labels if label in few - {*answer.answers})
    if not missed or not subject.retrain:
        return
    label, count = missed.most_common(1)[0]
    others = f", and {count_noun(len(missed) - 1, 'other label')} as few" if missed[label] < missed.total() else ""
    there = f"{show_name(label)} has few clips ({subject.clips[label]}; {count} of {clip.labels[label].clips} wrong)"
    yield Advice(f"{there}{others}: add more, then train again", subject.retrain, missed.total() / clip.clips)


def _not_recognised(clip: ClipEvaluation, subject: Subject, named: Collection[str]) -> Iterator[Advice]:
    """The label whose clips are recognised least, if that is less than half of them. named: labels of other advice."""
    known = [answer for answer in clip.answers if answer.right is not None]
    counts = Counter(label for answer in known for label in answer.labels)
    right = Counter(label for answer in known for label in {*answer.labels} & {*answer.answers})
    shares = {label: right[label] / count for label, count in counts.items() if count > 1 and label in clip.labels}
    worst = min(shares, key=lambda label: (shares[label], label), default=None)
    if worst is not None and shares[worst] < LEAST_RECALL and worst not in named:
        fact = f"only {right[worst]} of {counts[worst]} clips of {show_name(worst)} are recognised; listen to them"
        gain = (counts[worst] - right[worst]) / clip.clips
        yield Advice(fact, subject.command("doubtful", "--label", worst), gain)


def _confused(wrong: list[JudgedClip], clip: ClipEvaluation, subject: Subject) -> Iterator[Advice]:
    """The pair of labels that is confused most."""
    pairs = Counter(
        frozenset((answer.labels[0], answer.answers[0]))
        for answer in wrong
        if len(answer.labels) == len(answer.answers) == 1
        and answer.labels[0] in clip.labels
        and answer.answers[0] in clip.labels
        and answer.answers[0] != NONE_OF_THESE
    )
    for pair, count in pairs.most_common():
        first, second = sorted(pair)
        judged = clip.labels[first].clips + clip.labels[second].clips
        if count < LEAST_WRONG:
            return
        if judged >= LEAST_CLIPS and count >= CONFUSED_SHARE * judged:
            fact = (
                f"{show_name(first)} and {show_name(second)} are confused ({count} of {judged} clips); listen to these"
            )
            listen = subject.command("doubtful", "--label", first, "--label", second, "--top", str(count))
            yield Advice(fact, listen, count / clip.clips)
            return


def _of_segments(found: LabelEvaluation, ranked: tuple[RecordingErrors, ...], subject: Subject) -> Iterator[Advice]:
    annotated = sum(one.reference_seconds for one in ranked)
    missed, false = sum(one.missed_seconds for one in ranked), sum(one.false_seconds for one in ranked)
    yield from _other_sensitivity(found, missed / annotated, false / annotated, subject)
    yield from _worst_recordings(found.label, ranked, subject)


def _other_sensitivity(found: LabelEvaluation, missed: float, false: float, subject: Subject) -> Iterator[Advice]:
    """If nearly all errors are of one kind, the operating point with fewer of them; without operating points, `tune`.
    missed, false: shares of the annotated time."""
    label = show_name(found.label)
    most, least, wanted = (missed, false, "sensitive") if missed > false else (false, missed, "precise")
    if most < LEAST_MISSED or most < ONE_SIDED * least:
        return
    kinds = ("missed", "falsely detected") if missed > false else ("falsely detected", "missed")
    amount = (
        f"{_share(most)} of the {label} is {kinds[0]}"
        if missed > false
        else f"{label} falsely detected amounts to {_share(most)} of what is annotated"
    )
    other = "nothing" if least < 0.005 else _share(least)
    fact = f"{amount}, {other} is {kinds[1]} ({count_noun(found.recordings, 'recording')})"
    if not found.points:
        yield Advice(fact, subject.command("tune", "--label", found.label), most - least)
        return
    point = found.points.get(wanted, {}).get("detection_error_rate")
    if point is not None and missed + false - point >= LEAST_POINT_GAIN:
        yield Advice(fact, subject.command("evaluate", "--sensitivity", wanted), missed + false - point)


def _worst_recordings(label: str, ranked: tuple[RecordingErrors, ...], subject: Subject) -> Iterator[Advice]:
    """The few recordings with most of the errors."""
    wrong, seconds = sum(one.wrong_seconds for one in ranked), sum(one.seconds for one in ranked)
    annotated = sum(one.reference_seconds for one in ranked)
    if wrong < LEAST_MISSED * annotated:
        return
    worst: list[RecordingErrors] = []
    for one in sorted(ranked, key=lambda one: -one.wrong_seconds)[:MOST_WORST]:
        worst.append(one)
        errors, time = (sum(x) for x in zip(*((w.wrong_seconds, w.seconds) for w in worst), strict=True))
        if time > WORST_TIME * seconds:
            return
        if errors >= WORST_ERROR_SHARE * wrong:
            names = ", ".join(show_name(each.filename) for each in worst)
            part = f"{_share(errors / wrong)} of the error time of {show_name(label)}"
            fact = f"{part} is in {len(worst)} of {count_noun(len(ranked), 'recording')} ({names})"
            command = subject.command("evaluate", "--by", "recording")
            yield Advice(fact, command, (errors - wrong * time / seconds) / annotated)
            return


def _right_share(clip: ClipEvaluation) -> float:
    known = [answer.right for answer in clip.answers if answer.right is not None]
    return sum(known) / len(known) if known else 1.0


def _share(value: float) -> str:
    return f"{100 * value:.0f} %"


def _use(evaluation: Evaluation | None, subject: Subject) -> Iterator[Advice]:
    """How to use the model, if there is nothing to improve."""
    if not subject.example:
        return
    clips = evaluation is None or evaluation.clip is not None
    fact = "no obvious problem; the model is ready to use"
    if evaluation is None:
        fact = "not tested; try it on a recording"
    elif evaluation.clip is not None and evaluation.clip.clips < LEAST_JUDGED:
        fact = f"only {count_noun(evaluation.clip.clips, 'clip')} judged, too few for advice; try the model"
    elif evaluation.clip is not None and (right := _right_share(evaluation.clip)) < GOOD_SHARE:
        fact = f"{_share(right)} of the answers are right; more clips of each label help most; labels that look wrong"
        yield Advice(fact, subject.command("doubtful"))
        return
    elif evaluation.errors and not any(map(is_enough, evaluation.errors.values())):
        ranked = max(evaluation.errors.values(), key=lambda found: sum(one.reference_seconds for one in found))
        annotated = clock(sum(one.reference_seconds for one in ranked))
        fact = (
            f"{count_noun(len(ranked), 'recording')} judged, {annotated} annotated: too few for advice; try the model"
        )
    name = "classify" if clips else "detect"
    yield Advice(fact, ("audiocnn", name, "--model", as_argument(subject.model), as_argument(subject.example)))
