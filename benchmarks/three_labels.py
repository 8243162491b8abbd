"""Evaluates a model of speech, music and noise on whole recordings of `dev`, with the labels of its recipe.

    python -m benchmarks.three_labels -m speech_music_noise -m runs/speech_music_noise

Each recording is classified as by `audiocnn classify` with default options; those with labelled speech are voices.
Prints a Markdown table with the number of recordings and the share classified correctly, for each label and source, and
with --wrong the names of the others.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from audiocnn.data.sources import read_source
from audiocnn.data.sources.settings import DataSettings
from audiocnn.data.writer import Item
from audiocnn.errors import AudiocnnError
from audiocnn.inference.classify import Classification, classify_many
from audiocnn.inference.engine import load_engine
from audiocnn.model.model import find_model
from audiocnn.recipe.recipe import read_recipe
from benchmarks.measuring import ROOT

RECIPE = ROOT / "data/recipes/speech_music_noise.toml"
VOICE, PART = "speech", "dev"


class Sorted(NamedTuple):
    """A recording, its true label, folder and source."""

    path: Path
    label: str
    folder: str
    source: str


class Answer(NamedTuple):
    """The answer for a recording, and the scores by label."""

    asked: Sorted
    said: str
    scores: dict[str, float]

    @property
    def right(self) -> bool:
        return self.said == self.asked.label


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("-m", "--model", action="append", default=[], help="a model or a run; may be repeated")
    parser.add_argument("--wrong", action="store_true", help="name the recordings that get another label")
    given = parser.parse_args(arguments)
    try:
        recordings = list(sorted_recordings())
        print("| model | label | source | recordings | right |")
        print("|---|---|---|---:|---:|")
        for name in given.model or ["speech_music_noise"]:
            answers = list(answers_of(name, recordings))
            for row in rows_of(answers):
                print(f"| {name} | {' | '.join(row)} |", flush=True)
            for answer in answers if given.wrong else ():
                if not answer.right:
                    scores = ", ".join(f"{label} {score:.2f}" for label, score in answer.scores.items())
                    print(f"{answer.asked.label} called {answer.said} ({scores}): {answer.asked.path}")
    except AudiocnnError as problem:
        print(f"three labels: {problem}", file=sys.stderr)
        return 2
    return 0


def sorted_recordings(recipe: Path = RECIPE) -> Iterator[Sorted]:
    """The recordings of `dev` in each source of the recipe, with its labels."""
    data = read_recipe(recipe).data
    assert data is not None
    for own in (data, *data.more):
        for item in read_source(of_part(own)).items:
            if label := label_of(item):
                yield Sorted(Path(str(item.path)), label, own.source.name, item.tags["source"])


def of_part(settings: DataSettings) -> DataSettings:
    return dataclasses.replace(settings, split=PART, more=())


def label_of(item: Item) -> str | None:
    """The label of the whole recording, otherwise `speech` if it contains labelled speech."""
    return item.whole or (VOICE if any(note.label == VOICE for note in item.annotations) else None)


def answers_of(name: str, recordings: Sequence[Sorted]) -> Iterator[Answer]:
    with contextlib.closing(load_engine(find_model(name), "cpu")) as engine:
        answers = classify_many([one.path for one in recordings], engine)
        for one, answer in zip(recordings, answers, strict=True):
            if not isinstance(answer, Classification):
                raise answer
            scores = dict(zip(engine.model.labels, map(float, answer.clips[0].scores), strict=True))
            yield Answer(one, max(scores, key=lambda label: scores[label]), scores)


def rows_of(answers: Sequence[Answer]) -> Iterator[list[str]]:
    """Label, source, recordings, right: for each label in each folder, then for each source of it."""
    for part in ("folder", "source"):
        keys = [(one.asked.label, getattr(one.asked, part)) for one in answers]
        right = Counter(key for key, one in zip(keys, answers, strict=True) if one.right)
        for key, count in sorted(Counter(keys).items()):
            share = f"{right[key]} = {100 * right[key] / count:.1f} %"
            yield [key[0], f"all of `{key[1]}`" if part == "folder" else key[1], str(count), share]


if __name__ == "__main__":
    sys.exit(main())
