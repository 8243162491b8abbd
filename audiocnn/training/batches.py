"""The training set of a recipe, and its batches, which worker processes prepare while the network computes.

`make_training_set` splits a dataset and sets up the examples; `make_loader` returns batches of them. The examples of a
step depend only on the epoch and the step.
"""

from __future__ import annotations

import copy
import math
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiocnn.audio.channels import mix_rows
from audiocnn.augment.clips import ClipExamples, ValidationClips
from audiocnn.augment.mixture import Example, Mixer, Targets
from audiocnn.data.dataset import Dataset, Entry
from audiocnn.data.ingest import IngestSettings, cached_dataset
from audiocnn.data.parts import is_learned_split
from audiocnn.errors import DatasetError, RecipeError, show_name
from audiocnn.evaluation.conditions import read_conditions
from audiocnn.evaluation.testset import make_set, part_entries
from audiocnn.prefetch import PrefetchingIterator
from audiocnn.recipe.division import check_labels, divide, learned_labels
from audiocnn.recipe.recipe import Recipe
from audiocnn.recipe.settings import LEAST_BATCHES, TrainSettings
from audiocnn.segments.segment import Annotation
from audiocnn.training.distributed import SINGLE_PROCESS, ProcessGroup, share_or_one
from audiocnn.training.features import StoredClips, StoredExample, describe_reading, find_misfits
from audiocnn.units import to_samples

ExampleKey = tuple[int, int]
_BATCHES_AHEAD = 2


class ExampleSource(Protocol):
    def example(self, epoch: int, index: int) -> Example | StoredExample: ...


@dataclass(frozen=True)
class TrainingSet:
    labels: tuple[str, ...]
    source: ExampleSource
    validation: Sequence[Example]
    clips: bool  # labels of whole recordings, not segments
    groups: dict[str, int]  # number of groups in training and in validation
    seconds: float  # total duration of the training recordings
    several: bool = False  # a clip may have more than one label, or none
    balanced: bool = False  # rare labels count as much as frequent ones
    counts: tuple[int, ...] = ()  # number of training clips of each label
    background_share: float | None = None  # share of the examples with none of the labels, if that is trained
    also: Mapping[str, Sequence[Example]] = field(default_factory=dict)  # for tuning and calibration, by name
    held_out: Dataset | None = None  # the validation recordings, unmixed
    features: str = ""  # of a dataset with stored features: whether they are used, and if not, why


def make_training_set(recipe: Recipe, dataset: Dataset, validates: bool = True) -> TrainingSet:
    """Split a dataset by group, and set up the examples. DatasetError if it does not fit the recipe. validates: False
    in a process that leaves validation to another one."""
    wanted = recipe.spec.input.sample_rate
    if dataset.sample_rate != wanted:
        fact = f"{dataset.folder}: has {dataset.sample_rate} Hz, but the spec expects {wanted}"
        raise DatasetError(f"{fact}; ingest with --sample-rate {wanted}")
    entries = select_entries(recipe, dataset)
    labels = learned_labels(dataset, recipe)
    if not labels or not entries:
        raise DatasetError(f"{dataset.folder}: nothing to train on: {len(entries)} recordings, {len(labels)} labels")
    clips = are_clips(entries)
    recipe = recipe.with_defaults(clips)

    division = divide(dataset, recipe)
    train, held_out = division.train, division.validation
    if recipe.evaluate.conditions is None:
        check_labels(recipe, dataset, division, labels)
    groups = {"train": len({entry.group for entry in train}), "validation": len({entry.group for entry in held_out})}
    seconds = sum(dataset.duration_seconds(entry) for entry in train)
    validation: Sequence[Example] = []
    sounding = [entry for entry in held_out if entry.samples] if validates else []
    whole = dataset.with_entries(sounding) if sounding else None
    if clips:
        several = dataset.several or (recipe.data is not None and recipe.data.labels_per_clip == "several")
        check_clip_recipe(recipe, several)
        balance, others = recipe.train.balance, recipe.spec.f.output == "sigmoid" or recipe.spec.f.background
        if not others and recipe.mix.nothing_share:
            fact = f'{recipe.name}: "nothing_share" has no effect on a plain softmax'
            raise RecipeError(f"{fact}; add background = true to [f] of the spec, or remove the key")
        evenness = recipe.train.balance_power if balance == "sampling" else 0.0
        features, make = choose_reading(recipe, dataset, [*train, *held_out])
        clip_source = make(dataset, train, labels, recipe.mix, recipe.seed, evenness, others)
        if held_out:
            validation = ValidationClips(make(dataset, held_out, labels, recipe.mix, recipe.seed, others=others))
        counts = tuple(clip_source.counts().tolist())
        left = clip_source.rest_share if recipe.spec.f.background else None
        how = (several, balance != "none", counts, left)
        said: dict[str, Any] = {"held_out": whole, "features": features}
        return TrainingSet(labels, clip_source, validation, True, groups, seconds, *how, **said)
    count_examples(recipe.train, 0)
    hop = recipe.spec.geometry().hop_samples
    source = Mixer(dataset, train, labels, recipe.mix, hop, recipe.seed)
    if validates and recipe.evaluate.conditions is not None:
        validation = read_tuning_examples(recipe, dataset, train)
    elif validates and held_out:
        mixer = Mixer(dataset, held_out, labels, recipe.mix, hop, recipe.seed + 1)
        validation = [mixer.example(0, index) for index in range(recipe.train.validation_examples)]
    also = read_further_examples(recipe, labels) if validates else {}
    features = _NOT_READ + "recordings with segments are mixed" if dataset.feature_name else ""
    more: dict[str, Any] = {"also": also, "held_out": whole, "features": features}
    return TrainingSet(labels, source, validation, False, groups, seconds, **more)


