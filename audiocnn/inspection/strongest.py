"""The sounds that activate each filter most (Zeiler and Fergus 2014, section 4): find_strongest, cut_sounds.

A position counts if its receptive field is inside the recording, so that neither padding nor the edges of a file can
activate the filter. A shorter recording is searched as a whole, with padding. Each filter keeps one position per
recording, the earlier one of equal activations. Only activations above 0 count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from audiocnn.audio.find import EntryError, find_recordings
from audiocnn.audio.pcm import Samples
from audiocnn.audio.recording import open_recording
from audiocnn.audio.remote import Remote, openable
from audiocnn.data.dataset import Dataset, Entry, is_dataset
from audiocnn.data.sources import read_source
from audiocnn.data.sources.tables import is_table
from audiocnn.errors import AudiocnnError, RecordingError, UsageError, did_you_mean, show_name
from audiocnn.files import parse_json, read_regular
from audiocnn.inspection.filters import FilterLayer, first_layers, network_layers, receptive_field_after
from audiocnn.spec.features import Array
from audiocnn.spec.geometry import ReceptiveField

if TYPE_CHECKING:
    from torch import Tensor

    from audiocnn.model.network import Network


_BLOCK_SECONDS = 10.0
_CHUNK_SECONDS = 20.0  # limits the memory, whatever the length of a recording
CONTEXT_SECONDS = 0.25  # added, because the 16 ms that a filter may see are too short to hear
RECORDINGS_A_FILTER = 9
LIST_NAME = "strongest.jsonl"


@dataclass(frozen=True)
class SoundSource:
    """A recording to search. short: its name inside its folder or dataset. `read(rate)` returns its blocks (channels,
    samples) float32. Afterwards, `notes` says whether it was shorter than its header says."""

    name: str
    short: str
    label: str | None
    read: Callable[[int], Iterable[Samples]]
    notes: list[str]


@dataclass(frozen=True)
class TopActivation:
    """The strongest activation of a filter in one recording. span: the samples [start, end) of the receptive field, at
    the network's rate. bands: its first and last band."""

    filter: int
    rank: int  # from 1
    activation: float
    sound: SoundSource
    span: tuple[int, int]
    bands: tuple[int, int]

    @property
    def key(self) -> tuple[int, int]:
        return self.filter, self.rank


def find_sounds(data: str, channels: int) -> list[SoundSource]:
    """The recordings of a dataset, a table, a recipe, a folder or a file, in a fixed order, with or without labels.

    Raises RecordingError, DatasetError, LabelError or RecipeError if there are none.
    """
    path = Path(data)
    if is_dataset(path):
        dataset = Dataset.open(path)
        return [_stored(dataset, entry, channels) for entry in dataset.entries]
    if not path.exists():
        raise RecordingError(f"{show_name(path)}: no such file or folder; check the name")
    if path.is_file() and (path.suffix.lower() == ".toml" or is_table(path)):
        return [_file(item.path, item.filename, item.label, channels) for item in read_source(path).items]
    inside = path if path.is_dir() else path.parent
    return [
        _unread(one) if isinstance(one, EntryError) else _file(one, one.relative_to(inside).as_posix(), None, channels)
        for one in find_recordings([path])
    ]


def _unread(entry: EntryError) -> SoundSource:
    def read(sample_rate: int) -> Iterator[Samples]:
        raise entry

    return SoundSource(str(entry.path), str(entry.path), None, read, [])


def _file(path: Path | Remote, short: str, label: str | None, channels: int) -> SoundSource:
    notes: list[str] = []

    def read(sample_rate: int) -> Iterator[Samples]:
        notes.clear()
        with open_recording(openable(path)) as recording:
            for block in recording.blocks(sample_rate, "mix" if channels == 1 else "each"):
                yield with_channels(block, channels, show_name(path))
            notes.extend([*recording.remarks, *([recording.note] if recording.note else [])])

    return SoundSource(str(path), short, label, read, notes)


def _stored(dataset: Dataset, entry: Entry, channels: int) -> SoundSource:
    def read(sample_rate: int) -> Iterator[Samples]:
        own = dataset.sample_rate
        block = round(_BLOCK_SECONDS * own)
        pieces = (dataset.waveform(entry, i, i + block) for i in range(0, entry.samples, block))
        for piece in pieces if own == sample_rate else _resample(pieces, own, sample_rate, dataset.channels):
            yield with_channels(piece, channels, show_name(entry.filename))

    return SoundSource(entry.filename, entry.filename, entry.label, read, [])


