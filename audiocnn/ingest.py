"""Ingest: sources -> dataset. What is refused is listed with the reason, and the rest is done."""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from audiocnn.addresses import Remote, absolute
from audiocnn.dataset import Dataset, is_dataset
from audiocnn.dataset_writer import Compute, DatasetWriter, Stored
from audiocnn.decoding import Decoded, Job, decode_ahead, default_threads, reason_of
from audiocnn.errors import DatasetError, RecordingError, UsageError
from audiocnn.filenames import show_name
from audiocnn.ingest_plan import plan
from audiocnn.labels import Annotation
from audiocnn.sounding import sounding
from audiocnn.sources import DEFAULT_SAMPLE_RATE, DataSettings, labels_of, named_apart, read_source

__all__ = [
    "DEFAULT_SAMPLE_RATE",
    "DataSettings",
    "IngestSettings",
    "IngestStep",
    "cached_dataset",
    "fit_annotations",
    "ingest",
]

Outcome = Literal["added", "updated", "kept", "refused", "removed"]

# An annotation may end this much after its recording: encoders and people are off by so much.
END_TOLERANCE_SECONDS = 0.05
# Tables round to hundredths; to tell of each such cut would drown what matters.
ROUNDING_SECONDS = 0.01

_COMMIT_RECORDINGS = 256
_COMMIT_SAMPLES = 1 << 25
_COMMIT_SECONDS = 5.0


@dataclass(frozen=True)
class IngestSettings:
    """How to ingest.

    sample_rate None: what the recipe says, else 16000. channels 1: the mean of all. features: the name of a
    kind; `frontend_for(name, sample_rate)` gives the function that computes it. jobs: decoder threads, 0 for
    the default. replace: drop the recordings of sources that are not named any more. decode: who decodes, in order,
    called as `decode_ahead` is.
    """

    sample_rate: int | None = None
    channels: int = 1
    features: str | None = None
    frontend_for: Callable[[str, int], Compute] | None = None
    jobs: int = 0
    replace: bool = False
    decode: Callable[[Iterable[Job], int, int, int], Iterator[tuple[Job, Decoded | str | None]]] = decode_ahead

    def __post_init__(self) -> None:
        if self.sample_rate is not None and self.sample_rate < 1:
            raise UsageError(f"sample rate {self.sample_rate}: expected Hz, such as {DEFAULT_SAMPLE_RATE}")
        if self.channels < 1:
            raise UsageError(f"channels {self.channels}: expected 1 or more")
        if self.jobs < 0:
            raise UsageError(f"jobs {self.jobs}: expected 1 or more, or 0 for the default")
        if self.features is not None and self.frontend_for is None:
            raise UsageError(f"features {self.features}: nothing was given that computes them")

    def compute(self, sample_rate: int) -> Compute | None:
        """The function that computes the features, if there are to be any."""
        if self.features is None or self.frontend_for is None:
            return None
        return self.frontend_for(self.features, sample_rate)


@dataclass(frozen=True, slots=True)
class IngestStep:
    """What was done to one file. seconds: its length; reason: why it was refused; notes: what else is so."""

    done: int
    total: int
    filename: str
    outcome: Outcome
    seconds: float = 0.0
    reason: str | None = None
    notes: tuple[str, ...] = ()


def ingest(
    sources: Sequence[Path | Remote | DataSettings],
    output: Path,
    settings: IngestSettings | None = None,
    left_out: Counter[str] | None = None,
) -> Iterator[IngestStep]:
    """Make or continue the dataset `output` from folders (here or at an address), tables and recipes; a step for each
    file they name.

    Afterwards the dataset holds what the sources say: unchanged files (size and time) are kept, files that
    are gone are removed, a bad one is refused and the rest is done. Errors come with the first step. Files in
    folders that only ffmpeg reads are counted by suffix in `left_out` where there is none.
    DatasetError, RecordingError, LabelError, RecipeError: a source or an output that cannot be used at all.
    """
    settings = settings or IngestSettings()
    if not sources:
        raise UsageError("no source; name a folder, a table or a recipe")
    read = [read_source(source, left_out) for source in sources]
    rate = settings.sample_rate or next((s.sample_rate for s in read if s.sample_rate), DEFAULT_SAMPLE_RATE)
    items, refused = named_apart(read)
    paths = [_place(source.path) for source in read]
    try:
        with DatasetWriter(output, rate, settings.channels, settings.features) as writer:
            _check_sources(writer, paths, settings)
            work, gone, unread = plan(writer.stored(), items)
            counter = _Counter(writer, rate, settings.compute(rate))
            counter.total = len(refused) + len(gone) + len(unread) + len(work)
            yield from counter.begin(refused + unread, gone, paths)
            threads = settings.jobs or default_threads()
            for job, decoded in settings.decode(work, rate, settings.channels, threads):
                yield counter.take(job, decoded)
            if not counter.taken:
                why = f"not one recording could be taken; the last was {counter.last_refused}"
                raise DatasetError(f"{output}: {why}")
            writer.finish(labels_of(read), paths, any(source.several for source in read))
    except (OSError, sqlite3.Error) as error:
        what = f"cannot be written ({error})"
        raise DatasetError(f"{output}: {what}; make room, and run it again to go on") from error


