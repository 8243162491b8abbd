"""Common code of the batch commands: a `BatchJob` describes the work, and `run_job` goes over the recordings.

A new batch command implements `BatchTask`: a function from a scored recording to results, and a writer for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Generic, Protocol

from audiocnn.errors import show_name
from audiocnn.labels.formats.base import ResultT, Writer
from audiocnn.units import plural
from audiocnn_cli.app.options import InputOptions
from audiocnn_cli.app.terminal import Terminal
from audiocnn_cli.io.batch import BatchRun
from audiocnn_cli.io.inputs import Input, is_stream
from audiocnn_cli.io.output import Output
from audiocnn_cli.io.results import Destination, Results, open_results

if TYPE_CHECKING:
    from audiocnn.inference.engine import Engine
    from audiocnn.inference.scores import ScoreBlock, ScoredRecording
    from audiocnn_cli.io.resume import Provenance

BlockProgress = Callable[["ScoredRecording", "ScoreBlock"], object]


class BatchTask(Protocol[ResultT]):
    """What a command does with each recording, in this process or in a worker of a cluster."""

    @property
    def channel(self) -> str | int:
        """The channel, as for `score_many`."""
        ...

    def writer(self, out: Output, engine: Engine, terminal: Terminal) -> Writer[ResultT]: ...

    def results(self, scored: ScoredRecording, progress: BlockProgress, live: bool) -> Iterator[ResultT]:
        """The results of a recording, at once or part by part. Raises RecordingError.

        live: the recording is a stream, and results are to be given as soon as they are final. progress: called after
        each block.
        """
        ...

    def count(self, result: ResultT) -> int:
        """The number of segments or answers in a result."""
        ...


@dataclass(frozen=True)
class BatchJob(Generic[ResultT]):
    """The work of a batch command.

    suffix: of the files in an output folder. provenance: the model and settings, if a later run may resume. unit: what
    the last line counts. needs_recording: drop the output if it has no recording.
    """

    task: BatchTask[ResultT]
    inputs: Iterator[Input]
    given: InputOptions
    destination: Destination
    suffix: str
    provenance: Provenance | None = None
    unit: str = ""
    needs_recording: bool = False


def run_job(job: BatchJob[ResultT], engine: Engine, terminal: Terminal) -> BatchRun:
    """Go over the recordings. A bad one does not stop the others, except with --strict."""
    from audiocnn.inference.scores import score_many

    task, given = job.task, job.given
    make = partial(task.writer, engine=engine, terminal=terminal)
    with open_results(job.destination, job.suffix, make, terminal, job.provenance) as results:
        batch = BatchRun(terminal, given.strict, results.failed)
        sources = batch.sources(job.inputs, given.files_from is not None, results.wanted)
        with batch, closing(score_many(sources, engine, task.channel, batch.idle)) as readings:
            write_results(task, batch.over(readings), results, batch)
        results.close(batch, job.needs_recording)
    place = job.destination.path or job.destination.folder
    told = f"{plural(batch.segments, job.unit)} in " if job.unit else ""
    batch.report(told, engine.device, "" if place is None else show_name(place), results.tells_total)
    return batch


def write_results(
    task: BatchTask[ResultT], readings: Iterable[ScoredRecording], results: Results[ResultT], batch: BatchRun
) -> None:
    """Write the results of each recording. Files get whole recordings. On stdout, the results of a stream are written
    as soon as they are final."""
    for scored in readings:
        results.turn()
        with batch.attempt(scored.name):
            live = results.to_stdout and is_stream(scored.name, batch.terminal)
            found = task.results(scored, batch.step, live)
            first = list(islice(found, 1))  # a recording that cannot be read gets no output
            count = 0
            with results.writing(batch.now) as writer:
                for result in chain(first, found):
                    writer.recording(result)
                    batch.partly |= live
                    count += task.count(result)
            batch.segments += count
            batch.finish(scored.duration_seconds, scored.recording, scored.recording.is_short)
