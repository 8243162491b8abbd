"""Detection of recordings with the same audio, identical or nearly so: re-encoded, at another level, shifted or
trimmed.

Exact duplicates have the same samples. Near duplicates are found by the method of Wang (2003, "An industrial-strength
audio search algorithm", ISMIR). Spectral peaks are taken in pairs, and each pair (two frequencies and the time between
them) is a key that neither a gain nor a shift changes. Recordings that share keys at the same shift are then compared
sample by sample: only those whose waveforms correlate are duplicates. Keys are sorted, and each is compared only with
the next few equal ones, so that the time grows with the number of recordings and not with its square.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from audiocnn.data.dataset import Dataset, Entry
from audiocnn.units import heard_rate

_FRAME_SECONDS, _HOP_SECONDS = 0.064, 0.016
_LOW_HERTZ = 150.0
_HIGH_HERTZ = 7600.0  # of the keys
_BANDS_HERTZ = (3600.0, 7600.0)  # upper limits for comparing waveforms: a copy may have passed a telephone
_PEAK_BANDS, _PEAK_FRAMES = 5, 5  # a peak is the maximum within this many bins and frames
_PAIRED_FRAMES = 48  # largest distance of two peaks that make a key
_PAIRS_A_PEAK = 4
_LONG_SECONDS, _KEPT_OF_LONG = 4.0, 8  # of longer recordings, one key in this many is kept, chosen by its value
_NEXT_EQUALS = 6
_LEAST_KEYS, _LEAST_SHARE = 4, 0.03  # number of keys at one shift, and their share of the shorter recording's keys
_LEAST_OVERLAP = 0.6  # of the shorter recording
# Copies as MP3, Opus and Vorbis at 8 to 32 kbit/s, trimmed, or with noise at 20 dB, have 0.83 or more, most 0.95. The
# same word spoken by the same person at the same pitch has at most 0.81 (digits; 5,600 pairs that share keys).
_LEAST_CORRELATION = 0.84
_WHITENED_HERTZ = 100.0
_COMPARED_SECONDS = 4.0
SILENT = 33  # of 32768, 60 dB below full scale: silent recordings are not duplicates of each other
_BLOCK_SECONDS = 30.0
_MOST_COMPARED = 4  # average candidates a recording; the least likely others are dropped
_Pcm = NDArray[np.int16]
_Signal = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class DuplicateSet:
    """The ids of at least two recordings with the same audio. exact: all have the same samples."""

    ids: tuple[int, ...]
    exact: bool


@dataclass(frozen=True)
class _Keys:
    """Keys of recordings: the pair of peaks, the recording (its index in the list), and the frame."""

    key: NDArray[np.int64]
    owner: NDArray[np.int64]
    frame: NDArray[np.int64]


_cache: WeakKeyDictionary[object, dict[frozenset[int], list[DuplicateSet]]] = WeakKeyDictionary()


def duplicates_of(
    dataset: Dataset, entries: Sequence[Entry], progress: Callable[[int, int], None] | None = None
) -> list[DuplicateSet]:
    """`find_duplicates`, cached for the dataset and these entries.

    The cache is not used for subsets: two recordings that are not copies of each other are in one set if a third is a
    copy of both, so the result would depend on earlier calls.
    """
    cached = _cache.setdefault(dataset.opened, {})
    ids = frozenset(entry.id for entry in entries)
    if ids not in cached:
        cached[ids] = find_duplicates(dataset, entries, progress)
    return cached[ids]


def duplicates_within(dataset: Dataset, entries: Sequence[Entry]) -> list[DuplicateSet]:
    """The sets of duplicates among all recordings of the dataset, reduced to these entries."""
    asked = {entry.id for entry in entries}
    parts = [
        replace(twins, ids=tuple(one for one in twins.ids if one in asked))
        for twins in duplicates_of(dataset, dataset.entries)
    ]
    return [twins for twins in parts if len(twins.ids) > 1]


def find_duplicates(
    dataset: Dataset, entries: Sequence[Entry], progress: Callable[[int, int], None] | None = None
) -> list[DuplicateSet]:
    """All sets of duplicates among these recordings, ordered by their first recording. Empty and silent recordings are
    ignored."""
    sets = DisjointSets(len(entries))
    first: dict[bytes, int] = {}
    found: list[tuple[int, NDArray[np.int64], NDArray[np.int64]]] = []
    for number, entry in enumerate(entries):
        samples = dataset.samples(entry)
        if entry.samples and np.abs(samples).max(initial=0) * entry.scale > SILENT:
            original = first.setdefault(_digest(samples, entry.scale), number)
            if original == number:
                found.append((number, *_landmark_keys(samples, entry.scale, heard_rate(dataset.sample_rate))))
            sets.join(original, number)
        if progress is not None:
            progress(number + 1, len(entries))
    exact = {number: sets.top(number) for number in range(len(entries))}
    for a, b, shift in _find_candidates(_concatenate_keys(found), len(entries)):
        if sets.top(a) != sets.top(b) and _is_same_sound(dataset, entries[a], entries[b], shift):
            sets.join(a, b)
    return [
        DuplicateSet(tuple(entries[number].id for number in members), len({exact[number] for number in members}) == 1)
        for members in sets.larger()
    ]


def _digest(samples: _Pcm, scale: float) -> bytes:
    return hashlib.blake2b(f"{scale} ".encode() + samples.tobytes(), digest_size=16).digest()


def _landmark_keys(samples: _Pcm, scale: float, rate: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Keys of a recording (channels, n) with this scale, and the frame of each."""
    hop, frame = round(_HOP_SECONDS * rate), round(_FRAME_SECONDS * rate)
    block = round(_BLOCK_SECONDS * rate) // hop * hop
    keys: list[NDArray[np.int64]] = []
    frames: list[NDArray[np.int64]] = []
    # Blocks overlap by the span of a pair; a pair belongs to the block in which it begins.
    for start in range(0, max(1, samples.shape[1]), block):
        some = samples[:, start : start + block + frame + _PAIRED_FRAMES * hop]
        mono = some[0].astype(np.float32) if len(some) == 1 else some.mean(axis=0, dtype=np.float32)
        mono *= np.float32(scale)
        key, at = _pair_peaks(*_find_peaks(mono, hop, frame))
        inside = at < block // hop
        if samples.shape[1] >= _LONG_SECONDS * rate:
            inside &= (key * 2654435761 >> 7) % _KEPT_OF_LONG == 0
        keys.append(key[inside])
        frames.append(at[inside] + start // hop)
    return np.concatenate(keys), np.concatenate(frames)


def _find_peaks(mono: NDArray[np.float32], hop: int, frame: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Frame and bin of the peaks of a spectrogram, in the order of time. A bin is 1 / _FRAME_SECONDS Hz wide."""
    if len(mono) < frame:
        mono = np.pad(mono, (0, frame - len(mono)))
    windows = np.lib.stride_tricks.sliding_window_view(mono, frame)[::hop]
    low = round(_LOW_HERTZ * _FRAME_SECONDS)
    high = min(round(_HIGH_HERTZ * _FRAME_SECONDS), frame // 2)
    power = np.abs(np.fft.rfft(windows * np.hanning(frame).astype(np.float32), axis=1)[:, low:high]).astype(np.float32)
    if not power.size:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    around = _largest_around(_largest_around(power, _PEAK_BANDS, 1), _PEAK_FRAMES, 0)
    floor = max(float(power.max()) * 1e-3, 1.0)
    at, band = np.nonzero((power >= around) & (power > floor))
    return at, band


def _largest_around(values: NDArray[np.float32], reach: int, axis: int) -> NDArray[np.float32]:
    """The maximum within `reach` on both sides along an axis."""
    padded = np.pad(values, [(reach, reach) if each == axis else (0, 0) for each in range(2)], constant_values=-1)
    padded = padded if axis == 0 else padded.T
    width, wanted = 1, 2 * reach + 1
    while width < wanted:  # the maximum of two windows that overlap or touch
        step = min(width, wanted - width)
        padded = np.maximum(padded[:-step], padded[step:])
        width += step
    return padded if axis == 0 else padded.T


def _pair_peaks(at: NDArray[np.int64], band: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Keys of each peak with the next few (both bins and the distance in frames, packed into one number), and the frame
    of the first."""
    keys: list[NDArray[np.int64]] = []
    frames: list[NDArray[np.int64]] = []
    for step in range(1, _PAIRS_A_PEAK + 1):
        between = at[step:] - at[:-step]
        near = between <= _PAIRED_FRAMES
        keys.append((((band[:-step] << 9) | band[step:]) << 6 | between)[near])
        frames.append(at[:-step][near])
    return np.concatenate(keys), np.concatenate(frames)


def _concatenate_keys(found: Sequence[tuple[int, NDArray[np.int64], NDArray[np.int64]]]) -> _Keys:
    empty = np.zeros(0, np.int64)
    return _Keys(
        np.concatenate([empty, *(keys for _, keys, _ in found)]),
        np.concatenate([empty, *(np.full(len(keys), number) for number, keys, _ in found)]),
        np.concatenate([empty, *(frames for _, _, frames in found)]),
    )


def _find_candidates(keys: _Keys, recordings: int) -> Iterator[tuple[int, int, int]]:
    """Pairs of recordings that share keys, and the shift of the second in frames; the most likely first."""
    order = np.lexsort((keys.owner, keys.key))
    key, owner, frame = keys.key[order], keys.owner[order], keys.frame[order]
    votes: list[NDArray[np.int64]] = []
    span = int(frame.max(initial=0)) + 2
    for step in range(1, _NEXT_EQUALS + 1):
        fits = (key[step:] == key[:-step]) & (owner[step:] != owner[:-step])
        a, b = owner[:-step][fits], owner[step:][fits]
        shift = frame[step:][fits] - frame[:-step][fits] + span
        # Each shift is counted in two overlapping steps, so that none is split at a boundary.
        votes += [(a * recordings + b) * (span + 2) + (shift + half) // 2 for half in (0, 1)]
    found, count = np.unique(np.concatenate(votes), return_counts=True)
    size = np.bincount(owner, minlength=recordings)
    first, second = np.divmod(found // (span + 2), recordings)
    least = np.maximum(_LEAST_KEYS, _LEAST_SHARE * np.minimum(size[first], size[second]))
    likely = np.flatnonzero(count >= least)
    likely = likely[np.argsort(-count[likely], kind="stable")][: _MOST_COMPARED * recordings]
    for number in likely:
        yield int(first[number]), int(second[number]), 2 * int(found[number] % (span + 2)) - span


def _is_same_sound(dataset: Dataset, a: Entry, b: Entry, shift: int) -> bool:
    """Whether the waveforms correlate with the second about `shift` frames after the first."""
    rate = heard_rate(dataset.sample_rate)
    hop = round(_HOP_SECONDS * rate)
    begin_a, begin_b = max(0, -shift * hop), max(0, shift * hop)
    overlap = min(a.samples - begin_a, b.samples - begin_b)
    if overlap < _LEAST_OVERLAP * min(a.samples, b.samples):
        return False
    overlap = min(overlap, round(_COMPARED_SECONDS * rate))
    one = dataset.samples(a)[:, begin_a : begin_a + overlap].mean(axis=0)
    other = dataset.samples(b)[:, begin_b : begin_b + overlap].mean(axis=0)
    found = _correlations(one, other, rate, 3 * hop)
    return any(value >= _LEAST_CORRELATION for value in found)


def _correlations(one: _Signal, other: _Signal, rate: int, reach: int) -> Iterator[float]:
    """The largest normalised correlation of two signals of equal length, shifted by at most `reach` samples, for the
    bands from _LOW_HERTZ to each of _BANDS_HERTZ. The signals are partly whitened: otherwise one strong partial of the
    same pitch would suffice."""
    size = 1 << (len(one) + reach - 1).bit_length()
    low = round(_LOW_HERTZ / rate * size)
    width = max(1, round(_WHITENED_HERTZ / rate * size))
    spectra = [_whiten_halfway(np.fft.rfft(signal, size), width) for signal in (one, other)]
    for hertz in _BANDS_HERTZ:
        first, second = (spectrum[low : round(min(hertz / rate, 0.5) * size)] for spectrum in spectra)
        energy = float(np.sqrt(np.sum(np.abs(first) ** 2) * np.sum(np.abs(second) ** 2))) * 2 / size
        if energy > 0.0:
            crossed = np.zeros(size // 2 + 1, dtype=np.complex128)
            crossed[low : low + len(first)] = first * np.conj(second)
            found = np.fft.irfft(crossed, size)
            yield float(max(found[: reach + 1].max(), found[-reach:].max()) / energy)


def _whiten_halfway(spectrum: NDArray[np.complexfloating[Any, Any]], width: int) -> NDArray[np.complex128]:
    """A spectrum divided by the square root of its mean magnitude in `width` bins around each bin."""
    sums = np.cumsum(np.pad(np.abs(spectrum) ** 2, (width // 2 + 1, width - width // 2 - 1), mode="edge"))
    power = np.maximum(sums[width:] - sums[:-width], 0.0) / width if len(sums) > width else np.ones(1)
    white: NDArray[np.complex128] = spectrum / np.sqrt(np.sqrt(power[: len(spectrum)]) + 1e-9)
    return white


class DisjointSets:
    """A union-find structure over the integers from 0."""

    def __init__(self, count: int) -> None:
        self.above = list(range(count))

    def top(self, number: int) -> int:
        """The representative of the set of a number: its smallest member."""
        while self.above[number] != number:
            self.above[number] = self.above[self.above[number]]
            number = self.above[number]
        return number

    def join(self, one: int, other: int) -> None:
        tops = self.top(one), self.top(other)
        self.above[max(tops)] = min(tops)

    def larger(self) -> list[list[int]]:
        """The sets with at least two members, each sorted."""
        members: dict[int, list[int]] = {}
        for number in range(len(self.above)):
            members.setdefault(self.top(number), []).append(number)
        return [numbers for numbers in members.values() if len(numbers) > 1]
