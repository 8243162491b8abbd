"""Chooses settings for clips, or for recordings with segments: sample rate, window, network and length of the training,
with explanations.

There are few rules, so that a person can check them. Each choice is reported and written to the recipe as a plain
number, where it can be changed. docs/how-to/own-sounds.md gives their basis.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from audiocnn.augment.settings import CLIP_MIX, MixSettings
from audiocnn.data.dataset import Dataset, describe_lost
from audiocnn.data.sources.probe import Originals
from audiocnn.errors import DatasetError, show_name
from audiocnn.evaluation.advice import FEW_CLIPS
from audiocnn.recipe.division import Division
from audiocnn.recipe.recipe import Recipe
from audiocnn.recipe.settings import CLIP_TRAIN, LEAST_BATCHES, TrainSettings
from audiocnn.segments.segment import is_background_label
from audiocnn.spec.describe import per_second
from audiocnn.spec.spec import Spec, spec_at_rate, spec_from_table, with_background
from audiocnn.units import clock, count_noun, time_scale

KeepSpec = Literal["nothing", "sizes", "all"]
DEFAULT_CLIP_SPEC = "sound_2d"
BACKBONE = "sounds"  # the model to start from if there are few clips
BACKBONE_CLIPS = 100  # per label; if half of the labels have fewer, starting from the backbone is better
_MOST_RATE = 16_000  # Hz; for most sounds, little above 8 kHz helps to distinguish them
WINDOW_SECONDS = (0.2, 2.0)  # the shortest and the longest window
EXAMPLE_SECONDS = 4.0  # the longest example; longer clips are cut at a different place each time
PASSES = 40  # number of times that each clip is used, if there is time for it
EXAMPLES = (2_400, 60_000)  # the fewest and the most in a training
EPOCHS = (10, 60)
MULTIPLY_ADDS = 3e12  # of all forward passes: about five minutes on two cores
_UNEVEN = 3.0  # ratio of the largest to the smallest label above which labels are drawn equally often
BATCHES = ((100, 8), (1_000, 16), (20_000, 32))  # most clips, batch size; with more, twice the last batch size
FEW_WORKER_CLIPS = 200  # with fewer, an epoch is over before a worker process has started
NOTHING_SHARE = 0.3  # share of the examples that have none of the labels
HELD_OUT = {True: 0.2, False: 0.1}  # by whether clips are few: a tenth of few clips would be too little
FEW_MARKED_SECONDS = 120.0  # per label; with less, a detector is only good for trying things out
FEW_RECORDINGS = 20  # with segments; with fewer, a larger share is used for validation
VALIDATION_EXAMPLES = (50, 400)  # for recordings with segments: half of the examples per epoch, within these bounds


@dataclass(frozen=True)
class ClipFacts:
    """The facts about clips that determine the settings.

    clips: number by label. others: the same for labels that mean "none of them". seconds: shortest, median, ninth
    decile, longest. several: a clip may have several labels. lost: a text on the labels without any readable file.
    """

    clips: Mapping[str, int]
    seconds: tuple[float, float, float, float]
    sample_rate: int
    several: bool = False
    others: Mapping[str, int] = dataclasses.field(default_factory=dict)
    lost: str = ""

    @property
    def total(self) -> int:
        """Number of clips; a clip of several labels counts for each."""
        return sum(self.clips.values()) + sum(self.others.values())

    @property
    def unevenness(self) -> float:
        counts = [count for count in self.clips.values() if count]
        return max(counts) / min(counts) if counts else 1.0


@dataclass(frozen=True)
class FittedSettings:
    spec: Spec
    mix: MixSettings
    train: TrainSettings
    warnings: tuple[str, ...]

    def recipe(self, before: Recipe) -> Recipe:
        return replace(before, spec=self.spec, mix=self.mix, train=self.train)


def choose_rate(rates: Mapping[int, int]) -> int:
    """The rate in Hz for recordings of these rates (Hz -> number): their median, so that half of them lose nothing, but
    at most 16 kHz. Upsampling would gain nothing."""
    if not rates:
        return _MOST_RATE
    middle, count = sum(rates.values()) / 2, 0
    for rate in sorted(rates):
        count += rates[rate]
        if count >= middle:
            return min(_MOST_RATE, rate)
    raise AssertionError("the counts add up to more than half of the total")


def choose_settings(facts: ClipFacts, spec: Spec, keep: KeepSpec = "nothing") -> FittedSettings:
    """spec: the network to fit to the clips, at their rate. keep: "sizes" for a network that the user chose; "all" for
    one to start from. DatasetError if there is nothing to distinguish."""
    check_label_count(facts)
    seconds = choose_example_seconds(facts)
    fitted = spec if keep == "all" else fit_spec(spec, facts, choose_window(facts) if keep == "nothing" else None)
    if fitted.f.output == "softmax" and not facts.several:  # sounds with none of the labels are also trained on
        fitted = with_background(fitted)
    train = choose_train_settings(facts, fitted, seconds)
    plain = fitted.f.output == "softmax" and not fitted.f.background
    mix = replace(MixSettings(), **CLIP_MIX, seconds=seconds, nothing_share=0.0 if plain else NOTHING_SHARE)
    return FittedSettings(fitted, mix, train, tuple(warn_of_few_clips(facts)))


def check_label_count(facts: ClipFacts) -> None:
    """DatasetError for clips that all have the same label, or none."""
    if len(facts.clips) > 1 or ((facts.several or facts.others) and facts.clips):
        return
    found = f'only one label, "{next(iter(facts.clips))}"' if facts.clips else "no label"
    remedy = f"{facts.lost}; repair them, or " if facts.lost else ""
    raise DatasetError(f'found {found}: nothing to distinguish; {remedy}add a folder of other sounds, such as "other"')


def choose_window(facts: ClipFacts) -> float:
    """The window of a score in seconds: nine in ten clips fit, at most 2 s; longer for slow sounds."""
    return _example_seconds(facts, WINDOW_SECONDS[1])


def choose_example_seconds(facts: ClipFacts) -> float:
    """The length of a training example in seconds: nine in ten clips fit, at most 4 s; longer for slow sounds."""
    return _example_seconds(facts, EXAMPLE_SECONDS)


def _example_seconds(facts: ClipFacts, most: float) -> float:
    """Nine in ten clips fit, within bounds in seconds, which are scaled for other rates."""
    scale = time_scale(facts.sample_rate)
    return scale * min(most, max(WINDOW_SECONDS[0], math.ceil(20 * facts.seconds[2] / scale - 1e-6) / 20))


def fit_spec(spec: Spec, facts: ClipFacts, window_seconds: float | None) -> Spec:
    """The spec with the window, or its own for None, and with the output that the labels need."""
    f = dict(spec.table["f"])
    if facts.several or window_seconds is not None:
        f["output"] = "sigmoid" if facts.several else "softmax"
    if window_seconds is not None:
        f["window_seconds"] = window_seconds
    return spec_from_table(spec.table | {"f": f}, spec.name)


def choose_train_settings(facts: ClipFacts, spec: Spec, seconds: float) -> TrainSettings:
    """As many examples as help and as time allows. An epoch uses each clip once, unless there are many."""
    cost = seconds * per_second(spec.with_classes(max(2, len(facts.clips))), spec.geometry())
    amount = plan_examples(facts.total, cost)
    return replace(
        TrainSettings(),
        **CLIP_TRAIN
        | {
            "epochs": amount.epochs,
            "examples_per_epoch": 0 if amount.once_each else amount.examples_per_epoch,
            "batch_size": amount.batch_size,
            "validation_share": HELD_OUT[min(facts.clips.values()) < FEW_CLIPS],
            "balance": "sampling" if facts.unevenness >= _UNEVEN else "none",
            "balance_power": 1.0 if facts.unevenness >= _UNEVEN else TrainSettings().balance_power,
            "workers": 0 if facts.total < FEW_WORKER_CLIPS else 1,
        },
    )


@dataclass(frozen=True)
class ExamplePlan:
    """once_each: an epoch uses each clip about once anyway."""

    epochs: int
    examples_per_epoch: int
    batch_size: int
    once_each: bool


def plan_examples(clips: int, cost: float) -> ExamplePlan:
    """The number of examples for this number of clips. cost: multiply-adds of one example."""
    least, most = EXAMPLES
    wanted = min(max(least, PASSES * clips), most, max(least, int(MULTIPLY_ADDS / cost)))
    batch = next((size for count, size in BATCHES if clips <= count), 2 * BATCHES[-1][1])
    once = max(clips, LEAST_BATCHES * batch)
    epochs = min(max(EPOCHS[0], round(wanted / once)), EPOCHS[1])
    each = max(LEAST_BATCHES, math.ceil(wanted / epochs / batch)) * batch
    return ExamplePlan(epochs, each, batch, epochs * once <= 1.5 * wanted)


@dataclass(frozen=True)
class SegmentFacts:
    """The facts about recordings with segments that determine the settings. marked: seconds by label. seconds: of all
    recordings."""

    marked: Mapping[str, float]
    seconds: float
    recordings: int
    groups: int


def collect_segment_facts(dataset: Dataset, recipe: Recipe) -> SegmentFacts:
    """DatasetError if there are no segments."""
    wanted, marked = recipe.data.labels if recipe.data else None, dict[str, float]()
    entries = [entry for entry in dataset.entries if entry.samples]
    for note in (note for entry in entries for note in dataset.annotations(entry)):
        if note.label != dataset.unsure and (not wanted or note.label in wanted):
            marked[note.label] = marked.get(note.label, 0.0) + note.offset - note.onset
    if not marked:
        raise DatasetError(
            f"{dataset.folder}: the recordings have no marked segments; add segments, or say which labels they have"
        )
    seconds = sum(dataset.duration_seconds(entry) for entry in entries)
    return SegmentFacts(marked, seconds, len(entries), len({entry.group for entry in entries}))


def choose_segment_settings(facts: SegmentFacts, spec: Spec) -> FittedSettings:
    """spec: of a detector, at the rate of the recordings; its sizes are kept. Mixtures are made from the segments, as
    many as there would be examples of clips of that length."""
    mix = MixSettings()
    stretches = math.ceil(facts.seconds / mix.seconds)
    cost = mix.seconds * per_second(spec.with_classes(len(facts.marked)), spec.geometry())
    amount = plan_examples(stretches, cost)
    least, most = VALIDATION_EXAMPLES
    train = replace(
        TrainSettings(),
        epochs=amount.epochs,
        examples_per_epoch=amount.examples_per_epoch,
        batch_size=amount.batch_size,
        validation_share=HELD_OUT[facts.groups < FEW_RECORDINGS],
        validation_examples=min(most, max(least, amount.examples_per_epoch // 2)),
        patience=CLIP_TRAIN["patience"],
        precision=CLIP_TRAIN["precision"],
        workers=0 if stretches < FEW_WORKER_CLIPS else 1,
    )
    label, marked = min(facts.marked.items(), key=lambda pair: pair[1])
    few = marked < FEW_MARKED_SECONDS
    said = f'"{show_name(label)}" is marked for {clock(marked)} in {count_noun(facts.recordings, "recording")}'
    warning = f"{said}: enough to try things out, not enough to rely on; mark more of it first"
    return FittedSettings(spec, mix, train, (warning,) if few else ())


def explain_segment_choice(recipe: Recipe, division: Division) -> list[str]:
    spec, train, shown = recipe.spec, recipe.train, recipe.spec.geometry()
    parts = [f"{count_noun(len(division.train), 'recording')} for training"]
    parts += [f"{len(division.validation)} for validation"]
    parts += [f"{len(division.test)} for testing ({division.tested_on})"] if division.test else []
    return [
        f"network: {spec.name}, {spec.with_classes(1).parameters():,} weights, {spec.f.output}: a detector",
        *([explain_origin(recipe.transfer.model)] if recipe.transfer else []),
        f"window: {spec.f.window_seconds:g} s at {shown.sample_rate} Hz, one score every {shown.hop_seconds:g} s",
        f"examples: mixtures of {recipe.mix.seconds:g} s, with added noise, room reverberation and level changes",
        f"training: up to {count_noun(train.epochs, 'epoch')} of {train.examples_per_epoch:,} examples each",
        f"parts: {', '.join(parts)}",
    ]


def wants_backbone(facts: ClipFacts) -> bool:
    """Whether there are so few clips that training should start from a model of many sounds, if that has their sample
    rate."""
    return float(np.median(list(facts.clips.values()))) < BACKBONE_CLIPS


def explain_choice(facts: ClipFacts, recipe: Recipe) -> list[str]:
    spec, mix, train = recipe.spec, recipe.mix, recipe.train
    shown = spec.geometry()
    whole = facts.seconds[2] <= mix.seconds
    every = f"of {train.examples_per_epoch:,} examples each" if train.examples_per_epoch else "with each clip once"
    even = f"; labels are drawn equally often (the largest has {facts.unevenness:.0f} times the clips of the rarest)"
    epochs = "1 epoch" if train.epochs == 1 else f"{train.epochs} epochs"
    fit = "nine in ten clips are no longer" if whole else f"clips are up to {facts.seconds[3]:.4g} s long"
    return [
        f"network: {spec.name}, {spec.with_classes(max(2, len(facts.clips))).parameters():,} weights, "
        + ("sigmoid: a clip may have several labels" if facts.several else f"{spec.f.output}: a clip has one label")
        + (", or none of them" if spec.f.background else ""),
        *([explain_background(facts)] if mix.nothing_share else []),
        *([explain_origin(recipe.transfer.model)] if recipe.transfer else []),
        f"window: {spec.f.window_seconds:g} s at {shown.sample_rate} Hz, examples of {mix.seconds:g} s: {fit}",
        f"training: up to {epochs} {every}" + (even if train.balance != "none" else ""),
    ]


def explain_origin(model: str) -> str:
    return f"weights: start from {Path(model).name}, trained on other sounds (--from none: start from scratch)"


def explain_background(facts: ClipFacts) -> str:
    found = "none of the labels: trained on synthetic sounds, noise, silence and the gaps between events in the clips"
    if not facts.others:
        return found
    names, count = ", ".join(f'"{label}"' for label in facts.others), sum(facts.others.values())
    return f"{found}; {count} clips of {names} count as this, not as a label of their own (--keep-label)"


def warn_of_few_clips(facts: ClipFacts) -> list[str]:
    found = []
    counts = facts.clips
    least = min(counts, key=lambda label: counts[label])
    if counts[least] < FEW_CLIPS:
        number = sum(count < FEW_CLIPS for count in counts.values())
        who = f'"{least}" has' if number == 1 else f"{number} labels have fewer than {FEW_CLIPS} clips, the rarest"
        clips = "1 clip" if counts[least] == 1 else f"{counts[least]} clips"
        found.append(f"{who} {clips}: enough to try things out, not enough to rely on; record more of them first")
    return found


def collect_clip_facts(dataset: Dataset, recipe: Recipe) -> ClipFacts:
    """The facts of a dataset of whole clips. DatasetError if no clip has a label."""
    wanted = recipe.data.labels if recipe.data else None
    clips = [entry for entry in dataset.entries if entry.labels and entry.samples]
    counts = Counter(label for entry in clips for label in entry.labels if not wanted or label in wanted)
    several = recipe.data is not None and recipe.data.labels_per_clip == "several"
    others = [label for label in sorted(counts) if is_background_label(label)] if not wanted and not several else []
    rest = {label: counts.pop(label) for label in others if len(others) < len(counts)}
    if not counts:
        raise DatasetError(f"{dataset.folder}: no recording has a label; put each into a folder named after its label")
    shortest, median, most, longest = np.quantile(
        [dataset.duration_seconds(entry) for entry in clips], [0.0, 0.5, 0.9, 1.0]
    )
    seconds = (float(shortest), float(median), float(most), float(longest))
    return ClipFacts(dict(counts), seconds, dataset.sample_rate, several, rest, describe_lost(dataset.lost))


def choose_recipe_rate(recipe: Recipe, originals: Originals | None, dataset: Dataset | None, given: bool) -> int:
    """The sample rate in Hz: that of a dataset, or of a chosen network, or else a fit to the recordings."""
    if dataset is not None and recipe.transfer is None:
        return dataset.sample_rate
    if given or originals is None:
        return recipe.spec.input.sample_rate
    return choose_rate(originals.rates)


def recipe_at_rate(recipe: Recipe, rate: int) -> Recipe:
    """The recipe with network and data at a sample rate. The groups of another model work at their own rate only."""
    data = None if recipe.data is None else dataclasses.replace(recipe.data, sample_rate=rate)
    return dataclasses.replace(recipe, data=data, spec=spec_at_rate(recipe.spec, rate))


def describe_parts(division: Division, dataset: Dataset) -> list[str]:
    """The sizes of the parts and, for parts that were split here, whether clips were kept together by group."""
    counts = [f"{len(division.train)} for training", f"{len(division.validation)} for validation"]
    counts += [f"{len(division.test)} for testing ({division.tested_on})"] if division.test else []
    parts = f"parts: {', '.join(counts)}"
    if not division.cut:
        return [parts]
    alone = len({entry.group for entry in dataset.entries}) == len(dataset.entries)
    kept = "clip by clip; --group-pattern keeps a speaker or a session in one part" if alone else "by group"
    of = "validation part taken from the rest, " if division.cut == ("stop",) and division.test else ""
    return [parts, f"split: {of}{kept}"]
