"""Ingest of sources into a dataset: `ingest`, `cached_dataset`. Bad files are refused with a reason, and the others are
ingested."""

from __future__ import annotations

import math
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from audiocnn.audio.arrays import ArraySource
from audiocnn.audio.remote import NotThereError, Remote, absolute
from audiocnn.data.dataset import Dataset, describe_lost, is_dataset, moved_sources
from audiocnn.data.decode import (
    Decoded,
    DecodeJob,
    decode_ahead,
    decode_recording,
    default_threads,
    read_decoded,
    reason_without_name,
)
from audiocnn.data.features import BandPowers, layout_of, recording_powers
from audiocnn.data.sources import SourceItems, merge_items, ordered_labels, read_source
from audiocnn.data.sources.settings import DEFAULT_SAMPLE_RATE, DataSettings
from audiocnn.data.writer import DatasetWriter, Item, StoredRecording
from audiocnn.errors import DatasetError, RecordingError, UsageError, show_name
from audiocnn.files import parse_json
from audiocnn.segments.segment import END_TOLERANCE_SECONDS, Annotation
from audiocnn.spec.spec import Spec, spec_at_rate

# lost: a label and all its files; noted: how a source was interpreted
Outcome = Literal["added", "updated", "kept", "refused", "removed", "noted", "lost"]
_ROUNDING_SECONDS = 0.01  # of tables; smaller cuts are not reported
_COMMIT_RECORDINGS = 256
_COMMIT_SAMPLES = 1 << 25
_COMMIT_SECONDS = 5.0
_ADDRESSES_AT_A_TIME = 8
SOUND_FRAME_SECONDS = 0.02
_BELOW_DECIBELS = 40.0  # below the loudest frame: a note has decayed
_BRIDGED_SECONDS = 0.3  # pauses up to this length belong to the sound
_BLOCK_FRAMES = 3000


@dataclass(frozen=True)
class IngestSettings:
    """Settings of an ingest.

    sample_rate: None for that of the recipe, or else 16000. channels: 1 for the mean of all channels. features: a
    network, at that rate, whose features are stored; None for those that the dataset already has. jobs: decoder
    threads, 0 for the default. replace: drop the recordings of sources that are no longer named. decode: a function
    like `decode_ahead`.
    """

    sample_rate: int | None = None
    channels: int = 1
    features: Spec | None = None
    jobs: int = 0
    replace: bool = False
    decode: Callable[[Iterable[DecodeJob], int, int, int], Iterator[tuple[DecodeJob, Decoded | str | None]]] = (
        decode_ahead
    )

    def __post_init__(self) -> None:
        if self.sample_rate is not None and self.sample_rate < 1:
            raise UsageError(
                f"sample rate {self.sample_rate}: not a sample rate; give it in Hz, such as {DEFAULT_SAMPLE_RATE}"
            )
        if self.channels < 1:
            raise UsageError(f"channels {self.channels}: must be 1 or more")
        if self.jobs < 0:
            raise UsageError(f"jobs {self.jobs}: must be 1 or more, or 0 for the default")


@dataclass(frozen=True, slots=True)
class IngestStep:
    """The outcome for one file. seconds: its length. reason: why it was refused. notes: warnings. Steps with the
    outcome "noted" come before the first file and concern a whole source: how it was interpreted, if that is ambiguous.
    origin, makers: set in the first step: where the labels come from, and the models that made them."""

    done: int
    total: int
    filename: str
    outcome: Outcome
    seconds: float = 0.0
    reason: str | None = None
    notes: tuple[str, ...] = ()
    origin: str = ""
    makers: tuple[str, ...] = ()


def ingest(
    sources: Sequence[Path | Remote | DataSettings],
    output: Path,
    settings: IngestSettings | None = None,
    left_out: Counter[str] | None = None,
) -> Iterator[IngestStep]:
    """Create or continue the dataset `output` from folders (local or at an address), tables and recipes. Yields a step
    for each of their files.

    Afterwards the dataset contains what the sources name. Unchanged files (by size and time) are kept, missing files
    are removed, and a bad file is refused without stopping the rest. Errors are raised with the first step. Files in
    folders that need ffmpeg are counted by suffix in `left_out` if ffmpeg is missing. Raises DatasetError,
    RecordingError, LabelError or RecipeError if a source or the output cannot be used at all, and SpecError if a
    network has no features or does not support this rate.
    """
    settings = settings or IngestSettings()
    if not sources:
        raise UsageError("no source; name a folder, a table or a recipe")
    read = [read_source(source, left_out) for source in sources]
    steps = _ingest_read(read, output, settings)
    if (first := next(steps, None)) is not None:
        origin = "; ".join(dict.fromkeys(one.origin for one in read if one.origin))
        yield replace(first, origin=origin, makers=tuple(dict.fromkeys(name for one in read for name in one.makers)))
    yield from steps