def cached_dataset(
    source: Path | DataSettings,
    cache_folder: Path,
    settings: IngestSettings | None = None,
    progress: Callable[[IngestStep], None] | None = None,
    left_out: Counter[str] | None = None,
) -> Dataset:
    """A dataset folder as it is; any other source ingested first (what changed) into `cache_folder`. left_out: as in
    `ingest`. DatasetError: a cache of other sources, unless the settings replace it."""
    if isinstance(source, Path) and is_dataset(source):
        return Dataset.open(source)
    for step in ingest([source], cache_folder, settings, left_out):
        if progress is not None:
            progress(step)
    return Dataset.open(cache_folder)


def fit_annotations(
    annotations: Iterable[Annotation], duration_seconds: float
) -> tuple[tuple[Annotation, ...], list[str], list[str]]:
    """Annotations that can be in a recording of this length; why others cannot; notes on what was cut."""
    good: list[Annotation] = []
    bad: list[str] = []
    notes: list[str] = []
    for a in annotations:
        what = f'annotation "{show_name(a.label)}" {a.onset:g} to {a.offset:g} s'
        if problem := _problem(a, duration_seconds):
            bad.append(f"{what}: {problem}")
            continue
        cut = Annotation(max(a.onset, 0.0), min(a.offset, duration_seconds), a.label)
        if max(cut.onset - a.onset, a.offset - cut.offset) > ROUNDING_SECONDS:
            notes.append(f"{what}: cut to {cut.onset:g} to {cut.offset:g} s, where the recording is")
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
        return f"past the end of the recording at {duration_seconds:.3f} s; are these times in seconds?"
    return None


class _Counter:
    """Brings work into the dataset and counts it."""

    def __init__(self, writer: DatasetWriter, sample_rate: int, compute: Compute | None) -> None:
        self._writer, self._rate, self._compute = writer, sample_rate, compute
        self._waiting = self._waiting_samples = self._done = 0
        self._committed = time.monotonic()
        self.total = self.taken = 0
        self.last_refused = ""

    def begin(self, refused: list[tuple[str, str]], gone: list[Stored], sources: Sequence[str]) -> Iterator[IngestStep]:
        """Bring the index to what the sources say, but for new samples."""
        self._writer.start_again(sources)
        for name, reason in refused:
            yield self._refuse(name, reason)
        for stored in gone:
            self._writer.remove(stored.id)
            yield self._step(stored.filename, "removed", stored.samples)
        self._writer.commit()

    def take(self, job: Job, decoded: Decoded | str | None) -> IngestStep:
        """Store one recording, or why not; None is one that is kept."""
        if decoded is None:
            assert job.stored is not None
            return self._describe(job, job.stored.id, job.stored.samples, ())
        if job.stored is not None:
            self._writer.remove(job.stored.id)
        if isinstance(decoded, str):
            return self._refuse(job.item.filename, decoded)
        with decoded.recording as recording:
            try:
                original = (recording.info.sample_rate, recording.info.channels)
                number, samples = self._writer.add(job.item, job.identity, decoded.blocks(), original)
            except RecordingError as error:
                return self._refuse(job.item.filename, reason_of(error, job.item.path))
            notes = (recording.note.removeprefix(f"{recording.name}: "),) if recording.note else ()
        return self._describe(job, number, samples, notes)

    def _describe(self, job: Job, number: int, samples: int, notes: tuple[str, ...]) -> IngestStep:
        item, stored, digest = job.item, job.stored, job.item.digest()
        good, bad, cut = fit_annotations(item.annotations, samples / self._rate)
        for reason in bad:
            self._writer.refuse(item.filename, reason)
        outcome: Outcome = "added" if stored is None else "updated"
        if job.fresh or stored is None or (stored.digest, stored.path) != (digest, str(item.path)):
            if item.whole:
                heard = sounding(self._writer.samples(number), self._rate)
                good += tuple(Annotation(onset, offset, item.whole) for onset, offset in heard)
            self._writer.describe(number, replace(item, annotations=good), digest)
        else:
            outcome = "kept"
        if self._compute is not None and (job.fresh or stored is None or not stored.has_features):
            self._writer.add_features(number, self._compute)
            outcome = "added" if stored is None else "updated"
        self.taken += 1
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


def _place(source: Path | Remote) -> str:
    """A source by the name that it has from anywhere."""
    return absolute(source.url) if isinstance(source, Remote) else str(source.resolve())


def _check_sources(writer: DatasetWriter, paths: list[str], settings: IngestSettings) -> None:
    """To name other sources than before would drop all that was there: that has to be asked for."""
    before: list[str] = json.loads(writer.meta.get("sources", "[]"))
    missing = [path for path in before if path not in paths]
    if missing and not settings.replace and writer.stored():
        what = f"also holds {show_name(missing[0])}"
        remedy = "name that source too, choose another folder, or replace it with --force"
        raise DatasetError(f"{writer.folder}: {what}; {remedy}")