_NOT_READ = "the stored features of the dataset are not used: "


def choose_reading(
    recipe: Recipe, dataset: Dataset, entries: Sequence[Entry]
) -> tuple[str, Callable[..., ClipExamples]]:
    """A note on the stored features of a dataset ("" if there are none), and the class that makes examples of its
    clips: from these features if they fit, else from samples."""
    if not dataset.feature_name:
        return "", ClipExamples
    misfits = find_misfits(recipe, dataset, entries)
    if misfits or dataset.layout is None:
        return _NOT_READ + "; ".join(misfits), ClipExamples
    return describe_reading(recipe, dataset.layout), partial(StoredClips, recipe.spec)


def select_entries(recipe: Recipe, dataset: Dataset) -> list[Entry]:
    split = recipe.data.split if recipe.data else None
    return [entry for entry in dataset.entries if is_learned_split(entry.split, split)]


def are_clips(entries: Sequence[Entry]) -> bool:
    """Whether these have labels for the whole recording: none has segments."""
    return not any(entry.annotated for entry in entries)


def check_clip_recipe(recipe: Recipe, several: bool) -> None:
    """RecipeError for settings that do not work with whole clips. several: a clip may have several labels."""
    if recipe.evaluate.conditions is not None:
        raise RecipeError(
            f"{recipe.name}: [evaluate] conditions needs segments, but the data is whole clips; remove the key"
        )
    if recipe.evaluate.also:
        raise RecipeError(f'{recipe.name}: [evaluate] "also" needs segments, but these are whole clips; remove the key')
    if recipe.spec.localises:
        fact = f'{recipe.name}: output = "{recipe.spec.f.output}" needs segments, but the data is whole clips'
        raise RecipeError(f'{fact}; annotate onsets and offsets, or set output = "sigmoid" or "softmax" in [f]')
    if several and recipe.spec.f.output != "sigmoid":
        fact = f'{recipe.name}: labels_per_clip = "several" cannot be used with output = "{recipe.spec.f.output}"'
        raise RecipeError(f'{fact}, where the scores of a clip add up to 1; set output = "sigmoid" in [f]')


