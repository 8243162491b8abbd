"""One training of `benchmarks.networks` in a separate process, and its stored result."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import shutil
import signal
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING

from audiocnn.errors import AudiocnnError
from audiocnn.files import write_whole
from audiocnn.recipe.recipe import Recipe
from audiocnn.training.log import read_log

if TYPE_CHECKING:
    from audiocnn.data.dataset import Dataset

DIGITS = tuple("0123456789")
TEST_SPLIT = "dev"
KEPT_SEED = 0  # the seed whose model is kept
# If the fork server has imported these, a training starts at once instead of after seconds.
PRELOADED = ["audiocnn.training.train", "audiocnn.model.export", "sklearn.metrics"]


@dataclass(frozen=True)
class Job:
    """One training: the recipe, its digest, the folder of all results, and the estimated time."""

    recipe: Recipe
    digest: str
    results: Path
    expected_seconds: float

    @property
    def run(self) -> Path:
        """The folder of this training."""
        return self.results / self.recipe.name / f"seed{self.recipe.seed}"

    @property
    def mark(self) -> Path:
        """The file with the digest of the run; it is beside the run folder, which contains only the run."""
        return self.run.with_suffix(".digest")

    @property
    def made(self) -> Path:
        """The file with the result of the process."""
        return self.run.with_suffix(".json")

    @property
    def dataset(self) -> Path:
        """The digits at the sample rate of the network."""
        return self.results / f"digits_{self.recipe.spec.input.sample_rate}"


@dataclass(frozen=True)
class Result:
    """A line of results.jsonl. `reason`: why there are no figures. `seconds`: time of training and validation."""

    spec: str
    digest: str
    seed: int
    reason: str = ""
    accuracy: float | None = None
    validation_accuracy: float | None = None
    best_epoch: int = 0
    clips: int = 0
    seconds: float = 0.0
    threads: int = 0

    @property
    def clips_per_second(self) -> float:
        """Clips trained on per second."""
        return self.clips / self.seconds if self.seconds else 0.0


def read_results(log: Path) -> dict[tuple[str, str, int], Result]:
    """(spec, digest, seed) -> its last line. An incomplete line, left by a killed process, is ignored."""
    found = {}
    for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else ():
        try:
            result = Result(**json.loads(line))
        except (json.JSONDecodeError, TypeError):
            continue
        found[result.spec, result.digest, result.seed] = result
    return found


def write_result(log: Path, result: Result) -> None:
    """Append a line; after an incomplete line, start a new one."""
    log.parent.mkdir(parents=True, exist_ok=True)
    whole = not log.exists() or log.read_bytes()[-1:] in (b"", b"\n")
    with log.open("a", encoding="utf-8") as file:
        file.write(("" if whole else "\n") + json.dumps(dataclasses.asdict(result)) + "\n")


def train_apart(job: Job) -> Result:
    """Train in another process. Returns a result in every case."""
    job.made.unlink(missing_ok=True)
    process = new_process(job)
    process.start()
    try:
        process.join()
    finally:
        process.kill()
    if job.made.exists():
        return Result(**json.loads(job.made.read_text(encoding="utf-8")))
    code = process.exitcode or 0
    what = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    more = "; too little memory?" if code == -signal.SIGKILL else ""
    return Result(job.recipe.name, job.digest, job.recipe.seed, f"the training {what}{more}")


def new_process(job: Job) -> BaseProcess:
    """A process context, if possible one that forks from a server that has only imported torch."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn").Process(target=train_here, args=(job,))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context.Process(target=train_here, args=(job,))