def _resample(pieces: Iterable[Samples], own: int, wanted: int, channels: int) -> Iterator[Samples]:
    """Resample pieces (channels, samples)."""
    import soxr

    stream = soxr.ResampleStream(own, wanted, channels, dtype="float32", quality="HQ")
    for piece in pieces:
        yield stream.resample_chunk(np.ascontiguousarray(piece.T)).T
    yield stream.resample_chunk(np.zeros((0, channels), np.float32), last=True).T


def with_channels(block: Samples, channels: int, name: str) -> Samples:
    """(any, samples) -> (channels, samples): the mean for a network of one channel, or mono copied to both channels for
    a network of two. RecordingError if the numbers do not match."""
    if channels == 1 and len(block) > 1:
        mean: Samples = block.mean(axis=0, keepdims=True, dtype=np.float32)
        return mean
    if len(block) not in (1, channels):
        raise RecordingError(f"{name}: has {len(block)} channels, but the network expects {channels}; convert the file")
    return np.repeat(block, channels, axis=0) if len(block) < channels else block


@dataclass(frozen=True)
class SearchStep:
    """Recording `done` of `total` was searched, or `problem` says why not. Only the last step has `found`: the
    strongest activations of each filter, strongest first."""

    done: int
    total: int
    seconds: float = 0.0
    problem: str = ""
    found: list[list[TopActivation]] | None = None


@dataclass(frozen=True)
class _Peak:
    """The largest activation of a filter, and its receptive field: the samples [start, end), and bands from low to
    high."""

    activation: float
    start: int
    end: int
    low_band: int
    high_band: int


@dataclass
class _Ranking:
    """The largest peaks of one filter with the numbers of their recordings, largest first."""

    top: int
    peaks: list[tuple[_Peak, int]] = field(default_factory=list)

    def offer(self, one: _Peak, order: int) -> None:
        """Keep the peak of the next recording if it is among the largest. Of equal peaks, the earlier comes first."""
        if one.activation > 0 and (len(self.peaks) < self.top or one.activation > self.peaks[-1][0].activation):
            better = sum(other.activation >= one.activation for other, _ in self.peaks)
            self.peaks.insert(better, (one, order))
            del self.peaks[self.top :]


def layers_to_search(network: Network, group: str | None) -> list[FilterLayer]:
    """The first layer, or the last layer of a group. UsageError if there is no such group."""
    if group is None:
        return first_layers(network)
    groups = network.spec.groups
    if group not in (names := [one.name for one in groups]):
        raise UsageError(f'--group: {network.spec.name} has no group "{group}"; {did_you_mean(group, names)}')
    before: tuple[ReceptiveField, ...] = (ReceptiveField(),) * network.spec.dims
    modules, all_bands = iter(network.groups.values()), False
    for one in groups:
        layers = network_layers(one.layers)
        for _ in range(one.repeat):
            module = next(modules)
            before = receptive_field_after(before, layers)
        all_bands |= any(layer.hears_all_bands for layer in layers)
        if one.name == group:
            text = layers[-1].text() if layers else "nothing"
            return [FilterLayer(group, text, module, before, before, all_bands=all_bands)]
    raise AssertionError("the group is one of them")


