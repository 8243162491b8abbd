"""The sounds that move each filter most (Zeiler and Fergus 2014, section 4): found, and cut out to be heard.

A place counts where all that the filter sees lies inside the recording, so that neither the zeros of padding nor the
edge of a file can be what moves it. A recording shorter than that is read whole, its padding too. Of each recording a
filter keeps one place; of equal activations the earlier. Only activations above 0 count: a filter behind a relu that
stays at 0 was not moved.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from audiocnn.errors import AudiocnnError, RecordingError, UsageError, did_you_mean
from audiocnn.inspection.filters import Place, after, first_layers, network_layers
from audiocnn.inspection.strongest_sounds import Found, Sound
from audiocnn.sizes import Reach

if TYPE_CHECKING:
    from torch import Tensor

    from audiocnn.network import Network

Samples = NDArray[np.float32]

CHUNK_SECONDS = 20.0  # memory grows neither with the corpus nor with a recording


@dataclass(frozen=True)
class Step:
    """Recording `done` of `total` was looked into, or could not be: `problem`. The last step holds what was found."""

    done: int
    total: int
    seconds: float = 0.0
    problem: str = ""
    found: list[list[Found]] | None = None


@dataclass(frozen=True)
class Moved:
    """Where one filter is moved most in one recording: the samples [start, end) and the bands from low to high."""

    activation: float
    start: int
    end: int
    low_band: int
    high_band: int


@dataclass
class _Best:
    """The best places of one filter with the order of their recordings, the best first."""

    top: int
    places: list[tuple[Moved, int]] = field(default_factory=list)

    def offer(self, one: Moved, order: int) -> None:
        """Keep a place of a new recording if it is good enough; recordings come in order, so equals stay behind."""
        if one.activation > 0 and (len(self.places) < self.top or one.activation > self.places[-1][0].activation):
            better = sum(other.activation >= one.activation for other, _ in self.places)
            self.places.insert(better, (one, order))
            del self.places[self.top :]


def places_of(network: Network, group: str | None) -> list[Place]:
    """The maps to look at: the first layer's, or with a name the last of that group. UsageError for an unknown one."""
    if group is None:
        return first_layers(network)
    groups = network.spec.groups
    if group not in (names := [one.name for one in groups]):
        raise UsageError(f'--group: {network.spec.name} has no group "{group}"; {did_you_mean(group, names)}')
    before: tuple[Reach, ...] = (Reach(),) * network.spec.dims
    modules, all_bands = iter(network.groups.values()), False
    for one in groups:
        layers = network_layers(one.layers)
        for _ in range(one.repeat):
            module = next(modules)
            before = after(before, layers)
        all_bands |= any(layer.hears_all_bands for layer in layers)
        if one.name == group:
            text = layers[-1].text() if layers else "nothing"
            return [Place(group, text, module, before, before, all_bands=all_bands)]
    raise AssertionError("the group is one of them")