def train_here(job: Job) -> None:
    """Run in the process: train, and write the result as a file in the folder of the run."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process ends this one
    blank = Result(job.recipe.name, job.digest, job.recipe.seed)
    try:
        result = trained(job)
    except AudiocnnError as problem:
        result = dataclasses.replace(blank, reason=str(problem))
    except Exception as problem:  # noqa: BLE001 - a failing spec must not stop the others
        said = " ".join(str(problem).split())[:160]
        result = dataclasses.replace(blank, reason=f"{type(problem).__name__}: {said}")
    write_whole(job.made, json.dumps(dataclasses.asdict(result)).encode())


def trained(job: Job) -> Result:
    """Train or resume, and evaluate. The model of the first seed is kept, and the log of the others."""
    import torch

    from audiocnn.training.checkpoint import BEST_CHECKPOINT
    from audiocnn.training.events import EpochReport
    from audiocnn.training.train import train

    dataset = digits(job)
    keep = job.recipe.seed == KEPT_SEED
    resume = begin(job)
    for report in train(job.recipe, dataset, job.run, resume=resume):
        check_parent()
        if isinstance(report, EpochReport) and report.epoch == report.epochs and not keep:
            break  # the export comes next
    log = read_log(job.run)
    best = max(log, key=lambda line: line["figure"])
    accuracy = judged(job, dataset, job.run / BEST_CHECKPOINT)
    shutil.rmtree(job.run / BEST_CHECKPOINT.parent)
    return Result(
        spec=job.recipe.name,
        digest=job.digest,
        seed=job.recipe.seed,
        accuracy=accuracy,
        validation_accuracy=best["figure"],
        best_epoch=best["epoch"],
        clips=len(log) * job.recipe.train.examples_per_epoch,
        seconds=round(sum(line["seconds"] for line in log), 1),
        threads=torch.get_num_threads(),
    )


def begin(job: Job) -> bool:
    """Whether there is a run to resume; a run of another spec or recipe is removed."""
    from audiocnn.training.checkpoint import LAST_CHECKPOINT

    ours = job.mark.exists()
    if ours and job.mark.read_text(encoding="utf-8") == job.digest and (job.run / LAST_CHECKPOINT).exists():
        return True
    if ours:
        shutil.rmtree(job.run, ignore_errors=True)
    write_whole(job.mark, job.digest.encode())
    return False


def check_parent() -> None:
    """Exit if the parent process is gone, since its successor would train in the same folder."""
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        os._exit(1)


def digits(job: Job) -> Dataset:
    """The recordings of all splits, ingested once per sample rate."""
    from audiocnn.data.ingest import IngestSettings, cached_dataset

    assert job.recipe.data is not None
    rate = job.recipe.spec.input.sample_rate
    everything = dataclasses.replace(job.recipe.data, split=None)
    return cached_dataset(everything, job.dataset, IngestSettings(sample_rate=rate))


def judged(job: Job, dataset: Dataset, checkpoint: Path) -> float:
    """The accuracy of the best weights on the clips of the test split."""
    import numpy as np
    import torch

    from audiocnn.evaluation.annotated import Scorer, evaluate
    from audiocnn.evaluation.results import EvaluationSettings
    from audiocnn.inference.engine import Engine, TorchBackend
    from audiocnn.model.model import Model
    from audiocnn.model.network import Network
    from audiocnn.training.checkpoint import read_checkpoint, restore_checkpoint

    recipe = job.recipe
    labels = tuple((recipe.data and recipe.data.labels) or dataset.labels)
    network = Network(recipe.spec.with_classes(len(labels)))
    restore_checkpoint(read_checkpoint(checkpoint), {"averaged": network}, None, checkpoint)
    model = Model(recipe.name, job.run, network.spec, labels, {})
    engine = Engine(model, TorchBackend(network, torch.device("cpu")))

    def score(samples: np.ndarray) -> np.ndarray:
        return engine.score(np.repeat(samples, engine.channels, axis=0))

    rules = {label: model.rule(label) for label in labels}
    scorer = Scorer(score, recipe.spec.input.sample_rate, engine.hop_seconds, labels, rules)
    *_, last = evaluate(dataset, scorer, EvaluationSettings(resamples=0), TEST_SPLIT)
    assert last.evaluation is not None and last.evaluation.clip is not None
    accuracy = last.evaluation.clip.figures["accuracy"].value
    assert accuracy is not None
    return accuracy