@dataclass(frozen=True)
class MapGeometry:
    """The receptive field of the positions of a map, in samples, and the number of samples that are cropped from the
    input of a branch at both ends."""

    whole: ReceptiveField
    cropped: tuple[int, int] = (0, 0)

    @classmethod
    def of(cls, network: Network, layer: FilterLayer) -> MapGeometry:
        frames, hop = network.spec.input.receptive_field, network.spec.input.hop_samples
        return cls(frames.then(layer.reach[-1]), (layer.cropped[0] * hop, layer.cropped[1] * hop))

    @property
    def first(self) -> int:
        """The first position whose receptive field has no padding at the start."""
        return max(0, -(-(self.whole.start + self.cropped[0]) // self.whole.stride))

    def last(self, samples: int) -> int:
        """The last position whose receptive field ends within this number of samples."""
        return (samples - self.cropped[1] + self.whole.start - self.whole.kernel) // self.whole.stride


def chunks(blocks: Iterable[Samples], geometry: MapGeometry, size: int) -> Iterator[tuple[int, Samples, bool]]:
    """(first sample, samples, whether that is a whole short recording). Each chunk starts with the first position whose
    receptive field was not in the previous chunk. A recording that is too short for one position is one chunk."""
    whole, skipped = geometry.whole, geometry.first
    buffer, start, owed, given = np.zeros((0, 0), np.float32), 0, 0, False
    for block in blocks:
        buffer = np.concatenate([buffer, block], axis=1) if buffer.size else block
        # A stride may be longer than the receptive field. Samples between two positions are then in no field.
        buffer, owed = buffer[:, owed:], max(0, owed - buffer.shape[1])
        if buffer.shape[1] >= max(size, 2 * (whole.kernel + whole.stride + sum(geometry.cropped))):
            yield start, buffer, False
            moved = (geometry.last(buffer.shape[1]) + 1 - skipped) * whole.stride
            start, given = start + moved, True
            buffer, owed = buffer[:, moved:], max(0, moved - buffer.shape[1])
    if geometry.last(buffer.shape[1]) >= skipped:
        yield start, buffer, False
    elif not given and buffer.size:
        yield 0, buffer, True


def find_strongest(
    network: Network, layers: Sequence[FilterLayer], sounds: Sequence[SoundSource], top: int
) -> Iterator[SearchStep]:
    """Search every sound. Each gives at most one activation per filter.

    Raises RecordingError if none could be read.
    """
    best: dict[int, _Ranking] = {}
    first_problem, done = "", 0
    for order, sound in enumerate(sounds):
        problem, seconds = "", 0.0
        try:
            mine, seconds = search_sound(network, layers, sound)
        except AudiocnnError as found:
            problem = str(found)
            first_problem = first_problem or problem
        else:
            done += 1
            for number, peak in enumerate(mine):
                best.setdefault(number, _Ranking(top)).offer(peak, order)
        yield SearchStep(order + 1, len(sounds), seconds, problem or "; ".join(sound.notes))
    if not done:
        raise RecordingError(
            f"none of the recordings could be read; the first problem: {first_problem or 'there is no recording'}"
        )
    yield SearchStep(
        len(sounds), len(sounds), found=[_rank(number, one, sounds) for number, one in sorted(best.items())]
    )


def search_sound(network: Network, layers: Sequence[FilterLayer], sound: SoundSource) -> tuple[list[_Peak], float]:
    """The peak of each filter in one sound, and the duration of the sound in seconds."""
    rate, found, length = network.geometry.sample_rate, list[_Peak](), 0

    def counted(blocks: Iterable[Samples]) -> Iterator[Samples]:
        nonlocal length
        length = 0
        for block in blocks:
            length += block.shape[1]
            yield block

    for layer in layers:
        geometry = MapGeometry.of(network, layer)
        best: list[_Peak] = []
        for start, samples, short in chunks(counted(sound.read(rate)), geometry, round(_CHUNK_SECONDS * rate)):
            mine = _short_peaks(network, layer, samples) if short else _peaks(network, layer, samples, start)
            pairs = zip(best or mine, mine, strict=True)
            best = [max(pair, key=lambda one: one.activation) for pair in pairs]  # the earlier one of equals
        found += best
    return found, length / rate


def _peaks(network: Network, layer: FilterLayer, samples: Samples, start: int) -> list[_Peak]:
    """The peak of each map among the positions that see only these samples, which start at `start`."""
    geometry = MapGeometry.of(network, layer)
    whole, first = geometry.whole, geometry.first
    values = _maps(network, layer, samples)[..., first : geometry.last(samples.shape[1]) + 1]
    return [
        _make_peak(network, layer, value, band, start + (first + position) * whole.stride - whole.start)
        for value, band, position in _largest(values)
    ]


def _short_peaks(network: Network, layer: FilterLayer, samples: Samples) -> list[_Peak]:
    """The peaks of a recording shorter than the receptive field: with the padding of the network or, if that is not
    enough, in the middle of zeros."""
    whole, length = MapGeometry.of(network, layer).whole, samples.shape[1]
    missing = max(0, whole.shrink - length)
    values = _maps(network, layer, np.pad(samples, ((0, 0), (missing // 2, missing - missing // 2))))
    found = []
    for value, band, position in _largest(values):
        one = _make_peak(network, layer, value, band, position * whole.stride - whole.start - missing // 2)
        found.append(replace(one, start=max(0, one.start), end=min(length, one.end)))
    return found


def _maps(network: Network, layer: FilterLayer, samples: Samples) -> Tensor:
    from audiocnn.inspection.feature_maps import activations

    return activations(network, layer.module, samples)


def _largest(values: Tensor) -> Iterator[tuple[float, int, int]]:
    """(maps, bands, positions) -> for each map the largest value with its band and position; the first one of
    equals."""
    flat = values.flatten(1).cpu().numpy()
    for index, row in zip(flat.argmax(axis=1), flat, strict=True):
        yield float(row[index]), int(index) // values.shape[-1], int(index) % values.shape[-1]


def _make_peak(network: Network, layer: FilterLayer, value: float, band: int, start: int) -> _Peak:
    settings, kernel = network.spec.input, MapGeometry.of(network, layer).whole.kernel
    if network.spec.dims == 1 or layer.all_bands:
        return _Peak(value, start, start + kernel, 0, settings.bands - 1)
    low = band * layer.reach[0].stride - layer.reach[0].start
    high = low + layer.reach[0].kernel - 1
    return _Peak(value, start, start + kernel, max(0, low), min(settings.bands - 1, high))


def _rank(number: int, best: _Ranking, sounds: Sequence[SoundSource]) -> list[TopActivation]:
    return [
        TopActivation(number, rank, one.activation, sounds[order], (one.start, one.end), (one.low_band, one.high_band))
        for rank, (one, order) in enumerate(best.peaks, 1)
    ]


def features_seen(network: Network, one: TopActivation, samples: Samples) -> Array:
    """The features (channels, bands, frames) of the samples (channels, n) of an activation, limited to its bands."""
    import torch

    settings = network.spec.input
    missing = max(0, settings.frame_samples - samples.shape[1])
    padded = np.pad(samples, ((0, 0), (0, missing)))
    with torch.inference_mode():
        values = network.front_end(torch.from_numpy(padded)[None])[0]
    patch: Array = values[:, one.bands[0] : one.bands[1] + 1].double().numpy()
    return patch


def cut_sounds(
    found: Sequence[TopActivation], sample_rate: int, context_seconds: float
) -> Iterator[tuple[TopActivation, Samples, int]]:
    """Each activation with its sound (channels, samples), including as much context as there is, and the sample of the
    recording at which this starts. Every recording is read once. Ordered by recording, filter and rank."""
    context = round(context_seconds * sample_rate)
    of_sound: dict[int, list[TopActivation]] = {}
    for one in found:
        of_sound.setdefault(id(one.sound), []).append(one)
    for mine in of_sound.values():
        begins = [max(0, one.span[0] - context) for one in mine]
        parts: list[list[Samples]] = [[] for _ in mine]
        at, last = 0, max(one.span[1] for one in mine) + context
        for block in mine[0].sound.read(sample_rate):
            for part, one, begin in zip(parts, mine, begins, strict=True):
                piece = block[:, max(0, begin - at) : max(0, one.span[1] + context - at)]
                part += [piece.copy()] if piece.size else []
            at += block.shape[1]
            if at >= last:
                break
        for one, part, begin in zip(mine, parts, begins, strict=True):
            yield one, np.concatenate(part, axis=1), begin


def check_clips(folder: Path, force: bool) -> None:
    """UsageError if the folder for clips already has files."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file; give a folder for the clips with --clips")
    if folder.is_dir() and any(folder.iterdir()) and not force:
        raise UsageError(f"{folder}: already exists; overwrite it with --force, or give another folder with --clips")


def prepare_clips(folder: Path) -> None:
    """Create the folder, and remove the clips listed by an earlier run."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lines = read_regular(folder / LIST_NAME).splitlines() if (folder / LIST_NAME).exists() else []
        for record in map(parse_json, lines):
            clip_path(folder, int(record["filter"]), int(record["rank"])).unlink(missing_ok=True)
    except (OSError, ValueError, KeyError, TypeError):
        raise UsageError(f"{folder / LIST_NAME}: not a list of clips; give another folder with --clips") from None


def clip_path(folder: Path, filter_number: int, rank: int) -> Path:
    return folder / f"{filter_number:03d}" / f"{rank}.wav"


def write_clip(folder: Path, one: TopActivation, samples: Samples, sample_rate: int) -> Path:
    """Write `FILTER/RANK.wav`, 16 bits, at the network's rate."""
    import io

    import soundfile

    from audiocnn.files import write_whole

    path = clip_path(folder, one.filter, one.rank)
    content = io.BytesIO()
    soundfile.write(content, samples.T, sample_rate, format="WAV", subtype="PCM_16")
    try:
        write_whole(path, content.getvalue())
    except OSError as problem:
        raise UsageError(f"{path}: cannot be written ({problem.strerror}); give another folder with --clips") from None
    return path
