"""Processing recordings on a cluster: distributed in small works; their records are written here, in parts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from audiocnn.audio.remote import Remote, absolute
from audiocnn.errors import UsageError, show_name
from audiocnn.inference.engine import load_engine
from audiocnn.model.model import Model
from audiocnn.units import plural
from audiocnn_cli.app.exits import Terminated
from audiocnn_cli.app.options import ClusterOptions, ManyOutputs
from audiocnn_cli.app.terminal import Terminal
from audiocnn_cli.cluster.parts import Parts, find_parts_folder
from audiocnn_cli.cluster.ray import Cluster, check_address, connect_ray, deal_out
from audiocnn_cli.cluster.worker import Crew, RecordingWorker, WorkerAnswer, read_model_files
from audiocnn_cli.io.batch import BatchRun
from audiocnn_cli.io.inputs import STDIN_NAMES, Input
from audiocnn_cli.io.job import BatchJob
from audiocnn_cli.io.output import OutputError
from audiocnn_cli.io.results import Destination
from audiocnn_cli.io.resume import Provenance

_WORK_RECORDINGS = 50  # at most; the number repeated when a worker dies
_WORKS_A_WORKER = 4  # at least, given enough recordings, so that workers finish at about the same time


def cluster_destination(cluster: ClusterOptions, output: ManyOutputs, resume: bool, format: str) -> Destination:
    """The destination with --ray. Raises UsageError for unsupported options, before Ray is started."""
    if format not in ("auto", "jsonl"):
        raise UsageError(f"--ray writes JSON Lines; omit -f {format} and convert the parts")
    check_address(cluster.address, cluster.device)
    return find_parts_folder(output, resume)


def run_on_cluster(job: BatchJob[Any], model: Model, options: ClusterOptions, terminal: Terminal) -> BatchRun:
    """Go over the recordings. Finished results are kept, however the run ends."""
    from audiocnn import __version__

    if options.device != "cuda":
        load_engine(model, "cpu", 1)  # reports a damaged model before a cluster is started
    known, folder, provenance = [absolute_input(one) for one in job.inputs], job.destination.folder, job.provenance
    assert folder is not None and provenance is not None
    parts = Parts(folder, known, provenance, job.destination.force)
    batch = BatchRun(terminal, job.given.strict, lambda name, problem: None)
    batch.seen, batch.given, batch.total = len(known), len(parts.todo), len(known)
    batch.segments_before = parts.segments_before
    where = "a Ray cluster"
    try:
        if parts.todo:
            with batch:
                batch.show(0.0, 0.0)
                with connect_ray(options.address, options.workers, options.device, terminal) as cluster:
                    where = f"{plural(cluster.workers, 'worker')} of a Ray cluster"
                    crew = Crew(
                        __version__, read_model_files(model), cluster.device, job.task, batch.strict, terminal.verbosity
                    )
                    _work_off(crew, cluster, known, parts, batch)
        if not batch.stopped:
            _finish(provenance, parts, terminal)
    except BaseException as problem:
        with suppress(OutputError):
            parts.write_rest()
        if isinstance(problem, KeyboardInterrupt | Terminated) and (batch.done or batch.passed):
            terminal.say(f"audiocnn: interrupted; finished results are in {show_name(folder)}: continue with --resume")
        raise
    else:
        parts.write_rest()
    finally:
        parts.close()
    batch.report(f"{plural(batch.segments, job.unit or 'answer')} in ", where)
    return batch


def _work_off(crew: Crew, cluster: Cluster, known: Sequence[Input], parts: Parts, batch: BatchRun) -> None:
    """Distribute the remaining recordings, and store the records that come back."""
    size = max(1, min(_WORK_RECORDINGS, len(parts.todo) // (_WORKS_A_WORKER * cluster.workers)))
    places = [parts.todo[start : start + size] for start in range(0, len(parts.todo), size)]
    works = [[known[at] for at in some] for some in places]
    for number, answer in deal_out(cluster, works, RecordingWorker, crew):
        for at, records in zip(places[number], answer.groups, strict=False):
            parts.put(at, records)
        _count(answer, batch)
        if batch.stopped:
            return


def _count(answer: WorkerAnswer, batch: BatchRun) -> None:
    """Add the counts of a worker to those of the run, and print its lines."""
    for line in answer.lines:
        batch.terminal.line(line)
    batch.done += answer.done
    batch.failed += answer.failed
    batch.damaged += answer.damaged
    batch.segments += answer.segments
    batch.audio_seconds += answer.audio_seconds
    batch.stopped = batch.strict and bool(batch.failed + batch.damaged)
    batch.show(0.0, 0.0)


def _finish(provenance: Provenance, parts: Parts, terminal: Terminal) -> None:
    facts = {"schema": 1, "type": "summary", "command": provenance.command}
    facts |= {"model": provenance.model, "settings": provenance.settings}
    unnamed, _ = parts.finish(facts)
    if unnamed:
        was = "recording was" if unnamed == 1 else "recordings were"
        terminal.say(f"audiocnn: {unnamed} {was} already in the output but not given this time; kept at the end")


def absolute_input(one: Input) -> Input:
    """A recording with a path that other machines can open. Raises UsageError for a stream."""
    if one.name in STDIN_NAMES:
        raise UsageError("-: standard input cannot be sent to a cluster; write it to a file first")
    if isinstance(one.source, Remote):
        return replace(one, source=Remote(absolute(one.source.url)))
    return replace(one, source=Path(os.path.abspath(one.source))) if isinstance(one.source, Path) else one  # noqa: PTH100