def _ingest_read(read: list[SourceItems], output: Path, settings: IngestSettings) -> Iterator[IngestStep]:
    rate = settings.sample_rate or next((s.sample_rate for s in read if s.sample_rate), DEFAULT_SAMPLE_RATE)
    items, refused, parts = merge_items(read)
    paths = [absolute(one.path.url) if isinstance(one.path, Remote) else str(one.path.resolve()) for one in read]
    try:
        layout = layout_of(spec_at_rate(settings.features, rate)) if settings.features else None
        with DatasetWriter(output, rate, settings.channels, layout) as writer:
            _check_sources(writer, paths, settings)
            work, gone, unread = plan_ingest(writer.stored(), items)
            session = _Ingest(writer, rate, settings.channels)
            session.total = len(refused) + len(gone) + len(unread) + len(work)
            yield from (
                IngestStep(0, session.total, str(one.path), "noted", notes=(note,))
                for one in read
                for note in one.notes
            )
            yield from session.begin(refused + unread, gone, paths)
            threads = settings.jobs or default_threads()
            for job, decoded in settings.decode(work, rate, settings.channels, threads):
                yield session.take(job, decoded)
            if not session.taken:
                why = f"no recording could be read; the last error was: {session.last_refused}"
                raise DatasetError(f"{output}: {why}")
            unsure = next((source.unsure for source in read if source.unsure), "")
            lost = session.lost_labels(items, unsure)
            yield from session.report_lost(lost)
            labels = [label for label in ordered_labels(read) if label not in lost]
            writer.finish(labels, paths, any(source.several for source in read), unsure, parts, lost)
    except (OSError, sqlite3.Error) as error:
        what = f"cannot be written ({getattr(error, 'strerror', None) or error})"
        raise DatasetError(f"{output}: {what}; free some space, and run it again to continue") from error


def cached_dataset(
    source: Path | DataSettings,
    cache_folder: Path,
    settings: IngestSettings | None = None,
    progress: Callable[[IngestStep], None] | None = None,
    left_out: Counter[str] | None = None,
) -> Dataset:
    """Open a dataset folder; any other source is first ingested (only its changes) into `cache_folder`. left_out: see
    `ingest`. Raises DatasetError if the cache was made from other sources, unless the settings allow replacing it."""
    if isinstance(source, Path) and is_dataset(source):
        return Dataset.open(source)
    for step in ingest([source], cache_folder, settings, left_out):
        if progress is not None:
            progress(step)
    return Dataset.open(cache_folder)


def ingest_arrays(
    recordings: Sequence[tuple[Item, ArraySource]], output: Path, sample_rate: int, channels: int
) -> Iterator[IngestStep]:
    """Make the dataset `output` from samples in memory. Raises DatasetError if none can be used."""
    with DatasetWriter(output, sample_rate, channels) as writer:
        session = _Ingest(writer, sample_rate, channels)
        session.total = len(recordings)
        yield from session.begin([], [], [])
        for item, source in recordings:
            job = DecodeJob(item, None, (source.samples.nbytes, 0))
            yield session.take(job, decode_recording(source, sample_rate, channels), source)
        if not session.taken:
            raise DatasetError(f"no recording could be read; the last error was: {session.last_refused}")
        writer.finish(sorted(session.taken_labels), [], any(item.more for item, _ in recordings))


def plan_ingest(
    stored: list[StoredRecording], items: list[Item]
) -> tuple[list[DecodeJob], list[StoredRecording], list[tuple[str, str]]]:
    """The files to ingest, the stored recordings that the sources no longer name, and files whose size cannot be
    read."""
    by_name = {one.filename: one for one in stored}
    by_path = {one.path: one for one in stored}
    left = {one.id: one for one in stored}
    work: list[DecodeJob] = []
    unread: list[tuple[str, str]] = []
    for item, identity in zip(items, _identities(items), strict=True):
        known = by_name.get(item.filename)
        if known is None or known.path != str(item.path):
            known = by_path.get(str(item.path), known)  # the same file may now have another name
        known = left.pop(known.id, None) if known is not None else None
        if not isinstance(identity, RecordingError):
            work.append(DecodeJob(item, known, identity))
            continue
        reason = reason_without_name(identity, item.path)
        if known is not None and isinstance(item.path, Remote) and not isinstance(identity, NotThereError):
            reason += "; recordings read earlier are kept"
            work.append(DecodeJob(item, known, (known.size, known.mtime_ns)))
        elif known is not None:
            left[known.id] = known
        unread.append((item.filename, reason))
    return work, list(left.values()), unread


