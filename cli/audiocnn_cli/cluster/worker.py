"""What runs in the workers of a cluster: the same code as on one machine, and what a worker does where one has died.

The ledger knows which works were begun. Where one was begun before and never ended, its worker died, and one of the
recordings in it may have been why: they are now taken one by one, each told to the ledger before it is opened. Dies a
worker again, it is known of which. So a recording that kills its worker is tried twice, and then it is an error.
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

DEADLY = "the process that read it died twice (a decoder that crashed, or no memory); leave it out, or convert it"
STARTS_A_WORKER = 5  # in vain
I = TypeVar("I")  # noqa: E741 - an item
A = TypeVar("A")  # an answer


@dataclass(frozen=True)
class Bug:
    """An exception in a worker that should not have happened."""

    what: str


class Ledger:
    """What was begun and not ended. An actor of its own, which outlives the workers."""

    def __init__(self) -> None:
        self.times: dict[int, int] = {}  # that a work was begun
        self.alone: dict[int, set[int]] = {}  # its items that were begun one by one, and not ended
        self.starts = 0  # of workers, since one of them began to work

    def started(self) -> int:
        """A worker is about to load its model: how many did so, and nothing came of it."""
        self.starts += 1
        return self.starts

    def begin(self, work: int) -> tuple[int, frozenset[int]]:
        """How often this work was begun, and on which of its items a worker died."""
        self.starts = 0
        self.times[work] = self.times.get(work, 0) + 1
        return self.times[work], frozenset(self.alone.get(work, ()))

    def begin_alone(self, work: int, item: int) -> None:
        """The item is next, and nothing else is in hand."""
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
    """Does works of several items each. Made once in a process; called by Ray Data with a batch of works."""

    def __init__(self, ledger: Any, workers: int) -> None:
        self.ledger = ledger if isinstance(ledger, Ledger) else RemoteLedger(ledger)
        if self.ledger.started() > STARTS_A_WORKER * workers:
            raise UsageError("workers die while they load the model; look for memory, and at --device")

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Rows of number and work to rows of number and answer."""
        answers = [self.answer(int(number), work) for number, work in zip(batch["number"], batch["work"], strict=True)]
        return {"number": batch["number"], "answer": answers}

    def answer(self, number: int, work: bytes) -> bytes:
        """The pickled answer to a work, or the bug that it met."""
        try:
            return pickle.dumps(self.done(number, pickle.loads(work)))
        except Exception as problem:  # noqa: BLE001 - who gave the work tells of it
            return pickle.dumps(Bug(f"{type(problem).__name__}: {problem}\n{traceback.format_exc()}"))

    def done(self, number: int, items: Sequence[I]) -> A:
        """All items at once; where a worker died of them, one by one, and without those that it died of."""
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
        """An item to do in place of one that kills its worker: one that is an error."""
        raise NotImplementedError

    def joined(self, answers: Sequence[A]) -> A:
        raise NotImplementedError


@dataclass(frozen=True)
class Crew:
    """What each worker is given. files: the model's, by their names in its folder."""

    version: str
    files: dict[str, bytes]
    device: str
    task: BatchTask[Any]
    strict: bool = False
    verbosity: int = 0


@dataclass
class WorkerAnswer:
    """What came of some recordings. groups: the records of each, in order, fewer where the first bad one was to stop
    it; lines: for stderr; the rest: as a `BatchRun` counts."""

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
    """The terminal of a worker: keeps the lines for the process that has a stderr."""

    def __init__(self, verbosity: int) -> None:
        super().__init__(BytesIO(), StringIO(), StringIO(), {}, verbosity)
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


class GroupedOutput(OneOutput[Any]):
    """An output in memory, with the records of each recording apart."""

    groups: list[bytes]

    def commit(self, start: int) -> None:
        super().commit(start)
        self.out.file.seek(start)
        self.groups.append(self.out.file.read())


class RecordingWorker(Worker[Input, WorkerAnswer]):
    def __init__(self, ledger: Any, workers: int, crew: Crew) -> None:
        from audiocnn import __version__

        if crew.version != __version__:
            raise UsageError(f"a worker has audiocnn {__version__}, not {crew.version}; install the same everywhere")
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
        """Up to the first bad one, where that is to stop it."""
        whole = WorkerAnswer()
        for answer in answers:
            if not (self.crew.strict and whole.failed + whole.damaged):
                whole.add(answer)
        return whole


def read_model_files(model: Model) -> dict[str, bytes]:
    """The files of a model, which other machines may not see."""
    paths = sorted(path for path in model.folder.rglob("*") if path.is_file())
    return {path.relative_to(model.folder).as_posix(): path.read_bytes() for path in paths}


def load_model_files(files: dict[str, bytes], device: str) -> Engine:
    """A model from its files, with one thread on the CPU, since there is a worker a core."""
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
