"""Recordings over a cluster: dealt out in small works, their records brought back and written here, in parts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from audiocnn.addresses import Remote, absolute
from audiocnn.engine import load_engine
from audiocnn.errors import UsageError
from audiocnn.filenames import show_name
from audiocnn.model import Model
from audiocnn_cli.batch import Batch
from audiocnn_cli.cluster import Cluster, deal, joined
from audiocnn_cli.cluster_parts import Parts
from audiocnn_cli.cluster_worker import Answer, Crew, RecordingWorker, Task, files_of
from audiocnn_cli.exits import Terminated
from audiocnn_cli.findings import plural
from audiocnn_cli.inputs import STDIN_NAMES, Input
from audiocnn_cli.output import OutputError
from audiocnn_cli.outputs import Place
from audiocnn_cli.resuming import Made
from audiocnn_cli.terminal import Terminal

WORK_RECORDINGS = 50  # at most; so many are done again when a worker dies
WORKS_A_WORKER = 4  # at least, where there are enough recordings: the last ones are not to wait for one worker


@dataclass(frozen=True)
class ClusterJob:
    """What is asked for. workers None: as many as the cluster has room for."""

    address: str
    workers: int | None
    device: str
    force: bool
    strict: bool
    model: Model
    task: Task
    made: Made


def run_on_cluster(job: ClusterJob, place: Place, inputs: Iterator[Input], terminal: Terminal) -> Batch:
    """Go over the recordings. What is done stays, however it ends."""
    if job.device != "cuda":
        load_engine(job.model, "cpu", 1)  # a model that is damaged is told of before a cluster is started
    known, folder = [sendable(one) for one in inputs], place.folder
    assert folder is not None
    parts = Parts(folder, known, job.made, job.force)
    batch = Batch(terminal, job.strict, lambda name, problem: None)
    batch.seen, batch.given, batch.total = len(known), len(parts.todo), len(known)
    batch.segments_before = parts.segments_before
    where = "a Ray cluster"
    try:
        if parts.todo:
            with batch:
                batch.show(0.0, 0.0)
                with joined(job.address, job.workers, job.device, terminal) as cluster:
                    where = f"{plural(cluster.workers, 'worker')} of a Ray cluster"
                    work_off(job, cluster, known, parts, batch)
        if not batch.stopped:
            finish(job, parts, terminal)
    except BaseException as problem:
        with suppress(OutputError):
            parts.write_rest()
        if isinstance(problem, KeyboardInterrupt | Terminated) and (batch.done or batch.passed):
            terminal.say(f"audiocnn: interrupted; {show_name(folder)} holds what was finished: go on with --resume")
        raise
    else:
        parts.write_rest()
    finally:
        parts.close()
    batch.report(f"{plural(batch.segments, 'segment' if job.made.kind == 'segments' else 'answer')} in ", where)
    return batch


def work_off(job: ClusterJob, cluster: Cluster, known: Sequence[Input], parts: Parts, batch: Batch) -> None:
    """Deal out what is to be done, and put what comes back in its place."""
    from audiocnn import __version__

    size = max(1, min(WORK_RECORDINGS, len(parts.todo) // (WORKS_A_WORKER * cluster.workers)))
    places = [parts.todo[start : start + size] for start in range(0, len(parts.todo), size)]
    works = [[known[at] for at in some] for some in places]
    crew = Crew(__version__, files_of(job.model), cluster.device, job.task, job.strict, batch.terminal.verbosity)
    for number, answer in deal(cluster, works, RecordingWorker, crew):
        for at, records in zip(places[number], answer.groups, strict=False):
            parts.put(at, records)
        count(answer, batch)
        if batch.stopped:
            return


def count(answer: Answer, batch: Batch) -> None:
    """What the batch makes of it."""
    for line in answer.lines:
        batch.terminal.line(line)
    batch.done += answer.done
    batch.failed += answer.failed
    batch.damaged += answer.damaged
    batch.segments += answer.segments
    batch.audio_seconds += answer.audio_seconds
    batch.stopped = batch.strict and bool(batch.failed + batch.damaged)
    batch.show(0.0, 0.0)


def finish(job: ClusterJob, parts: Parts, terminal: Terminal) -> None:
    """All is there: the last parts, and the summary."""
    facts = {"schema": 1, "type": "summary", "command": job.made.command}
    facts |= {"model": job.made.model, "settings": job.made.settings}
    unnamed, _ = parts.finish(facts)
    if unnamed:
        was = "recording was" if unnamed == 1 else "recordings were"
        terminal.say(f"audiocnn: {unnamed} {was} done before and not named this time: kept at the end")


def sendable(one: Input) -> Input:
    """A recording as another machine can open it. UsageError for a stream, which none can."""
    if one.name in STDIN_NAMES:
        raise UsageError("-: standard input cannot be given to a cluster; write it to a file first")
    if isinstance(one.source, Remote):
        return replace(one, source=Remote(absolute(one.source.url)))
    return replace(one, source=Path(os.path.abspath(one.source))) if isinstance(one.source, Path) else one  # noqa: PTH100