def read_tuning_examples(recipe: Recipe, dataset: Dataset, learned: Sequence[Entry]) -> list[Example]:
    """The examples for validation, thresholds and calibration, if the recipe names conditions: every recording of their
    part, uncut, with targets for each hop.

    RecipeError if the part has a group that is in `learned`, or lacks a label that needs a threshold.
    """
    settings = recipe.evaluate
    assert settings.conditions is not None
    conditions = read_conditions(settings.conditions)
    tuned_on = part_entries(conditions, dataset, settings.part)  # a recording without a group is its own group
    groups, own = ({entry.group or entry.filename for entry in entries} for entries in (tuned_on, learned))
    if shared := sorted(own & groups):
        raise RecipeError(
            f'{settings.conditions}: part "{settings.part}" shares {len(shared)} group(s) with the training part, such'
            f' as {show_name(shared[0])}; set "held_out", "balance" and [data] as in the recipe'
        )
    labels = learned_labels(dataset, recipe)
    hop_samples = recipe.spec.geometry().hop_samples
    with tempfile.TemporaryDirectory(prefix="audiocnn-") as folder:
        made = make_set(conditions, dataset, settings.part, Path(folder) / "set")
        examples = [read_example(made, entry, labels, hop_samples) for entry in made.entries]
    for column, label in enumerate(labels):
        if not any((example.targets[:, column] > 0).any() for example in examples):
            raise RecipeError(f'{settings.conditions}: part "{settings.part}" has no recording of "{label}"; add some')
    return examples


def read_further_examples(recipe: Recipe, labels: tuple[str, ...]) -> dict[str, list[Example]]:
    """The recordings of `[evaluate] also`, uncut, by the name of each source. RecipeError if one lacks a label."""
    geometry = recipe.spec.geometry()
    settings, found = IngestSettings(sample_rate=geometry.sample_rate), dict[str, list[Example]]()
    for path in recipe.evaluate.also:
        with tempfile.TemporaryDirectory(prefix="audiocnn-") as folder:
            dataset = cached_dataset(path, Path(folder) / "also", settings)
            entries = [entry for entry in dataset.entries if entry.annotated and entry.samples]
            examples = [read_example(dataset, entry, labels, geometry.hop_samples) for entry in entries]
        for column, label in enumerate(labels):
            if not any((example.targets[:, column] > 0).any() for example in examples):
                raise RecipeError(f'{path}: no segment is labelled "{label}"; add some, or remove [evaluate] "also"')
        if path.name in found:
            raise RecipeError(f'{path}: [evaluate] "also" lists another file of this name; rename one of them')
        found[path.name] = examples
    return found


def read_example(dataset: Dataset, entry: Entry, labels: tuple[str, ...], hop_samples: int) -> Example:
    """A whole recording, mono. Targets are NaN where the annotation is unsure."""
    rate = dataset.sample_rate
    samples = mix_rows(dataset.waveform(entry), rate)
    notes = dataset.annotations(entry)
    targets = make_targets(notes, labels, samples.shape[1], hop_samples, rate)
    if dataset.unsure:
        unsure = make_targets(notes, (dataset.unsure,), samples.shape[1], hop_samples, rate)
        targets[(unsure > 0) & (targets == 0)] = np.nan
    return Example(samples, targets)


