"""Accuracy of `classify` on whole recordings, with the mean of the scores and with the pooling of the model.

    python -m benchmarks.pooling -m speech_1d -m speech_2d -m commands
    python -m benchmarks.pooling -m speech_1d --release

For a speech detector, the table counts recordings of `dev` that `classify` labels as speech: half-minutes of meetings
and voices in which `detect` finds speech, and recordings without speech, beside the number of these that `detect`
marks. For a model of whole clips, it counts its clips of `dev` that are right, recordings without speech that get an
answer, and minutes of synthetic quiet noise with and without one of its clips.

--release writes the pooling into a released model. It is chosen on the recordings that the recipe holds out, as in a
training.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from audiocnn.audio.recording import read_samples
from audiocnn.augment import effects
from audiocnn.data.dataset import Entry
from audiocnn.data.ingest import IngestSettings, cached_dataset
from audiocnn.data.sources import read_source
from audiocnn.data.sources.settings import DataSettings
from audiocnn.data.splits import hold_out_groups
from audiocnn.errors import AudiocnnError
from audiocnn.evaluation.annotated import Scorer, engine_scorer, score_entries
from audiocnn.evaluation.save_thresholds import save_tuned
from audiocnn.evaluation.segments import JudgedRecording, detect_intervals
from audiocnn.inference.classify import AnswerRule, ClassifySettings
from audiocnn.inference.engine import load_engine
from audiocnn.inference.pooling import ScorePool, clip_scores, pool_of
from audiocnn.labels.formats.text import read_table
from audiocnn.model.model import Model, find_model
from audiocnn.recipe.recipe import Recipe, read_recipe
from audiocnn.training.pooling import learned_pooling
from audiocnn.training.release import with_label_pooling
from benchmarks.measuring import ROOT, BenchmarkError

SHARED, LABEL = ROOT.parent / "shared", "speech"
CLIP_KINDS = ("commands", "digits")
MINUTES, MINUTE_SECONDS = 60, 60.0
NOISE_DB, TILT = -50.0, 1.0  # of full scale; pink


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("-m", "--model", action="append", required=True, help="a model or a run; may be repeated")
    parser.add_argument("--release", action="store_true", help="write the pooling into released models")
    given = parser.parse_args(arguments)
    try:
        for name in given.model:
            if given.release:
                print(f"{name}: {release_pooling(find_model(name))}", flush=True)
            else:
                print_figures(name, find_model(name))
    except AudiocnnError as problem:
        print(f"pooling: {problem}", file=sys.stderr)
        return 2
    return 0


def print_figures(name: str, model: Model) -> None:
    """A table of counts, with the mean and with the pooling of the model."""
    models = {"the mean": replace(model, clip_pooling=None, label_pooling={}), "as pooled": model}
    readers = [Reader(pool_of(own), ClassifySettings().rule(own)) for own in models.values()]
    print(f"| {name} | {' | '.join(models)} |\n|---|{'---:|' * len(models)}")
    with contextlib.closing(load_engine(model, "cpu")) as engine:
        scorer = engine_scorer(engine)
        for what, cells in detector_rows(scorer, readers) if LABEL in model.labels else clip_rows(scorer, readers):
            print(f"| {what} | {' | '.join(map(str, cells))} |", flush=True)
    print()


class Reader(NamedTuple):
    """Turns the scores of a recording into its labels."""

    pool: Callable[[], ScorePool]
    rule: AnswerRule

    def labels(self, scores: NDArray[np.float32]) -> list[str]:
        return [answer.label for answer in self.rule.reached(clip_scores([scores], self.pool))]


Row = tuple[str, Sequence[object]]


def detector_rows(scorer: Scorer, readers: Sequence[Reader]) -> Iterator[Row]:
    for folder, kind in (("data", "meetings"), ("data", "speech"), ("more", "speech")):
        scored = [scored_file(path, scorer) for path in files_of(folder, kind)]
        found = [scores for scores, marked in scored if marked]
        counts = [sum(LABEL in reader.labels(scores) for scores in found) for reader in readers]
        yield f"{kind} of `{folder}`: of {len(found)} in which `detect` finds speech, called speech", counts
    for folder in ("data", "more"):
        scored = [scored_file(path, scorer) for path in files_of(folder, "nonspeech")]
        what = (
            f"no speech, of `{folder}`: of {len(scored)}, of which `detect` marks {sum(marked for _, marked in scored)}"
        )
        yield f"{what}, called speech", [sum(LABEL in reader.labels(own) for own, _ in scored) for reader in readers]


def clip_rows(scorer: Scorer, readers: Sequence[Reader]) -> Iterator[Row]:
    clips = [path for kind in CLIP_KINDS for path in files_of("data", kind) if path.parent.name in scorer.labels]
    if not clips:
        raise BenchmarkError("no label is speech, a word or a digit of ../shared/data; name another model")
    scored = [(path.parent.name, scored_file(path, scorer)[0]) for path in clips]
    yield f"of {len(clips)} clips right", [sum([label] == one.labels(own) for label, own in scored) for one in readers]
    others = [scored_file(path, scorer)[0] for path in files_of("data", "nonspeech")]
    yield (
        f"of {len(others)} without speech with an answer",
        [sum(bool(one.labels(x)) for x in others) for one in readers],
    )
    made = [
        (label, scorer.score(both[None]), scorer.score(noise[None]))
        for label, both, noise in made_minutes(clips, scorer.sample_rate)
    ]
    right = [sum([label] == one.labels(both) for label, both, _ in made) for one in readers]
    wrong = [sum(one.labels(both) not in ([label], []) for label, both, _ in made) for one in readers]
    yield f"of {len(made)} minutes of noise with one clip, right", right
    yield "wrong", wrong
    yield "of the same without, with an answer", [sum(bool(one.labels(own)) for *_, own in made) for one in readers]


def scored_file(path: Path, scorer: Scorer) -> tuple[NDArray[np.float32], bool]:
    """The scores of a file (rows, labels), and whether `detect` finds speech in it."""
    samples, _ = read_samples(path, scorer.sample_rate)
    scores = scorer.score(samples)
    if LABEL not in scorer.labels:
        return scores, False
    column = list(scorer.labels).index(LABEL)
    seconds = samples.shape[1] / scorer.sample_rate
    one = JudgedRecording(path.name, scores[:, column], scorer.hop_seconds, seconds, [], find=scorer.find)
    return scores, len(detect_intervals(one, LABEL, scorer.rules[LABEL])) > 0


def made_minutes(
    clips: Sequence[Path], sample_rate: int
) -> Iterator[tuple[str, NDArray[np.float32], NDArray[np.float32]]]:
    """Labels, each with a minute of quiet noise that contains one of its clips, and without; always the same."""
    random = np.random.default_rng(0)
    size = round(MINUTE_SECONDS * sample_rate)
    for number in random.choice(len(clips), min(MINUTES, len(clips)), replace=False):
        samples, _ = read_samples(clips[number], sample_rate)
        noise = effects.draw_noise(random, size, TILT)
        noise = (noise / noise.std() * effects.db_to_amplitude(NOISE_DB)).astype(np.float32)
        start = int(random.integers(size - samples.shape[1]))
        both = noise.copy()
        both[start : start + samples.shape[1]] += samples.mean(axis=0)
        yield clips[number].parent.name, both, noise


def files_of(folder: str, kind: str) -> list[Path]:
    """The recordings of `dev` of a kind."""
    rows = [dict(row) for _, row in read_table(SHARED / folder / "recordings.tsv").rows]
    found = [row["filename"] for row in rows if row["kind"] == kind and row["split"] == "dev"]
    return [SHARED / folder / name for name in found]


def release_pooling(model: Model) -> str:
    """Write the pooling, and return its description."""
    recipe = read_recipe(ROOT / f"data/recipes/{model.name}.toml")
    if recipe.data is None:
        raise BenchmarkError(f"{model.name}: its recipe has no [data]; name a released model")
    if model.answer == "one":
        items = [item for item in read_source(recipe.data).items if item.label in model.labels]
        read = [read_samples(Path(str(item.path)), model.geometry.sample_rate)[0] for item in items]
        seconds = [samples.shape[1] / model.geometry.sample_rate for samples in read]
        pooled = replace(model, clip_pooling=learned_pooling(seconds, model.geometry.near_seconds))
    else:
        with tempfile.TemporaryDirectory(prefix="audiocnn-") as folder:
            settings = IngestSettings(sample_rate=model.geometry.sample_rate)
            dataset = cached_dataset(held_out_of(recipe, recipe.data), Path(folder) / "dataset", settings)
            sounding = dataset.with_entries(entry for entry in dataset.entries if entry.samples)
            with contextlib.closing(load_engine(model, "cpu")) as engine:
                scored = [one for _, one in score_entries(sounding, engine_scorer(engine))]
        pooled = with_label_pooling(model, [one for one in scored if isinstance(one, JudgedRecording)])
    save_tuned(pooled)
    return str(pooled.clip_pooling or pooled.label_pooling)


def held_out_of(recipe: Recipe, data: DataSettings) -> DataSettings:
    """Only the recordings that a training with a recipe holds out (`divide`); the others are not read."""
    parts = [replace(part, more=()) for part in (data, *data.more)]
    items = [(number, item) for number, part in enumerate(parts) for item in read_source(part).items]
    entries = [
        Entry(number, item.filename, 1, None, True, item.group or item.filename, item.split, item.tags)
        for number, (_, item) in enumerate(items)
    ]
    stratum = recipe.mix.balance
    _, held_out = hold_out_groups(
        entries, recipe.train.validation_share, lambda entry: entry.tags.get(stratum, ""), bool(stratum)
    )
    groups: list[set[str]] = [set() for _ in parts]
    for entry in held_out:
        groups[items[entry.id][0]].add(entry.group)
    first, *more = [
        replace(part, keep={**part.keep, part.group: tuple(sorted(own))})
        for part, own in zip(parts, groups, strict=True)
    ]
    return replace(first, more=tuple(more))


if __name__ == "__main__":
    sys.exit(main())