def _identities(items: list[Item]) -> list[tuple[int, int] | RecordingError]:
    """The identity of each file, or the reason why it has none. Addresses are queried several at a time."""
    if not any(isinstance(item.path, Remote) for item in items):
        return list(map(_identity, items))
    with ThreadPoolExecutor(_ADDRESSES_AT_A_TIME) as pool:
        return list(pool.map(_identity, items))


def _identity(item: Item) -> tuple[int, int] | RecordingError:
    try:
        return item.identity()
    except RecordingError as error:
        return error
    except OSError as error:
        return RecordingError(f"cannot be read ({error.strerror}); check the name and its permissions")


def fit_annotations(
    annotations: Iterable[Annotation], duration_seconds: float
) -> tuple[tuple[Annotation, ...], list[str], list[str]]:
    """Annotations limited to a recording of this length, reasons for refused ones, and notes on those that were cut."""
    good: list[Annotation] = []
    bad: list[str] = []
    notes: list[str] = []
    for a in annotations:
        what = f'annotation "{show_name(a.label)}" {a.onset:g} to {a.offset:g} s'
        if problem := _problem(a, duration_seconds):
            bad.append(f"{what}: {problem}")
            continue
        cut = Annotation(max(a.onset, 0.0), min(a.offset, duration_seconds), a.label)
        if max(cut.onset - a.onset, a.offset - cut.offset) > _ROUNDING_SECONDS:
            notes.append(f"{what}: cut to {cut.onset:g} to {cut.offset:g} s, the extent of the recording")
        good.append(cut)
    return tuple(good), bad, notes


def _problem(a: Annotation, duration_seconds: float) -> str | None:
    if not (math.isfinite(a.onset) and math.isfinite(a.offset)):
        return "a time is not a finite number; correct it"
    if a.offset <= a.onset:
        return "ends before it begins; correct the times"
    if a.onset < -END_TOLERANCE_SECONDS or a.offset <= 0:
        return "begins before the recording; correct the times"
    if a.offset > duration_seconds + END_TOLERANCE_SECONDS or a.onset >= duration_seconds:
        return f"after the end of the recording at {duration_seconds:.3f} s; check that the times are in seconds"
    return None


class _Ingest:
    def __init__(self, writer: DatasetWriter, sample_rate: int, channels: int) -> None:
        self._writer, self._rate, self._channels = writer, sample_rate, channels
        self._powers = BandPowers(writer.features.input) if writer.features else None
        self._waiting = self._waiting_samples = self._done = 0
        self._committed = time.monotonic()
        self.total = self.taken = 0
        self.last_refused = ""
        self.taken_labels: set[str] = set()

    def lost_labels(self, items: Iterable[Item], unsure: str) -> dict[str, list[str]]:
        """Labels that no ingested recording has, with the names of their files."""
        lost: dict[str, list[str]] = {}
        for item in items:
            for label in sorted(item.all_labels() - self.taken_labels - {unsure}):
                lost.setdefault(label, []).append(item.filename)
        return lost

    def report_lost(self, lost: dict[str, list[str]]) -> Iterator[IngestStep]:
        self.total += len(lost)
        for label, names in lost.items():
            reason = f"label {describe_lost({label: names})}; repair them, or remove the label"
            yield replace(self._step("label", "lost", 0), reason=reason)

    def begin(
        self, refused: list[tuple[str, str]], gone: list[StoredRecording], sources: Sequence[str]
    ) -> Iterator[IngestStep]:
        """Bring the index up to date, except for new samples."""
        self._writer.start_again(sources)
        for name, reason in refused:
            yield self._refuse(name, reason)
        for stored in gone:
            self._writer.remove(stored.id)
            yield self._step(stored.filename, "removed", stored.samples)
        self._writer.commit()

    def take(self, job: DecodeJob, decoded: Decoded | str | None, array: ArraySource | None = None) -> IngestStep:
        """Store one recording, or the reason for refusing it. `decoded` is None for an unchanged file. array: its
        samples, if there is no file."""
        if decoded is None:
            assert job.stored is not None
            return self._describe(job, job.stored.id, job.stored.samples, ())
        if job.stored is not None:
            self._writer.remove(job.stored.id)
        if isinstance(decoded, str):
            return self._refuse(job.item.filename, decoded)
        source = array or job.item.path
        try:
            read = (source, self._rate, self._channels)
            number, samples, notes = read_decoded(decoded, lambda one: self._add(job, one), *read)
        except RecordingError as error:
            return self._refuse(job.item.filename, reason_without_name(error, source))
        return self._describe(job, number, samples, notes)

    def _add(self, job: DecodeJob, decoded: Decoded) -> tuple[int, int, tuple[str, ...]]:
        """The id and samples of a recording, and its notes."""
        recording = decoded.recording
        original = (recording.info.sample_rate, recording.info.channels)
        number, samples = self._writer.add(job.item, job.identity, decoded.blocks(), original, decoded.scale)
        said = [*recording.remarks, *([recording.note] if recording.note else [])]
        return number, samples, tuple(line.removeprefix(f"{recording.name}: ") for line in said)

    def _describe(self, job: DecodeJob, number: int, samples: int, notes: tuple[str, ...]) -> IngestStep:
        item, stored, digest = job.item, job.stored, job.item.digest()
        good, bad, cut = fit_annotations(item.annotations, samples / self._rate)
        for reason in bad:
            self._writer.refuse(item.filename, reason)
        outcome: Outcome = "added" if stored is None else "updated"
        if job.fresh or stored is None or (stored.digest, stored.path) != (digest, str(item.path)):
            if item.whole:
                heard = find_sound(self._writer.samples(number), self._rate)
                good += tuple(Annotation(onset, offset, item.whole) for onset, offset in heard)
            self._writer.describe(number, replace(item, annotations=good), digest)
        else:
            outcome = "kept"
        layout = self._writer.features
        if layout is not None and self._powers is not None and (job.fresh or stored is None or not stored.has_features):
            scale = self._writer.scale(number)
            parts = recording_powers(self._writer.samples(number), layout, self._powers, scale)
            self._writer.add_features(number, parts)
            outcome = "added" if stored is None else "updated"
        self.taken += 1
        self.taken_labels |= replace(item, annotations=good).all_labels()
        if outcome != "kept":
            self._commit_in_time(samples)
        return self._step(item.filename, outcome, samples, (*notes, *cut, *bad))

    def _commit_in_time(self, samples: int) -> None:
        self._waiting += 1
        self._waiting_samples += samples
        late = time.monotonic() - self._committed > _COMMIT_SECONDS
        if late or self._waiting >= _COMMIT_RECORDINGS or self._waiting_samples >= _COMMIT_SAMPLES:
            self._writer.commit()
            self._waiting = self._waiting_samples = 0
            self._committed = time.monotonic()

    def _refuse(self, filename: str, reason: str) -> IngestStep:
        self._writer.refuse(filename, reason)
        self.last_refused = f"{show_name(filename)}: {reason}"
        return replace(self._step(filename, "refused", 0), reason=reason)

    def _step(self, filename: str, outcome: Outcome, samples: int, notes: tuple[str, ...] = ()) -> IngestStep:
        self._done += 1
        return IngestStep(self._done, self.total, filename, outcome, samples / self._rate, None, notes)


