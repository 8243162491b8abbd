"""From recordings to blocks of scores: one recording (`scoring`), or many, read ahead by threads (`score_many`).

Everything is streamed: memory grows neither with the length nor with the number of recordings.

`score_many` opens, decodes and submits recordings ahead of the one whose scores are consumed. Results come in the order
of the input, each as soon as it is ready. Reading ahead is limited by the number of recordings, by the samples waiting
for the network, and by the scores not yet consumed. The recording whose turn it is may always continue. A slow
recording therefore never blocks itself, and blocks others only when they have reached these limits.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sized
from concurrent.futures import Future
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, TypeVar

import numpy as np

from audiocnn.audio.arrays import AnyArray
from audiocnn.audio.pcm import RawFormat, Samples
from audiocnn.audio.recording import ARRAY_NAME, Recording, Selection, open_recording
from audiocnn.errors import RecordingError, bare, check_not_forked, show_name
from audiocnn.inference.batcher import Scores
from audiocnn.inference.engine import ChunkScores, Engine, load_engine, usable_cores
from audiocnn.inference.frames import data_frame
from audiocnn.model.model import DEFAULT_MODEL, ModelLike, find_model, split_outputs
from audiocnn.progress import Progress, ProgressCallback
from audiocnn.units import round_seconds

if TYPE_CHECKING:
    import pandas

RECORDINGS_AHEAD = 256
SAMPLES_AHEAD = 1 << 20  # 4 MB of float32
SCORES_AHEAD = 1 << 22
_MOST_READERS = 16
FAREWELL_SECONDS = 1.0  # for readers blocked in the system, such as by a disk that does not respond
_LAST_CHUNKS_SECONDS = 60.0  # for chunks that the network has started


@dataclass(frozen=True)
class RecordingSource:
    """A recording that is not open yet: its name in records, and a function to open it, which may raise
    RecordingError."""

    name: str
    open: Callable[[], Recording]


RecordingLike = str | Path | BinaryIO | RecordingSource
_Item_co = TypeVar("_Item_co", covariant=True)
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class ScoreBlock:
    """Rows of scores (rows, classes) of one channel; row k covers [k * hop, (k + 1) * hop) from `start_seconds` on.

    edges: (rows, classes, 2) in seconds before and after the middle of a row, for a model that localises.
    heard_seconds: a lower bound of the sound read, when the block came. start_seconds: its position in the recording.
    """

    channel: int
    first_row: int
    scores: Scores
    edges: Scores | None = None
    heard_seconds: float = 0.0
    start_seconds: float = 0.0

    def of(self, column: int) -> Scores:
        """The columns of one label: its scores (rows,), or score, onset, offset (rows, 3)."""
        scores = self.scores[:, column]
        return scores if self.edges is None else np.column_stack([scores, self.edges[:, column]])


@dataclass(frozen=True)
class RecordingResult:
    """The fields that every result has on its recording. The duration, at the model's rate, is the length that was
    read.

    start_seconds: where reading started.
    """

    file: str
    duration_seconds: float
    sample_rate: int
    channels: int
    model: str
    device: str
    start_seconds: float = field(default=0.0, kw_only=True)


class ScoreConsumer(Protocol[_Item_co]):
    """An object that takes the scores of one recording, such as `Detector` and `Classifier`."""

    def push(self, block: ScoreBlock) -> Iterable[_Item_co]:
        """Add the next rows of a channel. Returns what is now certain."""

    def finish(self, scored: ScoredRecording) -> Iterable[_Item_co]:
        """The remaining results at the end of the recording. RecordingError if it cannot be judged."""


class ScoredRecording:
    """An open recording and its scores, block by block. `.recording.info` describes the file.

    live: each row comes as soon as its samples have arrived, not chunk by chunk. seen: called with each block of
    samples (channels, samples) on its way to the network.
    """

    recording: Recording

    def __init__(
        self,
        recording: Recording | None,
        name: str,
        engine: Engine,
        channel: str | int,
        live: bool = False,
        seen: Callable[[Samples], object] | None = None,
    ) -> None:
        if recording is not None:
            self.recording = recording
        self.name, self.engine, self.live, self.seen = name, engine, live, seen
        self.channel = "each" if engine.channels > 1 else channel
        self.samples = 0  # number of samples read, at the model's rate

    @property
    def start_seconds(self) -> float:
        """Position of the first row in the recording."""
        return self.recording.start_seconds

    @property
    def duration_seconds(self) -> float:
        """Duration of the sound read so far."""
        return self.samples / self.engine.geometry.sample_rate

    def read(self) -> Iterator[Samples]:
        wanted = self.engine.channels
        rate = self.engine.geometry.sample_rate
        if self.recording.is_stream:
            pieces = self.recording.pieces(rate, self.channel, self.live)
        else:
            pieces = self.recording.blocks(rate, self.channel)
        for block in pieces:
            self.samples += block.shape[1]
            if wanted > 1 and len(block) not in (1, wanted):
                raise RecordingError(
                    f"{self.name}: has {len(block)} channels, but {self.engine.model.name} expects {wanted};"
                    " use a model for one channel, or convert the file"
                )
            samples = np.repeat(block, wanted, axis=0) if len(block) < wanted else block
            if self.seen is not None:
                self.seen(samples)
            yield samples

    def chunks(self) -> Iterator[Scores]:
        """(tracks, rows, outputs) in order of time. RecordingError if the recording cannot be read to its end."""
        score = self.engine.score_live if self.live else self.engine.score_tracks
        return score(self.read())

    def blocks(self) -> Iterator[ScoreBlock]:
        """Scores of all channels, in order of time. RecordingError if it cannot be opened, or not read to its end."""
        row, classes = 0, len(self.engine.model.labels)
        for tracks in self.chunks():
            for track, outputs in enumerate(tracks):
                channel = self.channel if isinstance(self.channel, int) else track
                scores, edges = split_outputs(outputs, classes)
                yield ScoreBlock(channel, row, scores, edges, self.duration_seconds, self.start_seconds)
            row += tracks.shape[1]

    def results(
        self, consumer: ScoreConsumer[_Result], progress: Callable[[ScoredRecording, ScoreBlock], object] | None = None
    ) -> Iterator[_Result]:
        """The results of a `Detector` or `Classifier`, each as soon as it is certain. Raises RecordingError.

        `progress` is called after each block. Before an error, the results of a live recording are completed.
        """
        try:
            for block in self.blocks():
                yield from consumer.push(block)
                if progress is not None:
                    progress(self, block)
        except RecordingError:
            if self.live:
                yield from consumer.finish(self)
            raise
        yield from consumer.finish(self)

    def facts(self) -> dict[str, Any]:
        """The fields of a `RecordingResult`, with the notes, of a recording that was read to its end."""
        info = self.recording.info
        return {
            "file": self.name,
            "start_seconds": self.start_seconds,
            "duration_seconds": self.start_seconds + self.duration_seconds,
            "sample_rate": info.sample_rate,
            "channels": info.channels,
            "model": self.engine.model.name,
            "device": self.engine.device,
            "note": self.recording.note,
            "remarks": tuple(self.recording.remarks),
        }


@contextmanager
def scoring(
    file: str | Path | BinaryIO | AnyArray,
    engine: Engine,
    channel: str | int = "mix",
    raw: RawFormat | None = None,
    live: bool = False,
    excerpt: Selection | None = None,
    sample_rate: int | None = None,
) -> Iterator[ScoredRecording]:
    """Open a recording to score it. A live one is not copied first. Raises RecordingError with place and remedy."""
    with open_recording(file, raw, may_copy=not live, excerpt=excerpt, sample_rate=sample_rate) as recording:
        yield ScoredRecording(recording, recording_name(file), engine, channel, live)


def recording_name(file: object) -> str:
    if isinstance(file, str | Path):
        return str(file)
    return show_name(getattr(file, "name", "-")) if hasattr(file, "read") else ARRAY_NAME


@dataclass(frozen=True, eq=False)
class RecordingScores(RecordingResult):
    """The scores of a recording: (channels, rows, labels), with one row every `hop_seconds` from `start_seconds` on.

    - `channels_read`: their numbers.
    - `note`: that the recording is damaged or cut short, and how far it could be read.
    - `remarks`: other observations about it.
    """

    labels: tuple[str, ...]
    hop_seconds: float
    channels_read: tuple[int, ...]
    scores: Scores
    note: str | None = None
    remarks: tuple[str, ...] = ()

    def to_dataframe(self) -> pandas.DataFrame:
        """One row per hop and channel: file, channel, start, a column per label. Raises UsageError without pandas."""
        rows = self.scores.shape[1]
        starts = [round_seconds(self.start_seconds + row * self.hop_seconds) for row in range(rows)]
        columns: dict[str, Any] = {
            "file": [self.file] * (rows * len(self.channels_read)),
            "channel": np.repeat(self.channels_read, rows),
            "start": starts * len(self.channels_read),
        }
        for column, label in enumerate(self.labels):
            columns[label] = self.scores[:, :, column].ravel()
        return data_frame(columns)


def score(
    file: str | Path | BinaryIO | AnyArray,
    model: ModelLike = DEFAULT_MODEL,
    channel: str | int = "mix",
    device: str = "auto",
    *,
    sample_rate: int | None = None,
    start_seconds: float = 0.0,
    end_seconds: float | None = None,
    track: int | None = None,
) -> RecordingScores:
    """Compute the score of each label at every hop of a recording, or of samples in memory as in `detect`. All scores
    are kept in memory. Raises RecordingError.

    >>> audiocnn.score("interview.wav").scores.shape
    (1, 3000, 1)
    """
    engine, excerpt = load_engine(find_model(model), device), Selection(start_seconds, end_seconds, track)
    blocks: dict[int, list[Scores]] = {}
    with scoring(file, engine, channel, excerpt=excerpt, sample_rate=sample_rate) as scored:
        for block in scored.blocks():
            blocks.setdefault(block.channel, []).append(block.scores)
        return RecordingScores(
            **scored.facts(),
            labels=engine.model.labels,
            hop_seconds=engine.hop_seconds,
            channels_read=tuple(blocks),
            scores=np.stack([np.concatenate(rows) for rows in blocks.values()]),
        )


class PendingRecording(ScoredRecording):
    """One recording of many. `recording` is set once `blocks` has yielded a block, or has ended without an error."""

    def __init__(self, source: RecordingSource, pool: ReaderPool) -> None:
        super().__init__(None, source.name, pool.engine, pool.channel)
        self.source, self.pool = source, pool
        self.submitted: deque[ChunkScores] = deque()  # not yet taken, in order
        self.held = 0  # number of scores computed and not yet taken
        self.open: Recording | None = None
        self.problem: BaseException | None = None
        self.failed = False  # one of its chunks could not be scored
        self.ended = self.left = False  # read to its end; no longer wanted

    def chunks(self) -> Iterator[Scores]:
        while (scores := self.pool.take(self)) is not None:
            yield scores
        problem, self.problem = self.problem, None
        try:
            if problem is not None:
                raise problem
        finally:
            del problem  # it would keep this frame alive, and the frame it

    def stop(self) -> None:
        """Stop its reader from waiting for a stream. Needs the lock of the pool, so that it is not closed meanwhile."""
        if self.open is not None:
            self.open.stop()


class ReaderPool:
    """Threads that read recordings ahead. One other thread takes the results: `next`, `take`, `leave`, `close`.

    `files` is advanced by one reader at a time, and only if there is room. It may wait indefinitely for its next name.
    """

    def __init__(
        self, files: Iterable[RecordingLike], engine: Engine, channel: str | int, idle: Callable[[], object]
    ) -> None:
        self.files, self.engine, self.channel, self.idle = iter(files), engine, channel, idle
        self.lock = threading.Lock()
        self.room, self.ready = threading.Condition(self.lock), threading.Condition(self.lock)
        self.ahead: deque[PendingRecording] = deque()  # in the order of the input; the first one is taken from now
        self.running = 0  # chunks submitted whose scores are not there yet
        self.samples = 0  # in these chunks
        self.scores = 0  # computed, and not taken
        chunk_samples = engine.chunk_rows * engine.geometry.hop_samples
        self.most_samples = max(SAMPLES_AHEAD, engine.chunks_ahead * chunk_samples)
        # On the CPU the network is the bottleneck. A GPU keeps up with all that the cores can decode.
        self.most = min(engine.jobs + 1 if engine.device == "cpu" else usable_cores(), _MOST_READERS)
        self.threads: list[threading.Thread] = []
        self.fetcher: threading.Thread | None = None  # waits for the next name
        self.exhausted = self.closed = False
        self.problem: BaseException | None = None
        self.pid = os.getpid()

    # Called by the thread that takes

    def next(self) -> PendingRecording | None:
        """The next recording to take from. None after the last."""
        self.check_process()
        if not self.threads:
            self.start()
        if not self.ahead and not self.exhausted:
            self.idle()
        with self.lock:
            while not self.ahead and not self.exhausted:
                self.ready.wait()
            if self.ahead:
                return self.ahead[0]
        if self.problem is not None:
            raise self.problem
        return None

    def take(self, pending: PendingRecording) -> Scores | None:
        """The next scores of the recording to take from. None after the last."""
        self.check_process()
        if not pending.ended and not (pending.submitted and pending.submitted[0].future.done()):
            self.idle()
        with self.lock:
            while not pending.submitted and not pending.ended:
                self.ready.wait()
            if not pending.submitted:
                return None
            chunk = pending.submitted.popleft()
        scores = chunk.result()
        with self.lock:
            size = chunk.future.result().size
            pending.held -= size
            self.scores -= size
            self.room.notify_all()
        return scores

    def leave(self, pending: PendingRecording) -> None:
        """Finish with a recording, whether or not all of it was taken."""
        self.check_process()
        with self.lock:
            self.ahead.popleft()
            pending.left = True
            pending.stop()
            self.scores -= pending.held
            unwanted = list(pending.submitted)
            self.room.notify_all()
        for chunk in unwanted:
            chunk.cancel()

    def close(self) -> None:
        """Stop: the threads end and close their files. A thread that waits for the next name ends when it comes."""
        if self.pid != os.getpid():
            return
        with self.lock:
            self.closed = True
            for pending in self.ahead:
                pending.stop()
            unwanted = [chunk for pending in self.ahead for chunk in pending.submitted]
            self.room.notify_all()
        for chunk in unwanted:
            chunk.cancel()
        until = time.monotonic() + FAREWELL_SECONDS
        for thread in self.threads:
            if thread is not self.fetcher:
                thread.join(max(0.0, until - time.monotonic()))
        # A process that exits while its network runs in another thread crashes.
        with self.lock:
            self.room.wait_for(lambda: not self.running, _LAST_CHUNKS_SECONDS)

    def check_process(self) -> None:
        check_not_forked(self.pid, "reading recordings ahead")

    # Called by the threads that read

    def start(self) -> None:
        thread = threading.Thread(target=self.work, name=f"reader-{len(self.threads)}", daemon=True)
        thread.start()
        self.threads.append(thread)

    def work(self) -> None:
        while (pending := self.fetch()) is not None:
            try:
                self.read(pending)
            except RecordingError as problem:
                pending.problem = bare(problem)
            except BaseException as problem:  # noqa: BLE001 - raised where this recording is taken
                pending.problem = problem
            with self.lock:
                pending.ended = True
                self.ready.notify()

    def fetch(self) -> PendingRecording | None:
        """The next recording to read, as soon as there is room. None if there are no more."""
        with self.lock:
            while not self.over and (self.fetcher is not None or not self.has_room()):
                self.room.wait()
            if self.over:
                return None
            self.fetcher = threading.current_thread()
        found: RecordingSource | None = None
        try:
            found = _as_source(next(self.files))
        except StopIteration:
            pass
        except BaseException as problem:  # noqa: BLE001 - raised after the recordings before it
            self.problem = problem
        with self.lock:
            self.fetcher = None
            self.exhausted = found is None
            self.room.notify_all()
            self.ready.notify()
            if found is None or self.closed:
                return None
            pending = PendingRecording(found, self)
            self.ahead.append(pending)
            if len(self.threads) < self.most:
                with suppress(RuntimeError):  # the system gives no more threads: continue with the existing ones
                    self.start()
            return pending

    @property
    def over(self) -> bool:
        return self.closed or self.exhausted

    def has_room(self) -> bool:
        return not self.ahead or (len(self.ahead) < RECORDINGS_AHEAD and self.has_room_for_sound())

    def has_room_for_sound(self) -> bool:
        """Whether more of any recording may be read ahead."""
        return self.samples < self.most_samples and self.scores < SCORES_AHEAD

    def read(self, pending: PendingRecording) -> None:
        with pending.source.open() as recording:
            pending.recording = recording
            with self.lock:
                if self.closed or pending.left:
                    return
                pending.open = recording
            try:
                self.submit(pending, recording)
            finally:
                with self.lock:
                    pending.open = None

    def submit(self, pending: PendingRecording, recording: Recording) -> None:
        before, tracks = 0, recording.info.channels if pending.channel == "each" else 1
        for chunk in self.engine.submitted(pending.read(), recording.paused if recording.is_stream else None):
            samples, before = (pending.samples - before) * tracks, pending.samples
            with self.lock:
                self.running += 1
                self.samples += samples
                pending.submitted.append(chunk)
                self.ready.notify()
            chunk.future.add_done_callback(partial(self.done, pending, samples))
            with self.lock:
                while not self.may_read(pending):
                    self.room.wait()
                if self.closed or pending.left or pending.failed:
                    return

    def may_read(self, pending: PendingRecording) -> bool:
        """Whether the reader of this recording may continue, possibly only to find that it is no longer wanted."""
        if self.closed or pending.left or pending.failed:
            return True
        turn = self.ahead[0] is pending and len(pending.submitted) <= self.engine.chunks_ahead
        return turn or self.has_room_for_sound()

    def done(self, pending: PendingRecording, samples: int, future: Future[Scores]) -> None:
        """Called when the scores of a chunk are there, or will never be."""
        good = not future.cancelled() and future.exception() is None
        with self.lock:
            self.running -= 1
            self.samples -= samples
            pending.failed |= not good
            if good and not pending.left:
                size = future.result().size
                pending.held += size
                self.scores += size
            self.room.notify_all()


def _as_source(file: RecordingLike) -> RecordingSource:
    """A file name, or an open stream, as a source to open. TypeError for anything else."""
    if isinstance(file, RecordingSource):
        return file
    if not isinstance(file, str | os.PathLike) and not hasattr(file, "read"):
        shown = file if file is None else f"a {type(file).__name__}"
        raise TypeError(f"{shown} is neither a file name nor an open stream")
    return RecordingSource(recording_name(file), partial(open_recording, file))


def score_many(
    files: Iterable[RecordingLike],
    engine: Engine,
    channel: str | int = "mix",
    idle: Callable[[], object] = lambda: None,
) -> Generator[PendingRecording]:
    """Score each file in order, while the next ones are read. The blocks of one must be taken before the next.

    `files` may be endless. `idle` is called before waiting for a file or for scores.
    """
    pool = ReaderPool(files, engine, channel, idle)
    try:
        while (pending := pool.next()) is not None:
            yield pending
            pool.leave(pending)
    finally:
        pool.close()


def map_many(
    evaluate: Callable[[ScoredRecording], _Result],
    files: Iterable[RecordingLike],
    engine: Engine,
    channel: str | int,
    idle: Callable[[], object],
) -> Generator[_Result | RecordingError]:
    """The result of `evaluate` for each file, or the error that stopped it, in order. A bad file does not stop the
    others.

    `files` and `idle`: as in `score_many`.
    """
    if isinstance(files, str | bytes):
        raise TypeError(f"files: a single name, {files!r}; give a list of names")
    with closing(score_many(files, engine, channel, idle)) as recordings:
        for scored in recordings:
            result: _Result | RecordingError
            try:
                result = evaluate(scored)
            except RecordingError as problem:
                result = bare(problem)
            yield result


def follow_results(
    results: Generator[_Result | RecordingError],
    files: Iterable[RecordingLike],
    stage: str,
    progress: ProgressCallback | None,
) -> Generator[_Result | RecordingError]:
    """The same results; each is first passed to `progress`. An exception there ends the iteration and the reading."""
    total = len(files) if isinstance(files, Sized) else None
    with closing(results):
        for done, result in enumerate(results, 1):
            if progress is not None:
                progress(
                    Progress(stage, done, total, result.file if isinstance(result, RecordingResult) else str(result))
                )
            yield result
