"""Ingest: sources -> dataset. Incremental, crash-safe, and deaf to nothing: what is refused is listed with the reason."""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from audiocnn.dataset import Dataset, as_int16, is_dataset
from audiocnn.dataset_writer import Compute, DatasetWriter, Item, Stored
from audiocnn.errors import AudiocnnError, DatasetError, RecordingError, UsageError
from audiocnn.labels import Annotation
from audiocnn.recording import Recording, open_recording, show_name
from audiocnn.sources import DEFAULT_SAMPLE_RATE, DataSettings, Source, read_source

Outcome = Literal["added", "updated", "kept", "refused", "removed"]

# An annotation may end this much after its recording: encoders and rounded tables are off by so much.
END_TOLERANCE_SECONDS = 0.05
# Longer recordings are streamed by the writer, so that memory does not follow them.
_AHEAD_SAMPLES = 1 << 21
_COMMIT_RECORDINGS = 256
_COMMIT_SAMPLES = 1 << 25
_COMMIT_SECONDS = 5.0


@dataclass(frozen=True)
class IngestSettings:
    """sample_rate None: the recipe's, else 16000. channels 1: the mean of all. features: a name, with `compute` to make
    them. jobs 0: at most two decoder threads. replace: drop recordings of sources that are not named any more."""

    sample_rate: int | None = None
    channels: int = 1
    features: str | None = None
    compute: Compute | None = None
    jobs: int = 0
    replace: bool = False

    def __post_init__(self) -> None:
        if self.sample_rate is not None and self.sample_rate < 1:
            raise UsageError(f"sample rate {self.sample_rate}: expected Hz, such as {DEFAULT_SAMPLE_RATE}")
        if self.channels < 1:
            raise UsageError(f"channels {self.channels}: expected 1 or more")
        if self.jobs < 0:
            raise UsageError(f"jobs {self.jobs}: expected 1 or more, or 0 for the default")
        if (self.features is None) != (self.compute is None):
            raise UsageError("features need both a name and a function that computes them")


@dataclass(frozen=True, slots=True)
class IngestStep:
    """What was done to one file. seconds: its length; reason: why it was refused; notes: what else is to be known."""

    done: int
    total: int
    filename: str
    outcome: Outcome
    seconds: float = 0.0
    reason: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Work:
    """An item, what the dataset holds of it, and whether its samples have to be read."""

    item: Item
    stored: Stored | None
    identity: tuple[int, int]
    problem: str | None = None

    @property
    def fresh(self) -> bool:
        return self.stored is None or (self.stored.size, self.stored.mtime_ns) != self.identity


@dataclass(frozen=True)
class _Decoded:
    """The first blocks of a recording, and the recording itself if there is more to come."""

    head: list[NDArray[np.int16]]
    rest: Iterator[NDArray[np.int16]]
    recording: Recording

    def parts(self) -> Iterator[NDArray[np.int16]]:
        return chain(self.head, self.rest)


def ingest(
    sources: Sequence[Path | DataSettings], output: Path, settings: IngestSettings | None = None
) -> Iterator[IngestStep]:
    """Make or continue the dataset `output` from folders, tables and recipes; one step for each file they name.

    Afterwards the dataset holds what the sources say: unchanged files (size and time) are kept, files that are gone are
    removed, a bad one is refused with the reason and the rest is done. DatasetError, LabelError, RecipeError: a source
    or an output that cannot be used at all.
    """
    settings = settings or IngestSettings()
    read = [read_source(source) for source in sources]
    rate = settings.sample_rate or next((s.sample_rate for s in read if s.sample_rate), DEFAULT_SAMPLE_RATE)
    settings = replace(settings, sample_rate=rate)
    items, refused = _named_apart(read)
    if not items:
        raise DatasetError(f"{show_name(sources[0]) if sources else 'ingest'}: no recording that can be taken")
    with DatasetWriter(output, rate, settings.channels, settings.features) as writer:
        paths = [str(source.path.resolve()) for source in read]
        _same_sources(writer, paths, settings)
        work, gone = _plan(writer.stored(), items)
        writer.start_again()
        counter = _Counter(writer, len(refused) + len(gone) + len(work), settings)
        yield from counter.refuse_all(refused)
        yield from counter.remove_all(gone)
        writer.commit()
        for job, decoded in _decode_ahead(work, settings):
            yield counter.take(job, decoded)
        if not counter.taken:
            raise DatasetError(f"{output}: not one recording could be taken; the last reason: {counter.last_reason}")
        writer.finish(_labels(read, items), paths)


