"""How much a classifier detects in sound with none of its labels, and how well it still recognises its labels.

    python -m benchmarks.nothing -m digits -m commands
    python -m benchmarks.nothing --train 40 --seed 0 --seed 1 --seed 2

The first figure is the share of the time that `detect`, with default options, marks in ten minutes of recordings of the
`dev` part without speech, music or words; these are always the same. The others are for the clips of `dev` of the
model's kind (`commands` or `digits`): the accuracy of `classify`, where no answer counts as wrong, and the share of
clips whose `detect` segments have only the right label.

--train N makes a model with a plain `audiocnn train` of a folder with the six words of `commands`, N clips of `train`
per word, for each --seed. --plain also makes one without a background, for comparison.
"""

from __future__ import annotations

import argparse
import dataclasses
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from audiocnn.data.dataset import Dataset
from audiocnn.errors import AudiocnnError, RecordingError
from audiocnn.inference.classify import Classification, classify_many
from audiocnn.inference.detect import Detection, detect_many
from audiocnn.inference.engine import Engine, load_engine
from audiocnn.labels.formats.text import read_table
from audiocnn.model.model import Model, find_model
from audiocnn.recipe.recipe import read_recipe
from audiocnn.spec.spec import spec_from_table
from audiocnn.training.events import TrainReport
from audiocnn.training.train import train
from benchmarks.measuring import ROOT, BenchmarkError

DATA = ROOT.parent / "shared/data"
SECONDS = 600.0
KINDS = ("commands", "digits")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("-m", "--model", action="append", default=[], help="a model or a run; may be repeated")
    parser.add_argument("--train", type=int, help="train a model with N clips per word")
    parser.add_argument("--seed", type=int, action="append", default=[], help="seed of a training; may be repeated")
    parser.add_argument("--plain", action="store_true", help="also train one without a background")
    given = parser.parse_args(arguments)
    try:
        print("| model | marked of nothing, % | classify: right, % | detect: right label alone, % | a wrong one, % |")
        print("|---|---:|---:|---:|---:|", flush=True)
        for name in given.model or ([] if given.train else ["digits", "commands"]):
            report(name, load_engine(find_model(name), "cpu"))
        for seed in given.seed or [0]:
            if given.train:
                for name, engine in trained(given.train, seed, given.plain):
                    report(f"{name}, seed {seed}", engine)
    except AudiocnnError as problem:
        print(f"nothing: {problem}", file=sys.stderr)
        return 2
    return 0


def report(name: str, engine: Engine) -> None:
    paths, labels = clips_of(engine.model.labels)
    nothing = [found for found in detect_many(list(quiet_clips()), engine) if not isinstance(found, RecordingError)]
    cells = [marked_share(nothing), *right_shares(paths, labels, engine)]
    print(f"| {name} | {' | '.join(f'{100 * cell:.1f}' for cell in cells)} |", flush=True)


def quiet_clips() -> Iterator[Path]:
    """Recordings of `dev` without speech, in random order, until they are long enough."""
    rows = [row for row in recordings() if row["kind"] == "nonspeech" and row["split"] == "dev"]
    seconds = 0.0
    for place in np.random.default_rng(0).permutation(len(rows)):
        if seconds >= SECONDS:
            return
        seconds += float(rows[place]["duration"])
        yield DATA / rows[place]["filename"]


def recordings() -> list[dict[str, str]]:
    return [dict(row) for _, row in read_table(DATA / "recordings.tsv").rows]


def clips_of(labels: Sequence[str]) -> tuple[list[Path], list[str]]:
    """The clips of `dev` with these labels, and their labels."""
    names = [row["filename"] for row in recordings() if row["kind"] in KINDS and row["split"] == "dev"]
    paths = [DATA / name for name in names if Path(name).parent.name in labels]
    if not paths:
        raise BenchmarkError(f"no clip of `dev` is labelled {', '.join(labels)}; name a model of {' or '.join(KINDS)}")
    return paths, [path.parent.name for path in paths]


def marked_share(found: Sequence[Detection]) -> float:
    marked = sum(segment.end - segment.start for one in found for segment in one)
    return marked / sum(one.duration_seconds for one in found)


def right_shares(paths: Sequence[Path], labels: Sequence[str], engine: Engine) -> tuple[float, float, float]:
    """Shares of clips whose answer is right, whose segments all have the right label, and with a wrong segment."""
    answers = [one.label if isinstance(one, Classification) else None for one in classify_many(paths, engine)]
    detections = detect_many(paths, engine)
    found = [{segment.label for segment in one} if isinstance(one, Detection) else set() for one in detections]
    count = len(labels)
    return (
        sum(answer == label for answer, label in zip(answers, labels, strict=True)) / count,
        sum(own == {label} for own, label in zip(found, labels, strict=True)) / count,
        sum(bool(own - {label}) for own, label in zip(found, labels, strict=True)) / count,
    )


def trained(clips: int, seed: int, plain: bool) -> Iterator[tuple[str, Engine]]:
    """Models of a folder of words, trained as a user would."""
    with folder_of_words(clips) as folder:
        run = folder / "run"
        options = ["-o", str(run), "--seed", str(seed), "--device", "cpu", "--quiet"]
        command = [sys.executable, "-m", "audiocnn_cli", "train", str(folder / "words"), *options]
        if subprocess.run(command, check=False).returncode:
            raise BenchmarkError(f"{clips} clips a word: the training ended with an error")
        yield f"{clips} clips a word", load_engine(find_model(str(run)), "cpu")
        if plain:
            yield f"{clips} clips a word, without", load_engine(train_plain(run, folder / "plain"), "cpu")


@contextmanager
def folder_of_words(clips: int) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="audiocnn-") as scratch:
        folder, counts = Path(scratch), dict[str, int]()
        for row in recordings():
            name = Path(row["filename"])
            word = name.parent.name
            if row["kind"] == "commands" and row["split"] == "train" and counts.get(word, 0) < clips:
                counts[word] = counts.get(word, 0) + 1
                (folder / "words" / word).mkdir(parents=True, exist_ok=True)
                (folder / "words" / word / name.name).symlink_to(DATA / name)
        yield folder


def train_plain(run: Path, output: Path) -> Model:
    """The model of the recipe of a run, with a plain softmax and without a background."""
    recipe = read_recipe(run / "recipe.toml")
    table = {key: value for key, value in recipe.spec.table["f"].items() if key != "background"}
    spec = spec_from_table(recipe.spec.table | {"f": table}, recipe.spec.name)
    mix = dataclasses.replace(recipe.mix, nothing_share=0.0)
    dataset = Dataset.open(f"{run}.dataset")
    reports = list(train(dataclasses.replace(recipe, spec=spec, mix=mix), dataset, output, device="cpu"))
    assert isinstance(reports[-1], TrainReport)
    return reports[-1].model


if __name__ == "__main__":
    sys.exit(main())
