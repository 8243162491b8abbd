"""What to do next: made-up figures that trigger each rule, and no other; and what chance could have made."""

from __future__ import annotations

import math
import shlex

import numpy as np
import pytest

from audiocnn.errors import as_argument, format_command
from audiocnn.evaluation import advice
from audiocnn.evaluation.advice import MOST_ADVICE, Advice, Subject, advise
from audiocnn.evaluation.clips import ScoredClip, evaluate_clips
from audiocnn.evaluation.results import Evaluation, EvaluationSettings, LabelEvaluation, RecordingErrors
from audiocnn.segments.finder import SegmentRule

LABELS = ("cat", "dog", "owl")
SETTINGS = EvaluationSettings(resamples=0)
SUBJECT = Subject(
    "runs/x", "sounds", ("--split", "test"), retrain=("audiocnn", "train", "sounds"), example="sounds/a.wav"
)


def clips(*wrong, each=20, several=False):
    """`each` clips of each label, right but for (label, answer, how many, score of the answer)."""
    left = dict.fromkeys(LABELS, each)
    rows = []
    for label, answer, count, score in wrong:
        rows += [(label, answer, score)] * count
        left[label] -= count
    rows += [(label, label, 0.9) for label, count in left.items() for _ in range(count)]
    found = []
    for number, (label, answer, score) in enumerate(rows):
        scores = np.full(len(LABELS), (1.0 - score) / (len(LABELS) - 1))
        scores[LABELS.index(answer)] = score
        if label != answer and score < 0.6:  # unsure between the two
            scores[LABELS.index(label)] = 1.0 - score - 0.01
            scores[[k for k, one in enumerate(LABELS) if one not in (label, answer)]] = 0.01
        found.append(ScoredClip(f"{label}/{number}.wav", scores, label))
    mode = "several" if several else "one"
    return Evaluation(SETTINGS, clip=evaluate_clips(found, LABELS, dict.fromkeys(LABELS, 0.5), SETTINGS, mode))


def segments(*recordings, points=None):
    """(seconds, annotated, missed, false) of each recording; points: detection error at each operating point."""
    errors = tuple(RecordingErrors(f"m{number}.wav", *each) for number, each in enumerate(recordings))
    own = {name: {"detection_error_rate": rate} for name, rate in (points or {}).items()}
    reference, seconds = sum(one.reference_seconds for one in errors), sum(one.seconds for one in errors)
    label = LabelEvaluation("speech", len(errors), seconds, reference, SegmentRule(), {}, points=own)
    return Evaluation(SETTINGS, {"speech": label}, errors={"speech": errors})


SURE, UNSURE = 0.98, 0.52
POINTS = {"balanced": 0.4, "sensitive": 0.1, "precise": 0.1}
EVEN = [(60.0, 30.0)] * 8
# What each set of figures must lead to: words of the fact, and the command.
RULES = {
    "labels look wrong": (
        clips(("cat", "dog", 4, SURE), ("dog", "owl", 4, SURE), ("owl", "cat", 4, SURE)),
        SUBJECT,
        ["12 labels of 60 clips look wrong"],
        "audiocnn doubtful sounds --model runs/x --split test --top 12",
    ),
    "confused": (
        clips(("cat", "dog", 6, UNSURE), ("dog", "cat", 3, UNSURE)),
        SUBJECT,
        ["cat and dog are confused", "9 of 40 clips"],
        "audiocnn doubtful sounds --model runs/x --split test --label cat --label dog --top 9",
    ),
    "too few clips": (
        clips(("owl", "dog", 2, UNSURE)),
        Subject("runs/x", "sounds", clips={"cat": 200, "dog": 200, "owl": 9}, retrain=("audiocnn", "train", "s")),
        ["owl has few clips", "9", "2 of 20 wrong"],
        "audiocnn train s",
    ),
    "missed": (
        segments(*((*each, 10.0, 0.0) for each in EVEN), points=POINTS),
        SUBJECT,
        ["33 % of the speech is missed", "nothing is false", "8 recordings"],
        "audiocnn evaluate sounds --model runs/x --split test --sensitivity sensitive",
    ),
    "false": (
        segments(*((*each, 0.0, 9.0) for each in EVEN), points=POINTS),
        SUBJECT,
        ["30 %", "falsely", "nothing is missed"],
        "audiocnn evaluate sounds --model runs/x --split test --sensitivity precise",
    ),
    "no operating points": (
        segments(*((*each, 10.0, 0.0) for each in EVEN)),
        SUBJECT,
        ["33 % of the speech is missed"],
        "audiocnn tune sounds --model runs/x --split test --label speech",
    ),
    "worst recordings": (
        segments(*((*each, 0.5, 0.5) for each in EVEN[1:]), (60.0, 30.0, 14.0, 14.0), points=POINTS),
        SUBJECT,
        ["80 % of the error time of speech", "1 of 8 recordings", "m7.wav"],
        "audiocnn evaluate sounds --model runs/x --split test --by recording",
    ),
    "fine clips": (clips(), SUBJECT, ["ready to use"], "audiocnn classify --model runs/x sounds/a.wav"),
    "fine segments": (
        segments(*((*each, 0.2, 0.2) for each in EVEN), points=POINTS),
        SUBJECT,
        ["ready to use"],
        "audiocnn detect --model runs/x sounds/a.wav",
    ),
    "not tested": (None, SUBJECT, ["not tested"], "audiocnn classify --model runs/x sounds/a.wav"),
}


@pytest.mark.parametrize("name", RULES)
def test_each_rule_speaks_alone_where_its_figures_are(name):
    evaluation, subject, words, command = RULES[name]
    (found,) = advise(evaluation, subject)
    assert found.command_line == command
    assert all(word in found.fact for word in words), found.fact
    assert found.line == f"{found.fact}: {command}"
    assert found.to_dict() == {"fact": found.fact, "command": command}


