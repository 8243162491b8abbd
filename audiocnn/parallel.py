"""Many recordings at once: what `detection` does for one, in the order of the input, as fast as all cores go."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import closing

from audiocnn.detection import Detection, Detector, DetectSettings, ScoreBlock, ScoredRecording
from audiocnn.engine import Engine
from audiocnn.errors import RecordingError, bare
from audiocnn.readers import File, Readers, Reading, Source

__all__ = ["File", "Reading", "Source", "detect_many", "detect_reading", "score_many"]


def score_many(
    files: Iterable[File], engine: Engine, channel: str | int = "mix", idle: Callable[[], object] = lambda: None
) -> Generator[Reading]:
    """Each file as a `Reading`, in order, while the next are read; the blocks of one are taken before the next.

    `files` may be endless. `idle` is called before waiting for a file or for scores that are not there yet.
    """
    readers = Readers(files, engine, channel, idle)
    try:
        while (reading := readers.next()) is not None:
            yield reading
            readers.leave(reading)
    finally:
        readers.close()


def detect_many(
    files: Iterable[File],
    engine: Engine,
    settings: DetectSettings | None = None,
    idle: Callable[[], object] = lambda: None,
) -> Generator[Detection | RecordingError]:
    """Each file's detection, or the error that stopped it, in order; a bad file does not stop the others.

    `files` and `idle` as for `score_many`.
    """
    if isinstance(files, str | bytes):
        raise TypeError(f"files: one name, {files!r}; give a list of names")
    settings = settings or DetectSettings()
    settings.rules(engine.model)  # what cannot be is refused before a file is opened
    with closing(score_many(files, engine, settings.channel, idle)) as readings:
        for reading in readings:
            found: Detection | RecordingError
            try:
                found = detect_reading(reading, engine, settings)
            except RecordingError as problem:
                found = bare(problem)
            yield found


def detect_reading(
    reading: Reading,
    engine: Engine,
    settings: DetectSettings,
    progress: Callable[[ScoredRecording, ScoreBlock], object] | None = None,
) -> Detection:
    """The segments of one of many recordings. Raises RecordingError. `progress` is called after each block."""
    detector = Detector(engine, settings)
    for block in reading.blocks():
        detector.push(block)
        if progress is not None:
            progress(reading.scored, block)
    return detector.finish(reading.scored)