def cached_dataset(
    source: Path | DataSettings,
    cache_folder: Path,
    settings: IngestSettings | None = None,
    progress: Callable[[IngestStep], None] | None = None,
) -> Dataset:
    """A dataset folder as it is; any other source ingested first (what changed) into `cache_folder`."""
    if isinstance(source, Path) and is_dataset(source):
        return Dataset.open(source)
    for step in ingest([source], cache_folder, replace(settings or IngestSettings(), replace=True)):
        if progress is not None:
            progress(step)
    return Dataset.open(cache_folder)


def fit_annotations(
    annotations: Iterable[Annotation], seconds: float
) -> tuple[tuple[Annotation, ...], list[str], list[str]]:
    """Annotations that make sense in a recording of this length; reasons why others do not; notes on what was cut."""
    good: list[Annotation] = []
    bad: list[str] = []
    notes: list[str] = []
    for a in annotations:
        what = f'annotation "{a.label}" {a.onset:g} to {a.offset:g} s'
        if not (math.isfinite(a.onset) and math.isfinite(a.offset)):
            bad.append(f"{what}: not numbers; correct the times")
        elif a.offset <= a.onset:
            bad.append(f"{what}: ends before it begins; correct the times")
        elif a.onset < -END_TOLERANCE_SECONDS:
            bad.append(f"{what}: begins before the recording; correct the times")
        elif a.offset > seconds + END_TOLERANCE_SECONDS or a.onset >= seconds:
            bad.append(f"{what}: past the end of the recording at {seconds:.3f} s; are these times in seconds?")
        else:
            cut = Annotation(max(a.onset, 0.0), min(a.offset, seconds), a.label)
            if cut != a:
                notes.append(f"{what}: cut at the end of the recording ({cut.onset:g} to {cut.offset:g} s)")
            good.append(cut)
    return tuple(good), bad, notes


class _Counter:
    """Brings work into the dataset and counts it."""

    def __init__(self, writer: DatasetWriter, total: int, settings: IngestSettings) -> None:
        self._writer, self._total, self._settings = writer, total, settings
        self._done = 0
        self._waiting = self._waiting_samples = 0
        self._committed = time.monotonic()
        self.taken = 0
        self.last_reason = "none"

    def refuse_all(self, refused: list[tuple[str, str]]) -> Iterator[IngestStep]:
        for name, reason in refused:
            yield self._refuse(name, reason)

    def remove_all(self, gone: list[Stored]) -> Iterator[IngestStep]:
        for stored in gone:
            self._writer.remove(stored.id)
            yield self._step(stored.filename, "removed", stored.samples)

    def take(self, job: _Work, decoded: _Decoded | str | None) -> IngestStep:
        """Store one recording; `decoded` is None for one that is kept, a reason for one that cannot be."""
        if decoded is None:
            assert job.stored is not None
            return self._describe(job, job.stored.id, job.stored.samples, [])
        if job.stored is not None:
            self._writer.remove(job.stored.id)
        if isinstance(decoded, str):
            return self._refuse(job.item.filename, decoded)
        with decoded.recording as recording:
            try:
                number, samples = self._writer.add(job.item, job.identity, decoded.parts())
            except RecordingError as error:
                return self._refuse(job.item.filename, _reason(error, job.item.path))
            notes = [recording.note.removeprefix(f"{recording.name}: ")] if recording.note else []
        return self._describe(job, number, samples, notes)

    def _describe(self, job: _Work, number: int, samples: int, notes: list[str]) -> IngestStep:
        item, stored = job.item, job.stored
        assert self._settings.sample_rate is not None
        good, bad, more = fit_annotations(item.annotations, samples / self._settings.sample_rate)
        for reason in bad:
            self._writer.refuse(item.filename, reason)
        digest = item.digest()
        outcome: Outcome = "updated" if stored is not None else "added"
        if job.fresh or stored is None or (stored.digest, stored.path) != (digest, str(item.path)):
            self._writer.describe(number, replace(item, annotations=good), digest)
        else:
            outcome = "kept"
        if self._settings.compute is not None and (job.fresh or stored is None or not stored.has_features):
            self._writer.add_features(number, self._settings.compute)
            outcome = "updated" if outcome == "kept" else outcome
        self.taken += 1
        if outcome != "kept":
            self._commit_in_time(samples if job.fresh else 0)
        return self._step(item.filename, outcome, samples, tuple(notes + more + bad))

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
        self.last_reason = f"{show_name(filename)}: {reason}"
        return replace(self._step(filename, "refused", 0), reason=reason)

    def _step(self, filename: str, outcome: Outcome, samples: int, notes: tuple[str, ...] = ()) -> IngestStep:
        self._done += 1
        seconds = samples / (self._settings.sample_rate or 1)
        return IngestStep(self._done, self._total, filename, outcome, seconds, None, notes)


