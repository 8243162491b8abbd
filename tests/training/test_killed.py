"""A training that is killed, interrupted, or runs out of disk goes on to the same weights, bit by bit."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
import torch
from fixtures_cli import PATH
from fixtures_models import BATCH, LOG_MEL, recipe_of, table_of, tone_task
from safetensors.torch import load_file

from audiocnn.errors import AudiocnnError, ModelError
from audiocnn.files import is_locked, locked
from audiocnn.recipe.recipe import read_recipe
from audiocnn.training import checkpoint
from audiocnn.training import trainer as trainer_module
from audiocnn.training.batches import make_training_set
from audiocnn.training.checkpoint import read_checkpoint
from audiocnn.training.events import EpochReport, Note, StepReport, StopReport
from audiocnn.training.interrupt import StopSignals
from audiocnn.training.train import train
from audiocnn.training.trainer import Trainer

SHORT = {"epochs": 3, "examples_per_epoch": 24, "batch_size": 8, "validation_examples": 4, "averaging": 0.9}
DROPPING = table_of(
    {**LOG_MEL, "mels": 12},
    [{"conv": 6, "kernel": 3}, {"dropout": 0.2}],
    {"window_seconds": 0.15, "layers": [{"dense": 8, "dropout": 0.5}]},
    defaults=BATCH,
)
ENV = os.environ | {"PYTHONPATH": PATH, "OMP_NUM_THREADS": "1"}
# A process of its own, whose imports are there before its children are made: each job is a child that trains and, where
# it is asked to, kills itself in the n-th call of a function.
SERVER = """
import json, os, sys
import sklearn.metrics, torch, torch._dynamo
torch.set_num_threads(1)
from pathlib import Path
from audiocnn.training import checkpoint, train, trainer, validate
from audiocnn.data.dataset import Dataset
from audiocnn.recipe.recipe import read_recipe
OWNERS = {"os": os, "training": trainer, "path": Path, "checkpoint": checkpoint, "trainer": trainer.Trainer}

def killing(owner, name, call, after):
    real, seen = getattr(OWNERS[owner], name), [0]
    def killed(*args, **more):
        seen[0] += 1
        if seen[0] == call and not after:
            os.kill(os.getpid(), 9)
        found = real(*args, **more)
        if seen[0] == call:
            os.kill(os.getpid(), 9)
        return found
    setattr(OWNERS[owner], name, killed)

def child(job):
    trainer.CHECKPOINT_SECONDS = job["every"]
    trainer.Trainer.finish = lambda trainer: None  # exports take seconds
    if job["kill"]:
        killing(*job["kill"])
    run = Path(job["run"])
    status = 0
    try:
        recipe = read_recipe(Path(job["recipe"]))
        for report in train.train(recipe, Dataset.open(job["data"]), run, resume=(run / "recipe.toml").exists()):
            if isinstance(report, trainer.EpochReport) and report.epoch == report.epochs:
                break
    except BaseException as problem:
        print(f"{type(problem).__name__}: {problem}", file=sys.stderr, flush=True)
        status = 9
    os._exit(status)

