"""Inspection of a source before ingest: sample rates and channels from the headers of some recordings, and whether
clips have several labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from audiocnn.audio.recording import open_recording, read_info
from audiocnn.data.dataset import is_dataset
from audiocnn.data.sources import read_source
from audiocnn.data.sources.settings import COMMA, LABEL_SEPARATORS, DataSettings
from audiocnn.data.sources.tables import is_table
from audiocnn.errors import RecordingError
from audiocnn.units import heard_rate

_MOST_HEADERS = 400
_MOST_LABELS, _SPECTRA_A_LABEL = 50, 6  # whose spectra are computed
_SPECTRUM_SECONDS, _SPECTRUM_FRAME_SECONDS = 5.0, 0.03
_LEAST_LOST, _KEPT_POWER = 0.1, 0.95
_RATES = (8_000, 16_000, 22_050, 32_000, 44_100, 48_000, 64_000, 96_000, 128_000, 192_000, 250_000, 384_000, 500_000)
_Taken = TypeVar("_Taken")
_SEVERAL_SHARE = 0.05  # of the clips: if fewer have two labels, these are taken for errors


@dataclass(frozen=True)
class Originals:
    """rates, channels: value -> number of recordings, among those whose headers were read. timed: the labels are
    segments, not labels of whole clips. left_out: suffix -> files that need ffmpeg, which is missing."""

    rates: Counter[int]
    channels: Counter[int]
    timed: bool
    left_out: Counter[str]


def originals_of(data: DataSettings, most: int = _MOST_HEADERS) -> Originals:
    """Inspect a source, using at most `most` of its recordings, evenly spread. Raises the same errors as
    `read_source`."""
    left_out = Counter[str]()
    source = read_source(data, left_out)
    rates, channels = Counter[int](), Counter[int]()
    # Reading the header of a remote file would require copying it.
    for path in take_evenly([item.path for item in source.items if isinstance(item.path, Path)], most):
        try:
            info = read_info(path)
        except RecordingError:  # ingest reports the error
            continue
        rates[info.sample_rate] += 1
        channels[info.channels] += 1
    return Originals(rates, channels, any(item.annotated for item in source.items), left_out)


@dataclass(frozen=True)
class LostPower:
    """The loss of a label's recordings at a lower sample rate. share: of their power. rate: in Hz, one that keeps
    nearly all power of every label."""

    label: str
    share: float
    rate: int


def lost_power(data: DataSettings, sample_rate: int) -> LostPower | None:
    """The label that loses most at a rate in Hz, judged by some recordings of each. None if none loses a tenth."""
    of_label: dict[str, list[Path]] = {}
    for item in read_source(data).items:
        if item.label and isinstance(item.path, Path):
            of_label.setdefault(item.label, []).append(item.path)
    found: list[LostPower] = []
    for label in take_evenly(list(of_label), _MOST_LABELS):
        spectra = [spectrum_of(path) for path in take_evenly(of_label[label], _SPECTRA_A_LABEL)]
        known = [one for one in spectra if one is not None]
        if not known:
            continue
        shares = [float(power[hertz > sample_rate / 2].sum()) for hertz, power in known]
        tops = [float(hertz[np.searchsorted(np.cumsum(power), _KEPT_POWER)]) for hertz, power in known]
        rate = next((one for one in _RATES if one >= 2.0 * max(tops)), _RATES[-1])
        found.append(LostPower(label, float(np.mean(shares)), rate))
    losing = [one for one in found if one.share >= _LEAST_LOST and one.rate > sample_rate]
    if not losing:
        return None
    return replace(max(losing, key=lambda one: one.share), rate=max(one.rate for one in losing))


def spectrum_of(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Frequencies in Hz and the share of power at each, at the rate of the file, in the loudest moments of the first
    seconds. None if the recording is silent or cannot be read."""
    try:
        with open_recording(path) as recording:
            rate = recording.info.sample_rate
            block = next(iter(recording.blocks(None, "mix")), None)
    except RecordingError:  # ingest reports the error
        return None
    samples = block[0][: round(_SPECTRUM_SECONDS * rate)] if block is not None else np.zeros(0)
    frame = min(len(samples), max(64, 1 << (round(_SPECTRUM_FRAME_SECONDS * heard_rate(rate)) - 1).bit_length()))
    if frame < 64:
        return None
    frames = np.lib.stride_tricks.sliding_window_view(samples, frame)[:: frame // 2] * np.hanning(frame)
    powers = np.abs(np.fft.rfft(frames, axis=1)).astype(np.float64) ** 2
    powers[:, 0] = 0.0
    loudest = np.argsort(powers.sum(axis=1))[-max(1, len(powers) // 4) :]
    power = powers[loudest].mean(axis=0)
    if not power.sum():
        return None
    hertz = np.asarray(np.fft.rfftfreq(frame, 1.0 / rate), np.float64)
    return hertz, np.asarray(power / power.sum(), np.float64)


def take_evenly(paths: Sequence[_Taken], most: int) -> list[_Taken]:
    step = max(1.0, len(paths) / most)
    return [paths[int(number * step)] for number in range(min(len(paths), most))]


def with_several(data: DataSettings, asked_for: bool = False) -> DataSettings:
    """The settings with labels_per_clip = "several" and the separator, if this is a table (or a folder with one) in
    which clips have several labels, in several rows or in one cell; otherwise unchanged. asked_for: for any table of
    clips, even if none has two labels."""
    folder = data.source.is_dir() and not is_dataset(data.source) and data.recordings is None
    table = data.source.is_file() and is_table(data.source)
    if not (folder or table) or data.labels_per_clip == "several" or data.label_pattern is not None:
        return data
    several = replace(data, labels_per_clip="several")
    read = read_source(several)
    items = [item for item in read.items if item.label]
    if read.one_hot:
        return several
    whole = {label for item in items for label in item.labels}
    least = 1.0 if asked_for else _SEVERAL_SHARE * len(items)
    for separator in (*separators_in(whole), ""):
        found = replace(several, separator=separator)
        separated = [item for item in read_source(found).items if item.label] if separator else items
        if separated and sum(bool(item.more) for item in separated) >= least:
            return found
    return several if asked_for and items and table else data


def separators_in(cells: Collection[str]) -> list[str]:
    """The separator of labels in these cells of a table, if any. A comma counts only without spaces around it, and only
    if one of the separated labels occurs in several cells: "Bark,Dog" and "Howl,Dog", but not "Speech, synthesised"."""
    found = [one for one in LABEL_SEPARATORS if any(one in cell for cell in cells)]
    counts = Counter(piece for cell in cells for piece in set(cell.split(COMMA)))
    pieces = {piece for cell in cells if COMMA in cell for piece in cell.split(COMMA)}
    plain = all(piece and piece == piece.strip() for piece in pieces)
    return [*found, COMMA] if plain and any(counts[piece] > 1 for piece in pieces) else found