def _check_sources(writer: DatasetWriter, paths: list[str], settings: IngestSettings) -> None:
    """Raises DatasetError if the sources differ from earlier ones, so that recordings would be dropped, unless
    `replace`."""
    before: list[str] = parse_json(writer.meta.get("sources", "[]"))
    places = zip(before, moved_sources(writer.meta, writer.folder), strict=True)
    missing = [path for path, now in places if path not in paths and now not in paths]
    if missing and not settings.replace and writer.stored():
        what = f"also contains {show_name(missing[0])}"
        remedy = "name that source too, choose another folder, or replace it with --force"
        raise DatasetError(f"{writer.folder}: {what}; {remedy}")


def find_sound(samples: NDArray[np.int16], sample_rate: int) -> list[tuple[float, float]]:
    """int16 (channels, samples) -> (onset, offset) of its sound in seconds: 20 ms frames at most 40 dB below the
    loudest, and pauses of up to 0.3 s."""
    size = max(1, round(SOUND_FRAME_SECONDS * sample_rate))
    powers = frame_powers(samples, size)
    loudest = float(powers.max(initial=0.0))
    if loudest == 0.0:
        return []
    heard = np.flatnonzero(powers >= loudest * 10.0 ** (-_BELOW_DECIBELS / 10.0))
    breaks = np.flatnonzero(np.diff(heard) * size > _BRIDGED_SECONDS * sample_rate + size)
    firsts = heard[np.concatenate([[0], breaks + 1])]
    lasts = heard[np.concatenate([breaks, [len(heard) - 1]])]
    total = samples.shape[1]
    return [
        (int(first) * size / sample_rate, min(int(last + 1) * size, total) / sample_rate)
        for first, last in zip(firsts, lasts, strict=True)
    ]


def frame_powers(samples: NDArray[np.int16], size: int) -> NDArray[np.float64]:
    """(frames,) mean square over all channels of each `size` samples; the last frame may be shorter. Works in blocks of
    a minute."""
    powers = []
    for start in range(0, samples.shape[1], size * _BLOCK_FRAMES):
        block = samples[:, start : start + size * _BLOCK_FRAMES].astype(np.float64) ** 2
        edges = np.arange(0, block.shape[1], size)
        counts = np.diff(np.append(edges, block.shape[1])) * len(block)
        powers.append(np.add.reduceat(block.sum(axis=0), edges) / counts)
    return np.concatenate(powers) if powers else np.zeros(0)