for line in sys.stdin:
    job = json.loads(line)
    pid = os.fork()
    if not pid:
        child(job)
    if job["after"] is not None:
        import time
        time.sleep(job["after"])
        os.kill(pid, 9)
    _, status = os.waitpid(pid, 0)
    print(json.dumps(os.waitstatus_to_exitcode(status)), flush=True)
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A dataset, and a recipe as a file."""
    import tomli_w

    folder = tmp_path_factory.mktemp("killed")
    tone_task(folder / "data", groups=4)
    (folder / "recipe.toml").write_text(tomli_w.dumps(recipe_of(DROPPING, **SHORT).to_table()))
    return folder


@pytest.fixture(scope="module")
def server(home):
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER], env=ENV,
        cwd=home, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip

    def job(run, kill=None, after=None, every=0.0):
        """Train until killed: in `kill` = (owner, function, call, after it), or after so many seconds."""
        said = {"run": str(run), "kill": kill, "after": after, "every": every, "recipe": "recipe.toml", "data": "data"}
        process.stdin.write(json.dumps(said) + "\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    yield job
    process.stdin.close()
    assert process.wait(30) == 0
    process.stdout.close()


@pytest.fixture(scope="module")
def straight(server, home):
    """The last checkpoint of a run that nothing stopped."""
    assert server(home / "straight") == 0
    return load_file(home / "straight/checkpoints/last.safetensors")


def ends_alike(run, straight):
    """The same weights, averages and moments, bit by bit; the same rows; nothing left over."""
    got = load_file(run / "checkpoints/last.safetensors")
    assert got.keys() == straight.keys()
    assert [name for name in straight if not torch.equal(got[name], straight[name])] == []
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert [path.name for path in run.rglob(".*")] == []


# Each save calls os.fsync for the file and for the folder, and os.replace (by Path.replace) between.
POINTS = [
    ("before there is a recipe", ("os", "fsync", 1, False)),
    ("before the first checkpoint is safe", ("os", "fsync", 5, False)),
    ("between file and name", ("path", "replace", 3, False)),
    ("when the name has changed", ("path", "replace", 4, True)),
    ("before the folder is safe", ("os", "fsync", 12, False)),
    ("in a step", ("trainer", "train_step", 5, False)),
    ("after a step, before it is saved", ("trainer", "train_step", 5, True)),
    ("while the figures are found", ("training", "validate", 2, False)),
    ("between the best and the last", ("trainer", "save", 8, False)),
    ("before the rows are written", ("trainer", "write_log", 3, False)),
]


ALWAYS = ("before the first checkpoint is safe", "between the best and the last")


@pytest.mark.parametrize(
    "kill",
    [pytest.param(kill, id=name, marks=[] if name in ALWAYS else pytest.mark.long) for name, kill in POINTS],
)
def test_a_run_that_was_killed_ends_as_the_straight_one(server, home, straight, tmp_path, kill):
    run = tmp_path / "run"
    assert server(run, kill) == -signal.SIGKILL
    assert server(run, kill) in (-signal.SIGKILL, 0)  # and again, where it went on
    assert server(run) == 0
    ends_alike(run, straight)


@pytest.mark.long
def test_killed_at_any_moment_it_ends_as_the_straight_one(server, home, straight, tmp_path):
    draw, killed, longest = random.Random(8), 0, 0.6
    while killed < 2:  # a machine so fast that it mostly ended before: again, with half the time
        run = tmp_path / f"within {longest} s"
        for _ in range(6):
            killed += server(run, after=draw.uniform(0.02, longest)) == -signal.SIGKILL
        assert server(run) == 0
        ends_alike(run, straight)
        longest /= 2


# A disk that is full


@pytest.fixture
def task(home):
    from audiocnn.data.dataset import Dataset

    return Dataset.open(home / "data")


def recipe_in(home):
    return read_recipe(home / "recipe.toml")


def test_where_the_disk_is_full_the_last_checkpoint_stays(home, task, tmp_path, monkeypatch):
    run, recipe = tmp_path / "run", recipe_in(home)
    reports = train(recipe, task, run)
    next(report for report in reports if isinstance(report, EpochReport))
    whole = (run / "checkpoints/last.safetensors").read_bytes()
    real = os.fsync

    def full(handle):
        if os.fstat(handle).st_size > 4000:
            raise OSError(28, os.strerror(28))
        real(handle)

    monkeypatch.setattr("os.fsync", full)
    fact = r"checkpoints/(last|best)\.safetensors: cannot be written \(No space left on device\); free space there"
    with pytest.raises(AudiocnnError, match=fact):
        list(reports)
    assert (run / "checkpoints/last.safetensors").read_bytes() == whole
    assert read_checkpoint(run / "checkpoints/last.safetensors").progress["epoch"] == 1
    assert [path.name for path in run.rglob(".*")] == []


FULL = """
import resource, sys
from audiocnn_cli.main import run
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
sys.exit(run(sys.argv[2:]))
"""


@pytest.mark.long
def test_the_command_says_in_one_line_that_nothing_can_be_written(home, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FULL, "9000", "train", "data", "--recipe", "recipe.toml", "-o", str(tmp_path / "run")],
        env=ENV | {"PYTHONDONTWRITEBYTECODE": "1"},
        cwd=home, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    errors = [line for line in done.stderr.splitlines() if "error" in line]
    assert len(errors) == 1
    assert "best.safetensors: cannot be written (File too large); free space there" in errors[0]
    assert [path.name for path in (tmp_path / "run").rglob(".*")] == []


# Ctrl-C


def test_a_signal_ends_a_training_after_the_step_when_all_is_saved(home, task, tmp_path, straight):
    run, recipe, signals, seen = tmp_path / "run", recipe_in(home), StopSignals(), []
    before = signal.getsignal(signal.SIGTERM)
    for report in train(recipe, task, run, stop_signals=signals):
        seen.append(report)
        if isinstance(report, StepReport) and (report.epoch, report.step) == (2, 1):
            signal.raise_signal(signal.SIGTERM)
    assert seen[-1] == StopReport(2, 2, 3)
    assert signal.getsignal(signal.SIGTERM) is before
    with pytest.raises(KeyboardInterrupt):
        StopSignals().raise_first()  # as nothing was watched, it is Ctrl-C
    again = []
    for report in train(recipe, task, run, resume=True):
        again.append(report)
        if isinstance(report, EpochReport) and report.epoch == report.epochs:
            break
    assert again[0] == Note("continuing at epoch 2, step 3 of 3")
    ends_alike(run, straight)


def test_a_signal_while_the_figures_are_found_ends_it_too(home, task, tmp_path, monkeypatch, straight):
    run, recipe, real = tmp_path / "run", recipe_in(home), trainer_module.validate

    def told(network, training_set, batch_size, between):
        signal.raise_signal(signal.SIGINT)
        return real(network, training_set, batch_size, between)

    monkeypatch.setattr(trainer_module, "validate", told)
    *_, last = train(recipe, task, run, stop_signals=StopSignals())
    assert last == StopReport(1, 3, 3)
    assert not (run / "metrics.jsonl").exists() or not (run / "metrics.jsonl").read_text()
    monkeypatch.setattr(trainer_module, "validate", real)
    next(
        report
        for report in train(recipe, task, run, resume=True)
        if isinstance(report, EpochReport) and report.epoch == 3
    )
    ends_alike(run, straight)


def test_the_command_saves_says_how_to_go_on_and_ends_as_interrupted(home, tmp_path):
    run, env = tmp_path / "run", ENV
    words = ["train", "data", "--recipe", "recipe.toml", "--epochs", "2000", "-o", str(run)]
    process = subprocess.Popen(
        [sys.executable, "-m", "audiocnn_cli", *words], env=env, cwd=home, stderr=subprocess.PIPE, text=True
    )
    while not (run / "metrics.jsonl").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert f"audiocnn: interrupted; continue with `audiocnn train -o {run} --resume`" in said
    assert "Traceback" not in said
    progress = read_checkpoint(run / "checkpoints/last.safetensors").progress
    assert f"stopped at epoch {progress['epoch'] + 1}, step {progress['step']} of 3: saved" in said


# What is exact, and what is said


def test_the_threads_of_a_run_are_those_it_began_with(home, task, tmp_path):
    run, recipe = tmp_path / "run", recipe_in(home)
    next(report for report in train(recipe, task, run) if isinstance(report, EpochReport))
    torch.set_num_threads(2)
    try:
        reports = train(recipe, task, run, resume=True)
        notes = [next(reports).text, next(reports).text]
        assert torch.get_num_threads() == 1
        reports.close()
    finally:
        torch.set_num_threads(1)
    assert notes == [
        "continuing at epoch 2, step 1 of 3",
        "1 thread(s) as before, instead of 2: the weights stay reproducible",
    ]


@pytest.mark.long
def test_no_hidden_state_is_left(home, task, tmp_path):
    """What another draws from torch or numpy between two steps changes nothing."""
    recipe, ends = recipe_in(home), []
    for disturbed in (False, True):
        trainer = Trainer(recipe, make_training_set(recipe, task), tmp_path / f"{disturbed}", "cpu")
        trainer.network.load_state_dict(
            Trainer(recipe, make_training_set(recipe, task), tmp_path, "cpu").network.state_dict()
        )
        torch.manual_seed(1)
        if not ends:
            first = {name: tensor.clone() for name, tensor in trainer.network.state_dict().items()}
        trainer.network.load_state_dict(first)
        for report in trainer.epochs():
            if disturbed:
                torch.rand(7)
            if isinstance(report, EpochReport):
                break
        ends.append(trainer.network.state_dict())
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


# One at a time


def test_two_trainings_cannot_write_into_one_folder(home, task, tmp_path):
    run, recipe = tmp_path / "deep/run", recipe_in(home)
    with locked(run):
        assert is_locked(run)
        with pytest.raises(AudiocnnError, match="run: another process is training here; wait for it"):
            next(train(recipe, task, run))
    assert not is_locked(run)
    assert not (tmp_path / "deep").exists()  # it stayed empty


def test_a_checkpoint_that_was_cut_short_is_one_line(home, task, tmp_path):
    run, recipe = tmp_path / "run", recipe_in(home)
    next(report for report in train(recipe, task, run) if isinstance(report, EpochReport))
    last = run / "checkpoints/last.safetensors"
    last.write_bytes(last.read_bytes()[:-100])
    with pytest.raises(ModelError, match=r"last\.safetensors: cannot be resumed \(.*\); start again with --force"):
        next(train(recipe, task, run, resume=True))


@pytest.mark.long
def test_temporaries_of_killed_processes_go_and_nothing_else(tmp_path):
    for name in (
        ".last.safetensors.abcd1234",
        ".recipe.toml.abcd_234",
        ".mine.txt",
        "last.safetensors",
        ".x.toml.abcd1234",
    ):
        (tmp_path / name).touch()
    checkpoint.clear_temporaries(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".mine.txt", ".x.toml.abcd1234", "last.safetensors"]
