"""Recordings as a network hears them, block by block, and pieces cut out of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audiocnn.addresses import Remote, openable
from audiocnn.dataset import Dataset, Entry, is_dataset
from audiocnn.errors import RecordingError, UsageError
from audiocnn.filenames import find_recordings, show_name
from audiocnn.recording import open_recording
from audiocnn.sources import read_source
from audiocnn.sources.settings import TABLE_SUFFIXES

Samples = NDArray[np.float32]

BLOCK_SECONDS = 10.0
CONTEXT_SECONDS = 0.25  # a filter that sees 16 ms cannot be heard alone
TOP = 9  # places a filter
LIST_NAME = "strongest.jsonl"


@dataclass(frozen=True)
class Sound:
    """A recording to look into. short: its name inside what was named. `read(rate)` gives its blocks (channels,
    samples) float32; afterwards `notes` says if it ended before its header did."""

    name: str
    short: str
    label: str | None
    read: Callable[[int], Iterable[Samples]]
    notes: list[str]


@dataclass(frozen=True)
class Found:
    """Where a filter is moved most in one recording: the samples [from, to) at the network's rate, and the bands
    from the first to the last that it sees there."""

    filter: int
    rank: int  # from 1
    activation: float
    sound: Sound
    span: tuple[int, int]
    bands: tuple[int, int]

    @property
    def key(self) -> tuple[int, int]:
        """What tells it from all others."""
        return self.filter, self.rank


def sounds_of(data: str, channels: int) -> list[Sound]:
    """The recordings of a dataset, a table, a recipe, a folder or a file, in a fixed order. With or without labels.

    RecordingError, DatasetError, LabelError, RecipeError: nothing there, or nothing in it.
    """
    path = Path(data)
    if is_dataset(path):
        dataset = Dataset.open(path)
        return [_stored(dataset, entry, channels) for entry in dataset.entries]
    if not path.exists():
        raise RecordingError(f"{show_name(path)}: no such file or folder; check the name")
    if path.is_file() and path.suffix.lower() in (*TABLE_SUFFIXES, ".toml"):
        return [_file(item.path, item.filename, item.label, channels) for item in read_source(path).items]
    inside = path if path.is_dir() else path.parent
    return [_file(file, file.relative_to(inside).as_posix(), None, channels) for file in find_recordings([path])]


def _file(path: Path | Remote, short: str, label: str | None, channels: int) -> Sound:
    notes: list[str] = []

    def read(sample_rate: int) -> Iterator[Samples]:
        notes.clear()
        with open_recording(openable(path)) as recording:
            for block in recording.blocks(sample_rate, "mix" if channels == 1 else "each"):
                yield with_channels(block, channels, show_name(path))
            notes.extend([recording.note] if recording.note else [])

    return Sound(str(path), short, label, read, notes)


def _stored(dataset: Dataset, entry: Entry, channels: int) -> Sound:
    def read(sample_rate: int) -> Iterator[Samples]:
        stored, own = dataset.samples(entry), dataset.sample_rate
        block = round(BLOCK_SECONDS * own)
        pieces = (stored[:, i : i + block].astype(np.float32) / 32768.0 for i in range(0, stored.shape[1], block))
        for piece in pieces if own == sample_rate else resampled(pieces, own, sample_rate, dataset.channels):
            yield with_channels(piece, channels, show_name(entry.filename))

    return Sound(entry.filename, entry.filename, entry.label, read, [])


def resampled(pieces: Iterable[Samples], own: int, wanted: int, channels: int) -> Iterator[Samples]:
    """Pieces (channels, samples) at another rate."""
    import soxr

    stream = soxr.ResampleStream(own, wanted, channels, dtype="float32", quality="HQ")
    for piece in pieces:
        yield stream.resample_chunk(np.ascontiguousarray(piece.T)).T
    yield stream.resample_chunk(np.zeros((0, channels), np.float32), last=True).T


def with_channels(block: Samples, channels: int, name: str) -> Samples:
    """(any, samples) -> (channels, samples): the mean for a network of one, the same sound twice for a network of two
    that gets one. RecordingError where the numbers do not fit."""
    if channels == 1 and len(block) > 1:
        mean: Samples = block.mean(axis=0, keepdims=True, dtype=np.float32)
        return mean
    if len(block) not in (1, channels):
        raise RecordingError(f"{name}: has {len(block)} channels and the network wants {channels}; convert the file")
    return np.repeat(block, channels, axis=0) if len(block) < channels else block


def cut_out(found: Sequence[Found], sample_rate: int, context_seconds: float) -> Iterator[tuple[Found, Samples, int]]:
    """Each place with its sound: (channels, samples) with so much before and behind as there is, and the sample of the
    recording that it begins with. Every recording is read once; in order of recordings, filters and ranks."""
    context = round(context_seconds * sample_rate)
    of_sound: dict[int, list[Found]] = {}
    for one in found:
        of_sound.setdefault(id(one.sound), []).append(one)
    for places in of_sound.values():
        begins = [max(0, one.span[0] - context) for one in places]
        parts: list[list[Samples]] = [[] for _ in places]
        at, last = 0, max(one.span[1] for one in places) + context
        for block in places[0].sound.read(sample_rate):
            for part, one, begin in zip(parts, places, begins, strict=True):
                piece = block[:, max(0, begin - at) : max(0, one.span[1] + context - at)]
                part += [piece.copy()] if piece.size else []
            at += block.shape[1]
            if at >= last:
                break
        for one, part, begin in zip(places, parts, begins, strict=True):
            yield one, np.concatenate(part, axis=1), begin


def check_clips(folder: Path, force: bool) -> None:
    """Refuse, before any work, a folder for cuts that is there already."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file; name a folder for the cut sounds with --clips")
    if folder.is_dir() and any(folder.iterdir()) and not force:
        raise UsageError(f"{folder}: is there already; overwrite it with --force, or name another with --clips")


def begin_clips(folder: Path) -> None:
    """Make the folder; what an earlier run cut into it goes, and nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / LIST_NAME).is_file():
        for old in folder.glob("[0-9]*/[0-9]*.wav"):
            old.unlink()


def write_clip(folder: Path, one: Found, samples: Samples, sample_rate: int) -> Path:
    """The cut of a place: `FILTER/RANK.wav`, 16 bit at the network's rate."""
    import io

    import soundfile

    from audiocnn.whole_files import write_whole

    path = folder / f"{one.filter:03d}" / f"{one.rank}.wav"
    content = io.BytesIO()
    soundfile.write(content, samples.T, sample_rate, format="WAV", subtype="PCM_16")
    try:
        write_whole(path, content.getvalue())
    except OSError as problem:
        raise UsageError(f"{path}: cannot be written ({problem.strerror}); name another folder with --clips") from None
    return path