@dataclass(frozen=True)
class Hearing:
    """What the positions of some maps hear, in samples, and what a branch is not given at the two ends."""

    whole: Reach
    cropped: tuple[int, int] = (0, 0)

    @classmethod
    def of(cls, network: Network, place: Place) -> Hearing:
        """Of the maps of a place."""
        frames, hop = network.spec.input.reach, network.spec.input.hop_samples
        return cls(frames.then(place.reach[-1]), (place.cropped[0] * hop, place.cropped[1] * hop))

    @property
    def first(self) -> int:
        """The first position that hears no padding at the start."""
        return max(0, -(-(self.whole.start + self.cropped[0]) // self.whole.stride))

    def last(self, samples: int) -> int:
        """The last position that hears nothing behind so many samples."""
        return (samples - self.cropped[1] + self.whole.start - self.whole.kernel) // self.whole.stride


class _Enough(Exception):  # noqa: N818 - no error: what comes after the wanted maps need not be computed
    """Raised by a hook to leave the network."""


def positions_of(network: Network, place: Place, samples: Samples) -> Tensor:
    """(channels, samples) -> (maps, bands, positions), as the network has them on these samples alone."""
    import torch

    values: list[Tensor] = []

    def hook(_module: Any, _given: Any, output: Tensor) -> None:
        values.append(output[0] if output.dim() == 4 else output[0].unsqueeze(1))
        raise _Enough

    handle = place.module.register_forward_hook(hook)
    try:
        with torch.inference_mode():
            network.logits_of(network.features(torch.from_numpy(samples)[None]))
    except _Enough:
        pass
    finally:
        handle.remove()
    return values[0]


def chunks(blocks: Iterable[Samples], hearing: Hearing, size: int) -> Iterator[tuple[int, Samples, bool]]:
    """(first sample, samples, whether that is a short recording as a whole). Each chunk begins where the first position
    that the last one could not hear in full begins; a recording that is too short for one comes once, as it is."""
    whole, skipped = hearing.whole, hearing.first
    buffer, start, owed, given = np.zeros((0, 0), np.float32), 0, 0, False
    for block in blocks:
        buffer = np.concatenate([buffer, block], axis=1) if buffer.size else block
        # A stride may be longer than what a position hears: then samples between two positions are heard by none.
        buffer, owed = buffer[:, owed:], max(0, owed - buffer.shape[1])
        if buffer.shape[1] >= max(size, 2 * (whole.kernel + whole.stride + sum(hearing.cropped))):
            yield start, buffer, False
            moved = (hearing.last(buffer.shape[1]) + 1 - skipped) * whole.stride
            start, given = start + moved, True
            buffer, owed = buffer[:, moved:], max(0, moved - buffer.shape[1])
    if hearing.last(buffer.shape[1]) >= skipped:
        yield start, buffer, False
    elif not given and buffer.size:
        yield 0, buffer, True


def find_strongest(network: Network, places: Sequence[Place], sounds: Sequence[Sound], top: int) -> Iterator[Step]:
    """Look into every sound; the last step has for each filter its places, the best first, at most one a sound.

    Raises RecordingError where not one sound could be read.
    """
    best: dict[int, _Best] = {}
    first_problem, done = "", 0
    for order, sound in enumerate(sounds):
        problem, seconds = "", 0.0
        try:
            mine, seconds = look_into(network, places, sound)
        except AudiocnnError as found:
            problem = str(found)
            first_problem = first_problem or problem
        else:
            done += 1
            for number, place in enumerate(mine):
                best.setdefault(number, _Best(top)).offer(place, order)
        yield Step(order + 1, len(sounds), seconds, problem or "; ".join(sound.notes))
    if not done:
        raise RecordingError(f"not one recording could be read; the first: {first_problem or 'there is none'}")
    yield Step(len(sounds), len(sounds), found=[ranked(number, one, sounds) for number, one in sorted(best.items())])


def look_into(network: Network, places: Sequence[Place], sound: Sound) -> tuple[list[Moved], float]:
    """Where each filter is moved most in one sound, and how long it is in seconds."""
    rate, found, length = network.geometry.sample_rate, list[Moved](), 0

    def counted(blocks: Iterable[Samples]) -> Iterator[Samples]:
        nonlocal length
        length = 0
        for block in blocks:
            length += block.shape[1]
            yield block

    for place in places:
        hearing = Hearing.of(network, place)
        best: list[Moved] = []
        for start, samples, short in chunks(counted(sound.read(rate)), hearing, round(CHUNK_SECONDS * rate)):
            mine = short_maxima(network, place, samples) if short else maxima(network, place, samples, start)
            pairs = zip(best or mine, mine, strict=True)
            best = [max(pair, key=lambda one: one.activation) for pair in pairs]  # of equals the earlier
        found += best
    return found, length / rate


def maxima(network: Network, place: Place, samples: Samples, start: int) -> list[Moved]:
    """Of each map the place where it is largest, among those that see nothing but these samples, from `start` on."""
    hearing = Hearing.of(network, place)
    whole, first = hearing.whole, hearing.first
    values = positions_of(network, place, samples)[..., first : hearing.last(samples.shape[1]) + 1]
    return [
        moved(network, place, value, band, start + (first + position) * whole.stride - whole.start)
        for value, band, position in largest(values)
    ]


def short_maxima(network: Network, place: Place, samples: Samples) -> list[Moved]:
    """The same of a whole recording that is shorter than what one position hears: with the padding of the network, and
    where that is not enough, in the middle of zeros."""
    whole, length = Hearing.of(network, place).whole, samples.shape[1]
    missing = max(0, whole.shrink - length)
    values = positions_of(network, place, np.pad(samples, ((0, 0), (missing // 2, missing - missing // 2))))
    found = []
    for value, band, position in largest(values):
        one = moved(network, place, value, band, position * whole.stride - whole.start - missing // 2)
        found.append(replace(one, start=max(0, one.start), end=min(length, one.end)))
    return found


def largest(values: Tensor) -> Iterator[tuple[float, int, int]]:
    """(maps, bands, positions) -> for each map the largest value, its band and position; the first of equals."""
    flat = values.flatten(1).cpu().numpy()
    for index, row in zip(flat.argmax(axis=1), flat, strict=True):
        yield float(row[index]), int(index) // values.shape[-1], int(index) % values.shape[-1]


def moved(network: Network, place: Place, value: float, band: int, start: int) -> Moved:
    """A place in samples and bands."""
    settings, kernel = network.spec.input, Hearing.of(network, place).whole.kernel
    if network.spec.dims == 1 or place.all_bands:
        return Moved(value, start, start + kernel, 0, settings.bands - 1)
    low = band * place.reach[0].stride - place.reach[0].start
    high = low + place.reach[0].kernel - 1
    return Moved(value, start, start + kernel, max(0, low), min(settings.bands - 1, high))


def ranked(number: int, best: _Best, sounds: Sequence[Sound]) -> list[Found]:
    """The places of one filter, the best first."""
    return [
        Found(number, rank, one.activation, sounds[order], (one.start, one.end), (one.low_band, one.high_band))
        for rank, (one, order) in enumerate(best.places, 1)
    ]


def patch_of(network: Network, one: Found, samples: Samples) -> NDArray[np.float64]:
    """What the filter saw: the features (channels, bands, frames) of the samples (channels, samples) of a place."""
    import torch

    settings = network.spec.input
    missing = max(0, settings.frame_samples - samples.shape[1])
    padded = np.pad(samples, ((0, 0), (0, missing)))
    with torch.inference_mode():
        values = network.front_end(torch.from_numpy(padded)[None])[0]
    patch: NDArray[np.float64] = values[:, one.bands[0] : one.bands[1] + 1].double().numpy()
    return patch
