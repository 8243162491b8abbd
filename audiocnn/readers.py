"""Threads that open, decode and submit recordings ahead of the one whose scores are taken.

Results come in the order of the input, each as soon as it is ready. What is ahead is bounded three ways: so many
recordings, so many samples that wait for the network, so many scores that nobody has taken yet. The recording whose
turn it is may always go on, so a slow one holds up the others only when they have run that far ahead, and never itself.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from audiocnn.detection import ScoreBlock, ScoredRecording, Scores, name_of
from audiocnn.engine import ChunkScores, Engine, usable_cores
from audiocnn.errors import RecordingError, bare
from audiocnn.recording import Recording, open_recording

RECORDINGS_AHEAD = 256
SAMPLES_AHEAD = 1 << 22  # 17 MB of float32
SCORES_AHEAD = 1 << 22
MOST_READERS = 16
FAREWELL_SECONDS = 1.0  # for readers that the system keeps waiting, as a disk does that does not answer
LAST_CHUNKS_SECONDS = 60.0  # for what the network has begun


@dataclass(frozen=True)
class Source:
    """A recording that is not open yet: its name in records, and how to open it, which may raise RecordingError."""

    name: str
    open: Callable[[], Recording]


File = str | Path | BinaryIO | Source


class Reading:
    """One recording of many, as its reader and its taker see it. `scored` is known when `blocks` has given or ended."""

    scored: ScoredRecording

    def __init__(self, source: Source, readers: Readers) -> None:
        self.source, self.readers = source, readers
        self.chunks: deque[ChunkScores] = deque()  # submitted and not taken, in order
        self.held = 0  # scores that are there and not taken
        self.open: Recording | None = None
        self.problem: BaseException | None = None
        self.failed = False  # a chunk of it could not be scored
        self.ended = self.left = False  # read to its end; not wanted any more

    @property
    def name(self) -> str:
        """As in records."""
        return self.source.name

    def blocks(self) -> Iterator[ScoreBlock]:
        """Scores of all channels, in order of time. RecordingError: cannot be opened, or not read to its end."""
        first = self.readers.take(self)
        if first is not None:
            yield from self.scored.blocks_of(self.rest(first))
        problem, self.problem = self.problem, None
        try:
            if problem is not None:
                raise problem
        finally:
            del problem  # which would hold this frame, and the frame it

    def stop(self) -> None:
        """Let its reader wait for a stream no longer. With the lock of the readers: nobody closes it meanwhile."""
        if self.open is not None:
            self.open.stop()

    def rest(self, scores: Scores | None) -> Iterator[Scores]:
        """These scores, and all that follow."""
        while scores is not None:
            yield scores
            scores = self.readers.take(self)


class Readers:
    """The threads, and what they have read ahead. One thread takes from it: `next`, `take`, `leave`, `close`.

    `files` is advanced by one reader at a time, only when there is room, and may wait for its next name for ever.
    """

    def __init__(self, files: Iterable[File], engine: Engine, channel: str | int, idle: Callable[[], object]) -> None:
        self.files, self.engine, self.channel, self.idle = iter(files), engine, channel, idle
        self.lock = threading.Lock()
        self.room, self.ready = threading.Condition(self.lock), threading.Condition(self.lock)
        self.ahead: deque[Reading] = deque()  # in the order of the input; the first is the one whose turn it is
        self.running = 0  # chunks that were submitted, and their scores are not there yet
        self.samples = 0  # in them
        self.scores = 0  # there, and not taken
        chunk_samples = engine.chunk_rows * engine.geometry.hop_samples
        self.most_samples = max(SAMPLES_AHEAD, 2 * engine.chunks_ahead * chunk_samples)
        # On the CPU the network is what takes long; a GPU takes all that the cores can decode.
        self.most = min(engine.jobs + 1 if engine.device == "cpu" else usable_cores(), MOST_READERS)
        self.threads: list[threading.Thread] = []
        self.fetcher: threading.Thread | None = None  # who waits for the next name
        self.exhausted = self.closed = False
        self.problem: BaseException | None = None

    # For who takes

    def next(self) -> Reading | None:
        """The recording whose turn it is now; None after the last."""
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

    def take(self, reading: Reading) -> Scores | None:
        """The next scores of the recording whose turn it is; None after the last."""
        if not reading.ended and not (reading.chunks and reading.chunks[0].done()):
            self.idle()
        with self.lock:
            while not reading.chunks and not reading.ended:
                self.ready.wait()
            if not reading.chunks:
                return None
            chunk = reading.chunks.popleft()
        scores = chunk.result()
        with self.lock:
            size = chunk.future.result().size
            reading.held -= size
            self.scores -= size
            self.room.notify_all()
        return scores

    def leave(self, reading: Reading) -> None:
        """The turn of a recording is over, whether or not all of it was taken."""
        with self.lock:
            self.ahead.popleft()
            reading.left = True
            reading.stop()
            self.scores -= reading.held
            unwanted = list(reading.chunks)
            self.room.notify_all()
        for chunk in unwanted:
            chunk.cancel()

    def close(self) -> None:
        """Stop: the threads leave and close their files. One that waits for the next name leaves when that comes."""
        with self.lock:
            self.closed = True
            for reading in self.ahead:
                reading.stop()
            unwanted = [chunk for reading in self.ahead for chunk in reading.chunks]
            self.room.notify_all()
        for chunk in unwanted:
            chunk.cancel()
        until = time.monotonic() + FAREWELL_SECONDS
        for thread in self.threads:
            if thread is not self.fetcher:
                thread.join(max(0.0, until - time.monotonic()))
        # A process that ends while its network runs in another thread ends with a crash.
        with self.lock:
            self.room.wait_for(lambda: not self.running, LAST_CHUNKS_SECONDS)

    # For who reads

    def start(self) -> None:
        """One more reader."""
        thread = threading.Thread(target=self.work, name=f"reader-{len(self.threads)}", daemon=True)
        thread.start()
        self.threads.append(thread)

    def work(self) -> None:
        """A reader's life."""
        while (reading := self.fetch()) is not None:
            try:
                self.read(reading)
            except RecordingError as problem:
                reading.problem = bare(problem)
            except BaseException as problem:  # noqa: BLE001 - who takes gets to know, in the turn of this recording
                reading.problem = problem
            with self.lock:
                reading.ended = True
                self.ready.notify()

    def fetch(self) -> Reading | None:
        """The next recording to read, as soon as there is room; None when there is no more."""
        with self.lock:
            while not self.over and (self.fetcher is not None or not self.has_room()):
                self.room.wait()
            if self.over:
                return None
            self.fetcher = threading.current_thread()
        found: Source | None = None
        try:
            found = source_of(next(self.files))
        except StopIteration:
            pass
        except BaseException as problem:  # noqa: BLE001 - who takes gets to know, after the recordings before it
            self.problem = problem
        with self.lock:
            self.fetcher = None
            self.exhausted = found is None
            self.room.notify_all()
            self.ready.notify()
            if found is None or self.closed:
                return None
            reading = Reading(found, self)
            self.ahead.append(reading)
            if len(self.threads) < self.most:
                with suppress(RuntimeError):  # the system gives no more threads: those that there are go on
                    self.start()
            return reading

    @property
    def over(self) -> bool:
        """Whether no more recordings are to be read."""
        return self.closed or self.exhausted

    def has_room(self) -> bool:
        """Whether one more recording may be read ahead."""
        return not self.ahead or (len(self.ahead) < RECORDINGS_AHEAD and self.has_room_for_sound())

    def has_room_for_sound(self) -> bool:
        """Whether more of any recording may be read ahead."""
        return self.samples < self.most_samples and self.scores < SCORES_AHEAD

    def read(self, reading: Reading) -> None:
        """Open a recording and submit all of it."""
        with reading.source.open() as recording:
            with self.lock:
                if self.closed or reading.left:
                    return
                reading.open = recording
            try:
                self.submit(reading, recording)
            finally:
                with self.lock:
                    reading.open = None

    def submit(self, reading: Reading, recording: Recording) -> None:
        """Submit each chunk of a recording when there is room for it."""
        scored = reading.scored = ScoredRecording(recording, reading.name, self.engine, self.channel)
        before, tracks = 0, recording.info.channels if scored.channel == "each" else 1
        for chunk in self.engine.submitted(scored.read(), recording.paused if recording.is_stream else None):
            samples, before = (scored.samples - before) * tracks, scored.samples
            with self.lock:
                self.running += 1
                self.samples += samples
                reading.chunks.append(chunk)
                self.ready.notify()
            chunk.future.add_done_callback(partial(self.done, reading, samples))
            with self.lock:
                while not self.may_read(reading):
                    self.room.wait()
                if self.closed or reading.left or reading.failed:
                    return

    def may_read(self, reading: Reading) -> bool:
        """Whether the reader of this recording may go on, if only to find that it is not wanted any more."""
        if self.closed or reading.left or reading.failed:
            return True
        turn = self.ahead[0] is reading and len(reading.chunks) <= self.engine.chunks_ahead
        return turn or self.has_room_for_sound()

    def done(self, reading: Reading, samples: int, future: Future[Scores]) -> None:
        """The scores of a chunk are there, or will never be."""
        good = not future.cancelled() and future.exception() is None
        with self.lock:
            self.running -= 1
            self.samples -= samples
            reading.failed |= not good
            if good and not reading.left:
                size = future.result().size
                reading.held += size
                self.scores += size
            self.room.notify_all()


def source_of(file: File) -> Source:
    """A file by its name, or an open stream, as something to open. TypeError for anything else."""
    if not isinstance(file, Source | str | os.PathLike) and not hasattr(file, "read"):
        raise TypeError(f"{file!r} is neither the name of a recording nor an open one")
    return file if isinstance(file, Source) else Source(name_of(file), partial(open_recording, file))
