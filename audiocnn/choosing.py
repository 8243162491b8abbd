"""What fits a set of clips: rate, window, network, how long to train. Pure: facts in, a choice with its reasons out.

The rules are few, so that a person can check them; each is said where it is chosen, and stands in the recipe as a plain
number, to be changed. What they rest on is in docs/own-sounds.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from audiocnn.architecture import Spec, spec_from_table
from audiocnn.costs import per_second
from audiocnn.errors import DatasetError
from audiocnn.mixing import CLIP_MIX, MixSettings
from audiocnn.recipe import CLIP_TRAIN, LEAST_BATCHES, Recipe, TrainSettings

Keep = Literal["nothing", "sizes", "all"]

SPEC = "sound_2d"
MOST_RATE, LEAST_RATE = 16_000, 4_000  # Hz; above 8 kHz there is little that tells most sounds apart
WINDOW_SECONDS = (0.2, 2.0)  # the shortest and the longest window
EXAMPLE_SECONDS = 4.0  # the longest example: of longer clips another stretch each time
PASSES = 40  # how often each clip is heard, where there is time for it
EXAMPLES = (2_400, 60_000)  # the fewest and the most in a training
EPOCHS = (10, 60)
MULTIPLY_ADDS = 3e12  # of all forward passes: some five minutes on two cores
FEW, UNEVEN = 20, 3.0  # clips of a label that are few; most over fewest from where on labels are drawn evenly
BATCHES = ((100, 8), (1_000, 16), (20_000, 32))  # up to so many clips, so many in a batch; beyond, twice the last
HELD_OUT = {True: 0.2, False: 0.1}  # where clips are few, a tenth of them would say too little


@dataclass(frozen=True)
class Facts:
    """What is known of clips before anything is learned from them.

    clips: of each label. seconds: shortest, median, ninth decile, longest. several: a clip may have several labels.
    """

    clips: Mapping[str, int]
    seconds: tuple[float, float, float, float]
    sample_rate: int
    several: bool = False

    @property
    def total(self) -> int:
        """Clips, those of several labels counted for each."""
        return sum(self.clips.values())

    @property
    def unevenness(self) -> float:
        """Most clips of a label over fewest."""
        counts = [count for count in self.clips.values() if count]
        return max(counts) / min(counts) if counts else 1.0


@dataclass(frozen=True)
class Choice:
    """The network and the settings, and what a person should know before believing the result."""

    spec: Spec
    mix: MixSettings
    train: TrainSettings
    warnings: tuple[str, ...]

    def recipe(self, before: Recipe) -> Recipe:
        """The recipe with what was chosen."""
        return replace(before, spec=self.spec, mix=self.mix, train=self.train)


def choose_rate(rates: Mapping[int, int]) -> int:
    """The rate in Hz for recordings of these rates (Hz -> how many): their median, so that half of them have all that
    is heard, but at most 16 kHz and at least 4 kHz. Nothing is gained by more samples than were recorded."""
    if not rates:
        return MOST_RATE
    middle, count = sum(rates.values()) / 2, 0
    for rate in sorted(rates):
        count += rates[rate]
        if count >= middle:
            return max(LEAST_RATE, min(MOST_RATE, rate))
    raise AssertionError("the counts add up to more than half of them")


def choose(facts: Facts, spec: Spec, keep: Keep = "nothing") -> Choice:
    """Settings for clips like these. spec: the network to fit to them, at their rate. keep: "sizes" of a network that a
    person named; "all" of one that another model has taught. DatasetError: there is nothing to tell apart."""
    check_labels(facts)
    seconds = example_seconds(facts)
    fitted = spec if keep == "all" else adapted(spec, facts, None if keep == "sizes" else window_for(facts))
    train = train_settings(facts, fitted, seconds)
    mix = replace(MixSettings(), **CLIP_MIX, seconds=seconds)
    return Choice(fitted, mix, train, tuple(warnings(facts)))


def check_labels(facts: Facts) -> None:
    """DatasetError for clips that are all of one label, or of none."""
    if len(facts.clips) > 1 or (facts.several and facts.clips):
        return
    found = f'one label, "{next(iter(facts.clips))}"' if facts.clips else "no label"
    raise DatasetError(f'found {found}: nothing to tell apart; add a folder of other sounds, such as "other"')


def window_for(facts: Facts) -> float:
    """Seconds that one score looks at: nine in ten clips as a whole, if that is no more than 2 s."""
    least, most = WINDOW_SECONDS
    return min(most, max(least, math.ceil(20 * facts.seconds[2] - 1e-6) / 20))


def example_seconds(facts: Facts) -> float:
    """Seconds of one training example: nine in ten clips as a whole, at most 4 s of a longer one."""
    return min(EXAMPLE_SECONDS, max(WINDOW_SECONDS[0], math.ceil(20 * facts.seconds[2] - 1e-6) / 20))


def adapted(spec: Spec, facts: Facts, window_seconds: float | None) -> Spec:
    """The spec with the window, None for its own, and the output that the labels ask for."""
    f = dict(spec.table["f"])
    if facts.several or window_seconds is not None:
        f["output"] = "sigmoid" if facts.several else "softmax"
    if window_seconds is not None:
        f["window_seconds"] = window_seconds
    return spec_from_table(spec.table | {"f": f}, spec.name)


def train_settings(facts: Facts, spec: Spec, seconds: float) -> TrainSettings:
    """As many examples as are worth it, and as there is time for; an epoch is each clip once, unless they are many."""
    cost = seconds * per_second(spec.with_classes(max(2, len(facts.clips))), spec.geometry())
    least, most = EXAMPLES
    wanted = min(max(least, PASSES * facts.total), most, max(least, int(MULTIPLY_ADDS / cost)))
    batch = next((size for clips, size in BATCHES if facts.total <= clips), 2 * BATCHES[-1][1])
    once = max(facts.total, LEAST_BATCHES * batch)
    epochs = min(max(EPOCHS[0], round(wanted / once)), EPOCHS[1])
    every = epochs * once <= 1.5 * wanted
    return replace(
        TrainSettings(),
        **CLIP_TRAIN
        | {
            "epochs": epochs,
            "examples_per_epoch": 0 if every else math.ceil(wanted / epochs / batch) * batch,
            "batch_size": batch,
            "validation_share": HELD_OUT[min(facts.clips.values()) < FEW],
            "balance": "sampling" if facts.unevenness >= UNEVEN else "none",
            "balance_power": 1.0 if facts.unevenness >= UNEVEN else TrainSettings().balance_power,
            "workers": 0 if facts.total < 200 else 1,
        },
    )


def reasons(facts: Facts, recipe: Recipe) -> list[str]:
    """What was chosen, and why, a line each."""
    spec, mix, train = recipe.spec, recipe.mix, recipe.train
    shown = spec.geometry()
    whole = facts.seconds[2] <= mix.seconds
    fit = "nine in ten clips are no longer" if whole else f"clips are up to {facts.seconds[3]:.4g} s long"
    return [
        f"network: {spec.name}, {spec.with_classes(max(2, len(facts.clips))).parameters():,} weights, "
        + ("sigmoid: a clip may have several labels" if facts.several else f"{spec.f.output}: a clip has one label"),
        f"window: {spec.f.window_seconds:g} s of {shown.sample_rate} Hz, examples of {mix.seconds:g} s: {fit}",
        f"training: {training_reason(facts, train)}",
    ]


def training_reason(facts: Facts, train: TrainSettings) -> str:
    """How long, how even."""
    every = f"of {train.examples_per_epoch:,} examples" if train.examples_per_epoch else "with each clip once"
    even = f"; rare labels are drawn as often as others, of which there are {facts.unevenness:.0f} times as many"
    epochs = "1 epoch" if train.epochs == 1 else f"{train.epochs} epochs"
    return f"up to {epochs} {every}" + (even if train.balance != "none" else "")


def warnings(facts: Facts) -> list[str]:
    """What makes figures weak, or a model."""
    found = []
    counts = facts.clips
    least = min(counts, key=lambda label: counts[label])
    if counts[least] < FEW:
        number = sum(count < FEW for count in counts.values())
        who = f'"{least}" has' if number == 1 else f"{number} labels have fewer than {FEW} clips, the fewest"
        clips = "1 clip" if counts[least] == 1 else f"{counts[least]} clips"
        found.append(f"{who} {clips}: enough to try things out, not to rely on; record more of them first")
    return found
