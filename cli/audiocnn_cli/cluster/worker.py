"""The workers of a cluster: the same code as on one machine, and the handling of workers that died.

The ledger records which works were begun. If a work was begun before and never ended, its worker died, possibly because
of one of its recordings. The recordings are then processed one by one, and each is entered in the ledger before it is
opened. If a worker dies again, the ledger shows the recording. A recording that kills its worker is therefore tried
twice and then reported as an error.
"""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from io import BytesIO, StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from audiocnn.errors import UsageError, show_name
from audiocnn_cli.app.terminal import Terminal
from audiocnn_cli.io.inputs import Input
from audiocnn_cli.io.job import BatchTask, write_results
from audiocnn_cli.io.output import Output
from audiocnn_cli.io.results import OneOutput, ResultWriter

if TYPE_CHECKING:
    from audiocnn.inference.engine import Engine
    from audiocnn.model.model import Model

DEADLY = "the process that read it died twice (decoder crash, or out of memory); remove the recording or convert it"
STARTS_A_WORKER = 5  # failed starts allowed per worker
I = TypeVar("I")  # noqa: E741 - type of an item
A = TypeVar("A")  # type of an answer


@dataclass(frozen=True)
class Bug:
    """An unexpected exception in a worker."""

    what: str


class Ledger:
    """Records works that were begun and not ended. It runs as a separate actor, which outlives the workers."""

    def __init__(self) -> None:
        self.times: dict[int, int] = {}  # how often each work was begun
        self.alone: dict[int, set[int]] = {}  # of each work, items that were begun singly and not ended
        self.starts = 0  # number of worker starts since a worker last began a work

    def started(self) -> int:
        """Called when a worker is about to load its model. Returns the number of starts since a work was begun."""
        self.starts += 1
        return self.starts

    def begin(self, work: int) -> tuple[int, frozenset[int]]:
        """Record the start of a work. Returns how often it was begun, and the items on which a worker died."""
        self.starts = 0
        self.times[work] = self.times.get(work, 0) + 1
        return self.times[work], frozenset(self.alone.get(work, ()))

    def begin_alone(self, work: int, item: int) -> None:
        """Record that an item is begun singly."""
        self.alone.setdefault(work, set()).add(item)

    def end_alone(self, work: int, item: int) -> None:
        self.alone[work].discard(item)

    def end(self, work: int) -> None:
        self.times.pop(work, None)
        self.alone.pop(work, None)


class RemoteLedger:
    def __init__(self, handle: Any) -> None:
        self.handle = handle

    def __getattr__(self, name: str) -> Any:
        import ray

        method = getattr(self.handle, name)
        return lambda *args: ray.get(method.remote(*args))