def make_targets(
    annotations: list[Annotation], labels: tuple[str, ...], samples: int, hop_samples: int, sample_rate: int
) -> Targets:
    """(rows, labels): 1 where the middle of the hop is in an annotation of the label."""
    middles = (np.arange(-(-samples // hop_samples)) + 0.5) * hop_samples / sample_rate
    targets = np.zeros((len(middles), len(labels)), dtype=np.float32)
    for note in annotations:
        if note.label in labels:
            inside = (note.onset <= middles) & (middles < note.offset)
            targets[inside, labels.index(note.label)] = 1.0
    return targets


BatchTensors = tuple[Tensor, Tensor, Tensor]


class ExampleDataset(torch.utils.data.Dataset[BatchTensors]):
    """Examples by (epoch, index): samples (channels, samples) or powers (channels, bands, frames), targets (rows,
    labels), and (2,) `clip_positions`."""

    def __init__(self, source: ExampleSource, channels: int, hop_samples: int) -> None:
        self.source, self.channels, self.hop_samples = source, channels, hop_samples

    def __getitem__(self, key: ExampleKey) -> BatchTensors:
        example = self.source.example(*key)
        return *example_tensors(example, self.channels), clip_positions(example, self.hop_samples)


def first_examples(recipe: Recipe, training_set: TrainingSet, count: int) -> BatchTensors:
    hop = recipe.spec.geometry().hop_samples
    examples = ExampleDataset(training_set.source, recipe.spec.input.channels, hop)
    samples, targets, spans = zip(*(examples[0, index] for index in range(count)), strict=True)
    return torch.stack(samples), torch.stack(targets), torch.stack(spans)


class BatchSampler(torch.utils.data.Sampler[list[ExampleKey]]):
    """The keys of the batches of `epoch` from `first_step` on. With several processes, this one's share of each."""

    def __init__(self, examples: int, batch_size: int, group: ProcessGroup = SINGLE_PROCESS) -> None:
        self.examples, self.batch_size, self.group = examples, batch_size, group
        self.epoch, self.first_step = 0, 0

    def __len__(self) -> int:
        return math.ceil(self.examples / self.batch_size)

    def __iter__(self) -> Iterator[list[ExampleKey]]:
        for step in range(self.first_step, len(self)):
            yield list(share_or_one(self.batch(step), self.group))

    def batch(self, step: int) -> list[ExampleKey]:
        """The keys of a step, over all processes."""
        first = step * self.batch_size
        return [(self.epoch, i) for i in range(first, min(first + self.batch_size, self.examples))]


def example_tensors(example: Example | StoredExample, channels: int) -> tuple[Tensor, Tensor]:
    """(channels, samples), or (channels, bands, frames) of stored features, and (rows, labels)."""
    return values_tensor(example.values, channels), torch.from_numpy(example.targets)


def values_tensor(values: NDArray[np.float32], channels: int) -> Tensor:
    """(channels, ...) as a tensor. Mono is repeated; any other number of channels is mixed to mono first."""
    if len(values) != channels:
        values = np.repeat(values.mean(axis=0, keepdims=True), channels, axis=0)
    return torch.from_numpy(np.ascontiguousarray(values))


def clip_positions(example: Example | StoredExample, hop_samples: int) -> Tensor:
    """(2,) [first, stop) of the positions that overlap the clip, at least one; all positions of a mixture."""
    count = max(1, -(-example.length // hop_samples))
    if example.span is None:
        return torch.tensor([0, count])
    first = min(example.span[0] // hop_samples, count - 1)
    return torch.tensor([first, max(first + 1, -(-example.span[1] // hop_samples))])


def count_examples(settings: TrainSettings, clips: int) -> int:
    """Number of examples per epoch. Unless the recipe sets it: each clip once, and at least a few batches. clips:
    number of examples that use each clip once."""
    if settings.examples_per_epoch:
        return settings.examples_per_epoch
    if not clips:
        raise RecipeError("[train] examples_per_epoch = 0 is only for whole clips; set the number of mixtures")
    return max(clips, LEAST_BATCHES * settings.batch_size)


BATCHES_A_WORKER = 4  # prepared ahead, if shared memory has room
_BATCHES_IN_HAND = 2  # in use, or being transferred
SHARED_MEMORY = Path("/dev/shm")
_SHARED_SHARE = 0.9  # of the free space


@dataclass(frozen=True)
class WorkerPlan:
    """The number of worker processes, and of batches that each prepares ahead. note: why they are fewer than wanted."""

    workers: int
    ahead: int
    note: str = ""


def plan_workers(recipe: Recipe, training_set: TrainingSet) -> WorkerPlan:
    """Limit the workers to the room in shared memory, through which they pass batches: exceeding it would kill them. In
    Docker it is 64 MB by default. Without workers, a thread prepares the batches."""
    settings, source = recipe.train, training_set.source
    if not settings.workers or not SHARED_MEMORY.is_dir():
        return WorkerPlan(settings.workers, BATCHES_A_WORKER)
    clips = source.round if isinstance(source, ClipExamples) else 0
    batches = -(-count_examples(settings, clips) // settings.batch_size)
    samples = to_samples(recipe.mix.seconds, recipe.spec.input.sample_rate)
    rows = 1 if training_set.clips else -(-samples // recipe.spec.geometry().hop_samples)
    each = math.prod(source.shape[1:]) if isinstance(source, StoredClips) else samples
    values = recipe.spec.input.channels * each + rows * len(training_set.labels)
    size = 4.0 * settings.batch_size * values
    free = float(shutil.disk_usage(SHARED_MEMORY).free) if os.access(SHARED_MEMORY, os.W_OK) else 0.0
    room = int(_SHARED_SHARE * free / size)
    if room >= min(batches, settings.workers * BATCHES_A_WORKER + _BATCHES_IN_HAND):
        return WorkerPlan(settings.workers, BATCHES_A_WORKER)
    workers = max(0, min(settings.workers, room - _BATCHES_IN_HAND))
    if workers == settings.workers:
        return WorkerPlan(workers, (room - _BATCHES_IN_HAND) // workers)
    made = f"{workers} instead of {settings.workers} processes make" if workers else "a thread makes"
    what = f"shared memory ({SHARED_MEMORY}) has {free / 1e6:.0f} MB free, for batches of {size / 1e6:.1f} MB"
    return WorkerPlan(workers, 1, f"{what}: {made} the batches; enlarge it for speed (docker run --shm-size 8g)")


def make_loader(
    recipe: Recipe, source: ExampleSource, group: ProcessGroup = SINGLE_PROCESS, plan: WorkerPlan | None = None
) -> tuple[BatchSampler, torch.utils.data.DataLoader[BatchTensors]]:
    """The loader of training batches, and its sampler, which must be told the next epoch. plan: None for the workers
    that the recipe asks for."""
    settings = recipe.train
    plan = plan or WorkerPlan(settings.workers, BATCHES_A_WORKER)
    clips = source.round if isinstance(source, ClipExamples) else 0
    sampler = BatchSampler(count_examples(settings, clips), settings.batch_size, group)
    loader = torch.utils.data.DataLoader(
        ExampleDataset(source, recipe.spec.input.channels, recipe.spec.geometry().hop_samples),
        batch_sampler=sampler,
        # Without its own generator, a loader draws from the random state that dropout uses. A run resumed inside an
        # epoch would then differ from an uninterrupted run.
        generator=torch.Generator(),
        num_workers=plan.workers,
        prefetch_factor=plan.ahead if plan.workers else None,
        worker_init_fn=exit_on_sigterm,
    )
    return sampler, loader


@contextmanager
def prefetch_batches(loader: Iterable[BatchTensors]) -> Iterator[Iterator[BatchTensors]]:
    """The batches of a loader. Without worker processes, a thread prepares them while the network computes."""
    if getattr(loader, "num_workers", 1):
        yield iter(loader)
        return
    batches = PrefetchingIterator(iter(loader), _BATCHES_AHEAD)
    try:
        yield batches
    finally:
        batches.close()


def is_worker_loss(problem: Exception) -> bool:
    """Whether an error means that a worker process died, or cannot pass on its batches."""
    return any(words in str(problem) for words in ("DataLoader worker", "shared memory", "</torch_", "ancdata"))


def exit_on_sigterm(worker: int) -> None:
    """Make a worker process end quietly on SIGTERM. If a whole process group gets the signal, torch would otherwise
    report a dead worker in the main process, while that is handling the signal itself."""
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))


_MOST_NAMES = 5


class _WatchedDataset:
    """A dataset that records which recordings were read."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset, self.read = dataset, dict[str, None]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.dataset, name)

    def samples(self, entry: Entry) -> Any:
        self.read[entry.filename] = None
        return self.dataset.samples(entry)

    def waveform(self, entry: Entry, *how: Any, **named: Any) -> Any:
        self.read[entry.filename] = None
        return self.dataset.waveform(entry, *how, **named)

    def features(self, entry: Entry) -> Any:
        self.read[entry.filename] = None
        return self.dataset.features(entry)


def recordings_of_examples(source: Any, keys: Iterable[tuple[int, int]]) -> list[str]:
    """The names of the recordings in the examples (epoch, index), found by making them again. Empty if a source has no
    dataset."""
    if not isinstance(getattr(source, "dataset", None), Dataset):
        return []
    watched, again = _WatchedDataset(source.dataset), copy.copy(source)
    again.dataset = watched
    if hasattr(again, "backgrounds"):
        again.backgrounds = copy.copy(again.backgrounds)
        again.backgrounds.dataset = watched
    for key in keys:
        again.example(*key)
    return list(watched.read)


def list_names(names: Sequence[str]) -> str:
    shown = ", ".join(show_name(name) for name in names[:_MOST_NAMES])
    return shown + (f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else "")
