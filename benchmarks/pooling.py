"""How often `classify` says of a whole recording what a person would, by the mean of scores and as a model pools them.

    python -m benchmarks.pooling -m speech_1d -m speech_2d -m commands
    python -m benchmarks.pooling -m speech_1d --release

Of a detector of speech, recordings of `dev` that `classify` calls speech: half-minutes of meetings; of the voices of
../shared/data and ../shared/more those in which `detect` finds some; and of those without speech, beside how many
`detect` marks. Of a model of whole clips: its clips of `dev` that are right, those without speech that get an answer,
and minutes of quiet noise, made, with one of its clips in each, and without one.

--release puts the pooling into a released model: chosen on what its recipe holds out from training, as a training does.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audiocnn.audio.recording import read_samples
from audiocnn.augment import effects
from audiocnn.augment.clips import ClipExamples
from audiocnn.data.ingest import IngestSettings, cached_dataset
from audiocnn.errors import AudiocnnError
from audiocnn.evaluation.annotated import engine_scorer, score_entries
from audiocnn.evaluation.save_thresholds import save_tuned
from audiocnn.evaluation.segments import JudgedRecording
from audiocnn.inference.classify import Classification, ClassifySettings, classify_many, classify_scored
from audiocnn.inference.detect import Detection, detect_many
from audiocnn.inference.engine import Engine, load_engine
from audiocnn.inference.scores import scoring
from audiocnn.labels.formats.text import read_table
from audiocnn.model.model import Model, find_model
from audiocnn.recipe.division import divide, learned_labels
from audiocnn.recipe.recipe import read_recipe
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
    parser.add_argument("--release", action="store_true", help="put the pooling into released models")
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
    count = detector_counts if LABEL in model.labels else clip_counts
    plain = replace(model, clip_pooling=None, label_pooling={})
    rows = {}
    for how, own in (("the mean", plain), ("as pooled", model)):
        with contextlib.closing(load_engine(own, "cpu")) as engine:
            rows[how] = dict(count(engine))
    print(f"| {name} | {' | '.join(rows)} |\n|---|{'---:|' * len(rows)}")
    for what in rows["the mean"]:
        print(f"| {what} | {' | '.join(own[what] for own in rows.values())} |", flush=True)
    print()


def detector_counts(engine: Engine) -> Iterator[tuple[str, str]]:
    meetings = files_of("data", "meetings")
    yield "meetings called speech", f"{sum(calls_speech(meetings, engine))} of {len(meetings)}"
    for folder in ("data", "more"):
        voices = files_of(folder, "speech")
        found, called = marks_speech(voices, engine), calls_speech(voices, engine)
        both = sum(one and other for one, other in zip(found, called, strict=True))
        yield f"voices of `{folder}` called speech, of those that `detect` finds", f"{both} of {sum(found)}"
    for folder in ("data", "more"):
        others = files_of(folder, "nonspeech")
        marked = sum(marks_speech(others, engine))
        what = f"of {len(others)} without speech of `{folder}` called speech (`detect` marks {marked})"
        yield what, str(sum(calls_speech(others, engine)))


def clip_counts(engine: Engine) -> Iterator[tuple[str, str]]:
    clips = clips_of(engine.model)
    said = answers(clips, engine)
    right = sum(label == path.parent.name for label, path in zip(said, clips, strict=True))
    yield "clips with the right answer", f"{right} of {len(clips)}"
    others = files_of("data", "nonspeech")
    yield (
        f"of {len(others)} without speech with an answer",
        str(sum(label is not None for label in answers(others, engine))),
    )
    made = [
        (label, *(answer_to(engine, samples) for samples in both))
        for label, *both in made_minutes(clips, engine.geometry.sample_rate)
    ]
    right, other = sum(a == b for a, b, _ in made), sum(b not in (a, None) for a, b, _ in made)
    yield f"{len(made)} minutes of noise with a clip", f"{right} right, {other} wrong"
    yield "the same without, that get an answer", str(sum(label is not None for *_, label in made))


def answer_to(engine: Engine, samples: NDArray[np.float32]) -> str | None:
    with scoring(samples, engine, "mix", sample_rate=engine.geometry.sample_rate) as scored:
        return classify_scored(scored, ClassifySettings()).label


def made_minutes(
    clips: Sequence[Path], sample_rate: int
) -> Iterator[tuple[str, NDArray[np.float32], NDArray[np.float32]]]:
    """Labels, with a minute of quiet noise that holds a clip of it, and the same without; always the same."""
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


def clips_of(model: Model) -> list[Path]:
    found = [path for kind in CLIP_KINDS for path in files_of("data", kind) if path.parent.name in model.labels]
    if not found:
        raise BenchmarkError(
            f"{model.name}: no label is speech, a word or a digit of ../shared/data; name another model"
        )
    return found


def answers(paths: Sequence[Path], engine: Engine) -> list[str | None]:
    return [one.label if isinstance(one, Classification) else None for one in classify_many(paths, engine)]


def calls_speech(paths: Sequence[Path], engine: Engine) -> list[bool]:
    return [
        isinstance(one, Classification) and LABEL in [answer.label for answer in one.labels]
        for one in classify_many(paths, engine)
    ]


def marks_speech(paths: Sequence[Path], engine: Engine) -> list[bool]:
    return [
        isinstance(one, Detection) and any(segment.label == LABEL for segment in one)
        for one in detect_many(paths, engine)
    ]


def release_pooling(model: Model) -> str:
    """Write it, and say what it is."""
    recipe = read_recipe(ROOT / f"data/recipes/{model.name}.toml")
    if recipe.data is None:
        raise BenchmarkError(f"{model.name}: its recipe has no [data]; name a released model")
    rate = model.geometry.sample_rate
    with tempfile.TemporaryDirectory(prefix="audiocnn-") as folder:
        dataset = cached_dataset(recipe.data, Path(folder) / "dataset", IngestSettings(sample_rate=rate))
        clips = not any(entry.annotated for entry in dataset.entries)
        recipe = recipe.with_defaults(clips)
        division = divide(dataset, recipe)
        if clips:
            learned = ClipExamples(dataset, division.train, learned_labels(dataset, recipe), recipe.mix, recipe.seed)
            pooled = replace(model, clip_pooling=learned_pooling(learned, model.geometry.near_seconds))
        else:
            held_out = dataset.with_entries(entry for entry in division.validation if entry.samples)
            with contextlib.closing(load_engine(model, "cpu")) as engine:
                scored = [one for _, one in score_entries(held_out, engine_scorer(engine))]
            pooled = with_label_pooling(model, [one for one in scored if isinstance(one, JudgedRecording)])
    save_tuned(pooled)
    return str(pooled.clip_pooling or pooled.label_pooling)


if __name__ == "__main__":
    sys.exit(main())