class Worker(Generic[I, A]):
    """Processes works of several items each. Created once per process; Ray Data calls it with batches of works."""

    def __init__(self, ledger: Any, workers: int) -> None:
        self.ledger = ledger if isinstance(ledger, Ledger) else RemoteLedger(ledger)
        if self.ledger.started() > STARTS_A_WORKER * workers:
            raise UsageError("workers die while they load the model; check the free memory and --device")

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Turn rows of number and work into rows of number and answer."""
        answers = [self.answer(int(number), work) for number, work in zip(batch["number"], batch["work"], strict=True)]
        return {"number": batch["number"], "answer": answers}

    def answer(self, number: int, work: bytes) -> bytes:
        """The pickled answer to a work, or a pickled `Bug`."""
        try:
            return pickle.dumps(self.done(number, pickle.loads(work)))
        except Exception as problem:  # noqa: BLE001 - reported by the process that gave the work
            return pickle.dumps(Bug(f"{type(problem).__name__}: {problem}\n{traceback.format_exc()}"))

    def done(self, number: int, items: Sequence[I]) -> A:
        """Process all items at once. If a worker died before, process them one by one, without those that killed it."""
        times, deadly = self.ledger.begin(number)
        if len(items) == 1:
            answer = self.do([items[0] if times <= 2 else self.refused(items[0])])
        elif times == 1:
            answer = self.do(items)
        else:
            answer = self.joined([self.one(number, at, item, at in deadly) for at, item in enumerate(items)])
        self.ledger.end(number)
        return answer

    def one(self, number: int, at: int, item: I, deadly: bool) -> A:
        if deadly:
            return self.do([self.refused(item)])
        self.ledger.begin_alone(number, at)
        answer = self.do([item])
        self.ledger.end_alone(number, at)
        return answer

    def do(self, items: Sequence[I]) -> A:
        raise NotImplementedError

    def refused(self, item: I) -> I:
        """An item that stands for an error, to use instead of one that kills its worker."""
        raise NotImplementedError

    def joined(self, answers: Sequence[A]) -> A:
        raise NotImplementedError


@dataclass(frozen=True)
class Crew:
    """The data that each worker needs. files: the files of the model, by name."""

    version: str
    files: dict[str, bytes]
    device: str
    task: BatchTask[Any]
    strict: bool = False
    verbosity: int = 0


@dataclass
class WorkerAnswer:
    """The results of some recordings. groups: the records of each, in order; with --strict, only up to the first bad
    one. lines: for stderr. The rest is counted as in `BatchRun`."""

    groups: list[bytes] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    done: int = 0
    failed: int = 0
    damaged: int = 0
    segments: int = 0
    audio_seconds: float = 0.0

    def add(self, other: WorkerAnswer) -> None:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)


class RecordedTerminal(Terminal):
    """The terminal of a worker: collects lines, which the main process prints to stderr."""

    def __init__(self, verbosity: int) -> None:
        super().__init__(BytesIO(), StringIO(), StringIO(), {}, verbosity)
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


class GroupedOutput(OneOutput[Any]):
    """An output in memory that keeps the records of each recording separate."""

    groups: list[bytes]

    def commit(self, start: int) -> None:
        super().commit(start)
        self.out.file.seek(start)
        self.groups.append(self.out.file.read())


class RecordingWorker(Worker[Input, WorkerAnswer]):
    def __init__(self, ledger: Any, workers: int, crew: Crew) -> None:
        from audiocnn import __version__

        if crew.version != __version__:
            raise UsageError(f"a worker has audiocnn {__version__}, not {crew.version}; install one version everywhere")
        super().__init__(ledger, workers)
        self.crew = crew
        self.engine = load_model_files(crew.files, crew.device)

    def do(self, items: Sequence[Input]) -> WorkerAnswer:
        from audiocnn.inference.scores import score_many
        from audiocnn_cli.io.batch import BatchRun

        task, terminal = self.crew.task, RecordedTerminal(self.crew.verbosity)
        out = Output(BytesIO(), Path("records"))
        results = GroupedOutput(out, ResultWriter(task.writer(out, self.engine, terminal), out, terminal))
        results.groups = []
        batch = BatchRun(terminal, self.crew.strict, results.failed)
        sources = batch.sources(iter(items), True)
        with batch, closing(score_many(sources, self.engine, task.channel)) as readings:
            write_results(task, batch.over(readings), results, batch)
        counts = batch.done, batch.failed, batch.damaged, batch.segments, batch.audio_seconds
        return WorkerAnswer(results.groups, terminal.lines, *counts)

    def refused(self, item: Input) -> Input:
        return replace(item, source=None, problem=item.problem or f"{show_name(item.name)}: {DEADLY}")

    def joined(self, answers: Sequence[WorkerAnswer]) -> WorkerAnswer:
        """The sum of the answers; with --strict, up to the first with a bad recording."""
        whole = WorkerAnswer()
        for answer in answers:
            if not (self.crew.strict and whole.failed + whole.damaged):
                whole.add(answer)
        return whole


def read_model_files(model: Model) -> dict[str, bytes]:
    """The contents of the files of a model, to which other machines may have no access."""
    paths = sorted(path for path in model.folder.rglob("*") if path.is_file())
    return {path.relative_to(model.folder).as_posix(): path.read_bytes() for path in paths}


def load_model_files(files: dict[str, bytes], device: str) -> Engine:
    """A model from its files. On the CPU it uses one thread, since there is one worker per core."""
    import tempfile

    from audiocnn.inference.engine import Engine, OnnxBackend, load_engine
    from audiocnn.model.model import read_model

    with tempfile.TemporaryDirectory(prefix="audiocnn-", ignore_cleanup_errors=True) as folder:
        for name, content in files.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        model = read_model(Path(folder))
        return load_engine(model, device) if device != "cpu" else Engine(model, OnnxBackend(model, 1), jobs=1)