@pytest.mark.parametrize(
    ("evaluation", "said"),
    [
        (clips(("cat", "dog", 2, UNSURE)), "ready to use"),  # two alike are chance
        (clips(("cat", "dog", 3, UNSURE), each=40), "ready to use"),  # 3 of 80: any model has that
        (clips(("cat", "dog", 2, SURE)), "ready to use"),
        (clips(("cat", "dog", 3, UNSURE), each=6), "18 clips judged, too few"),
        (clips(("cat", "dog", 14, SURE), ("dog", "owl", 14, SURE), ("owl", "cat", 14, SURE)), "confused"),  # weak model
        (segments(*([(60.0, 30.0, 10.0, 0.0)] * 3), points=POINTS), "3 recordings judged, 1:30 annotated: too few"),
        (segments(*([(6.0, 3.0, 1.0, 0.0)] * 5), points=POINTS), "5 recordings judged, 15.0 s annotated: too few"),
        (segments(*([(60.0, 30.0, 10.0, 0.0)] * 8), points={"sensitive": 0.32}), "ready to use"),  # gains nothing
        (segments(*([(60.0, 30.0, 10.0, 8.0)] * 8), points=POINTS), "ready to use"),  # no matter of the threshold
        (segments(*([(60.0, 30.0, 5.0, 5.0)] * 2), points=POINTS), "2 recordings judged"),
    ],
)
def test_nothing_is_said_that_chance_could_have_made(evaluation, said):
    found = advise(evaluation, SUBJECT)
    assert said in found[0].fact, found
    assert len(found) == 1


def test_what_gains_most_comes_first_and_three_are_enough():
    wrong = clips(("cat", "dog", 8, UNSURE), ("dog", "owl", 4, SURE), ("owl", "cat", 1, UNSURE))
    subject = Subject("m", "d", clips={"owl": 5, "cat": 300, "dog": 300}, retrain=("audiocnn", "train", "d"))
    found = advise(wrong, subject)
    assert [one.command[1] for one in found] == ["doubtful", "doubtful", "train"]
    assert [one.gain for one in found] == sorted((one.gain for one in found), reverse=True)
    assert "confused" in found[0].fact
    both = Evaluation(SETTINGS, {}, clip=wrong.clip)
    worst = segments(*([(60.0, 30.0, 0.5, 0.0)] * 7), (60.0, 30.0, 29.0, 0.0), points=POINTS)
    both = Evaluation(SETTINGS, worst.labels, clip=wrong.clip, errors=worst.errors)
    assert len(advise(both, subject)) == MOST_ADVICE


def test_of_several_labels_a_clip_those_that_look_wrong_are_named():
    found = advise(clips(("cat", "dog", 5, SURE), several=True), SUBJECT)
    assert "5 labels of 60 clips look wrong" in found[0].fact


def test_without_a_recording_to_try_nothing_is_made_up():
    assert advise(clips(), Subject("m", "d")) == []
    assert advise(None, Subject("m", "d")) == []


def test_names_that_the_model_does_not_know_are_no_advice():
    found = [ScoredClip(f"{k}.wav", np.array([0.9, 0.05, 0.05]), "cow") for k in range(30)]
    clip = evaluate_clips(found, LABELS, dict.fromkeys(LABELS, 0.5), SETTINGS)
    assert [one.command[1] for one in advise(Evaluation(SETTINGS, clip=clip), SUBJECT)] == ["classify"]


@pytest.mark.parametrize(
    "name", ["my sounds", "it's", 'a "b"', "$HOME", "-x", "ä ö", "new\nline", "tab\there", "a;b&c"]
)
def test_commands_can_be_pasted_whatever_the_names(name):
    import subprocess

    line = Advice("", Subject(name, name).command("evaluate")).command_line
    assert line.isprintable()
    code = 'import os, sys; sys.stdout.buffer.write(b"\\0".join(map(os.fsencode, sys.argv[1:])))'
    shell = f'audiocnn() {{ python3 -c {shlex.quote(code)} "$@"; }}; {line}'
    done = subprocess.run(["bash", "-c", shell], capture_output=True, check=True, timeout=60)
    assert done.stdout.decode().split("\0") == ["evaluate", as_argument(name), "--model", as_argument(name)]


def test_a_name_of_bytes_that_are_no_text_is_pasted_as_them():
    assert format_command(["a", "b\udcff"]) == "a $'b\\xff'"


def test_the_bounds_say_how_sure_a_rule_is():
    """Three in ten wrong where one in twenty is usual: chance makes that in less than one of twenty draws."""
    usual, least = 0.05, advice.LEAST_WRONG
    chance = 1.0 - sum(
        math.comb(advice.LEAST_CLIPS, k) * usual**k * (1 - usual) ** (advice.LEAST_CLIPS - k) for k in range(least)
    )
    assert chance < 0.05


def test_a_label_that_is_hardly_recognised_is_named():
    """Four of seven, two for each of the others: too few for a pair of labels, enough to say so."""
    first, *_ = advise(clips(("cat", "dog", 2, UNSURE), ("cat", "owl", 2, UNSURE), each=7), SUBJECT)
    assert "3 of 7 clips of cat" in first.fact and first.command[-2:] == ("--label", "cat")


def test_a_model_that_is_often_wrong_is_not_called_ready():
    wrong = [("cat", "dog", 2, UNSURE), ("dog", "owl", 2, UNSURE), ("owl", "cat", 1, UNSURE)]
    (only,) = advise(clips(*wrong, each=10), SUBJECT)
    assert "83 % of the answers are right" in only.fact and "ready" not in only.fact
