"""Compares an epoch from features stored in a dataset with one from its samples, in one process on one thread.

python -m benchmarks.stored_features [--data FOLDER] [--spec SPEC ...] [--clips 128] [--runs 3]
                                    [--table docs/background/performance.md]

Clips are ingested with `--features` of each network. A recipe without mixing is then trained from samples and from
features, with epochs in turn. Seconds are CPU time (all threads, including held-out clips and checkpoints), so other
processes do not matter. A ratio compares two successive epochs, and the table shows medians. `front end` is the share
of the spectrogram in an epoch from samples, the most that can be saved.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from audiocnn.augment.settings import CLIP_MIX, SAMPLE_CHANGES, MixSettings
from audiocnn.data.dataset import Dataset
from audiocnn.data.ingest import IngestSettings, cached_dataset
from audiocnn.errors import AudiocnnError, UsageError
from audiocnn.model.model import spec_folders
from audiocnn.recipe.recipe import EvaluateSettings, Recipe
from audiocnn.recipe.settings import CLIP_TRAIN, TrainSettings
from audiocnn.spec.spec import Spec, find_spec
from audiocnn.training.batches import make_training_set
from audiocnn.training.events import EpochReport
from audiocnn.training.features import StoredClips
from audiocnn.training.trainer import Trainer
from benchmarks.detect import machine
from benchmarks.measuring import ROOT, usable_cores
from benchmarks.pages import around_table, put_table

SMALL = "benchmarks/specs/small_clips.toml"
SPECS = (SMALL, "conv_cqt", "conv_a_2d", "bc_resnet_1", "sound_2d", "speech_2d", "resnet18")
HEAD = ("network", "features", "samples, s", "features, s", "ratio", "front end", "samples, MB", "features, MB")
SECONDS = 1.0  # seconds of an example
WAYS = ("samples", "features")
Figures = dict[str, float]


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def plain_recipe(spec: Spec, runs: int) -> Recipe:
    """Clips with gain, masks and an equaliser: no augmentation that needs samples."""
    mix = replace(MixSettings(), **CLIP_MIX | SAMPLE_CHANGES, float_share=1.0, seconds=SECONDS)
    train = replace(TrainSettings(), **CLIP_TRAIN | {"patience": 10**6}, epochs=runs + 1, batch_size=16, workers=0)
    return Recipe(spec.name, spec, None, mix, train, EvaluateSettings(test_share=0.0), seed=1)


def without_features(dataset: Dataset) -> Dataset:
    plain = dataset.with_entries(dataset.entries)
    plain.layout = plain.feature_name = None
    return plain


def run_epoch(reports: Iterator[Any]) -> float:
    """Train until the next epoch has ended; returns the CPU time."""
    begin = time.process_time()
    next(report for report in reports if isinstance(report, EpochReport))
    return time.process_time() - begin


class TimedFeatures:
    """`Trainer.features`, with the time that it takes."""

    def __init__(self, trainer: Trainer) -> None:
        self.features, self.seconds = trainer.features, 0.0

    def __call__(self, samples: torch.Tensor) -> torch.Tensor:
        begin = time.thread_time()
        values = self.features(samples)
        self.seconds += time.thread_time() - begin
        return values


def run_spec(spec: Spec, data: Path, folder: Path, options: argparse.Namespace) -> list[Figures]:
    """Epochs of both kinds in turn, after one that does not count. folder: for runs and datasets, whose samples are
    shared by all networks with the same sample rate."""
    settings = IngestSettings(sample_rate=spec.input.sample_rate, features=spec)
    whole = cached_dataset(data, folder / f"{spec.input.sample_rate}", settings)
    sizes = {way: sum(path.stat().st_size for path in whole.folder.glob(f"{way}-*")) / 1e6 for way in WAYS}
    dataset = whole.with_entries(whole.entries[:: max(1, len(whole.entries) // options.clips)])
    recipe, trainers = plain_recipe(spec, options.runs), []
    for way, one in zip(WAYS, (without_features(dataset), dataset), strict=True):
        training_set = make_training_set(recipe, one)
        trainers.append(Trainer(recipe, training_set, folder / f"{spec.name}-{way}", "cpu"))
    assert isinstance(training_set.source, StoredClips), training_set.features
    trainers[0].features = timed = TimedFeatures(trainers[0])  # type: ignore[method-assign]
    reports = [trainer.epochs() for trainer in trainers]
    found: list[Figures] = []
    for number in range(options.runs + 1):
        timed.seconds = 0.0
        seconds = dict(zip(WAYS, map(run_epoch, reports), strict=True))
        figures = seconds | {"front_end": timed.seconds / seconds["samples"]}
        figures |= {f"{way}_megabytes": size for way, size in sizes.items()}
        if number:
            found.append(figures)
            say(f"  {spec.name}: samples {seconds['samples']:.2f} s, features {seconds['features']:.2f} s")
    return found


def row_of(spec: Spec, runs: Sequence[Figures]) -> list[str]:
    """The row of a network: medians over the runs."""

    def median(value: Callable[[Figures], float]) -> float:
        return statistics.median(map(value, runs))

    return [
        f"`{spec.name}`",
        f"{spec.input.features}, {spec.input.bands} bands",
        f"{median(lambda run: run['samples']):.2f}",
        f"{median(lambda run: run['features']):.2f}",
        f"{median(lambda run: run['samples'] / run['features']):.2f}",
        f"{median(lambda run: run['front_end']):.0%}",
        f"{runs[0]['samples_megabytes']:.0f}",
        f"{runs[0]['features_megabytes']:.0f}",
    ]


def to_markdown(rows: Sequence[Sequence[str]], data: str, clips: int, runs: int) -> str:
    """The table, and the machine it was measured on."""
    lines = [HEAD, ("---", "---", *["---:"] * (len(HEAD) - 2)), *rows]
    table = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
    how = f"{runs} epochs of each, of some {clips} clips of `{data}`, one thread, {machine(usable_cores())}"
    return f"{table}\n\n{how}.\n"


def options_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command line."""
    summary = (__doc__ or "").split("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stored_features", description=summary)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data/commands", metavar="FOLDER")
    parser.add_argument("--spec", action="append", metavar="SPEC", help=f"default: {', '.join(SPECS)}")
    parser.add_argument("--clips", type=int, default=128, help="number of clips, approximately; default 128")
    parser.add_argument("--runs", type=int, default=3, help="epochs of each that count; default 3")
    parser.add_argument("--table", type=Path, metavar="PAGE", help="write the table into this page")
    options = parser.parse_args(arguments)
    if options.runs < 1 or options.clips < 1:
        raise UsageError("--runs and --clips must be at least 1")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, and write the page."""
    torch.set_num_threads(1)
    try:
        options = options_of(arguments)
        if options.table:
            around_table(options.table, "stored features")  # fail before any work
        done: dict[str, list[Figures]] = {}
        rows: list[list[str]] = []
        with tempfile.TemporaryDirectory(prefix="audiocnn-") as scratch:
            for name in options.spec or SPECS:
                spec = find_spec(str(ROOT / SMALL) if name == SMALL else name, spec_folders())
                done[spec.name] = run_spec(spec, options.data, Path(scratch), options)
                rows.append(row_of(spec, done[spec.name]))
                text = to_markdown(rows, options.data.name, options.clips, options.runs)
                if options.table:
                    put_table(options.table, text, "stored features")
        say(text)
    except AudiocnnError as problem:
        say(f"stored_features: {problem}")
        return 2
    print(json.dumps(done))
    return 0


if __name__ == "__main__":
    sys.exit(main())