def _plan(stored: list[Stored], items: list[Item]) -> tuple[list[_Work], list[Stored]]:
    """What to do with each item, and what the sources do not name any more."""
    by_name = {one.filename: one for one in stored}
    by_path = {one.path: one for one in stored}
    left = {one.id: one for one in stored}
    work: list[_Work] = []
    for item in items:
        known = by_path.get(str(item.path)) or by_name.get(item.filename)
        # Two items may point at one (a name that moved): the first has it.
        known = left.pop(known.id, None) if known is not None else None
        try:
            status = item.path.stat()
            work.append(_Work(item, known, (status.st_size, status.st_mtime_ns)))
        except OSError as error:
            work.append(_Work(item, known, (-1, -1), f"cannot be read ({error.strerror}); check the name and the rights"))
    return work, list(left.values())


def _decode_ahead(work: list[_Work], settings: IngestSettings) -> Iterator[tuple[_Work, _Decoded | str | None]]:
    """Each piece of work in order with its samples, decoded in threads that run a bounded number of files ahead."""
    jobs = settings.jobs or min(2, os.cpu_count() or 1)
    waiting: deque[tuple[_Work, Future[_Decoded | str] | None]] = deque()
    with ThreadPoolExecutor(jobs, thread_name_prefix="decode") as pool:
        try:
            for job in work:
                waiting.append((job, pool.submit(_decode, job, settings) if job.fresh else None))
                if len(waiting) > 4 * jobs:
                    first, future = waiting.popleft()
                    yield first, future.result() if future else None
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result() if future else None
        finally:
            for _, future in waiting:
                if future is not None:
                    future.cancel()


def _decode(job: _Work, settings: IngestSettings) -> _Decoded | str:
    """The recording, or the reason why there is none."""
    if job.problem is not None:
        return job.problem
    try:
        recording = open_recording(job.item.path)
        have = recording.info.channels
        if settings.channels not in (1, have):
            recording.close()
            return f"{have} channels, and this dataset keeps {settings.channels}; convert it or leave it out"
        blocks = recording.blocks(settings.sample_rate, "mix" if settings.channels == 1 else "each")
        parts = (as_int16(block) for block in blocks)
        head: list[NDArray[np.int16]] = []
        samples = 0
        for part in parts:
            head.append(part)
            samples += part.shape[1]
            if samples > _AHEAD_SAMPLES:
                break
        return _Decoded(head, parts, recording)
    except AudiocnnError as error:
        return _reason(error, job.item.path)


def _reason(error: AudiocnnError, path: Path) -> str:
    """The message without the name, which stands beside it."""
    return str(error).removeprefix(f"{show_name(path)}: ")


def _named_apart(sources: list[Source]) -> tuple[list[Item], list[tuple[str, str]]]:
    """The items of all sources; of several, each name begins with the name of its source."""
    if len(sources) == 1:
        return sources[0].items, sources[0].refused
    items: list[Item] = []
    refused: list[tuple[str, str]] = []
    taken: set[str] = set()
    for source in sources:
        name = base = source.path.resolve().stem if source.path.is_file() else source.path.resolve().name
        count = 1
        while name in taken:
            count += 1
            name = f"{base}-{count}"
        taken.add(name)
        items += [replace(item, filename=f"{name}/{item.filename}") for item in source.items]
        refused += [(f"{name}/{filename}", reason) for filename, reason in source.refused]
    return items, refused


def _same_sources(writer: DatasetWriter, paths: list[str], settings: IngestSettings) -> None:
    """Naming other sources than before would drop all that was there: ask for it."""
    import json

    before: list[str] = json.loads(writer.meta.get("sources", "[]"))
    missing = [path for path in before if path not in paths]
    if missing and not settings.replace:
        raise DatasetError(
            f"{writer.folder}: also holds {show_name(missing[0])}; name that source too, choose another folder, or"
            " replace it with --force"
        )


def _labels(sources: list[Source], items: list[Item]) -> list[str]:
    """The labels a recipe gives, in its order; else all that occur, sorted."""
    given = [label for source in sources for label in source.labels or ()]
    if given and all(source.labels is not None for source in sources):
        return list(dict.fromkeys(given))
    used = {item.label for item in items if item.label} | {a.label for item in items for a in item.annotations}
    return list(dict.fromkeys(given)) + sorted(used - set(given))
